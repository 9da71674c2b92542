"""Frames from files, folders and streams; a stream that goes away and comes back."""

import contextlib
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import cv2
import numpy as np
import pytest

from cluster.rehearsal import free_ports
from fer_data.errors import UserError
from live.sampling import ALL, Every
from live.sources import open_source
from tests.live.scenes import write_video


def frames_of(source, warnings=None, every=ALL) -> list:
    opened = open_source(str(source), (warnings if warnings is not None else []).append, every)
    frames = []
    while not opened.over:
        if (frame := opened.read()) is not None:
            frames.append(frame)
    opened.close()
    return frames


def test_a_video_gives_every_frame_in_order(tmp_path):
    video = write_video(tmp_path / "a.mp4", (np.full((48, 64, 3), 10 * i, np.uint8) for i in range(20)), rate=10)
    frames = frames_of(video)
    assert [frame.number for frame in frames] == list(range(20))
    np.testing.assert_allclose([frame.seconds for frame in frames], np.arange(20) / 10)
    assert [round(frame.image.mean() / 10) for frame in frames] == list(range(20))


def test_a_folder_gives_its_images_by_name_and_leaves_out_what_is_none(tmp_path):
    cv2.imwrite(str(tmp_path / "b.png"), np.full((5, 6), 20, np.uint8))
    cv2.imwrite(str(tmp_path / "a.png"), np.full((9, 9, 4), 10, np.uint8))
    (tmp_path / "c.jpg").write_bytes(b"")
    (tmp_path / "d.txt").write_text("no image")
    for name in ("e.jfif", "f", "g.img"):  # Known by their content.
        (tmp_path / name).write_bytes((tmp_path / "b.png").read_bytes())
    warnings: list[str] = []
    frames = frames_of(tmp_path, warnings)
    assert [frame.image.shape for frame in frames] == [(9, 9, 3), *[(5, 6, 3)] * 4]
    assert [frame.origin for frame in frames] == [str(tmp_path / n) for n in ("a.png", "b.png", "e.jfif", "f", "g.img")]
    assert frames_of(tmp_path / "f")[0].still
    assert warnings == [
        f"{tmp_path}: left out what is neither an image nor called a video: 1 .txt",
        f"{tmp_path / 'c.jpg'} is empty: left out",
    ]


def test_a_truncated_video_says_where_it_ended(tmp_path):
    noise = np.random.default_rng(0)
    writer = cv2.VideoWriter(str(tmp_path / "a.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 25, (64, 48))
    for _ in range(50):
        writer.write(noise.integers(0, 255, (48, 64, 3), np.uint8))
    writer.release()
    whole = (tmp_path / "a.avi").read_bytes()
    (tmp_path / "half.avi").write_bytes(whole[: len(whole) // 2])
    warnings: list[str] = []
    assert 10 < len(frames_of(tmp_path / "half.avi", warnings)) < 45
    assert warnings == [] or "ends after" in warnings[0]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("nowhere.mp4", None, "does not exist"),
        ("empty.mp4", b"", "not a video"),
        ("text.mp4", b"hello" * 100, "not a video"),
        ("empty.png", b"", "is empty"),
        ("text.jpg", b"hello", "is neither a JPEG nor a PNG image"),
        ("folder", "a folder", "holds no images or videos"),
        ("folder", "a folder of damaged images", "holds no image or video that OpenCV can read"),
    ],
)
def test_what_gives_no_frames_is_refused_in_a_line(tmp_path, name, content, says):
    if isinstance(content, str):
        (tmp_path / name).mkdir()
        if "damaged" in content:
            for image in ("a.png", "b.png"):
                (tmp_path / name / image).write_bytes(b"hello")
    elif content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=says) as raised:
        open_source(str(tmp_path / name), print)
    assert "\n" not in str(raised.value)


def test_a_folder_gives_its_images_and_videos_at_every_depth(tmp_path):
    (tmp_path / "b" / "deeper").mkdir(parents=True)
    (tmp_path / ".hidden").mkdir()
    for name in ("a.png", "b/deeper/d.png", ".hidden/no.png", ".unfinished-no.png"):
        cv2.imwrite(str(tmp_path / name), np.full((48, 64, 3), 50, np.uint8))
    write_video(tmp_path / "b" / "c.mp4", [np.full((48, 64, 3), 90, np.uint8)] * 3, rate=10)
    (tmp_path / "loop").symlink_to(tmp_path, target_is_directory=True)
    frames = frames_of(tmp_path)
    assert [(frame.origin.removeprefix(f"{tmp_path}/"), frame.number, frame.still) for frame in frames] == [
        ("a.png", 0, True),
        *(("b/c.mp4", number, False) for number in range(3)),
        ("b/deeper/d.png", 0, True),
    ]


def test_how_far_a_folder_is_can_be_said(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.full((48, 64, 3), 50, np.uint8))
    write_video(tmp_path / "b.mp4", [np.full((48, 64, 3), 90, np.uint8)] * 750, rate=10)
    opened = open_source(str(tmp_path), print)
    opened.read()
    assert opened.progress() == "file 1 of 2, a.png"
    for _ in range(701):
        opened.read()
    assert opened.progress() == "file 2 of 2, b.mp4, 1:10 of 1:15"


def test_a_camera_that_is_not_there_and_a_stream_that_nobody_serves_are_refused():
    for camera in ("9", "/dev/video9"):
        with pytest.raises(UserError, match=f"camera {camera} cannot be opened: check that it is plugged in"):
            open_source(camera, print)
    with pytest.raises(UserError, match="--every takes a sample of files"):
        open_source("9", print, Every(10))
    (port,) = free_ports(1)
    with pytest.raises(UserError, match="cannot be opened") as raised:
        open_source(f"http://someone:secret@127.0.0.1:{port}/stream", print)
    assert "secret" not in str(raised.value)
    with pytest.raises(UserError, match="streams are"):
        open_source("gopher://a/b", print)


class CameraOnTheNetwork:
    """Serves frames as motion JPEG on the loopback address, 50 a second, each brighter than the one before."""

    def __init__(self, port: int) -> None:
        camera = self
        self.on = True

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
                self.end_headers()
                with contextlib.suppress(OSError):
                    for number in range(10**6):
                        if not camera.on:
                            return
                        image = np.full((48, 64, 3), number % 250, np.uint8)
                        jpeg = cv2.imencode(".jpg", image)[1].tobytes()
                        head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
                        self.wfile.write(head.encode() + jpeg + b"\r\n")
                        time.sleep(0.02)

            def log_message(self, *args) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def unplug(self) -> None:
        self.on = False
        self._server.shutdown()
        self._server.server_close()


def test_a_stream_hands_over_the_newest_frame_and_survives_going_away():
    (port,) = free_ports(1)
    camera = CameraOnTheNetwork(port)
    source = open_source(f"http://127.0.0.1:{port}/stream.mjpg", print)
    try:
        assert source.live
        first = source.read()
        time.sleep(1)
        second = source.read()
        assert second.number - first.number > 10, "frames nobody asked for are dropped"
        assert time.perf_counter() - second.arrived < 0.5, "the newest one is handed over"
        camera.unplug()
        deadline, last = time.monotonic() + 20, second
        while not source.status and time.monotonic() < deadline:
            last = source.read() or last
        assert "gone" in source.status
        assert not source.over
        camera = CameraOnTheNetwork(port)
        while source.status and time.monotonic() < deadline:
            last = source.read() or last
        assert source.status == "", "it is opened again once it is back"
        frame = source.read(wait=5)
        assert frame.number > last.number
        assert frame.seconds > last.seconds
    finally:
        source.close()
        camera.unplug()
