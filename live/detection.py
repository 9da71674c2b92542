"""Where the faces are: OpenCV's Haar cascade, or its YuNet network when given the model's file."""

from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from fer_data.errors import UserError
from live.images import reduced_grey


class Detector(Protocol):
    """Any function from a BGR frame, uint8 [h, w, 3], to boxes, float32 [n, 4]: x, y, width, height in pixels."""

    def __call__(self, frame: np.ndarray) -> np.ndarray: ...


class HaarDetector:
    """OpenCV's frontal-face cascade (Viola and Jones 2001), on the frame reduced to `long_side` pixels.

    It finds faces of 24 pixels or more there: of 48 in a frame of 640 when `long_side` is 320. Of FER-2013's faces
    pasted into frames, `alt2` with 3 neighbours finds 76 %, the `default` cascade with 5 finds 69 % in the same
    time; equalising the histogram first finds less and takes five times as long.
    """

    def __init__(self, long_side: int = 320) -> None:
        self._long_side = long_side
        cascades = cv2.data.haarcascades  # type: ignore[attr-defined]
        self._cascade = cv2.CascadeClassifier(cascades + "haarcascade_frontalface_alt2.xml")

    def __call__(self, frame: np.ndarray) -> np.ndarray:
        grey, scale = reduced_grey(frame, self._long_side)
        if min(grey.shape) < 24:
            return np.empty((0, 4), np.float32)
        found = self._cascade.detectMultiScale(grey, 1.1, 3, minSize=(24, 24))
        return np.asarray(found, np.float32).reshape(-1, 4) / np.float32(scale)


class YuNetDetector:
    """OpenCV's YuNet (Wu et al. 2023) from its ONNX file, face_detection_yunet_2023mar.onnx of opencv_zoo."""

    def __init__(self, model: str, long_side: int = 320, confidence: float = 0.7) -> None:
        if not Path(model).is_file():
            raise UserError(f"{model} does not exist: give --detector haar or YuNet's .onnx file")
        self._long_side = long_side
        try:
            self._network = cv2.FaceDetectorYN.create(model, "", (long_side, long_side), confidence)
            self(np.zeros((64, 64, 3), np.uint8))
        except cv2.error as error:
            raise UserError(f"{model} is not a YuNet model: {' '.join(str(error).split())[:120]}") from error

    def __call__(self, frame: np.ndarray) -> np.ndarray:
        scale = min(1.0, self._long_side / max(frame.shape[:2]))
        size = max(1, round(frame.shape[1] * scale)), max(1, round(frame.shape[0] * scale))
        self._network.setInputSize(size)
        found = self._network.detect(cv2.resize(frame, size, interpolation=cv2.INTER_AREA))[1]
        return np.empty((0, 4), np.float32) if found is None else found[:, :4] / np.float32(scale)


def create_detector(name: str, long_side: int) -> Detector:
    """The detector called `name`: haar, or the path of YuNet's file. Raises UserError when there is none."""
    return HaarDetector(long_side) if name == "haar" else YuNetDetector(name, long_side)
