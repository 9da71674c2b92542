"""One image: strictly 48×48 and grey, or resized; and no bytes at all break the reader."""

import contextlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fer_data.images import BadImage, grey_face
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


def test_an_image_that_would_decode_to_gigabytes_is_refused_by_its_header():
    header = png(faces(1)[0])
    bomb = header[:16] + (60_000).to_bytes(4, "big") * 2 + header[24:]
    with pytest.raises(BadImage, match="million pixels"):
        grey_face(bomb, resize=True)


@given(st.binary(max_size=200), st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"]), st.booleans())
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
