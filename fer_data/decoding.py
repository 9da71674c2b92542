"""The bytes of one image file to pixels. Whoever reads images reads them here, within one limit of size.

It needs OpenCV and NumPy only.
"""

import threading
from typing import IO

import cv2
import numpy as np

from fer_data import MAX_IMAGE_PIXELS
from fer_data.image_headers import declared_size, kind_of

MAX_IMAGE_BYTES = 32 * 2**20
_STRICT = ("JPEG", "PNG")
_LARGE_PIXELS = 8 * 10**6
_ONE_LARGE = threading.Lock()
"""Images of more than _LARGE_PIXELS are decoded one at a time, whatever the number of threads."""
_FLOAT_SHARE = 8
"""Pixels of 32 bits take so many times the memory."""


class BadImage(Exception):
    """Why an image cannot be used: the reason that `rejected.parquet` gives."""


def is_image(head: bytes) -> bool:
    """Whether a file that begins with `head` is an image of a kind that is read here, by its content."""
    return kind_of(head) is not None


def read_limited(file: IO[bytes]) -> bytes:
    """The content of an image file. Raises BadImage where it has more than MAX_IMAGE_BYTES."""
    data = file.read(MAX_IMAGE_BYTES + 1)
    if len(data) > MAX_IMAGE_BYTES:
        raise BadImage(f"has more than {MAX_IMAGE_BYTES:,} bytes: too large an image")
    return data


def decoded(data: bytes, flags: int) -> np.ndarray:
    """The pixels of an image file, [h, w] or [h, w, channels] as OpenCV decodes it with `flags`.

    Raises BadImage for an image that is damaged or has more than MAX_IMAGE_PIXELS, by its header or in truth.
    """
    width, height = checked_size(data)
    # What is wrong with an image is said once, by whoever asked for it, and not by OpenCV on stderr.
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    if width * height <= _LARGE_PIXELS:
        return _decoded(data, flags)
    with _ONE_LARGE:
        return _decoded(data, flags)


def colours(data: bytes) -> np.ndarray:
    """The picture in an image file, upright as its EXIF orientation says: uint8 [h, w, 3] in BGR.

    Values of 16 bits lose their lower half, and floats are from 0 to 1. Raises BadImage as `decoded` does.
    """
    try:
        return decoded(data, cv2.IMREAD_COLOR)
    except BadImage:
        # OpenCV reads floats only when asked for any depth, which would cost twice the memory for 16 bits.
        width, height = checked_size(data)
        if kind_of(data) != "TIFF" or width * height > MAX_IMAGE_PIXELS // _FLOAT_SHARE:
            raise
    image = decoded(data, cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
    bytes_ = np.empty(image.shape, np.uint8)
    for row, values in zip(bytes_, image, strict=True):
        row[:] = np.clip(np.nan_to_num(values), 0, 1) * 255
    return bytes_


def checked_size(data: bytes, *, strict: bool = False) -> tuple[int, int]:
    """Width and height as the header has them, so that a bomb is refused before it is decoded.

    `strict` admits JPEG and PNG images only. Raises BadImage.
    """
    if not data:
        raise BadImage("is empty")
    kind = kind_of(data)
    if kind is None and data[4:8] == b"ftyp":
        raise BadImage("is a HEIC or AVIF image: save it as a JPEG or PNG image")
    if kind is None:
        more = "" if strict else ", nor a TIFF, BMP, WebP or GIF image"
        raise BadImage(f"is neither a JPEG nor a PNG image{more}")
    if strict and kind not in _STRICT:
        raise BadImage(f"is a {kind} image, neither a JPEG nor a PNG image (--resize admits it)")
    try:
        width, height = declared_size(data)
    except ValueError as error:
        raise BadImage(str(error)) from error
    if width * height > MAX_IMAGE_PIXELS:
        raise BadImage(f"is {width}x{height}: over {MAX_IMAGE_PIXELS // 10**6} million pixels")
    return width, height


def _decoded(data: bytes, flags: int) -> np.ndarray:
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise BadImage("cannot be decoded") from error
    if image is None or not image.size:
        raise BadImage("cannot be decoded")
    return image
