"""What dies during an evaluation, and what is left of it."""

import os
import signal
import subprocess
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from fer_data.dataset_writer import write_dataset
from fer_data.rows import rows_table
from tests.conftest import REPOSITORY
from tests.jobs.evaluation.command import command, run
from tests.processes import PATIENCE_SECONDS, descendants, kill, stop_as_from_a_terminal, until


class Interrupted:
    """A run of several shards that takes some seconds, as often as it is started."""

    ROWS = 8 * 1024

    def __init__(self, checkpoint: str, folder: Path) -> None:
        random = np.random.default_rng(0)
        pixels = random.integers(0, 256, (self.ROWS, 48, 48), np.uint8)
        labels = random.integers(0, 7, self.ROWS)
        ids = [f"noise-{i:05d}" for i in range(self.ROWS)]
        write_dataset(iter([rows_table(ids, "public_test", labels, pixels)]), str(folder / "data"), "noise")
        self.folder, self.out = folder, folder / "report"
        self.arguments = (
            *("--checkpoint", checkpoint, "--data", str(folder / "data"), "--split", "public_test"),
            *("--tta", "ten_crop", "--batch-size", "4"),
        )

    def start(self) -> subprocess.Popen:
        return subprocess.Popen(
            command(*self.arguments, "--out", str(self.out)),
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def done(self) -> dict[str, int]:
        """The shards in the unfinished report, and when each was written."""
        return {
            path.name: path.stat().st_mtime_ns
            for path in self.folder.glob(".report.unfinished-*/predictions/part-*.parquet")
        }


def actors_of(pid: int) -> list[int]:
    """The scoring actors among the descendants of `pid`."""
    return [child for child, command in descendants(pid).items() if "MapWorker" in command]


@pytest.mark.cluster
@pytest.mark.soak
def test_a_killed_actor_a_killed_driver_and_ctrl_c_cost_no_row_and_change_no_byte(checkpoints, tmp_path):
    work = Interrupted(checkpoints[0], tmp_path)
    first = work.start()
    until(lambda: len(work.done()) >= 1 and bool(actors_of(first.pid)), first)
    killed = kill(actors_of(first.pid))
    before = len(work.done())
    until(lambda: len(work.done()) > before + 1, first)
    assert not set(killed) & set(actors_of(first.pid))
    first.kill()
    first.wait()
    before = len(work.done())

    second = work.start()
    until(lambda: len(work.done()) > before, second)
    pids = stop_as_from_a_terminal(second)
    told, _ = second.communicate(timeout=PATIENCE_SECONDS)
    kill(pids)
    assert second.returncode == 130, told
    assert "interrupted" in told.splitlines()  # Ray may report the actors that it ends after it.
    assert "Traceback" not in told
    scored = work.done()
    assert before < len(scored) < work.ROWS / 1024, "the driver was killed too late to show anything"
    assert not work.out.exists()

    told = run(*work.arguments, "--out", str(work.out))
    assert f"resuming: {len(scored) * 1024:,} images are scored already" in told
    again = {path.name: path.stat().st_mtime_ns for path in (work.out / "predictions").iterdir()}
    assert {name: again[name] for name in scored} == scored

    whole = tmp_path / "whole"
    run(*work.arguments, "--out", str(whole))
    files = sorted(path.relative_to(whole) for path in whole.rglob("*") if path.suffix in (".parquet", ".png"))
    assert files == sorted(p.relative_to(work.out) for p in work.out.rglob("*") if p.suffix in (".parquet", ".png"))
    for name in files:
        assert (whole / name).read_bytes() == (work.out / name).read_bytes(), name
    assert pq.read_table(whole / "metrics.parquet").column("rows").to_pylist() == [work.ROWS]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "report", "whole"]


@pytest.mark.cluster
@pytest.mark.soak
def test_an_actor_that_stops_without_dying_is_started_anew_within_the_stated_time(checkpoints, tmp_path):
    work = Interrupted(checkpoints[0], tmp_path)
    work.arguments += ("--stall-timeout", "5")
    process = work.start()
    until(lambda: len(work.done()) >= 1 and bool(actors_of(process.pid)), process)
    (stopped,) = actors_of(process.pid)
    os.kill(stopped, signal.SIGSTOP)
    output, _ = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 0, output
    assert not Path(f"/proc/{stopped}").exists()
    assert pq.read_table(work.out / "metrics.parquet").column("rows").to_pylist() == [work.ROWS]
