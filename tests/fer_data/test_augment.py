from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from fer_data.augment import augment, with_noise
from fer_data.augment_draws import NO_AUGMENTATION, AugmentationConfig, draw

EVERYTHING = AugmentationConfig(
    rotation=12, shear=5, brightness=0.1, contrast=0.2, gamma=0.3, erase_probability=0.5, mixup=0.4, noise=0.1
)


def faces(count: int) -> np.ndarray:
    smooth = ndimage.gaussian_filter(np.random.default_rng(0).uniform(0, 255, (count, 48, 48)), (0, 3, 3))
    smooth = (smooth - smooth.min()) / np.ptp(smooth) * 255
    return smooth.astype(np.uint8)[..., None]


def one_hot(count: int) -> np.ndarray:
    return np.eye(7, dtype=np.float32)[np.arange(count) % 7]


def apply(config, pixels, *, epoch=1, step=0, rows=None, global_batch=None):
    rows = rows or slice(0, len(pixels))
    draws = draw(config, seed=3, epoch=epoch, steps=[step], global_batch=global_batch or len(pixels), rows=rows)
    *changes, noise = draws.arrays()
    images, targets = augment(config, pixels, one_hot(len(pixels)), *changes)
    if config.noise:
        images = with_noise(images, noise)
    return np.asarray(images), np.asarray(targets), draws


def test_without_augmentation_pixels_and_targets_pass_untouched():
    pixels = faces(5)
    images, targets, _ = apply(NO_AUGMENTATION, pixels)
    assert images is pixels
    np.testing.assert_array_equal(targets, one_hot(5))


def test_augmented_images_are_bytes_like_the_images_a_model_serves():
    images, _, _ = apply(EVERYTHING, faces(8))
    assert images.dtype == np.uint8
    assert images.shape == (8, 48, 48, 1)


def test_the_same_seed_epoch_and_step_change_an_image_in_the_same_way():
    pixels = faces(8)
    np.testing.assert_array_equal(apply(EVERYTHING, pixels)[0], apply(EVERYTHING, pixels)[0])
    assert (apply(EVERYTHING, pixels)[0] != apply(EVERYTHING, pixels, step=1)[0]).any()
    assert (apply(EVERYTHING, pixels)[0] != apply(EVERYTHING, pixels, epoch=2)[0]).any()


def test_an_image_is_changed_in_the_same_way_whichever_rank_holds_it():
    config, pixels = replace(EVERYTHING, mixup=0), faces(9)
    whole = apply(config, pixels)[0]
    parts = [apply(config, pixels[s], rows=s, global_batch=9)[0] for s in (slice(0, 4), slice(4, 9))]
    np.testing.assert_array_equal(whole, np.concatenate(parts))


def test_steps_drawn_together_change_images_as_each_alone():
    rows = slice(2, 7)
    together = draw(EVERYTHING, seed=3, epoch=2, steps=range(4, 7), global_batch=9, rows=rows).arrays()
    alone = [draw(EVERYTHING, seed=3, epoch=2, steps=[step], global_batch=9, rows=rows).arrays() for step in (4, 5, 6)]
    for name, whole, *parts in zip(("transforms", "tones", "boxes", "mix"), together, *alone, strict=False):
        np.testing.assert_array_equal(whole, np.concatenate(parts), err_msg=name)
    # Partners are of the same step.
    np.testing.assert_array_equal(together[4], np.concatenate([5 * i + part[4] for i, part in enumerate(alone)]))


def test_the_fused_warp_is_the_affine_map_that_its_matrix_says():
    config, pixels = AugmentationConfig(rotation=20, shift=0.1, zoom=0.2, shear=10), faces(4)
    images, _, draws = apply(config, pixels)
    for image, source, transform in zip(images, pixels, draws.transforms, strict=True):
        a, b, c, d, e, f, *_ = transform.astype(float)
        # SciPy counts (row, column) where the transform counts (x, y).
        expected = ndimage.affine_transform(
            source[..., 0].astype(float), [[e, d], [b, a]], offset=[f, c], order=1, mode="nearest"
        )
        assert np.abs(image[..., 0] - expected).max() <= 1  # Rounded to bytes.


def test_flips_mirror_exactly_and_about_half_of_the_images():
    pixels = faces(200)
    images, _, _ = apply(replace(NO_AUGMENTATION, flip=True), pixels)
    flipped = (images == pixels[:, :, ::-1]).all(axis=(1, 2, 3))
    kept = (images == pixels).all(axis=(1, 2, 3))
    assert (flipped | kept).all()
    assert 70 < flipped.sum() < 130


@pytest.mark.parametrize(("field", "value", "index"), [("shift", 0.2, (2, 5)), ("zoom", 0.2, (0, 4))])
def test_ranges_are_those_of_the_configuration(field, value, index):
    config = replace(NO_AUGMENTATION, **{field: value})
    transforms = draw(config, seed=0, epoch=1, steps=[0], global_batch=4000, rows=slice(0, 4000)).transforms
    size = 48 if field == "shift" else 1
    middle = 0 if field == "shift" else 1
    for at in index:
        deviation = (transforms[:, at] - middle) / size
        assert 0.98 * value < np.abs(deviation).max() <= value + 1e-6
        assert abs(deviation.mean()) < 0.01


def test_brightness_contrast_and_gamma_act_on_pixel_values_alone():
    pixels = np.full((50, 48, 48, 1), 100, np.uint8)
    assert (apply(replace(NO_AUGMENTATION, contrast=0.9), pixels)[0] == 100).all()
    bright = apply(replace(NO_AUGMENTATION, brightness=0.1), pixels)[0]
    assert 74 <= bright.min() < 85
    assert 115 < bright.max() <= 126
    assert np.ptp(bright, axis=(1, 2, 3)).max() == 0
    assert np.ptp(apply(replace(NO_AUGMENTATION, gamma=0.5), pixels)[0]) > 20


def test_erasing_paints_one_rectangle_of_at_most_the_given_area_on_the_given_share():
    pixels = np.zeros((400, 48, 48, 1), np.uint8)
    images, _, draws = apply(replace(NO_AUGMENTATION, erase_probability=0.5, erase_area=0.2), pixels)
    painted = (images > 0).mean(axis=(1, 2, 3))
    boxes = draws.boxes
    empty = boxes[:, 0] == boxes[:, 1]
    assert 0.35 < (~empty).mean() < 0.6
    assert painted.max() <= 0.2 * 1.1
    inside = ((boxes[:, 1] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 2]) / 48**2)[boxes[:, 4] >= 1]
    np.testing.assert_allclose(painted[boxes[:, 4] >= 1], inside, atol=1e-6)


def test_noise_is_normal_and_on_half_of_the_images_up_to_its_strength():
    pixels = np.full((400, 48, 48, 1), 128, np.uint8)
    images, _, draws = apply(replace(NO_AUGMENTATION, noise=0.12), pixels)
    added = images.astype(float) - 128
    strengths = draws.noise[:, 0]
    assert 0.4 < (strengths == 0).mean() < 0.6
    assert 0.98 * 0.12 < strengths.max() / 255 <= 0.12
    np.testing.assert_allclose(added.std(axis=(1, 2, 3)), strengths, rtol=0.1, atol=0.35)
    clear = strengths > 8
    assert np.abs(added[clear].mean(axis=(1, 2, 3)) / strengths[clear]).max() < 0.1
    # Its values have the tails of a normal distribution, and no two images have the same.
    assert 0.0015 < (np.abs(added[clear]) > 3 * strengths[clear][:, None, None, None]).mean() < 0.004
    likeness = np.corrcoef(added[clear].reshape(clear.sum(), -1))
    assert np.abs(likeness - np.eye(len(likeness))).max() < 0.15


def test_mixup_mixes_images_and_targets_with_the_same_weights():
    pixels = faces(16)
    images, targets, draws = apply(replace(NO_AUGMENTATION, mixup=0.4), pixels)
    weight = draws.mix[:, None, None, None]
    expected = weight * pixels + (1 - weight) * pixels[draws.partner].astype(np.float32)
    assert np.abs(images - expected).max() <= 0.51
    np.testing.assert_allclose(targets.sum(axis=1), 1, atol=1e-6)
    assert (targets.argmax(axis=1) == one_hot(16).argmax(axis=1)).all()  # The image itself weighs at least half.


def test_the_original_projects_ranges_are_the_default():
    config = AugmentationConfig()
    assert (config.rotation, config.shift, config.shear, config.zoom, config.flip) == (2, 0.2, 0.2, 0.2, True)


@pytest.mark.parametrize(("field", "value"), [("shift", -0.1), ("zoom", 1.0), ("erase_probability", 1.5)])
def test_a_range_out_of_bounds_is_refused_by_its_option(field, value):
    with pytest.raises(ValueError, match=f"--{field.replace('_', '-')}"):
        AugmentationConfig(**{field: value})
