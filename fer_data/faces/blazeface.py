"""BlazeFace, MediaPipe's face detector (Bazarevsky et al. 2019, arXiv:1907.05047), run by LiteRT.

Its weights, face_detection_back.tflite, are MediaPipe's, under the Apache licence 2.0, which lies beside them.
"""

import math
from itertools import count
from pathlib import Path

import cv2
import numpy as np

from fer_data.errors import UserError

SIDE = 256
"""Side, in pixels, of the square that the network sees."""
MODEL = Path(__file__).parent / "face_detection_back.tflite"
"""The network that ships with the package."""
_STRIDES = ((16, 2), (32, 6))
"""The network's grids: the stride in pixels, and the boxes at each position."""
_CONFIDENCE, _CONFIDENCE_IN_PARTS = 0.5, 0.65
"""Least confidence of a face, and in the smaller squares of an image, which are many and may each be wrong."""
_SAME = 0.4
"""Of two boxes that overlap by this share of the smaller one, only one is kept."""
_LARGE = 32
"""The side, in pixels of the network's square, from which the box of a face is accurate."""
_OVERLAP = 1 / 3
"""Overlap of neighbouring squares, as a share of their side, so that a face cut by one is whole in the next."""
_EDGE = 3
"""A box closer than this to an edge of the network's square, in pixels, counts as cut."""
_CROP_SIDE, _CROP_RISE = 1 / 0.84, 0.09 / 0.84
"""From a box to FER-2013's crop, which is larger, and higher by a share of the box's side. Medians of 976 training
faces in frames."""


class BlazeFaceDetector:
    """The 256-pixel network, MediaPipe's for back cameras, from its `.tflite` file or another in its form.

    It searches the whole frame and overlapping squares of it. The smallest squares have the resolution of a frame that
    is `long_side` pixels long. In an image (`still`) it searches all squares; in a video each call searches one, and
    every second call the whole frame. Raises UserError for another file.
    """

    def __init__(self, model: str | Path = MODEL, long_side: int = 320, *, still: bool = False) -> None:
        from ai_edge_litert.interpreter import Interpreter

        self._long_side, self._still = long_side, still
        try:
            self._interpreter = Interpreter(model_content=Path(model).read_bytes(), num_threads=1)
            self._interpreter.allocate_tensors()
        except (OSError, ValueError, RuntimeError) as error:
            raise UserError(
                f"{model} is not a LiteRT model: give --detector haar or BlazeFace's .tflite file"
            ) from error
        taken, given = self._interpreter.get_input_details(), self._interpreter.get_output_details()
        by_shape = {tuple(map(int, tensor["shape"])): tensor["index"] for tensor in given}
        self._anchors = _anchors()
        shapes = (1, len(self._anchors), 16), (1, len(self._anchors), 1)
        if [tuple(tensor["shape"]) for tensor in taken] != [(1, SIDE, SIDE, 3)] or set(by_shape) != set(shapes):
            raise UserError(f"{model} is not the 256-pixel BlazeFace: give face_detection_back.tflite")
        self._input, self._boxes, self._scores = taken[0]["index"], by_shape[shapes[0]], by_shape[shapes[1]]
        self._turns = count()
        self._pixels = np.empty((1, SIDE, SIDE, 3), np.float32)

    def __call__(self, frame: np.ndarray) -> np.ndarray:
        squares = _squares(frame.shape[1], frame.shape[0], self._long_side)
        if not self._still:
            whole, parts, turn = squares[0], squares[1:], next(self._turns)
            squares = [parts[turn // 2 % len(parts)] if parts and turn % 2 else whole]
        found = np.concatenate([self._look(frame, *square) for square in squares])
        kept = found[_best(found)]
        side = kept[:, 2:4].max(axis=1, keepdims=True)
        centres = kept[:, :2] + kept[:, 2:4] / 2 - [0, _CROP_RISE] * side
        side = side * _CROP_SIDE
        # Whole pixels, so that the box in a log is the box that was cropped.
        return np.concatenate([centres - side / 2, side, side], axis=1).round().astype(np.float32)

    def _look(self, frame: np.ndarray, left: int, top: int, side: int) -> np.ndarray:
        """The faces in a square of the frame, float [n, 6]: x, y, width, height, confidence, the square's side."""
        height, width = frame.shape[:2]
        inside = frame[max(top, 0) : top + side, max(left, 0) : left + side]
        scale = SIDE / side
        size = max(1, round(inside.shape[1] * scale)), max(1, round(inside.shape[0] * scale))
        x, y = (SIDE - size[0]) // 2, (SIDE - size[1]) // 2
        place = self._pixels[0, y : y + size[1], x : x + size[0]]
        self._pixels.fill(-1)
        np.multiply(cv2.cvtColor(_resized(inside, size), cv2.COLOR_BGR2RGB), np.float32(1 / 127.5), out=place)
        place -= 1
        self._interpreter.set_tensor(self._input, self._pixels)
        self._interpreter.invoke()
        scores = self._interpreter.get_tensor(self._scores)[0, :, 0]
        confidence = _CONFIDENCE_IN_PARTS if self._still and side < max(height, width) else _CONFIDENCE
        sure = scores >= math.log(confidence / (1 - confidence))
        boxes = self._interpreter.get_tensor(self._boxes)[0, sure, :4].astype(np.float64)
        centres = boxes[:, :2] + self._anchors[sure] - [x, y]
        corners = np.concatenate([centres - boxes[:, 2:] / 2, centres + boxes[:, 2:] / 2], axis=1)
        # A face cut by an inner edge of the square is whole in the next one.
        edges = [left > 0, top > 0, left + side < width, top + side < height]
        beyond = np.concatenate([_EDGE - corners[:, :2], corners[:, 2:] + _EDGE - size], axis=1)
        cut = (beyond > 0) & edges
        start = np.array([max(left, 0), max(top, 0)])
        found = [start + (centres - boxes[:, 2:] / 2) / scale, boxes[:, 2:] / scale, scores[sure, None]]
        found.append(np.full((int(sure.sum()), 1), side))
        return np.concatenate(found, axis=1)[~cut.any(axis=1)]


def _resized(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """An image at another size, width and height. Halves and thirds first: by another ratio, averaging is slow."""
    ratio = min(image.shape[1] // size[0], image.shape[0] // size[1])
    if ratio > 1:
        width, height = image.shape[1] // ratio, image.shape[0] // ratio
        whole = image[: height * ratio, : width * ratio]
        image = cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA)
    return cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)


def _anchors() -> np.ndarray:
    """The anchor of each of the network's boxes, in pixels of its square: float64 [896, 2], x and y."""
    grids = []
    for stride, boxes in _STRIDES:
        places = (np.arange(SIDE // stride) + 0.5) * stride
        grids.append(np.stack(np.meshgrid(places, places), axis=-1).reshape(-1, 2).repeat(boxes, axis=0))
    return np.concatenate(grids)


def _squares(width: int, height: int, long_side: int) -> list[tuple[int, int, int]]:
    """The squares to search, the whole frame first, then ever smaller ones: left, top and side in pixels.

    The smallest have the resolution of a frame that is `long_side` pixels long, but are not enlarged.
    """
    long = max(width, height)
    least = max(SIDE, SIDE * long / long_side)
    levels = max(0, math.ceil(math.log2(long / least) - 1e-9))
    squares = []
    for level in range(levels + 1):
        side = round(long * (least / long) ** (level / max(1, levels)))
        squares += [(x, y, side) for y in _starts(height, side) for x in _starts(width, side)]
    return squares


def _starts(extent: int, side: int) -> list[int]:
    """The starts of overlapping squares that cover `extent` pixels; below 0 if one square is larger than that."""
    if extent <= side:
        return [(extent - side) // 2]
    count = 1 + math.ceil((extent - side) / (side * (1 - _OVERLAP)))
    return np.linspace(0, extent - side, count).round().astype(int).tolist()


def _best(found: np.ndarray) -> list[int]:
    """The boxes to keep, best first, such that no two overlap too much.

    A box from a larger square is better, because smaller squares mistake parts of a large face for faces. But if the
    face is small in the larger square, the box from a smaller one is more accurate.
    """
    seen = found[:, 2:4].max(axis=1) * SIDE / found[:, 5]
    order = np.lexsort((-found[:, 4], -found[:, 5], np.maximum(0, _LARGE - seen)))
    kept: list[int] = []
    for i in order.tolist():
        least, most = found[i, :2], found[i, :2] + found[i, 2:4]
        for j in kept:
            overlap = np.minimum(most, found[j, :2] + found[j, 2:4]) - np.maximum(least, found[j, :2])
            smaller = min(found[i, 2] * found[i, 3], found[j, 2] * found[j, 3])
            if overlap.min() > 0 and overlap.prod() > _SAME * smaller:
                break
        else:
            kept.append(i)
    return kept
