"""Read files, images and videos, one after the other."""

import os
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

from fer_data.decoding import BadImage, colours, is_image
from fer_data.errors import UserError
from fer_data.text import without_secrets
from live.frames import Frame
from live.sampling import ALL, Every
from live.urls import read_bytes
from live.video_file import VIDEO_SUFFIXES, VideoFile

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
_STILL_SECONDS = 1.0
"""How long an image is shown in a recording."""


class ImageFile:
    """A single image, upright as its EXIF data say. Raises UserError when it cannot be read."""

    def __init__(self, name: str) -> None:
        self._name = without_secrets(name)
        self._image: np.ndarray | None
        try:
            self._image = colours(read_bytes(name))
        except OSError as error:
            raise UserError(f"--source {self._name} cannot be read: {error.strerror or error}") from error
        except BadImage as fault:
            raise UserError(f"--source {self._name} {fault}") from fault

    def read(self) -> Frame | None:
        """The image, then None."""
        image, self._image = self._image, None
        if image is None:
            return None
        return Frame(image, 0.0, _STILL_SECONDS, time.perf_counter(), self._name, 0, still=True)

    def close(self) -> None: ...


class Files:
    """Every frame of some files, paths or URLs, in order. `warn` names those that cannot be read and are left out.

    Raises UserError when none can be read.
    """

    live, status, rate = False, "", 0.0

    def __init__(self, names: list[str], warn: Callable[[str], None], every: Every = ALL) -> None:
        self._names, self._warn, self._every = names, warn, every
        self._begun, self.over = 0, False
        self._file: ImageFile | VideoFile | None = None
        self._seconds = 0.0
        self._advance()
        if self._file is None:
            raise UserError(f"--source {Path(names[0]).parent} holds no image or video that OpenCV can read")

    @property
    def still(self) -> bool:
        return isinstance(self._file, ImageFile)

    @property
    def only_image(self) -> bool:
        return len(self._names) == 1 and not is_video(self._names[0])

    @property
    def frames_per_second(self) -> float:
        if len(self._names) == 1 and isinstance(self._file, VideoFile):
            return self._file.recording_rate()
        return 30.0 if any(map(is_video, self._names)) else 1 / _STILL_SECONDS

    def read(self) -> Frame | None:
        while self._file is not None:
            frame = self._file.read()
            if frame is not None:
                self._seconds = frame.seconds
                return frame
            self._file.close()
            self._advance()
        self.over = True
        return None

    def progress(self) -> str:
        if self._file is None:
            return ""
        which = f"file {self._begun} of {len(self._names)}, " if len(self._names) > 1 else ""
        name = Path(without_secrets(self._names[self._begun - 1])).name
        if not isinstance(self._file, VideoFile):
            return f"{which}{name}"
        length = f" of {_clock(self._file.seconds)}" if self._file.seconds else ""
        return f"{which}{name}, {_clock(self._seconds)}{length}"

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _advance(self) -> None:
        """Open the next file that can be read."""
        self._file = None
        while self._file is None and self._begun < len(self._names):
            name = self._names[self._begun]
            self._begun += 1
            try:
                self._file = VideoFile(name, self._warn, self._every) if is_video(name) else ImageFile(name)
            except UserError as mistake:
                if len(self._names) == 1:
                    raise
                self._warn(f"{str(mistake).removeprefix('--source ')}: left out")


def is_video(name: str) -> bool:
    """Whether a file is read as a video: all are that are neither named like an image nor known for one by content."""
    suffix = Path(without_secrets(name)).suffix.lower()
    return suffix not in IMAGE_SUFFIXES and (suffix in VIDEO_SUFFIXES or not _is_image(Path(name)))


def _is_image(path: Path) -> bool:
    """Whether a file on this machine is an image by its first bytes."""
    if not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            return is_image(file.read(32))
    except OSError:
        return False


def files_in(folder: Path, warn: Callable[[str], None]) -> list[str]:
    """The images and videos in `folder` and its subfolders, by path, without hidden ones; `warn` names what is left.

    Raises UserError when there are none.
    """
    found, others = [], Counter[str]()
    for at, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for path in (Path(at, name) for name in sorted(names) if not name.startswith(".")):
            if path.suffix.lower() in (*IMAGE_SUFFIXES, *VIDEO_SUFFIXES) or _is_image(path):
                found.append(path)
            else:
                others[path.suffix.lower() or "without a suffix"] += 1
    if not found:
        raise UserError(
            f"--source {folder} holds no images or videos ({', '.join((*IMAGE_SUFFIXES, *VIDEO_SUFFIXES[:5]))} …)"
        )
    if others:
        kinds = ", ".join(f"{count} {suffix}" for suffix, count in others.most_common(5))
        warn(f"{folder}: left out what is neither an image nor called a video: {kinds}")
    return [str(path) for path in sorted(found)]


def _clock(seconds: float) -> str:
    """12:03 or 1:12:03."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}" if minutes >= 60 else f"{minutes}:{rest:02}"
