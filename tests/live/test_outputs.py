"""The files that `python -m live` writes: beside other programs, beside links that were planted, and on a full disk."""

import os
import re
import signal
import subprocess
import sys
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from fer_data.errors import UserError
from live.display import Display
from live.options import LiveOptions
from live.unfinished import Unfinished
from tests.conftest import REPOSITORY
from tests.live.scenes import walk, write_video
from tests.live.test_live import live, read_log, start
from tests.processes import until

FRAMES = 40


@pytest.fixture(scope="module")
def video(tmp_path_factory) -> str:
    return write_video(tmp_path_factory.mktemp("video") / "walk.mp4", walk(FRAMES))


def test_a_second_program_is_told_that_the_log_is_being_written_and_nothing_of_the_first_is_lost(video, tmp_path):
    slow = write_video(tmp_path / "slow.mp4", walk(200), rate=2)
    log = tmp_path / "a.csv"
    first = start("--source", slow, "--web", "0", "--log", log)  # With a page, a video plays in its own time.
    try:
        until(lambda: len(list(tmp_path.iterdir())) == 2, first)
        code, out, err = live("--source", video, "--no-window", "--log", log, "--overwrite")
        assert (code, out) == (2, "")
        assert err == f"error: --log {log} is being written by another program: choose another name"
        first.send_signal(signal.SIGINT)
        assert "1 face" in first.communicate(timeout=60)[0]
    finally:
        first.kill()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv", "slow.mp4"]
    assert [int(row["frame"]) for row in read_log(log)] == list(range(len(read_log(log))))


def test_of_several_that_start_at_once_at_most_one_writes(tmp_path):
    """Those who are refused say so, and the one who writes gets the name."""
    log, go, end = tmp_path / "out" / "a.csv", tmp_path / "go", tmp_path / "end"
    log.parent.mkdir()
    program = (
        "import sys, time; from pathlib import Path; from live.unfinished import Unfinished\n"
        "while not Path(sys.argv[2]).exists(): pass\n"
        "file = Unfinished(Path(sys.argv[1]), '--log', overwrite=False)\n"
        "while not Path(sys.argv[3]).exists(): time.sleep(0.01)\n"
        "file.write(b'mine')\n"
    )
    programs = [
        subprocess.Popen(
            [sys.executable, "-c", program, log, go, end], cwd=REPOSITORY, stderr=subprocess.PIPE, text=True
        )
        for _ in range(6)
    ]
    go.touch()
    until(lambda: [each.poll() for each in programs].count(None) <= 1)
    end.touch()
    said = [each.communicate(timeout=60)[1] for each in programs]
    wrote = [each.returncode for each in programs].count(0)
    assert wrote <= 1
    assert sum("is being written by another program" in text for text in said) == len(programs) - wrote
    assert [path.name for path in log.parent.iterdir()] == ["a.csv"] * wrote


@pytest.mark.parametrize("plant", ["link", "folder", "pipe"])
def test_what_is_planted_at_a_temporary_name_is_neither_followed_nor_opened(tmp_path, plant, monkeypatch):
    victim, log = tmp_path / "victim", tmp_path / "a.csv"
    victim.write_text("mine")
    planted = tmp_path / ".unfinished-0123456789abcdef-a.csv"
    make = {"link": lambda: planted.symlink_to(victim), "folder": planted.mkdir, "pipe": lambda: os.mkfifo(planted)}
    make[plant]()
    Unfinished(log, "--log", overwrite=False).write(b"log")
    assert log.read_bytes() == b"log"
    monkeypatch.setattr("secrets.token_hex", lambda count: "0123456789abcdef")  # As if it had been guessed.
    with pytest.raises(UserError, match="cannot be written: File exists"):
        Unfinished(log, "--log", overwrite=True)
    assert victim.read_text() == "mine"
    assert planted.exists()


def test_what_could_not_get_its_name_is_kept_also_when_the_same_command_follows(tmp_path):
    log = tmp_path / "a.csv"
    file = Unfinished(log, "--log", overwrite=False)
    log.write_text("another's")
    with pytest.raises(OSError, match="it exists by now") as error:
        file.write(b"rows")
    kept = Path(re.search(r"what was written is in (.*)\)", str(error.value))[1])
    log.unlink()
    Unfinished(log, "--log", overwrite=False).write(b"others")
    assert (kept.read_bytes(), log.read_bytes()) == (b"rows", b"others")


@pytest.mark.parametrize(("ending", "kilobytes"), [("csv", 24), ("parquet", 24), ("parquet", 0)])
def test_a_full_disk_names_every_file_and_leaves_none_that_is_empty(video, small_disk, ending, kilobytes):
    log, saved, report = (small_disk / name for name in (f"a.{ending}", "a.avi", "a.html"))
    with (small_disk / "filler").open("wb") as filler:
        filler.write(bytes(10 * 2**20 - kilobytes * 2**10))
    code, _, err = live("--source", video, "--no-window", "--log", log, "--save", saved, "--report", report)
    assert (code, err.count("\n")) == (2, 0), err
    assert err.startswith("error: ")
    assert "Traceback" not in err
    left = {path.name for path in small_disk.iterdir()} - {"filler"}
    assert all((small_disk / name).stat().st_size for name in left)
    # What is kept is named, with the file that it was for.
    assert left == {Path(kept).name for kept in re.findall(r"what was written is in ([^)]*)\)", err)}
    # Parquet begins the file at the start, and a run that cannot begin one file writes no other.
    for path in (log, saved, report) if kilobytes else (log,):
        assert f"{path}: " in err, err
    assert not any(name.startswith(".") for name in left)


def test_a_video_that_cannot_begin_on_a_full_disk_is_told_why(video, small_disk):
    (small_disk / "filler").write_bytes(bytes(10 * 2**20))
    code, _, err = live("--source", video, "--no-window", "--save", small_disk / "a.mp4")
    assert (code, err) == (2, f"error: --save {small_disk}/a.mp4: the disk is full")
    assert [path.name for path in small_disk.iterdir()] == ["filler"]


def test_a_snapshot_follows_no_link_and_replaces_nothing(tmp_path, monkeypatch):
    at = datetime(2026, 1, 2, 3, 4, 5, 6)
    monkeypatch.setattr("live.display.datetime", SimpleNamespace(now=lambda: at))
    target, name = tmp_path / "target", tmp_path / "snapshot-20260102-030405-000006.png"
    target.write_text("mine")
    name.symlink_to(target)
    said: list[str] = []
    with ExitStack() as stack:
        display = Display(LiveOptions(snapshots=tmp_path, window=False), False, stack, said.append)
        display._drawn = np.zeros((8, 8, 3), np.uint8)
        display._snapshot()
        assert said[-1].startswith(f"not saved: --snapshots {name} exists")
        assert target.read_text() == "mine"
        name.unlink()
        display._snapshot()
    assert said[-1] == f"saved {name}"
    assert cv2.imread(str(name)).shape == (8, 8, 3)
    assert sorted(tmp_path.iterdir()) == [name, target]
