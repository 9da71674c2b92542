"""Work on Ray: the same bytes as on threads, through a killed worker too, and mistakes in one line."""

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import ray

from cluster.connect import start_local
from fer_data.errors import UserError
from fer_data.prepare import prepare
from fer_data.rows import Decoded, rows_table
from jobs.ray_parallel import run_on_ray
from tests.fer_data.raw_forms import HEADER, csv, csv_row, tar_gz, tree, write, zipped

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    start_local(num_cpus=2)
    yield
    ray.shutdown()


def files(folder: str | Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


@pytest.mark.parametrize(("form", "workers"), [("raw", 2), ("raw.zip", 1), ("raw.csv", 2), ("raw.tar.gz", 2)])
def test_workers_on_a_ray_cluster_give_the_same_bytes(form, workers, tmp_path, monkeypatch):
    monkeypatch.setattr("fer_data.class_folders.CHUNK_IMAGES", 20)
    monkeypatch.setattr("fer_data.csv_rows.BLOCK_BYTES", 100_000)
    monkeypatch.setattr("fer_data.near_copies.candidates.QUERIES", 40)
    monkeypatch.setattr("fer_data.near_copies.registration.PAIRS", 40)
    forms = {"raw": tree(150), "raw.zip": zipped(tree(150)), "raw.csv": csv(150), "raw.tar.gz": tar_gz(tree(150))}
    raw = write(tmp_path / form, forms[form])
    here = prepare(raw, str(tmp_path / "here"))
    there = prepare(raw, str(tmp_path / "there"), run=partial(run_on_ray, workers=workers))
    assert files(there.uri) == files(here.uri)


@dataclass(frozen=True)
class Chunk:
    """One row, called `name`. The first process to decode it dies where `deadly` names a file that is not there."""

    name: str
    deadly: Path | None = None

    def decode(self) -> Decoded:
        if self.deadly and not self.deadly.exists():
            self.deadly.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return Decoded(rows_table([self.name], "training", np.zeros(1, np.int8), np.zeros((1, 48, 48), np.uint8)), [])


def test_a_worker_that_is_killed_is_started_again_and_the_order_is_kept(tmp_path):
    chunks = [Chunk(f"{i}", tmp_path / "died" if i == 3 else None) for i in range(8)]
    decoded = list(run_on_ray(lambda _, chunk: chunk.decode(), None, chunks, workers=2))
    assert [piece.table["image_id"].to_pylist() for piece in decoded] == [[chunk.name] for chunk in chunks]
    assert (tmp_path / "died").exists()


def test_a_mistake_that_a_worker_finds_is_reported_in_one_line(tmp_path):
    raw = write(tmp_path / "raw.csv", "\n".join([HEADER, csv_row(), csv_row(usage="x")]).encode())
    with pytest.raises(UserError, match=r"row 2: Usage is 'x'") as error:
        prepare(raw, str(tmp_path / "out"), run=partial(run_on_ray, workers=1))
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


def test_more_workers_than_the_cluster_has_are_refused():
    with pytest.raises(UserError, match="--workers 64: the Ray cluster has 2 CPUs"):
        next(run_on_ray(lambda _, item: item, None, [], workers=64))
