"""Fixtures shared by all tests: small data sets of drawn faces, the real data where it is, free ports, an S3 server."""

import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from cluster.rehearsal import free_ports

REPOSITORY = Path(__file__).parent.parent
os.environ.setdefault("RAY_worker_niceness", "0")  # By default the jobs' processes give way to all others, and starve.
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    # Under `nohup`: the commands under test would inherit that, and have tests that send them the signal.
    signal.signal(signal.SIGHUP, lambda *_: None)
pytest_plugins = ["tests.expected_skips"]


LONGEST = ("test_readme.py", "test_rehearsal.py")
"""Of a quarter of an hour each."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first, then the jobs: where two processes share the files, none is left with a long one."""

    def order(item: pytest.Item) -> tuple[bool, bool]:
        return item.path.name not in LONGEST, "jobs" not in item.path.relative_to(REPOSITORY).parts

    items.sort(key=order)


def write_drawn_set(
    folder: str | Path, *, training: int, validation: int, seed: int = 0, near_copies: Callable | None = None
) -> str:
    """A prepared data set of drawn faces at `folder`, which may be a URI."""
    from fer_data.dataset_writer import write_dataset
    from fer_data.drawing import draw
    from fer_data.rows import rows_table

    def tables():
        first = 0
        for usage, count in (("training", training), ("public_test", validation)):
            pixels, labels = draw(np.arange(first, first + count), seed)
            yield rows_table([f"{usage}-{i:06d}" for i in range(count)], usage, labels, pixels)
            first += count

    write_dataset(tables(), str(folder), "drawn faces", near_copies=near_copies)
    return str(folder)


@pytest.fixture(scope="session")
def drawn_set(tmp_path_factory) -> str:
    """600 training and 203 validation faces, prepared."""
    return write_drawn_set(tmp_path_factory.mktemp("drawn") / "set", training=600, validation=203)


@pytest.fixture(scope="session")
def drawn_few(tmp_path_factory) -> str:
    """190 training and 33 validation faces, prepared: for runs that need not learn."""
    return write_drawn_set(tmp_path_factory.mktemp("few") / "set", training=190, validation=33)


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path]:
    """A folder that is a disk of 10 MB."""
    if os.geteuid():
        pytest.skip("mounting a small file system takes root")
    disk = tmp_path / "small"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=10m", "tmpfs", str(disk)]
    mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"cannot mount a small file system: {mounted.stderr.strip()}")
    yield disk
    subprocess.run(["umount", disk], check=True)


def given_file(variable: str, beside: str) -> str:
    """The path in the environment variable, or of a file beside the checkout; skips the test where there is none."""
    path = Path(os.environ.get(variable, REPOSITORY.parent / beside))
    if not path.exists():
        pytest.skip(f"{path} is not there: set {variable}")
    return str(path)


@pytest.fixture(scope="session")
def fer2013_zip() -> str:
    """The published images, by the path in FER2013_ZIP or beside the checkout."""
    return given_file("FER2013_ZIP", "shared/data/fer2013_train_public.zip")


@pytest.fixture(scope="session")
def original_cnn() -> str:
    """The original project's published network, by the path in ORIGINAL_CNN or beside the checkout."""
    return given_file("ORIGINAL_CNN", "shared/data/CNNMODELfinal.keras")


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """The address of moto's S3 server on the loopback address."""
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                urllib.request.urlopen(f"{address}/moto-api/", timeout=2)
                break
            except OSError:
                time.sleep(0.1)
        else:
            pytest.fail("moto's S3 server did not start within 30 s")
        yield address
    finally:
        server.kill()
        server.wait()


@pytest.fixture
def bucket(s3_server: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """The URI of an empty bucket; the environment says where its server is."""
    import boto3

    for name, value in {
        "AWS_ENDPOINT_URL": s3_server,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)
    name = f"fer-{abs(hash(request.node.nodeid)) % 10**10}"
    boto3.client("s3", endpoint_url=s3_server, region_name="us-east-1").create_bucket(Bucket=name)
    return f"s3://{name}"
