"""One image file to 48x48 grey pixels, strictly or, with `resize`, from any size and colour."""

import cv2
import numpy as np

from fer_data.faces.crops import to_bgr
from fer_data.image_headers import declared_size, kind_of
from fer_data.rows import SIDE

MAX_IMAGE_BYTES = 32 * 2**20
MAX_IMAGE_PIXELS = 100 * 10**6
_STRICT = ("JPEG", "PNG")


class BadImage(Exception):
    """Why an image cannot be used: the reason that `rejected.parquet` gives."""


def is_image(head: bytes) -> bool:
    """Whether a file that begins with `head` is an image of a kind that `grey_face` reads, by its content."""
    return kind_of(head) is not None


def grey_face(data: bytes, resize: bool = False) -> np.ndarray:
    """The pixels of an image file: uint8 [48, 48], upright as its EXIF orientation says.

    With `resize` it is a JPEG, PNG, TIFF (its first page), BMP, WebP or GIF (its first frame) of any size, colour and
    depth up to 16 bits. What is transparent counts as it is stored. A non-square image loses its longer sides equally,
    down to the centre square, and is scaled by area interpolation. Without `resize` it is a JPEG or PNG, 48x48 and grey
    (three equal channels count as grey). Raises BadImage when the file cannot be read or is not as asked.
    """
    width, height = _checked_size(data, resize)
    if not resize and (width, height) != (SIDE, SIDE):
        raise BadImage(f"is {width}x{height}, not {SIDE}x{SIDE} (--resize admits it)")
    _refuse_huge(width, height)
    if not resize:
        face = _already_grey(_decoded(data, cv2.IMREAD_UNCHANGED))
        # Of the two ways to decode, only the other one turns the image upright.
        return _decoded(data, cv2.IMREAD_GRAYSCALE) if b"Exif\0\0" in data or b"eXIf" in data else face
    image = _decoded(data, cv2.IMREAD_GRAYSCALE)
    side = min(image.shape)
    top, left = (image.shape[0] - side) // 2, (image.shape[1] - side) // 2
    square = image[top : top + side, left : left + side]
    return square if side == SIDE else cv2.resize(square, (SIDE, SIDE), interpolation=cv2.INTER_AREA)


def photograph(data: bytes) -> np.ndarray:
    """An image file of any kind that `grey_face` resizes, in colour: BGR uint8 [h, w, 3], upright.

    Raises BadImage when the file cannot be read.
    """
    _refuse_huge(*_checked_size(data, resize=True))
    # Unlike IMREAD_UNCHANGED, these obey the EXIF orientation.
    image = to_bgr(_decoded(data, cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH))
    if image is None:
        raise BadImage("cannot be decoded")
    return image


def _refuse_huge(width: int, height: int) -> None:
    if width * height > MAX_IMAGE_PIXELS:
        raise BadImage(f"is {width}x{height}: over {MAX_IMAGE_PIXELS // 10**6} million pixels")


def _decoded(data: bytes, flags: int) -> np.ndarray:
    # What is wrong with an image is the reason that its row is rejected, and nothing on stderr.
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise BadImage("cannot be decoded") from error
    if image is None:
        raise BadImage("cannot be decoded")
    return image


def _already_grey(image: np.ndarray) -> np.ndarray:
    if image.shape[:2] != (SIDE, SIDE) or image.dtype != np.uint8:
        raise BadImage(f"does not hold {SIDE}x{SIDE} pixels of 8 bits (--resize admits it)")
    if image.ndim == 2:
        return image
    if image.shape[2] == 3 and (image == image[:, :, :1]).all():
        return np.ascontiguousarray(image[:, :, 0])
    raise BadImage("is in colour (--resize admits it)")


def _checked_size(data: bytes, resize: bool) -> tuple[int, int]:
    """Width and height as the header has them, so that a bomb is refused before it is decoded."""
    if not data:
        raise BadImage("is empty")
    kind = kind_of(data)
    if kind is None and data[4:8] == b"ftyp":
        raise BadImage("is a HEIC or AVIF image: save it as a JPEG or PNG image")
    if kind is None:
        more = ", nor a TIFF, BMP, WebP or GIF image" if resize else ""
        raise BadImage(f"is neither a JPEG nor a PNG image{more}")
    if kind not in _STRICT and not resize:
        raise BadImage(f"is a {kind} image, neither a JPEG nor a PNG image (--resize admits it)")
    try:
        return declared_size(data)
    except ValueError as error:
        raise BadImage(str(error)) from error
