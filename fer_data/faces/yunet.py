"""YuNet (Wu et al. 2023), run by OpenCV. The user supplies its ONNX file."""

import cv2
import numpy as np

from fer_data.errors import UserError
from fer_data.faces.crops import reduced


class YuNetDetector:
    """YuNet from the ONNX file face_detection_yunet_2023mar.onnx of opencv_zoo. Raises UserError for another file."""

    def __init__(self, model: str, long_side: int = 320, confidence: float = 0.7) -> None:
        self._long_side = long_side
        try:
            self._network = cv2.FaceDetectorYN.create(model, "", (long_side, long_side), confidence)
            self(np.zeros((64, 64, 3), np.uint8))
        except cv2.error as error:
            raise UserError(f"{model} is not a YuNet model: give --detector haar or YuNet's .onnx file") from error

    def __call__(self, frame: np.ndarray) -> np.ndarray:
        image, scale = reduced(frame, self._long_side)
        self._network.setInputSize(image.shape[1::-1])
        found = self._network.detect(image)[1]
        return np.empty((0, 4), np.float32) if found is None else found[:, :4] / np.float32(scale)
