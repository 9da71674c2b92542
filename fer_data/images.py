"""One image file to 48x48 grey pixels, strictly or, with `resize`, from any size and colour."""

import cv2
import numpy as np

from fer_data.decoding import BadImage, checked_size, decoded
from fer_data.rows import SIDE


def grey_face(data: bytes, resize: bool = False) -> np.ndarray:
    """The pixels of an image file: uint8 [48, 48], upright as its EXIF orientation says.

    With `resize` it is a JPEG, PNG, TIFF (its first page), BMP, WebP or GIF (its first frame) of any size, colour and
    depth up to 16 bits. What is transparent counts as it is stored. A non-square image loses its longer sides equally,
    down to the centre square, and is scaled by area interpolation. Without `resize` it is a JPEG or PNG, 48x48 and grey
    (three equal channels count as grey). Raises BadImage when the file cannot be read or is not as asked.
    """
    width, height = checked_size(data, strict=not resize)
    if not resize and (width, height) != (SIDE, SIDE):
        raise BadImage(f"is {width}x{height}, not {SIDE}x{SIDE} (--resize admits it)")
    if not resize:
        face = _already_grey(decoded(data, cv2.IMREAD_UNCHANGED))
        # Of the two ways to decode, only the other one turns the image upright.
        return decoded(data, cv2.IMREAD_GRAYSCALE) if b"Exif\0\0" in data or b"eXIf" in data else face
    image = decoded(data, cv2.IMREAD_GRAYSCALE)
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
