"""Near copies are found whatever was done to them, and people who look alike are none."""

import time

import cv2
import numpy as np
import pytest

from fer_data.drawing import draw
from fer_data.near_copies.finder import find_copies
from fer_data.near_copies.photographs import partners_of_partners
from fer_data.near_copies.table import Copies
from fer_data.rows import hashes_of
from tests.fer_data.near_copies.transforms import TRANSFORMS, moved

ORIGINALS = 400


def found(images: np.ndarray) -> Copies:
    return find_copies(images[..., None], hashes_of(images))


def photographs(images: np.ndarray) -> np.ndarray:
    """The photograph of each image, -1 for one that occurs once."""
    copies = found(images)
    numbers = np.full(len(images), -1)
    numbers[copies.row] = copies.photograph
    return numbers


@pytest.fixture(scope="module")
def originals() -> np.ndarray:
    return draw(np.arange(ORIGINALS), 3)[0].reshape(-1, 48, 48)


@pytest.fixture(scope="module")
def everything(originals) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The images of all transforms and the originals, the photograph of each original, and those of its copies."""
    dice = np.random.default_rng(0)
    chosen = {name: dice.permutation(ORIGINALS)[:60] for name in TRANSFORMS}
    copies = [TRANSFORMS[name](originals[i], dice) for name, rows in chosen.items() for i in rows]
    numbers = photographs(np.concatenate([originals, copies]))
    ends = np.cumsum([ORIGINALS, *(len(rows) for rows in chosen.values())])
    right = {
        name: (numbers[start:end] >= 0) & (numbers[start:end] == numbers[rows])
        for (name, rows), start, end in zip(chosen.items(), ends, ends[1:], strict=False)
    }
    return numbers[:ORIGINALS], right


@pytest.mark.parametrize("name", TRANSFORMS)
def test_a_copy_is_found_whatever_was_done_to_it(everything, name):
    # A drawing has less to tell it by than a photograph, of which 98 in 100 are found: see test_real_copies.py.
    assert everything[1][name].mean() >= 0.85


def test_faces_that_look_alike_are_other_photographs(everything):
    numbers = everything[0]
    several = numbers[numbers >= 0]
    assert len(several) == len(np.unique(several))  # No two originals share a photograph.


def test_of_different_images_none_is_linked():
    """Drawn faces, flat and nearly flat images, logos, noise."""
    dice = np.random.default_rng(1)
    flat = np.full((20, 48, 48), 128) + dice.integers(-2, 3, (20, 48, 48))
    logos = np.zeros((12, 48, 48), np.uint8)
    for index, logo in enumerate(logos):
        cv2.circle(logo, (24, 24), 6 + index, 255, -1)
        cv2.putText(logo, chr(65 + 2 * index), (14, 34), cv2.FONT_HERSHEY_SIMPLEX, 1, 128, 2)
    noise = dice.integers(0, 256, (50, 48, 48))
    faces = draw(np.arange(3000), 5)[0].reshape(-1, 48, 48)
    images = np.concatenate([faces, flat, noise, logos]).astype(np.uint8)
    linked = found(images).row
    assert len(linked) <= 0.001 * len(images), linked


def test_what_is_found_does_not_depend_on_the_order_of_rows(originals):
    copies = np.stack([moved(image, scale=1.1, mirrored=i % 2 == 0) for i, image in enumerate(originals)])
    images = np.concatenate([originals, copies, originals[:3]])
    once = found(images)
    order = np.random.default_rng(2).permutation(len(images))
    again = found(images[order])
    by_image = np.argsort(order[again.row])
    np.testing.assert_array_equal(order[again.row][by_image], once.row)
    for name in ("photograph", "correlation", "mirrored"):
        np.testing.assert_array_equal(getattr(again, name)[by_image], getattr(once, name), err_msg=name)
    # Of two equal images, either may be the partner.
    np.testing.assert_array_equal(images[order[again.partner][by_image]], images[once.partner])


def test_partners_correlation_and_mirror_are_told(originals):
    images = np.concatenate([originals[:40], moved(originals[0], mirrored=True)[None], originals[1:2]])
    copies = found(images)
    assert copies.row.tolist() == [0, 1, 40, 41]
    assert copies.partner.tolist() == [40, 41, 0, 1]
    assert copies.mirrored.tolist() == [True, False, True, False]
    assert copies.correlation[[1, 3]].tolist() == [1, 1]
    assert copies.correlation[0] == copies.correlation[2] > 0.99
    assert copies.photograph.tolist() == [0, 1, 0, 1]


def test_frames_of_a_video_are_seen_in_training_wherever_it_is_cut(originals):
    dice = np.random.default_rng(2)
    frames = np.stack(
        [
            np.clip(moved(face, scale=1 + k / 200, right=k / 10, turn=k / 8) + dice.normal(0, 3, face.shape), 0, 255)
            for face in originals[:5]
            for k in range(30)
        ]
    ).astype(np.uint8)
    numbers = photographs(frames).reshape(5, 30)
    for video in range(5):
        assert set(numbers[video, 24:]) <= set(numbers[video, :24]) - {-1}
        assert not set(numbers[video]) & set(np.delete(numbers, video, axis=0).ravel())


def test_images_that_are_all_alike_are_not_all_compared():
    one, other = np.triu_indices(60, 1)
    nearest = other - one <= 3
    one, other = one[nearest], other[nearest]
    left, right, first, second = partners_of_partners((one, other))
    assert np.bincount(left).max() <= 6
    # Two links lead from each to its other through a third.
    ends = np.array([np.concatenate([one, other]), np.concatenate([other, one])])
    np.testing.assert_array_equal(ends[:, first][0], left)
    np.testing.assert_array_equal(ends[:, first][1], ends[:, second][0])
    np.testing.assert_array_equal(ends[:, second][1], right)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_few_images_are_no_trouble(originals, count):
    assert len(found(originals[:count]).row) == 0


def test_thirty_thousand_equal_images_take_no_time(originals):
    began = time.process_time()
    copies = found(np.repeat(originals[:1], 30_000, axis=0))
    assert len(copies.row) == 30_000
    assert set(copies.photograph) == {0}
    assert (copies.partner != copies.row).all()
    assert time.process_time() - began < 30  # Comparing them in pairs would take an hour.
