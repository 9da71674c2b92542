"""`python -m live` as a user runs it: videos, logs, a page in the browser, mistakes in one line."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest

from fer_data.emotions import CLASSES
from fer_data.faces.crops import face_crops
from live import ExpressionClassifier
from live.options import LiveOptions
from live.recording import Recording
from live.session import run
from tests.conftest import REPOSITORY
from tests.live.scenes import photograph, walk, write_video
from tests.live.test_report import content

FRAMES = 40


@pytest.fixture(scope="module")
def video(tmp_path_factory) -> str:
    """A photographed face that moves about, 40 frames."""
    return write_video(tmp_path_factory.mktemp("video") / "walk.mp4", walk(FRAMES))


def start(*arguments, **environment) -> subprocess.Popen:
    command = [sys.executable, "-m", "live", *map(str, arguments)]
    surroundings = {name: value for name, value in os.environ.items() if name not in ("DISPLAY", "WAYLAND_DISPLAY")}
    return subprocess.Popen(
        command,
        cwd=REPOSITORY,
        env=surroundings | environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def live(*arguments) -> tuple[int, str, str]:
    process = start(*arguments)
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err.rstrip("\n")


def read_log(path: Path) -> list[dict]:
    if path.suffix == ".parquet":
        return pq.read_table(path).to_pylist()
    with path.open() as file:
        return list(csv.DictReader(file)) if path.suffix == ".csv" else [json.loads(line) for line in file]


@pytest.mark.parametrize("ending", ["parquet", "csv", "jsonl"])
def test_a_video_is_analysed_into_a_log_and_a_video(video, tmp_path, ending):
    log, saved = tmp_path / f"faces.{ending}", tmp_path / "out.mp4"
    code, out, err = live("--source", video, "--no-window", "--log", log, "--save", saved)
    assert (code, err) == (0, "")
    assert out.startswith(f"{FRAMES} frames, 1 face, ")
    for stage in ("track", "detect", "classify", "draw", "total"):
        assert stage in out
    rows = read_log(log)
    assert [int(row["frame"]) for row in rows] == list(range(FRAMES))
    assert {int(row["face"]) for row in rows} == {1}
    for row in rows:
        probabilities = [float(row[f"p_{name}"]) for name in CLASSES]
        assert sum(probabilities) == pytest.approx(1, abs=1e-4)
        assert row["expression"] == CLASSES[int(np.argmax(probabilities))]
        assert float(row["latency_ms"]) > 0
    capture = cv2.VideoCapture(str(saved))
    count = 0
    while capture.read()[0]:
        count += 1
    assert count == FRAMES
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([log.name, saved.name])


def test_the_class_in_the_log_is_the_class_of_the_checkpoint(tmp_path):
    for i in range(3):
        cv2.imwrite(str(tmp_path / f"{i}.png"), photograph()[:, 10 * i :])
    assert live("--source", tmp_path, "--no-window", "--log", tmp_path / "log.csv")[0] == 0
    rows = read_log(tmp_path / "log.csv")
    assert [row["source"] for row in rows] == [str(tmp_path / f"{i}.png") for i in range(3)]
    classifier = ExpressionClassifier()
    for row in rows:
        box = np.array([[float(row[name]) for name in ("x", "y", "width", "height")]])
        expected = classifier.predict(face_crops(cv2.imread(row["source"]), box))[0]
        np.testing.assert_allclose([float(row[f"p_{name}"]) for name in CLASSES], expected, atol=1e-5)
        assert row["expression"] == CLASSES[int(expected.argmax())]


def test_an_image_is_saved_as_an_image(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), photograph())
    code, out, err = live("--source", tmp_path / "a.png", "--no-window", "--save", tmp_path / "b.png")
    assert (code, err) == (0, "")
    assert "1 frame, 1 face," in out
    assert cv2.imread(str(tmp_path / "b.png")).shape == photograph().shape
    code, _, err = live("--source", tmp_path / "a.png", "--no-window", "--save", tmp_path / "b.png")
    assert code == 2
    assert "exists: choose another name, or give --overwrite" in err


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_what_is_being_written_plays_when_it_is_stopped(video, tmp_path, how):
    # With a page the video plays in its own time, so that there is a middle to stop in.
    long = write_video(tmp_path / "long.mp4", walk(300), rate=10)
    written = {"--log": tmp_path / "a.parquet", "--save": tmp_path / "a.mp4", "--report": tmp_path / "a.html"}
    process = start("--source", long, "--web", "0", *(part for option in written.items() for part in option))
    assert process.stdout.readline().startswith("watch at http://127.0.0.1:")
    time.sleep(2)
    process.send_signal(how)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (128 + how, "interrupted\n")
    assert " frames, 1 face," in out
    frames = int(out.split(" frames")[0].rpartition("\n")[2])
    assert 5 < frames < 100
    assert pq.read_table(tmp_path / "a.parquet").num_rows == frames
    capture = cv2.VideoCapture(str(tmp_path / "a.mp4"))
    assert sum(1 for _ in iter(lambda: capture.read()[0], False)) == frames
    (seen,) = content(tmp_path / "a.html")["videos"]
    assert seen["frames"] == frames
    assert not list(tmp_path.glob(".unfinished*"))


def test_a_second_ctrl_c_does_not_break_the_closing_of_the_video(video, tmp_path, monkeypatch):
    closing = Recording.close

    def impatiently(recording: Recording) -> None:
        signal.raise_signal(signal.SIGINT)
        closing(recording)

    monkeypatch.setattr(Recording, "close", impatiently)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        run(LiveOptions(source=video, window=False, save=tmp_path / "a.mp4"), print, print)
    capture = cv2.VideoCapture(str(tmp_path / "a.mp4"))
    assert sum(1 for _ in iter(lambda: capture.read()[0], False)) == FRAMES
    assert signal.getsignal(signal.SIGINT) is before


def test_a_browser_on_this_machine_sees_picture_and_probabilities(tmp_path):
    long = write_video(tmp_path / "long.mp4", walk(300), rate=10)
    process = start("--source", long, "--web", "0")
    try:
        url = process.stdout.readline().split()[-1]

        def fetch(path: str, host: str | None = None) -> bytes:
            request = urllib.request.Request(url.replace("/?", f"{path}?"), headers={"Host": host} if host else {})
            with urllib.request.urlopen(request, timeout=5) as response:
                return response.read(80_000 if path.endswith("mjpg") else -1)

        page = fetch("/")
        assert b"/stream.mjpg" in page
        assert b"http" not in page, "the page needs nothing from elsewhere"
        deadline = time.monotonic() + 20
        while not (seen := json.loads(fetch("/faces.json")))["faces"]:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        (face,) = seen["faces"]
        assert face["expression"] == CLASSES[int(np.argmax(face["probabilities"]))]
        stream = fetch("/stream.mjpg")
        jpeg = stream[stream.index(b"\xff\xd8") :]
        assert cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR).shape == (480, 640, 3)
        for host in ("example.com", "example.com:80", "127.0.0.1.example.com"):
            with pytest.raises(urllib.error.HTTPError, match="403"):
                fetch("/faces.json", host)
        port = str(urlsplit(url).port)
        assert live("--source", long, "--web", port)[0] == 2
    finally:
        process.terminate()
        process.communicate(timeout=30)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--source", "nowhere.mp4"], "nowhere.mp4 does not exist"),
        (["--source", "9"], "camera 9 cannot be opened"),
        (["--checkpoint", "nowhere"], "nowhere does not exist"),
        (["--detector", "nowhere.onnx"], "nowhere.onnx does not exist"),
        (["--save", "a.txt"], "ends in .mp4"),
        (["--save", "a.png"], "only one image is saved as an image"),
        (["--log", "a.txt"], "ends in .parquet, .csv, .jsonl"),
        (["--report", "a.txt"], "ends in .html"),
        (["--log-empty"], "--log-empty needs --log"),
        (["--every", "2m"], "--every must be a number of frames, such as 10"),
        (["--boxes", "nowhere.csv"], "cannot be read"),
        (["--log", "nowhere/a.csv"], "cannot be written"),
        (["--detect-every", "0"], "--detect-every must be 1 or more"),
        (["--smoothing", "-1"], "--smoothing must be 0 to 60"),
        (["--colour"], "unrecognized arguments: --colour"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(video, arguments, says):
    code, out, err = live(*(["--source", video] if "--source" not in arguments else []), "--no-window", *arguments)
    assert code == 2
    assert out == ""
    assert err.count("\n") == 0
    assert err.startswith("error: ")
    assert says in err


def test_a_mistake_leaves_no_file(video, tmp_path):
    (tmp_path / "a.html").write_text("mine")
    written = ["--log", tmp_path / "a.csv", "--save", tmp_path / "a.mp4", "--report", tmp_path / "a.html"]
    assert live("--source", video, "--no-window", *written)[0] == 2
    assert [path.name for path in tmp_path.iterdir()] == ["a.html"]
    assert (tmp_path / "a.html").read_text() == "mine"


def test_without_a_display_it_says_how_to_go_on(video):
    code, _, err = live("--source", video)
    assert code == 2
    assert "--web" in err
    assert "--no-window" in err


def test_neither_tensorflow_nor_ray_nor_what_they_need_is_imported():
    listed = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys, live.session; from live import ExpressionClassifier; ExpressionClassifier();"
            "print(*sorted({name.partition('.')[0] for name in sys.modules}))",
        ],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert not {"tensorflow", "keras", "ray", "pyarrow", "pandas", "pydantic", "matplotlib", "sklearn"} & set(listed)
    assert {"cv2", "numpy", "ai_edge_litert"} <= set(listed)
