import numpy as np
import pytest

from fer_data.drawing import draw
from jobs.evaluation.scoring.corruptions import CORRUPTIONS, STRENGTHS, corrupt
from jobs.evaluation.scoring.views import VIEWS, views

SEEDS = np.arange(12, dtype=np.uint64) + np.uint64(2**63)


@pytest.fixture(scope="module")
def faces() -> np.ndarray:
    return draw(np.arange(12), 0)[0][..., None]


def test_there_are_at_least_twelve_corruptions_at_three_strengths():
    assert len(CORRUPTIONS) >= 12
    assert STRENGTHS == (1, 2, 3)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_corruption_is_the_same_every_time_and_in_every_batch(name, faces):
    whole = corrupt(faces, name, 2, SEEDS)
    assert whole.dtype == np.uint8
    assert whole.shape == faces.shape
    np.testing.assert_array_equal(corrupt(faces[7:9], name, 2, SEEDS[7:9]), whole[7:9])


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_stronger_corruption_changes_images_more(name, faces):
    changes = [np.abs(corrupt(faces, name, s, SEEDS).astype(float) - faces).mean() for s in STRENGTHS]
    assert 0.5 < changes[0] < changes[1] < changes[2]


def test_corrupting_leaves_the_original_alone(faces):
    before = faces.copy()
    for name in CORRUPTIONS:
        corrupt(faces, name, 3, SEEDS)
    np.testing.assert_array_equal(faces, before)


@pytest.mark.parametrize("name", VIEWS)
def test_the_first_view_is_the_image_and_all_are_images(name, faces):
    found = views(faces, name)
    assert len(found) == VIEWS[name]
    assert all(view.shape == faces.shape and view.dtype == np.uint8 for view in found)
    np.testing.assert_array_equal(found[0], faces)


def test_flip_adds_the_mirror_image_and_ten_crop_shifts_both_ways(faces):
    np.testing.assert_array_equal(views(faces, "flip")[1], faces[:, :, ::-1])
    corner = views(faces, "ten_crop")[2]
    np.testing.assert_array_equal(corner[:, 3:, 3:], faces[:, :-3, :-3])
