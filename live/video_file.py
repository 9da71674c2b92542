"""Read a video file: the frames at the times that it states, past damaged parts, all of them or a sample."""

import time
from collections.abc import Callable

import cv2
import numpy as np

from fer_data.errors import UserError
from fer_data.faces.crops import to_bgr
from fer_data.text import without_secrets
from live.frames import Frame
from live.sampling import ALL, Every
from live.urls import MAX_FRAME_PIXELS, open_capture

VIDEO_SUFFIXES = (
    *(".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".gif", ".mpg", ".mpeg", ".mts", ".m2ts"),
    *(".3gp", ".wmv", ".flv", ".ogv"),
)
_FASTEST, _SLOWEST_SAMPLE = 60.0, 5.0
"""Most frames per second of a recording, and of one of a sample."""
_MEASURED = 100
"""From so many of its first frames the rate of a video is known."""
_DAMAGED, _DAMAGED_SECONDS = 1000, 10.0
"""A video ends where so many frames in a row, or frames for so long, cannot be read."""
_LONGEST_LAST = 10.0
"""The last frame lasts until the end that the file states, but no longer than this: damaged files state anything."""


class VideoFile:
    """The frames of a video in order, or those of a sample, with the presentation times that the file states.

    `name` is a path or URL. Problems that do not end it go to `warn`. Raises UserError when there is no frame.
    """

    def __init__(self, name: str, warn: Callable[[str], None], every: Every = ALL) -> None:
        self._name, self._shown, self._warn, self._every = name, without_secrets(name), warn, every
        self._capture = open_capture(name)
        stated = self._capture.get(cv2.CAP_PROP_FPS)
        self._rate = stated if 0.1 <= stated <= 240 else 25.0
        self._expected = int(max(0.0, self._capture.get(cv2.CAP_PROP_FRAME_COUNT)))
        self.seconds = self._expected / stated if stated > 0 else 0.0
        """Its length, 0 if it states none."""
        self._stated, self._count, self._lost = stated, 0, 0
        self._last, self._due = 0.0, 0.0
        self._next = self._following() if self._capture.isOpened() else None
        if self._next is None:
            raise UserError(
                f"--source {self._shown} is not a video that OpenCV can read: it may be damaged or empty, "
                f"or have frames of more than {MAX_FRAME_PIXELS // 10**6} million pixels"
            )

    def read(self) -> Frame | None:
        """The next frame, None when there is no more."""
        if self._next is None:
            return None
        image, seconds, number = self._next
        self._next = self._following()
        if self._next is None:
            self._say_what_is_missing()
        lasts = self._next[1] - seconds if self._next else self._last_lasts(seconds)
        return Frame(image, seconds, lasts, time.perf_counter(), self._shown, number)

    def close(self) -> None:
        self._capture.release()

    def recording_rate(self) -> float:
        """Frames per second at which a recording shows all frames, up to 60: files may state any, or vary."""
        capture = open_capture(self._name)
        times: list[float] = []
        while len(times) < _MEASURED and capture.grab():
            times.append(capture.get(cv2.CAP_PROP_POS_MSEC))
        capture.release()
        gaps = np.diff(times)
        least = float(gaps[gaps > 0].min()) if (gaps > 0).any() else 1e3 / self._rate
        # Times are often in whole milliseconds.
        rate = self._rate if abs(least - 1e3 / self._rate) <= 1 else 1e3 / least
        if self._every != ALL:
            sampled = 1 / self._every.seconds if self._every.seconds else rate / self._every.frames
            rate = min(rate, max(sampled, _SLOWEST_SAMPLE))
        return min(rate, _FASTEST)

    def _following(self) -> tuple[np.ndarray, float, int] | None:
        """The next frame of the sample, its time and its number; None at the end."""
        while self._grab():
            number, seconds = self._count - 1, self._last
            wanted = seconds >= self._due - 1e-6 if self._every.seconds else number % self._every.frames == 0
            if not wanted:
                continue
            image = to_bgr(self._capture.retrieve()[1])
            if image is not None:
                if self._every.seconds:
                    self._due = (seconds // self._every.seconds + 1) * self._every.seconds
                return image, seconds, number
        return None

    def _grab(self) -> bool:
        """Go to the next frame that can be read, and set its number and time; False at the end of the file."""
        began = time.monotonic()
        damaged = 0
        while not self._capture.grab():
            damaged += 1
            if damaged == _DAMAGED or time.monotonic() - began > _DAMAGED_SECONDS:
                return False
        self._lost += damaged
        first, self._count = self._count == 0, self._count + damaged + 1
        stated = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1e3
        # Raw streams state no times, and a few files state wrong ones.
        known = stated >= self._last and (stated > 0 or first)
        self._last = max(0.0, stated) if known else self._last + 1 / self._rate
        return True

    def _last_lasts(self, seconds: float) -> float:
        stated = self.seconds - seconds
        return min(stated, _LONGEST_LAST) if stated > 0 else 1 / self._rate

    def _say_what_is_missing(self) -> None:
        # Files of variable rate state an upper bound of it, and OpenCV derives the number of frames from that.
        expected = self._expected if self._stated * self._last < 2 * self._count else 0
        if self._lost:
            # Decoders also drop frames that build on damaged ones.
            lost = max(self._lost, expected - self._count + self._lost)
            self._warn(f"{self._shown}: {lost} of {max(self._count, expected)} frames are damaged and left out")
        if self._count < 0.9 * expected and self._last + 1 / self._rate < 0.9 * self.seconds:
            self._warn(f"{self._shown} ends after {self._count} of {expected} frames: it may be damaged")
