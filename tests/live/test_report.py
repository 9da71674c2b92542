"""The page of `--report`: what it holds, how large it gets, and how a browser shows it."""

import csv
import json
import re
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest

from fer_data.emotions import CLASSES
from fer_data.errors import UserError
from live.frames import Frame
from live.options import LiveOptions
from live.pipeline import Analysis, TrackedFace
from live.report import Report
from live.session import run
from tests.chromium import NOT_INSTALLED, chromium
from tests.live.scenes import BACKGROUND, photograph, walk
from tests.live.videos import UNEVEN, write

STILL, MOVED = np.eye(7, dtype=np.float32)[[3, 4]]


def content(page: Path) -> dict:
    """The data in a page."""
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page.read_text())[1])


def written(path: Path, moments, lasts: float = 0.1) -> dict:
    """The content of a report on a video, from the time and the faces, {number: probabilities}, of its frames."""
    report = Report(path, overwrite=False)
    image = np.random.default_rng(0).integers(0, 255, (120, 160, 3), np.uint8)
    for number, (seconds, faces) in enumerate(moments):
        frame = Frame(image, seconds, lasts, 0.0, "a.mp4", number)
        found = tuple(TrackedFace(id, (20, 20, 60, 60), p) for id, p in faces.items())
        report.write(frame, Analysis(image, seconds, found, {}), 1.0)
    report.close()
    return content(path)


def test_it_has_the_rows_of_the_log(tmp_path):
    video = write(tmp_path / "a.webm", walk(30), UNEVEN[:30], codec="libvpx")
    options = LiveOptions(source=str(video), window=False, log=tmp_path / "a.csv", report=tmp_path / "a.html")
    run(options, print, print)
    with (tmp_path / "a.csv").open() as file:
        rows = list(csv.DictReader(file))
    (video_found,) = content(tmp_path / "a.html")["videos"]
    (person,) = video_found["people"]
    assert len(person["rows"]) == len(person["thumbnails"]) == len(rows) == 30
    for got, row in zip(person["rows"], rows, strict=True):
        expected = [float(row[name]) for name in ("frame", "time", "x", "y", "width", "height", "latency_ms")]
        assert got[:7] == pytest.approx(expected, abs=0.06)
        assert got[7:] == pytest.approx([1000 * float(row[f"p_{name}"]) for name in CLASSES], abs=0.6)
    assert sum(person["seconds"]) == pytest.approx(video_found["end"], abs=0.01)


def test_gaps_shares_and_jumps_are_those_of_the_face(tmp_path):
    moments = [(i / 10, {1: STILL if i < 30 else MOVED} if not 10 <= i < 15 else {}) for i in range(40)]
    (person,) = written(tmp_path / "a.html", moments)["videos"][0]["people"]
    assert person["gaps"] == [1.5]
    assert person["jumps"] == [3.0]
    assert person["seconds"] == pytest.approx([0, 0, 0, 2.5, 1.0, 0, 0])
    assert (person["first"], person["last"]) == pytest.approx((0, 4.0))


def test_a_page_about_hours_stays_small_and_counts_every_frame(tmp_path):
    random = np.random.default_rng(0)
    count, step = 30_000, 0.5
    changes = random.dirichlet(np.ones(7), count).astype(np.float32)
    moments = ((i * step, {1: changes[i], 2: changes[i - 1], 100 + i // 40: changes[i - 2]}) for i in range(count))
    found = written(tmp_path / "a.html", moments, lasts=step)
    assert (tmp_path / "a.html").stat().st_size < 10e6
    people = {person["id"]: person for person in found["videos"][0]["people"]}
    assert len(people) <= 200
    assert found["more"]["people"] == 2 + 750 - len(people)
    for id in (1, 2):
        assert sum(people[id]["seconds"]) == pytest.approx(count * step)
        times = [row[1] for row in people[id]["rows"]]
        assert max(np.diff(times)) <= 8 * found["step"]
        assert times[-1] > 0.99 * count * step
        assert len(people[id]["thumbnails"]) > 50


def test_a_name_cannot_break_out_of_the_data(tmp_path):
    folder = tmp_path / "files"
    folder.mkdir()
    cv2.imwrite(str(folder / "<script>alert(1)<!--.png"), photograph())
    run(LiveOptions(source=str(folder), window=False, report=tmp_path / "a.html"), print, print)
    page = (tmp_path / "a.html").read_text()
    assert page.count("<script") == 2
    assert content(tmp_path / "a.html")["images"][0][0].endswith("<script>alert(1)<!--.png")
    assert "http" not in page.replace("http-equiv", ""), "the page needs nothing from elsewhere"


def test_another_name_is_refused_and_nothing_is_replaced_unasked(tmp_path):
    with pytest.raises(UserError, match=r"ends in \.html"):
        Report(tmp_path / "a.txt", overwrite=False)
    (tmp_path / "a.html").write_text("mine")
    with pytest.raises(UserError, match="give --overwrite"):
        Report(tmp_path / "a.html", overwrite=False)


CLICK = """<script>
const strip = document.querySelector("canvas"), at = strip.getBoundingClientRect();
strip.dispatchEvent(new PointerEvent("pointerdown", {clientX: at.left + 0.9 * at.width, clientY: at.top + 20}));
document.getElementById("table").open = true; document.getElementById("table").ontoggle();
document.title = `width ${document.documentElement.scrollWidth} of ${innerWidth}`;
</script>"""


@pytest.mark.slow
@pytest.mark.parametrize("width", [390, 1200])
def test_a_click_on_the_timeline_shows_that_moment(tmp_path, width):
    command = chromium(tmp_path / "profile")
    if command is None:
        pytest.skip(NOT_INSTALLED)
    folder = tmp_path / "files"
    folder.mkdir()
    write(folder / "a.mp4", walk(100), np.arange(100) * 100)
    cv2.imwrite(str(folder / "b.png"), BACKGROUND)
    run(LiveOptions(source=str(folder), window=False, report=tmp_path / "a.html"), print, print)
    page = tmp_path / "clicked.html"
    page.write_text((tmp_path / "a.html").read_text() + CLICK)
    # A headless window is at least 500 pixels wide; a frame is not.
    (tmp_path / "frame.html").write_text(
        f'<iframe id="page" src="clicked.html" style="border:0;width:{width}px;height:900px"></iframe><pre></pre>'
        '<script>onload = () => { const page = document.getElementById("page").contentDocument;'
        "document.querySelector('pre').textContent = page.title + page.body.innerText; }</script>"
    )
    command += ["--allow-file-access-from-files", "--virtual-time-budget=5000", "--window-size=1300,1000"]
    dump = [*command, "--dump-dom", (tmp_path / "frame.html").as_uri()]
    shown = subprocess.run(dump, capture_output=True, text=True, timeout=120, check=True).stdout
    assert re.search(r"0:0(8\.9|9\.0), frame (89|90): \w+", shown)
    assert "Table (101 rows)" in shown
    assert "no face" in shown
    assert f"width {width} of {width}" in shown, "nothing is wider than the screen"
