"""The page of `--web` in a real browser."""

import re
import shutil
import subprocess
import sys

import pytest

from tests.conftest import REPOSITORY
from tests.live.scenes import walk, write_video

pytestmark = pytest.mark.slow


def test_the_page_shows_the_picture_and_the_bars_of_every_face(tmp_path):
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        pytest.skip("no Chromium is installed")
    video = write_video(tmp_path / "walk.mp4", walk(600), rate=10)
    live = subprocess.Popen(
        [sys.executable, "-m", "live", "--source", video, "--web", "0"],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        url = live.stdout.readline().split()[-1]
        page = subprocess.run(
            [
                *(browser, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"),
                *("--timeout=6000", "--dump-dom", url),
            ],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        ).stdout
    finally:
        live.terminate()
        live.communicate(timeout=30)
    assert re.search(r"Face 1: (angry|disgust|fear|happy|sad|surprise|neutral)", page)
    assert len(re.findall(r'class="bar"', page)) == 7
    assert re.search(r"\d+ fps", page)
