"""The window, on a real X server, with real keys; in an environment that holds `.[live]` and nothing else."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from live.window import TITLE
from tests.conftest import REPOSITORY
from tests.live.scenes import photograph, walk, write_video

pytestmark = pytest.mark.slow
PATIENCE = 30


@pytest.fixture(scope="module")
def python(tmp_path_factory) -> str:
    """The interpreter of an environment with the extra `live` alone."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    install = [folder / "bin" / "pip", "install", "-q", "--no-compile", "-c", "constraints.txt", "-e", ".[live]"]
    subprocess.run(install, cwd=REPOSITORY, check=True)
    return str(folder / "bin" / "python")


@pytest.fixture(scope="module")
def display() -> Iterator[str]:
    """An X server without a screen."""
    for program in ("Xvfb", "xdotool"):
        if not shutil.which(program):
            pytest.skip(f"{program} is not installed: apt-get install xvfb xdotool")
    read, write = os.pipe()
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(write), "-screen", "0", "1280x960x24", "-nolisten", "tcp"],
        pass_fds=[write],
        stderr=subprocess.DEVNULL,
    )
    os.close(write)
    with os.fdopen(read) as answer:
        yield f":{answer.readline().strip()}"
    server.terminate()
    server.wait()


class Running:
    """`python -m live` in a window of `display`."""

    def __init__(self, python: str, display: str, folder: Path, *arguments) -> None:
        self._environment = os.environ | {"DISPLAY": display}
        self.process = subprocess.Popen(
            [python, "-m", "live", "--snapshots", folder, *map(str, arguments)],
            cwd=REPOSITORY,
            env=self._environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self._window = self._xdotool("search", "--sync", "--name", f"^{TITLE}$").split()[0]
        self._xdotool("windowfocus", "--sync", self._window)

    def _xdotool(self, *arguments: str) -> str:
        return subprocess.run(
            ["xdotool", *arguments], env=self._environment, check=True, capture_output=True, text=True, timeout=PATIENCE
        ).stdout

    def press(self, key: str) -> None:
        self._xdotool("key", "--window", self._window, key)
        time.sleep(0.4)

    def close_window(self) -> None:
        self._xdotool("windowclose", self._window)

    def end(self) -> tuple[int, str, str]:
        out, err = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, out, err


@pytest.fixture
def video(tmp_path) -> str:
    return write_video(tmp_path / "walk.mp4", walk(600))


def snapshots(folder: Path) -> list[np.ndarray]:
    return [cv2.imread(str(path)) for path in sorted(folder.glob("snapshot-*.png"))]


def test_keys_save_toggle_mirror_pause_and_quit(python, display, tmp_path, video):
    live = Running(python, display, tmp_path, "--source", video)
    time.sleep(1)
    live.press("space")
    for key in ("s", "b", "s", "b", "m", "s"):
        live.press(key)
    live.press("space")
    live.press("q")
    code, out, err = live.end()
    assert code == 0, err
    assert " frames, 1 face," in out
    with_bars, without, mirrored = snapshots(tmp_path)
    assert with_bars.shape == (480, 640, 3)
    # Bars are drawn beside the face; the face is the same frame's, since the picture stands still.
    beside, status = np.s_[60:440], np.s_[40:440, 130:510]
    assert (with_bars[beside] != without[beside]).any()
    assert not np.array_equal(mirrored[status], with_bars[status])
    faceless = np.s_[455 - 25 : 455 - 20, 10:60]
    np.testing.assert_array_equal(mirrored[:, ::-1][faceless], with_bars[faceless])


def test_escape_and_closing_the_window_quit(python, display, tmp_path, video):
    live = Running(python, display, tmp_path, "--source", video)
    live.press("Escape")
    assert live.end()[0] == 0
    live = Running(python, display, tmp_path, "--source", video)
    time.sleep(1)
    live.close_window()
    code, _, err = live.end()
    assert code == 0, err


def test_a_picture_stays_until_a_key_is_pressed(python, display, tmp_path):
    for i in range(2):
        cv2.imwrite(str(tmp_path / f"{i}.png"), photograph())
    live = Running(python, display, tmp_path, "--source", tmp_path)
    time.sleep(1)
    assert live.process.poll() is None
    live.press("Right")
    assert live.process.poll() is None
    live.press("Right")
    code, out, err = live.end()
    assert code == 0, err
    assert "2 frames, 2 faces" in out
    live = Running(python, display, tmp_path, "--source", tmp_path)
    live.process.terminate()
    assert live.end()[::2] == (143, "interrupted\n")


def test_a_parquet_log_says_which_package_it_needs(python, tmp_path, video):
    result = subprocess.run(
        [python, "-m", "live", "--source", video, "--no-window", "--log", tmp_path / "a.parquet"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 2
    assert "pip install pyarrow" in result.stderr
