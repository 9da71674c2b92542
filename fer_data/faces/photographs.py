"""The faces of a photograph, found and cropped as `live` finds and crops them."""

import threading
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from fer_data.decoding import BadImage, colours
from fer_data.faces.crops import face_crops
from fer_data.faces.detection import STILL_LONG_SIDE, create_detector
from fer_data.images import grey_face

_OWN = threading.local()


def find_faces(picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The boxes of the faces in a BGR image, uint8 [h, w, 3], and their grey crops, uint8 [n, 48, 48, 1].

    Boxes are int32 [n, 4], as x, y, width, height in pixels, the largest first. They may reach beyond the image. Safe
    to call from several threads. Raises BadImage for an image of a shape that no detector takes.
    """
    if not hasattr(_OWN, "detector"):  # A detector does one thing at a time.
        _OWN.detector = create_detector("auto", STILL_LONG_SIDE, still=True)
    try:
        boxes = _OWN.detector(picture).round().astype(np.int32)
        boxes = boxes[np.argsort(-boxes[:, 2].astype(np.int64) * boxes[:, 3], kind="stable")]
        return boxes, face_crops(picture, boxes)
    except cv2.error as error:
        height, width = picture.shape[:2]
        raise BadImage(f"is {width}x{height}: no faces can be looked for in such a shape") from error


@dataclass(frozen=True)
class LargestFace:
    """Takes the largest face of a photograph.

    Where there is none, `if_none` rejects the image or takes the centre square of the whole of it. Where there are
    several, `if_several` takes the largest or rejects the image.
    """

    if_none: Literal["reject", "whole"] = "reject"
    if_several: Literal["largest", "reject"] = "largest"

    def __call__(self, data: bytes) -> np.ndarray:
        """The face in an image file: uint8 [48, 48]. Raises BadImage, with the reason, where the image is rejected."""
        _, crops = find_faces(colours(data))
        if len(crops) > 1 and self.if_several == "reject":
            raise BadImage("shows several faces (--if-several-faces largest admits it)")
        if len(crops):
            return crops[0, :, :, 0]
        if self.if_none == "reject":
            raise BadImage("shows no face that the detector finds (--if-no-face whole admits it)")
        return grey_face(data, resize=True)
