"""The interface of face detectors, and their choice by name."""

from pathlib import Path
from typing import Protocol

import numpy as np

from fer_data.errors import UserError
from fer_data.faces.blazeface import MODEL, BlazeFaceDetector
from fer_data.faces.haar import HaarDetector
from fer_data.faces.yunet import YuNetDetector

STILL_LONG_SIDE = 960
"""Longer side, in pixels, at which faces are detected in photographs. Larger than in videos, to find small faces."""


class Detector(Protocol):
    """A function from a BGR frame, uint8 [h, w, 3], to boxes, float32 [n, 4]: x, y, width, height in pixels."""

    def __call__(self, frame: np.ndarray) -> np.ndarray: ...


def create_detector(name: str = "auto", long_side: int = 320, *, still: bool = False) -> Detector:
    """The detector called `name`: auto, haar, BlazeFace's .tflite file or YuNet's .onnx file.

    auto is BlazeFace. Raises UserError when the file is missing or is neither network.
    """
    if name == "auto":
        name = str(MODEL)
    if name == "haar":
        return HaarDetector(long_side, still=still)
    if not Path(name).is_file():
        raise UserError(f"{name} does not exist: give --detector haar, BlazeFace's .tflite or YuNet's .onnx file")
    if name.endswith(".tflite"):
        return BlazeFaceDetector(name, long_side, still=still)
    return YuNetDetector(name, long_side)
