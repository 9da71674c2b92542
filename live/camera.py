"""The newest frame of a camera or stream, which may go away and come back."""

import threading
import time
from collections.abc import Callable
from typing import Any

import cv2

from fer_data.errors import UserError
from fer_data.faces.crops import to_bgr
from live.frames import Frame

_PATIENCE_SECONDS = 10.0
_RETRY_SECONDS = 1.0


class LatestFrames:
    """The newest frame of a camera or stream. A thread fetches every frame, and drops those that are not read.

    When the source goes away, `status` reports it, and the source is opened again as soon as it is back.
    """

    live, over, still, only_image = True, False, False, False

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
        self.rate = self.frames_per_second
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

    def progress(self) -> str:
        return ""

    def close(self) -> None:
        self._closed = True
        self._thread.join(timeout=6)

    def _fetch(self, capture: Any) -> None:
        lasts = 1 / self.frames_per_second
        while not self._closed:
            image = to_bgr(capture.read()[1]) if capture.isOpened() else None
            if image is not None:
                now = time.perf_counter()
                if self._frame is not None and not self.status:
                    interval = 0.9 / self.rate + 0.1 * max(now - self._frame.arrived, 1e-3)
                    self.rate = 1 / interval
                with self._new:
                    self.status = ""
                    self._frame = Frame(image, now - self._began, lasts, now, self._name, self._number)
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
