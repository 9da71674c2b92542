"""One image: strictly 48×48 and grey, or resized; and no bytes at all break the reader."""

import contextlib
import io
import struct

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from fer_data.decoding import BadImage
from fer_data.images import grey_face
from tests.fer_data.raw_forms import (
    faces,
    jpeg,
    png,
)


def test_three_equal_channels_are_grey():
    face = faces(1)[0]
    assert np.array_equal(grey_face(png(np.stack([face] * 3, axis=-1))), face)


def test_resize_scales_by_area():
    face = faces(1)[0]
    assert np.array_equal(grey_face(png(face.repeat(2, 0).repeat(2, 1)), resize=True), face)
    assert np.array_equal(grey_face(png(face), resize=True), face)


def test_resize_keeps_the_centre_square_of_a_wide_image():
    face = faces(1)[0]
    wide = np.pad(face, ((0, 0), (10, 10)))
    assert np.array_equal(grey_face(png(wide), resize=True), face)


def test_resize_makes_colour_grey():
    red = np.full((100, 80, 3), (0, 0, 255), np.uint8)
    assert np.all(grey_face(png(red), resize=True) == 76)  # 0.299 · 255


PHOTOGRAPH = np.kron(faces(1)[0][:12, :12], np.ones((8, 8), np.uint8))
COLOURS = np.stack([PHOTOGRAPH, 255 - PHOTOGRAPH, PHOTOGRAPH // 2], axis=-1)
CLEAR = np.dstack([COLOURS, np.full((96, 96), 255, np.uint8)])


def saved(image: np.ndarray, kind: str, **options) -> bytes:
    """An image as another program saves it: RGB where it has colours."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, kind, **options)
    return file.getvalue()


def small(image: np.ndarray) -> np.ndarray:
    grey = image if image.ndim == 2 else cv2.cvtColor(image[..., :3], cv2.COLOR_RGB2GRAY)
    return cv2.resize(grey, (48, 48), interpolation=cv2.INTER_AREA)


KINDS = {
    "TIFF": (saved(PHOTOGRAPH, "TIFF"), PHOTOGRAPH),
    "TIFF, LZW, colour": (saved(COLOURS, "TIFF", compression="tiff_lzw"), COLOURS),
    "TIFF of 16 bits": (saved(PHOTOGRAPH.astype(np.uint16) * 257, "TIFF"), PHOTOGRAPH),
    "TIFF with alpha": (saved(CLEAR, "TIFF"), COLOURS),
    "BMP": (saved(COLOURS, "BMP"), COLOURS),
    "BMP, grey": (saved(PHOTOGRAPH, "BMP"), PHOTOGRAPH),
    "WebP": (saved(COLOURS, "WEBP", lossless=True), COLOURS),
    "WebP with alpha": (saved(CLEAR, "WEBP", lossless=True), COLOURS),
    "WebP, moving": (
        saved(COLOURS, "WEBP", lossless=True, save_all=True, append_images=[Image.fromarray(255 - COLOURS)]),
        COLOURS,
    ),
    "GIF": (saved(PHOTOGRAPH, "GIF"), PHOTOGRAPH),
    "GIF, moving": (
        saved(PHOTOGRAPH, "GIF", save_all=True, append_images=[Image.fromarray(255 - PHOTOGRAPH)]),
        PHOTOGRAPH,
    ),
    "PNG of 16 bits": (saved(PHOTOGRAPH.astype(np.uint16) * 257, "PNG"), PHOTOGRAPH),
    "PNG with alpha": (saved(CLEAR, "PNG"), COLOURS),
}


@pytest.mark.parametrize("kind", KINDS)
def test_resize_reads_every_usual_kind_of_image_and_the_first_of_its_pictures(kind):
    data, picture = KINDS[kind]
    assert np.abs(grey_face(data, resize=True).astype(int) - small(picture)).max() <= 1


@pytest.mark.parametrize("kind", ["TIFF", "BMP", "WebP", "GIF"])
def test_other_kinds_need_resize(kind):
    with pytest.raises(BadImage, match=f"is a {kind} image, neither a JPEG nor a PNG image .--resize admits it"):
        grey_face(KINDS[kind][0])


def test_a_photograph_of_a_telephone_is_told_its_kind():
    with pytest.raises(BadImage, match="is a HEIC or AVIF image: save it as a JPEG"):
        grey_face(b"\0\0\0\x18ftypheic\0\0\0\0", resize=True)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_the_exif_orientation_is_obeyed(kind, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    where = {"tiffinfo": {0x0112: orientation}} if kind == "TIFF" else {"exif": exif}
    better = {"JPEG": {"quality": 100}, "WEBP": {"lossless": True}}.get(kind, {})
    data = saved(small(PHOTOGRAPH), kind, **where, **better)
    upright = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("L"))
    assert not np.array_equal(upright, small(PHOTOGRAPH)) or orientation == 1 or kind == "JPEG"
    assert np.abs(grey_face(data, resize=True).astype(int) - upright).max() <= 2
    if kind in ("JPEG", "PNG"):
        assert np.abs(grey_face(data).astype(int) - upright).max() <= 2


def huge(kind: str) -> bytes:
    """The header of an image of 50,000 by 50,000 pixels."""
    size = 50_000
    return {
        "PNG": b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", size, size) + bytes(9),
        "JPEG": b"\xff\xd8\xff\xc0\0\x11\x08" + struct.pack(">HH", size, size) + bytes(20) + b"\xff\xda\xff\xd9",
        "BMP": b"BM" + bytes(12) + struct.pack("<Iii", 40, size, -size) + bytes(60),
        "GIF": b"GIF89a" + struct.pack("<HH", size, size) + bytes(60),
        "WebP": b"RIFF\0\0\0\0WEBPVP8X" + bytes(8) + (size - 1).to_bytes(3, "little") * 2 + bytes(60),
        "TIFF": b"II*\0" + struct.pack("<IHHHIIHHII", 8, 2, 256, 4, 1, size, 257, 4, 1, size) + bytes(60),
        "tiles": b"II*\0"
        + struct.pack("<IH", 8, 4)
        + b"".join(struct.pack("<HHII", tag, 4, 1, n) for tag, n in ((256, 9), (257, 9), (322, size), (323, size))),
    }[kind]


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "GIF", "WebP", "TIFF", "tiles"])
def test_an_image_of_absurd_size_is_refused_by_its_header(kind):
    with pytest.raises(BadImage, match="is 50000x50000: over 50 million pixels"):
        grey_face(huge(kind), resize=True)


@pytest.mark.parametrize("kind", ["TIFF", "TIFF, LZW, colour", "BMP", "WebP", "GIF"])
@pytest.mark.parametrize("share", [0.3, 0.9])
def test_a_truncated_image_is_no_whole_one(kind, share):
    data = KINDS[kind][0]
    with pytest.raises(BadImage):
        grey_face(data[: int(share * len(data))], resize=True)


def test_an_image_that_would_decode_to_gigabytes_is_refused_by_its_header():
    header = png(faces(1)[0])
    bomb = header[:16] + (60_000).to_bytes(4, "big") * 2 + header[24:]
    with pytest.raises(BadImage, match="million pixels"):
        grey_face(bomb, resize=True)


MAGIC = [b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"II*\0", b"MM\0*", b"BM", b"RIFF\0\0\0\0WEBP", b"GIF89a"]


@given(st.binary(max_size=200), st.sampled_from(MAGIC), st.booleans())
def test_no_bytes_at_all_break_the_image_reader(data, magic, resize):
    with contextlib.suppress(BadImage):
        assert grey_face(magic + data, resize).shape == (48, 48)


@given(st.integers(0, 10_000), st.integers(1, 255), st.booleans(), st.booleans())
@settings(deadline=None)
def test_no_damaged_byte_breaks_the_image_reader(position, change, resize, as_png):
    data = bytearray((png if as_png else jpeg)(faces(1)[0]))
    data[position % len(data)] ^= change
    with contextlib.suppress(BadImage):
        assert grey_face(bytes(data), resize).shape == (48, 48)


@given(st.sampled_from(list(KINDS)), st.floats(0, 1, exclude_max=True), st.integers(1, 255))
@settings(deadline=None, max_examples=200)
def test_no_damaged_byte_breaks_the_reader_of_other_kinds(kind, part, change):
    data = bytearray(KINDS[kind][0])
    data[int(part**3 * len(data))] ^= change  # Rather in the header.
    with contextlib.suppress(BadImage):
        assert grey_face(bytes(data), resize=True).shape == (48, 48)
