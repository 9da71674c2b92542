"""Save annotated videos and images, which get their names when they are complete."""

import shutil
from pathlib import Path

import cv2
import numpy as np

from fer_data.errors import UserError
from live.files import IMAGE_SUFFIXES
from live.frames import Frame, Source
from live.unfinished import Unfinished

VIDEO_CODECS = {".mp4": "mp4v", ".avi": "MJPG"}
_ROOM = 2**16
"""Bytes that the beginning of a video needs."""


class Recording:
    """A video of annotated frames that plays for as long as the source; or an image, if the source is one image."""

    def __init__(self, path: Path, source: Source, *, overwrite: bool) -> None:
        self._is_image = path.suffix.lower() in IMAGE_SUFFIXES
        if not self._is_image and path.suffix.lower() not in VIDEO_CODECS:
            raise UserError(f"--save {path}: give a name that ends in {', '.join(VIDEO_CODECS)} (or .png for an image)")
        if self._is_image and not source.only_image:
            raise UserError(f"--save {path}: only one image is saved as an image; give a name that ends in .mp4")
        self._path, self._file = path, Unfinished(path, "--save", overwrite=overwrite)
        self._rate = source.frames_per_second
        self._writer: cv2.VideoWriter | None = None
        self._size, self._written = (0, 0), 0
        self._image, self._origin = b"", ""
        self._zero = self._end = 0.0
        """Seconds of the recording at which the time of the current file is zero, and at which its last frame ends."""

    def write(self, drawn: np.ndarray, frame: Frame) -> None:
        """Add what was drawn on a frame, uint8 [h, w, 3]. Several files follow one another."""
        if self._is_image:
            self._image = cv2.imencode(self._path.suffix, drawn)[1].tobytes()
            return
        if self._writer is None:
            # Codecs require even sides.
            self._size = max(2, drawn.shape[1] // 2 * 2), max(2, drawn.shape[0] // 2 * 2)
            codec = VIDEO_CODECS[self._path.suffix.lower()]
            # OpenCV chooses the container by the suffix, which the temporary name shares.
            self._writer = cv2.VideoWriter(
                str(self._file.temporary), cv2.VideoWriter.fourcc(*codec), self._rate, self._size
            )
            if not self._writer.isOpened():
                full = shutil.disk_usage(self._path.parent).free < _ROOM
                why = "the disk is full" if full else f"OpenCV cannot write a video of {self._size[0]}x{self._size[1]}"
                raise UserError(f"--save {self._path}: {why}")
        if frame.origin != self._origin:
            self._origin, self._zero = frame.origin, self._end - frame.seconds
        self._end = self._zero + frame.seconds + frame.lasts
        due = max(1, round(self._end * self._rate))
        fitted = _fitted(drawn, self._size)
        # Repeat frames that last long and drop some that follow fast, so that the video keeps the real time.
        while self._written < due:
            self._writer.write(fitted)
            self._written += 1

    def close(self) -> None:
        """Finish the file, or remove it when nothing was written. Raises OSError when the video is not complete."""
        if self._writer is not None:
            self._writer.release()
        if self._image:
            self._file.write(self._image)
            return
        if not self._written:
            self._file.discard()
            return
        # The number is written last: a full disk leaves frames that play, and says so nowhere.
        if cv2.VideoCapture(str(self._file.temporary)).get(cv2.CAP_PROP_FRAME_COUNT) < self._written:
            raise OSError(self._file.fail("the video is incomplete"))
        self._file.publish()


def _fitted(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """`image` scaled to `size`, width and height, with black borders if the aspect ratio differs."""
    width, height = size
    if image.shape[1] - width in (0, 1) and image.shape[0] - height in (0, 1):
        return np.ascontiguousarray(image[:height, :width])
    scale = min(width / image.shape[1], height / image.shape[0])
    inner = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
    canvas = np.zeros((height, width, 3), np.uint8)
    left, top = (width - inner[0]) // 2, (height - inner[1]) // 2
    canvas[top : top + inner[1], left : left + inner[0]] = cv2.resize(image, inner, interpolation=cv2.INTER_AREA)
    return canvas
