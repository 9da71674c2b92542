"""The faces of a photograph, found and cropped as `live` finds and crops them."""

import threading

import cv2
import numpy as np

from fer_data.faces.crops import face_crops
from fer_data.faces.detection import STILL_LONG_SIDE, create_detector
from fer_data.images import BadImage

_OWN = threading.local()


def find_faces(photograph: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The boxes of the faces in a BGR image, uint8 [h, w, 3], and their grey crops, uint8 [n, 48, 48, 1].

    Boxes are int32 [n, 4], as x, y, width, height in pixels, the largest first. They may reach beyond the image. Safe
    to call from several threads. Raises BadImage for an image of a shape that no detector takes.
    """
    if not hasattr(_OWN, "detector"):  # A detector does one thing at a time.
        _OWN.detector = create_detector("auto", STILL_LONG_SIDE, still=True)
    try:
        boxes = _OWN.detector(photograph).round().astype(np.int32)
        boxes = boxes[np.argsort(-boxes[:, 2].astype(np.int64) * boxes[:, 3], kind="stable")]
        return boxes, face_crops(photograph, boxes)
    except cv2.error as error:
        height, width = photograph.shape[:2]
        raise BadImage(f"is {width}x{height}: no faces can be looked for in such a shape") from error
