"""Scenes for the tests of the live module: faces of drawn people, moved about on a quiet background."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import cv2
import numpy as np

from fer_data.drawing import draw

PEOPLE = draw(np.arange(7), seed=5)[0].reshape(-1, 48, 48)
"""Seven drawn faces: uint8 [7, 48, 48]."""
BACKGROUND = cv2.GaussianBlur(np.random.default_rng(1).integers(70, 170, (480, 640, 3), np.uint8), (31, 31), 0)


def scene(places: Mapping[int, tuple[float, float, int]], background: np.ndarray = BACKGROUND) -> np.ndarray:
    """A frame with each person at (centre x, centre y, side), later ones in front: uint8 [h, w, 3]."""
    frame = background.copy()
    for person, (x, y, side) in places.items():
        paste(frame, PEOPLE[person], x, y, side)
    return frame


def paste(frame: np.ndarray, face: np.ndarray, x: float, y: float, side: int) -> None:
    """Put a grey face, uint8 [48, 48], into a BGR frame with its centre at x, y; what is outside is cut off."""
    large = cv2.cvtColor(cv2.resize(face, (side, side), interpolation=cv2.INTER_CUBIC), cv2.COLOR_GRAY2BGR)
    left, top = round(x - side / 2), round(y - side / 2)
    rows, columns = slice(max(top, 0), top + side), slice(max(left, 0), left + side)
    target = frame[rows, columns]
    target[:] = large[rows.start - top :, columns.start - left :][: target.shape[0], : target.shape[1]]


def box(place: tuple[float, float, int]) -> np.ndarray:
    """x, y, width, height of a person's place: float32 [4]."""
    x, y, side = place
    return np.array([x - side / 2, y - side / 2, side, side], np.float32)


def photograph() -> np.ndarray:
    """A photograph of a face, which matplotlib brings along: uint8 [600, 512, 3], BGR."""
    from matplotlib.cbook import get_sample_data

    with get_sample_data("grace_hopper.jpg") as file:
        return cv2.imdecode(np.frombuffer(file.read(), np.uint8), cv2.IMREAD_COLOR)


PHOTOGRAPHED_FACE = (149, 100, 231, 231)
"""About where the face is in it: x, y, width, height."""


def write_video(path: Path, frames: Iterable[np.ndarray], rate: float = 30.0) -> str:
    """A video of BGR frames of one size; returns its path."""
    writer = None
    for frame in frames:
        if writer is None:
            size = frame.shape[1], frame.shape[0]
            writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), rate, size)
        writer.write(frame)
    assert writer is not None
    writer.release()
    return str(path)


def walk(frames: int, faces: int = 1) -> Iterator[np.ndarray]:
    """The photographed face, once or several times, moving a little on a quiet background: [480, 640, 3]."""
    photo = photograph()[20:320, 130:350]
    small = cv2.resize(photo, (110, 150) if faces > 1 else (220, 300), interpolation=cv2.INTER_AREA)
    for number in range(frames):
        frame = BACKGROUND.copy()
        for face in range(faces):
            left = (20 + 125 * face if faces > 1 else 200) + round(8 * np.sin(number / 9 + face))
            top = (60 + 200 * (face % 2) if faces > 1 else 90) + round(8 * np.cos(number / 7 + face))
            target = frame[top : top + small.shape[0], left : left + small.shape[1]]
            target[:] = small[: target.shape[0], : target.shape[1]]
        yield frame
