"""Classify the expressions of faces: the library interface."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fer_data.emotions import CLASSES
from fer_data.faces.crops import SIDE, face_crops, to_bgr
from fer_data.faces.detection import STILL_LONG_SIDE, Detector, create_detector
from fer_models.reading import NOTHING_KNOWN, Reading
from live.checkpoint import open_model


@dataclass(frozen=True)
class Face:
    """A face in an image: `box` as x, y, width, height in pixels, `probabilities` by class name."""

    box: tuple[int, int, int, int]
    probabilities: dict[str, float]

    @property
    def expression(self) -> str:
        """The most probable class."""
        return max(self.probabilities, key=self.probabilities.__getitem__)


class ExpressionClassifier:
    """The exported model of a checkpoint.

    `checkpoint` is its folder, a .tflite file, or None for the one that ships with the package; `precision` is float32
    or int8; `detector` finds the faces in `analyze`, by default `create_detector("auto")`; `reading` is
    for .tflite and .onnx files that others made, and `warnings` has a line on what was assumed of them. Raises
    UserError when there is no such model or it does not match its card.
    """

    classes = CLASSES

    def __init__(
        self,
        checkpoint: str | Path | None = None,
        *,
        precision: str = "float32",
        threads: int = 2,
        detector: Detector | None = None,
        reading: Reading = NOTHING_KNOWN,
    ) -> None:
        self._model = open_model(checkpoint, precision, threads, reading)
        self.warnings = self._model.warnings
        self._detector = detector

    def predict(self, faces: np.ndarray) -> np.ndarray:
        """Probabilities, float32 [n, 7] in the order of `classes`, for grey faces, uint8 [n, 48, 48] or [n, 48, 48, 1].

        Raises ValueError for any other shape or type.
        """
        faces = np.asarray(faces)
        if faces.dtype != np.uint8 or faces.shape[1:] not in ((SIDE, SIDE), (SIDE, SIDE, 1)):
            raise ValueError(f"faces must be uint8 [n, {SIDE}, {SIDE}], not {faces.dtype} {list(faces.shape)}")
        if not len(faces):
            return np.empty((0, len(CLASSES)), np.float32)
        return self._model(np.ascontiguousarray(faces).reshape(-1, SIDE, SIDE, 1))

    def analyze(self, image: np.ndarray) -> list[Face]:
        """The faces in `image`, from left to right. It is BGR uint8 [h, w, 3], BGRA [h, w, 4] or grey [h, w].

        Raises ValueError for anything else.
        """
        if image is None:
            raise ValueError("image is None, which is what cv2.imread returns for a file that it cannot read")
        frame = to_bgr(image) if isinstance(image, np.ndarray) else None
        if frame is None:
            found = f"{image.dtype} {list(image.shape)}" if isinstance(image, np.ndarray) else type(image).__name__
            raise ValueError(f"not an image: {found}")
        if self._detector is None:
            self._detector = create_detector("auto", STILL_LONG_SIDE, still=True)
        boxes = self._detector(frame)
        boxes = boxes[np.argsort(boxes[:, 0], kind="stable")]
        probabilities = self.predict(face_crops(frame, boxes))
        return [
            Face(as_integers(box), dict(zip(CLASSES, row.tolist(), strict=True)))
            for box, row in zip(boxes, probabilities, strict=True)
        ]


def as_integers(box: np.ndarray) -> tuple[int, int, int, int]:
    """A box in whole pixels."""
    x, y, width, height = (round(float(value)) for value in box)
    return x, y, width, height
