"""Sources of frames: a camera or stream (always the newest frame), a video file or images (every frame)."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import cv2
import numpy as np

from fer_data.errors import UserError
from live.images import to_bgr

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
_SCHEMES = ("http", "https", "rtsp", "rtsps", "rtmp", "udp", "tcp")
_PATIENCE_SECONDS = 10.0
_RETRY_SECONDS = 1.0


@dataclass(frozen=True)
class Frame:
    """An image, uint8 [h, w, 3] in BGR, and its origin.

    `seconds` since the start of the source; `arrived`, its arrival by time.perf_counter; `origin`, the file, camera or
    stream; `number`, from 0.
    """

    image: np.ndarray
    seconds: float
    arrived: float
    origin: str
    number: int


class Source(Protocol):
    """`read` returns the next frame, or None when there is none yet (see `status`) or no more (`over`)."""

    live: bool
    stills: bool
    frames_per_second: float
    over: bool
    status: str

    def read(self) -> Frame | None: ...

    def close(self) -> None: ...


def open_source(source: str, warn: Callable[[str], None]) -> Source:
    """Open a camera by its index, a file, a folder or a URL; lesser problems go to `warn`.

    Raises UserError when there are no frames.
    """
    if source.isdecimal():
        return LatestFrames(
            lambda: cv2.VideoCapture(int(source)),
            f"camera {source}",
            "check that it is plugged in, not in use and allowed, or name another with --source",
        )
    if "://" in source:
        parts = urlsplit(source)
        # Without user name, password and query.
        shown = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
        if parts.scheme not in _SCHEMES:
            raise UserError(f"--source {shown}: streams are {', '.join(_SCHEMES[:3])} … URLs")
        limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, 5000, cv2.CAP_PROP_READ_TIMEOUT_MSEC, 5000]
        return LatestFrames(lambda: cv2.VideoCapture(source, cv2.CAP_FFMPEG, limits), shown, "check that it is served")
    path = Path(source).expanduser()
    if not path.exists():
        raise UserError(f"--source {path} does not exist: give a camera's index, a file, a folder of images or a URL")
    if path.is_dir():
        images = sorted(file for file in path.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES)
        if not images:
            raise UserError(f"--source {path} holds no images ({', '.join(IMAGE_SUFFIXES)})")
        return Stills(images, warn)
    return Stills([path], warn) if path.suffix.lower() in IMAGE_SUFFIXES else VideoFile(path, warn)


class VideoFile:
    """Every frame of a video, in order."""

    live = stills = False
    status = ""

    def __init__(self, path: Path, warn: Callable[[str], None]) -> None:
        self._path, self._warn, self._number, self.over = path, warn, 0, False
        self._capture = cv2.VideoCapture(str(path))
        self._next = self._decode() if self._capture.isOpened() else None
        if self._next is None:
            raise UserError(f"--source {path} is not a video that OpenCV can read: it may be damaged or empty")
        rate = self._capture.get(cv2.CAP_PROP_FPS)
        self.frames_per_second = rate if 0.1 <= rate <= 1000 else 25.0
        self._expected = int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))

    def read(self) -> Frame | None:
        image = self._next if self._number == 0 else self._decode()
        self._next = None
        if image is None:
            self.over = True
            if 0 < self._number < 0.9 * self._expected:
                self._warn(f"{self._path} ends after {self._number} of {self._expected} frames: it may be damaged")
            return None
        number, self._number = self._number, self._number + 1
        return Frame(image, number / self.frames_per_second, time.perf_counter(), str(self._path), number)

    def close(self) -> None:
        self._capture.release()

    def _decode(self) -> np.ndarray | None:
        return to_bgr(self._capture.read()[1])


class Stills:
    """Images, one after the other."""

    live, stills, frames_per_second, status = False, True, 1.0, ""

    def __init__(self, paths: list[Path], warn: Callable[[str], None]) -> None:
        self._paths, self._warn, self._number, self.over = paths, warn, 0, False
        if all(_read_image(path) is None for path in paths):
            what = f"{paths[0]} is not an image" if len(paths) == 1 else f"{paths[0].parent} holds no image"
            raise UserError(f"--source {what} that OpenCV can read")

    @property
    def count(self) -> int:
        return len(self._paths)

    def read(self) -> Frame | None:
        while self._number < len(self._paths):
            path, number = self._paths[self._number], self._number
            self._number += 1
            image = _read_image(path)
            if image is not None:
                return Frame(image, float(number), time.perf_counter(), str(path), number)
            self._warn(f"{path} cannot be read: left out")
        self.over = True
        return None

    def close(self) -> None: ...


class LatestFrames:
    """The newest frame of a camera or stream. A thread fetches every frame, and drops those that are not read.

    When the source goes away, `status` reports it, and the source is opened again as soon as it is back.
    """

    live, stills, over = True, False, False

    def __init__(self, open_capture: Callable[[], Any], name: str, mend: str) -> None:
        self._open, self._name = open_capture, name
        self.status = ""
        self._new = threading.Condition()
        self._frame: Frame | None = None
        self._number = self._taken = 0
        self._closed = False
        self._began = time.perf_counter()
        capture = open_capture()
        if not capture.isOpened():
            raise UserError(f"{name} cannot be opened: {mend}")
        rate = capture.get(cv2.CAP_PROP_FPS)
        self.frames_per_second = rate if 1 <= rate <= 240 else 30.0
        self._thread = threading.Thread(target=self._fetch, args=(capture,), name="capture", daemon=True)
        self._thread.start()
        with self._new:
            if not self._new.wait_for(lambda: self._frame is not None or self.status, _PATIENCE_SECONDS) or self.status:
                self._closed = True
                raise UserError(f"{name} gives no frames: {mend}")

    def read(self, wait: float = 0.05) -> Frame | None:
        """The newest frame, or None if there is no new one within `wait` seconds."""
        with self._new:
            self._new.wait_for(lambda: self._number > self._taken, wait)
            if self._number == self._taken:
                return None
            self._taken = self._number
            return self._frame

    def close(self) -> None:
        self._closed = True
        self._thread.join(timeout=6)

    def _fetch(self, capture: Any) -> None:
        while not self._closed:
            image = to_bgr(capture.read()[1]) if capture.isOpened() else None
            if image is not None:
                now = time.perf_counter()
                with self._new:
                    self.status = ""
                    self._frame = Frame(image, now - self._began, now, self._name, self._number)
                    self._number += 1
                    self._new.notify_all()
                continue
            with self._new:
                self.status = f"{self._name} is gone: waiting for it"
                self._new.notify_all()
            capture.release()
            time.sleep(_RETRY_SECONDS)
            if not self._closed:
                capture = self._open()
        capture.release()


def _read_image(path: Path) -> np.ndarray | None:
    try:
        content = np.fromfile(path, np.uint8)
        return to_bgr(cv2.imdecode(content, cv2.IMREAD_UNCHANGED)) if content.size else None
    except (OSError, cv2.error):
        return None
