"""Frames of every kind become BGR, faces become what the network was trained on."""

import numpy as np
import pytest

from fer_data.faces.crops import face_crops, reduced_grey, square_patch, to_bgr
from tests.live.scenes import PEOPLE, scene


@pytest.mark.parametrize(
    "image",
    [
        np.full((5, 7), 200, np.uint8),
        np.full((5, 7, 1), 200, np.uint8),
        np.full((5, 7, 3), 200, np.uint8),
        np.full((5, 7, 4), 200, np.uint8),
        np.full((5, 7), 200 * 257, np.uint16),
        np.full((5, 7, 3), 200 / 255, np.float64),
    ],
)
def test_grey_colour_transparent_and_deep_frames_become_bgr(image):
    bgr = to_bgr(image)
    assert bgr.shape == (5, 7, 3)
    assert bgr.dtype == np.uint8
    assert (abs(bgr.astype(int) - 200) <= 1).all()


@pytest.mark.parametrize("image", [None, np.empty((0, 0, 3), np.uint8), np.zeros((2, 2, 2), np.uint8), np.zeros(4)])
def test_what_is_no_image_is_none(image):
    assert to_bgr(image) is None


def test_a_crop_is_the_face_as_the_training_data_have_it():
    frame = scene({0: (300, 200, 48), 1: (500, 300, 96)})
    crops = face_crops(frame, np.array([[276, 176, 48, 48], [452, 252, 96, 96]]), margin=0)
    assert crops.shape == (2, 48, 48, 1)
    np.testing.assert_array_equal(crops[0, :, :, 0], PEOPLE[0])
    assert np.abs(crops[1, :, :, 0].astype(int) - PEOPLE[1]).mean() < 5


def test_beyond_the_border_the_last_pixels_go_on():
    frame = np.arange(100, dtype=np.uint8).reshape(10, 10, 1).repeat(3, axis=2)
    patch = square_patch(frame, np.array([-2.0, 3.0, 6.0, 6.0]))
    assert patch.shape == (6, 6, 3)
    np.testing.assert_array_equal(patch[:, 0], patch[:, 2])
    np.testing.assert_array_equal(patch[:, 2:], frame[3:9, 0:4])
    for box in ([-50, -50, 10, 10], [8, 8, 90, 90], [4, 4, 0, 0]):
        assert face_crops(frame, np.array([box])).shape == (1, 48, 48, 1)


@pytest.mark.parametrize("size", [(1, 1), (4320, 7680), (1, 5000)])
def test_frames_of_any_size_are_reduced(size):
    grey, scale = reduced_grey(np.zeros((*size, 3), np.uint8), 320)
    assert max(grey.shape) == min(320, max(size))
    assert min(grey.shape) >= 1
    assert scale == min(1, 320 / max(size))
