"""Files as a user gives them to `python -m live`: what is logged of each, files on a server, samples, progress."""

import csv
import json
import threading
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import av
import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest

from fer_data.emotions import CLASSES
from live.options import LiveOptions
from live.sampling import Every
from live.session import run
from tests.live.scenes import BACKGROUND, photograph, walk
from tests.live.test_sources import frames_of
from tests.live.videos import KINDS, UNEVEN, presentation_times, striped, write, write_kind


def analyse(source: object, log: Path, **options) -> tuple[list[dict], list[str]]:
    """The rows of a log, and what was said meanwhile."""
    said: list[str] = []
    run(LiveOptions(source=str(source), window=False, log=log, **options), said.append, said.append)
    if log.suffix == ".parquet":
        return pq.read_table(log).to_pylist(), said
    with log.open() as file:
        return list(csv.DictReader(file)) if log.suffix == ".csv" else [json.loads(line) for line in file], said


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_every_image_of_a_folder_has_a_row(tmp_path, ending):
    folder = tmp_path / "files"
    (folder / "more").mkdir(parents=True)
    cv2.imwrite(str(folder / "a.png"), photograph())
    cv2.imwrite(str(folder / "more" / "b.png"), BACKGROUND)
    (folder / "c.png").write_bytes(b"damaged")
    write(folder / "d.mp4", walk(4), [0, 40, 80, 400])
    rows, said = analyse(folder, tmp_path / f"log.{ending}")
    faces = [(Path(row["source"]).name, int(row["frame"]), row["face"] not in ("", None)) for row in rows]
    assert faces == [("a.png", 0, True), *(("d.mp4", i, True) for i in range(4)), ("b.png", 0, False)]
    assert [float(row["time"]) for row in rows] == pytest.approx([0, 0, 0.04, 0.08, 0.4, 0], abs=1e-3)
    nothing = "" if ending == "csv" else None
    for name in ("face", "x", "y", "width", "height", "expression", *(f"p_{name}" for name in CLASSES)):
        assert rows[-1][name] == nothing
    assert any("c.png is neither a JPEG" in line for line in said)
    assert any(line.startswith("6 frames, 2 faces") for line in said)


def test_frames_without_a_face_have_a_row_where_that_is_asked_for(tmp_path):
    video = write(tmp_path / "a.mp4", [BACKGROUND] * 5, range(0, 200, 40))
    assert analyse(video, tmp_path / "a.csv")[0] == []
    rows, _ = analyse(video, tmp_path / "b.csv", log_empty=True)
    assert [(row["frame"], row["face"]) for row in rows] == [(str(i), "") for i in range(5)]


def test_the_times_of_a_log_are_those_of_the_video(tmp_path):
    video = write(tmp_path / "a.webm", walk(40), UNEVEN[:40], codec="libvpx")
    rows, said = analyse(video, tmp_path / "log.parquet")
    assert [row["time"] for row in rows] == pytest.approx(presentation_times(video), abs=1e-3)
    assert not any("damaged" in line for line in said)


@pytest.fixture
def server(tmp_path):
    """Serves the files in `tmp_path` on the loopback address: its URL."""

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *args) -> None:
            pass

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(tmp_path)))
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{httpd.server_port}"
    httpd.shutdown()
    httpd.server_close()


@pytest.mark.parametrize("kind", ["even.mp4", "uneven.webm", "uneven.gif", "live.webm", "even.m2ts"])
def test_a_file_on_a_server_ends_where_it_ends(tmp_path, server, kind):
    if kind in KINDS:
        path = write_kind(tmp_path, kind)
    else:  # Browsers record without stating a length.
        path = write(tmp_path / kind, map(striped, range(60)), UNEVEN, codec="libvpx", live="1")
    frames = frames_of(f"{server}/{kind}")
    assert [frame.seconds for frame in frames] == pytest.approx(presentation_times(path), abs=1e-3)
    assert {frame.origin for frame in frames} == {f"{server}/{kind}"}


def test_an_image_and_a_list_of_pieces_on_a_server_end_too(tmp_path, server):
    cv2.imwrite(str(tmp_path / "a.jpg"), photograph())
    (frame,) = frames_of(f"{server}/a.jpg?size=large")
    assert frame.still
    assert frame.image.shape == photograph().shape
    assert frame.origin == f"{server}/a.jpg"
    with av.open(str(tmp_path / "list.m3u8"), "w", options={"hls_list_size": "0"}) as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height = 160, 120
        for number in range(60):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(striped(number), format="bgr24")))
        container.mux(stream.encode())
    assert len(frames_of(f"{server}/list.m3u8")) == 60


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_no_key_of_a_source_is_in_anything_that_is_written_or_printed(tmp_path, server, ending):
    write(tmp_path / "a.mp4", walk(8), range(0, 320, 40))
    address = server.replace("http://", "http://HIDDENkey:TOPsecret@") + "/a.mp4?token=TOPsecret"
    out = tmp_path / "out"
    out.mkdir()
    files = {"report": out / "a.html", "save": out / "a.mp4"}
    rows, said = analyse(address, out / f"a.{ending}", **files)
    assert {row["source"] for row in rows} == {f"{server}/a.mp4"}
    assert len(list(out.iterdir())) == 3
    for content in (" ".join(said).encode(), *(file.read_bytes() for file in out.iterdir())):
        assert b"TOPsecret" not in content
        assert b"HIDDENkey" not in content


def test_a_sample_is_logged_and_saved_at_its_times(tmp_path):
    video = write(tmp_path / "a.mp4", walk(60), np.arange(60) * 40)
    rows, said = analyse(video, tmp_path / "log.csv", every=Every(seconds=0.5), save=tmp_path / "saved.mp4")
    assert [float(row["time"]) for row in rows] == pytest.approx([0, 0.52, 1.0, 1.52, 2.0], abs=1e-3)
    assert {row["face"] for row in rows} == {"1"}
    assert any(line.startswith("5 frames, 1 face,") for line in said)
    saved = frames_of(tmp_path / "saved.mp4")
    assert saved[-1].seconds + saved[-1].lasts == pytest.approx(2.4, abs=0.1)


def test_the_detector_has_finished_with_one_video_before_the_next(tmp_path, monkeypatch):
    folder = tmp_path / "files"
    folder.mkdir()
    for name in ("a.mp4", "b.mp4", "c.mp4"):
        write(folder / name, walk(7), np.arange(7) * 40)
    busy = threading.Lock()

    def slow(frame: np.ndarray) -> np.ndarray:
        assert busy.acquire(blocking=False), "two looks at a time"
        time.sleep(0.3)
        busy.release()
        return np.array([[215, 120, 190, 190]], np.float32)

    monkeypatch.setattr("live.session.create_detector", lambda *args, **options: slow)
    rows, _ = analyse(folder, tmp_path / "log.csv")
    assert len(rows) == 21


def test_how_far_it_is_goes_to_the_progress(tmp_path):
    video = write(tmp_path / "a.mp4", [BACKGROUND] * 12, np.arange(12) * 500)
    said: list[str] = []
    run(LiveOptions(source=str(video), window=False), print, print, said.append)
    assert said[0] == "a.mp4, 0:00 of 0:05"
    assert said[-1] == "a.mp4, 0:05 of 0:05"
