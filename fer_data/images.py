"""One image file to 48x48 grey pixels, strictly or, with `resize`, from any size and colour."""

import cv2
import numpy as np

from fer_data.rows import SIDE

MAX_IMAGE_BYTES = 32 * 2**20
MAX_IMAGE_PIXELS = 100 * 10**6
_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8\xff"
_JPEG_END = b"\xff\xd9"
_JPEG_SCAN = b"\xff\xda"


class BadImage(Exception):
    """Why an image cannot be used: the reason that `rejected.parquet` gives."""


def grey_face(data: bytes, resize: bool = False) -> np.ndarray:
    """The pixels of a JPEG or PNG file: uint8 [48, 48].

    With `resize`, a non-square image loses its longer sides equally, down to the centre square, and
    is scaled by area interpolation. Without it the image must be 48x48 and grey (three equal channels
    count as grey). Raises BadImage when the file cannot be read or is not as asked.
    """
    width, height = _declared_size(data)
    if not resize and (width, height) != (SIDE, SIDE):
        raise BadImage(f"is {width}x{height}, not {SIDE}x{SIDE} (--resize admits it)")
    if width * height > MAX_IMAGE_PIXELS:
        raise BadImage(f"is {width}x{height}: over {MAX_IMAGE_PIXELS // 10**6} million pixels")
    flags = cv2.IMREAD_GRAYSCALE if resize else cv2.IMREAD_UNCHANGED
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise BadImage("cannot be decoded") from error
    if image is None:
        raise BadImage("cannot be decoded")
    if not resize:
        return _already_grey(image)
    side = min(image.shape)
    top, left = (image.shape[0] - side) // 2, (image.shape[1] - side) // 2
    square = image[top : top + side, left : left + side]
    return square if side == SIDE else cv2.resize(square, (SIDE, SIDE), interpolation=cv2.INTER_AREA)


def _already_grey(image: np.ndarray) -> np.ndarray:
    if image.shape[:2] != (SIDE, SIDE) or image.dtype != np.uint8:
        raise BadImage(f"does not hold {SIDE}x{SIDE} pixels of 8 bits (--resize admits it)")
    if image.ndim == 2:
        return image
    if image.shape[2] == 3 and (image == image[:, :, :1]).all():
        return np.ascontiguousarray(image[:, :, 0])
    raise BadImage("is in colour (--resize admits it)")


def _declared_size(data: bytes) -> tuple[int, int]:
    """Width and height as the header has them, so that a bomb is refused before it is decoded."""
    if not data:
        raise BadImage("is empty")
    if data.startswith(_PNG) and len(data) >= 24:
        return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    if not data.startswith(_JPEG):
        raise BadImage("is neither a JPEG nor a PNG image")
    # The decoder fills in what a truncated JPEG lacks; such a face must not pass for a whole one.
    if _JPEG_END not in data[data.rfind(_JPEG_SCAN) :]:
        raise BadImage("is a truncated JPEG image")
    position = 2
    while position + 9 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xFF:  # padding before a marker
            position += 1
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # a start of frame
            height, width = data[position + 5 : position + 7], data[position + 7 : position + 9]
            return int.from_bytes(width, "big"), int.from_bytes(height, "big")
        else:
            position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    raise BadImage("is a damaged JPEG image")
