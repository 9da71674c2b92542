"""Fixtures shared by all tests: small data sets of drawn faces, the real data where it is, free ports."""

import os
import socket
from pathlib import Path

import numpy as np
import pytest

REPOSITORY = Path(__file__).parent.parent


def free_ports(count: int) -> list[int]:
    """Ports of the loopback interface that nobody listens on."""
    sockets = [socket.socket() for _ in range(count)]
    for probe in sockets:
        probe.bind(("127.0.0.1", 0))
    ports = [probe.getsockname()[1] for probe in sockets]
    for probe in sockets:
        probe.close()
    return ports


def write_drawn_set(folder: Path, *, training: int, validation: int, seed: int = 0) -> str:
    """A prepared data set of drawn faces at `folder`."""
    from fer_data.dataset_writer import write_dataset
    from fer_data.drawn_faces import draw
    from fer_data.rows import rows_table

    def tables():
        first = 0
        for usage, count in (("training", training), ("public_test", validation)):
            pixels, labels = draw(np.arange(first, first + count), seed)
            yield rows_table([f"{usage}-{i:06d}" for i in range(count)], usage, labels, pixels)
            first += count

    write_dataset(tables(), str(folder), "drawn faces")
    return str(folder)


@pytest.fixture(scope="session")
def drawn_set(tmp_path_factory) -> str:
    """600 training and 203 validation faces, prepared."""
    return write_drawn_set(tmp_path_factory.mktemp("drawn") / "set", training=600, validation=203)


@pytest.fixture(scope="session")
def fer2013_zip() -> str:
    """The published images, by the path in FER2013_ZIP or beside the checkout; tests that need them skip without."""
    path = Path(os.environ.get("FER2013_ZIP", REPOSITORY.parent / "shared/data/fer2013_train_public.zip"))
    if not path.exists():
        pytest.skip(f"FER-2013 is not at {path}: set FER2013_ZIP")
    return str(path)
