"""The page of `--web` in a real browser."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.chromium import NOT_INSTALLED, chromium
from tests.conftest import REPOSITORY
from tests.live.scenes import walk, write_video

pytestmark = pytest.mark.slow

FACE = r"Face 1: (angry|disgust|fear|happy|sad|surprise|neutral)"


def test_the_page_shows_the_picture_and_the_bars_of_every_face(tmp_path):
    if chromium(tmp_path) is None:
        pytest.skip(NOT_INSTALLED)
    video = write_video(tmp_path / "walk.mp4", walk(1500), rate=10)
    live = subprocess.Popen(
        [sys.executable, "-m", "live", "--source", video, "--web", "0"],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        url = live.stdout.readline().split()[-1]
        # A page whose picture is a stream is never loaded to the end: it is looked at after a while, which has to be
        # longer where the machine is busy.
        pages = (_page(url, tmp_path / f"profile{seconds}", seconds) for seconds in (4, 8, 16, 32))
        page = next((page for page in pages if re.search(FACE, page)), "no page had a face")
    finally:
        live.terminate()
        live.communicate(timeout=30)
    assert re.search(FACE, page)
    assert len(re.findall(r'class="bar"', page)) == 7
    assert re.search(r"\d+ fps", page)


def _page(url: str, profile: Path, seconds: int) -> str:
    """The document as a browser shows it after so many seconds."""
    return subprocess.run(
        [*chromium(profile), f"--timeout={seconds * 1000}", "--dump-dom", url],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    ).stdout
