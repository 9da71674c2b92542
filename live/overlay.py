"""Draw on a frame: boxes, expressions, probability bars, the status line and the legend of keys."""

from collections.abc import Sequence
from functools import lru_cache

import cv2
import numpy as np

from fer_data.emotions import CLASSES
from live.pipeline import Analysis, TrackedFace

LEGEND = "q quit   space pause   s snapshot   b bars   m mirror"
COLORS = {
    "angry": (66, 66, 239),
    "disgust": (86, 160, 92),
    "fear": (210, 110, 170),
    "happy": (60, 200, 250),
    "sad": (226, 144, 74),
    "surprise": (60, 150, 250),
    "neutral": (190, 190, 190),
}
"""BGR."""
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_WHITE, _INK = (255, 255, 255), (28, 28, 28)
Box = tuple[int, int, int, int]
"""x, y, width, height."""
_SMALLEST = 64
"""Frames with a shorter side get boxes but no text."""


def draw(
    analysis: Analysis,
    *,
    bars: bool = True,
    mirror: bool = False,
    status: str = "",
    legend: str = LEGEND,
) -> np.ndarray:
    """A copy of the frame of `analysis`, BGR, with its faces, `status` at the top and `legend` at the bottom."""
    frame = np.ascontiguousarray(analysis.frame[:, ::-1]) if mirror else analysis.frame.copy()
    height, width = frame.shape[:2]
    unit = min(height / 480, width / 560)
    words = min(height, width) >= _SMALLEST
    line = max(1, round(2 * unit))
    placed = []
    for face in analysis.faces:
        x, y, w, h = face.box
        box = (width - x - w if mirror else x, y, w, h)
        placed.append((face, box))
        cv2.rectangle(frame, box, _INK, line + 2)
        cv2.rectangle(frame, box, COLORS[face.expression], line)
    if not words:
        return frame
    if bars:
        taken = [box for _, box in placed]
        for face, box in placed:
            taken.append(_bars(frame, face, box, unit, taken))
    for face, (x, y, _, _) in placed:
        text = f"{face.expression} {face.probabilities.max():.0%}"
        # Above the box, or inside it at the top of the frame.
        _label(frame, text, (x, y if y > 26 * unit else y + 26 * unit), unit, COLORS[face.expression], _INK)
    _label(frame, status or " ", (6 * unit, 24 * unit), unit * 0.8)
    if not analysis.faces:
        _centred(frame, "no face", unit)
    if legend:
        _label(frame, legend, (6 * unit, height - 6 * unit), unit * 0.8)
    return frame


def recorded(frame: np.ndarray, what: str) -> np.ndarray:
    """A copy of a drawn frame that says at the top right what is being recorded."""
    frame = frame.copy()
    unit = min(frame.shape[0] / 480, frame.shape[1] / 560)
    if min(frame.shape[:2]) >= _SMALLEST:
        # Further right than the frame: it is moved to its edge. Below the status line, which may be long.
        _label(frame, f"recording: {what}", (frame.shape[1], 50 * unit), unit * 0.8, COLORS["angry"], _WHITE)
    return frame


def notice(frame: np.ndarray, text: str) -> np.ndarray:
    """A darkened copy of a frame with `text` in its middle."""
    darker = cv2.convertScaleAbs(frame, alpha=0.45)
    _centred(darker, text, min(frame.shape[0] / 480, frame.shape[1] / 560))
    return darker


def _label(
    frame: np.ndarray,
    text: str,
    at: tuple[float, float],
    unit: float,
    background: tuple[int, int, int] | None = None,
    color: tuple[int, int, int] = _WHITE,
) -> None:
    """Draw one line of text inside the frame, its lower left corner at `at`, on `background` or the darkened frame."""
    scale, weight, pad = 0.6 * unit, max(1, round(1.3 * unit)), max(1, round(4 * unit))
    (w, h), below = _text_size(text, scale, weight)
    x = _clamped(at[0], 0, max(0, frame.shape[1] - w - 2 * pad))
    y = _clamped(at[1], h + below + 2 * pad, frame.shape[0])
    area = frame[y - h - below - 2 * pad : y, x : x + w + 2 * pad]
    if background is None:
        cv2.convertScaleAbs(area, area, alpha=0.35)
    else:
        area[:] = background
    cv2.putText(frame, text, (x + pad, y - pad - below), _FONT, scale, color, weight, cv2.LINE_AA)


def _centred(frame: np.ndarray, text: str, unit: float) -> None:
    (w, h), _ = _text_size(text, 0.6 * unit, max(1, round(1.3 * unit)))
    _label(frame, text, ((frame.shape[1] - w) / 2, (frame.shape[0] + h) / 2), unit)


@lru_cache(maxsize=4096)
def _text_size(text: str, scale: float, weight: int) -> tuple[Sequence[int], int]:
    return cv2.getTextSize(text, _FONT, scale, weight)


def _bars(frame: np.ndarray, face: TrackedFace, box: Box, unit: float, taken: Sequence[Box]) -> Box:
    """Draw the seven probabilities as bars beside the face, where they cover least of `taken`. Returns their box."""
    x, y, w, h = box
    names = _names(round(unit * 100))
    panel_height, panel_width = names.shape[:2]
    highest, furthest = frame.shape[0] - panel_height, frame.shape[1] - panel_width
    if highest < 0 or furthest < 0:
        return 0, 0, 0, 0
    gap = round(6 * unit)
    places = [
        (_clamped(left, 0, furthest), _clamped(top, 0, highest), panel_width, panel_height)
        for left, top in ((x + w + gap, y), (x - gap - panel_width, y), (x, y + h + gap), (x, y + h - panel_height))
    ]
    place = min(places, key=lambda place: sum(_shared(place, other) for other in taken))
    left, top = place[:2]
    area = frame[top : top + panel_height, left : left + panel_width]
    cv2.convertScaleAbs(area, area, alpha=0.35)
    cv2.max(area, names, area)
    row = panel_height / len(CLASSES)
    start, longest = round(72 * unit), round(58 * unit)
    for i, name in enumerate(CLASSES):
        end = start + max(1, round(longest * float(face.probabilities[i])))
        cv2.rectangle(area, (start, round(row * (i + 0.25))), (end, round(row * (i + 0.75))), COLORS[name], -1)
    return place


def _clamped(value: float, lowest: int, highest: int) -> int:
    """`value` in whole pixels within these limits. NumPy's clip takes 10 µs for a number."""
    return int(min(max(value, lowest), highest))


def _shared(one: Box, other: Box) -> int:
    """The overlap of two boxes in pixels."""
    width = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    height = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
    return max(width, 0) * max(height, 0)


@lru_cache(maxsize=8)
def _names(percent: int) -> np.ndarray:
    """The names of the classes, one below the other, white on black, scaled to `percent` of a frame of 480 lines."""
    unit = percent / 100
    panel = np.zeros((max(7, round(7 * 15 * unit)), max(8, round(136 * unit)), 3), np.uint8)
    for i, name in enumerate(CLASSES):
        place = (round(5 * unit), round((i + 0.72) * 15 * unit))
        cv2.putText(panel, name, place, _FONT, 0.4 * unit, _WHITE, max(1, round(unit)), cv2.LINE_AA)
    return panel
