"""Convert images to BGR, and crop faces as in the training data."""

import cv2
import numpy as np

SIDE = 48
MARGIN = 0.0
"""How much wider a crop is than the detected square, as a share of the square's side. A similar detector cut FER-2013's
images: on faces pasted into frames, a margin of 0 is as good as a slightly negative one, and 5 % costs 3 points."""


def to_bgr(image: np.ndarray | None) -> np.ndarray | None:
    """A grey, BGR or BGRA image of 8 or 16 bits, or of floats from 0 to 1, as uint8 [h, w, 3]; None if it is none."""
    if image is None or image.size == 0 or image.ndim not in (2, 3):
        return None
    if image.dtype == np.uint16:
        image = (image >> 8).astype(np.uint8)
    elif image.dtype != np.uint8:
        image = (np.clip(np.nan_to_num(image.astype(np.float32)), 0, 1) * 255).astype(np.uint8)
    channels = 1 if image.ndim == 2 else image.shape[2]
    if channels == 3:
        return np.ascontiguousarray(image)
    if channels in (1, 4):
        return cv2.cvtColor(image, cv2.COLOR_GRAY2BGR if channels == 1 else cv2.COLOR_BGRA2BGR)
    return None


def reduced(frame: np.ndarray, long_side: int) -> tuple[np.ndarray, float]:
    """The frame reduced to at most `long_side` pixels, and its scale."""
    scale = min(1.0, long_side / max(frame.shape[:2]))
    if scale < 1:
        size = max(1, round(frame.shape[1] * scale)), max(1, round(frame.shape[0] * scale))
        frame = cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
    return frame, scale


def reduced_grey(frame: np.ndarray, long_side: int) -> tuple[np.ndarray, float]:
    """The frame in grey and reduced in the same way, uint8 [h, w], and its scale."""
    return reduced(cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY), long_side)


def face_crops(frame: np.ndarray, boxes: np.ndarray, margin: float = MARGIN) -> np.ndarray:
    """Grey square crops of a BGR frame, uint8 [n, 48, 48, 1], around `boxes`, [n, 4] as x, y, width, height.

    Outside the frame, the pixels of its border repeat.
    """
    crops = np.empty((len(boxes), SIDE, SIDE, 1), np.uint8)
    for i, box in enumerate(boxes):
        grey = cv2.cvtColor(square_patch(frame, box, margin), cv2.COLOR_BGR2GRAY)
        how = cv2.INTER_AREA if grey.shape[0] > SIDE else cv2.INTER_LINEAR
        crops[i, :, :, 0] = cv2.resize(grey, (SIDE, SIDE), interpolation=how)
    return crops


def square_patch(frame: np.ndarray, box: np.ndarray, margin: float = 0.0) -> np.ndarray:
    """The square of `frame`, [h, w] or [h, w, 3], around `box` (x, y, width, height), larger by `margin` of its side.

    It has at least one pixel. Outside the frame, the pixels of its border repeat.
    """
    x, y, width, height = (float(value) for value in box)
    side = max(1, round(max(width, height) * (1 + margin)))
    left, top = round(x + width / 2 - side / 2), round(y + height / 2 - side / 2)
    rows, columns = frame.shape[:2]
    if left >= 0 and top >= 0 and left + side <= columns and top + side <= rows:
        return frame[top : top + side, left : left + side]
    # Clamped indices repeat the border.
    ys, xs = (np.clip(np.arange(start, start + side), 0, n - 1) for start, n in ((top, rows), (left, columns)))
    return frame[ys[:, None], xs]
