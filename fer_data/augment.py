"""Augmentation in the graph: one fused random warp, photometric change, erasing and mixup; then noise.

Keras operations only, on any backend; `augment_draws` draws the random numbers.
"""

from typing import Any

import numpy as np
from keras import ops

from fer_data.augment_draws import NO_AUGMENTATION, AugmentationConfig

_SIDE = 48
_NORMAL = np.random.default_rng(0).standard_normal(2**18).astype(np.float32)
"""Each image reads its noise from a place of its own, so that it is the same on every device."""
Tensor = Any
"""A tensor or array of any Keras backend."""


def augment(
    config: AugmentationConfig,
    pixels: Tensor,
    targets: Tensor,
    transforms: Tensor,
    tones: Tensor,
    boxes: Tensor,
    mix: Tensor,
    partner: Tensor,
) -> tuple[Tensor, Tensor]:
    """Augmented pixels, uint8 [n, 48, 48, 1], and targets, float32 [n, 7].

    `pixels` uint8 [n, 48, 48, 1]; `targets` float32 [n, 7], one-hot; the rest are the arrays of `Draws` without the
    noise, which `with_noise` adds. Changes whose range is 0 cost nothing. Pixels are rounded back to bytes, so that a
    network trains on what it will serve.
    """
    if config == NO_AUGMENTATION:
        return pixels, targets
    images = ops.cast(pixels, "float32")
    if config.warps:
        images = ops.image.affine_transform(images, transforms, interpolation="bilinear", fill_mode="nearest")
    # A pass over the pixels costs as much as the arithmetic in it: as few as possible.
    if config.contrast or config.brightness:
        scale, shift = _per_image(tones[:, 0]), _per_image(tones[:, 1])
        if config.contrast:
            shift = shift + (1 - scale) * ops.mean(images, axis=(1, 2, 3), keepdims=True)
        images = images * scale + shift
    if config.gamma:
        # A power by way of logarithms: four times as fast as `power` on processors. A millionth rounds to black.
        light = ops.log(ops.clip(images / 255, 1e-6, 1))
        images = 255 * ops.exp(_per_image(tones[:, 2]) * light)
    if config.erases:
        images = ops.where(_inside(boxes), _per_image(boxes[:, 4]), images)
    if config.mixup:
        weight = _per_image(mix)
        images = weight * images + (1 - weight) * ops.take(images, partner, axis=0)
        targets = mix[:, None] * targets + (1 - mix[:, None]) * ops.take(targets, partner, axis=0)
    return _to_bytes(images), targets


def with_noise(pixels: Tensor, noise: Tensor) -> Tensor:
    """`pixels`, uint8 [n, 48, 48, 1], with the Gaussian noise that `Draws.noise`, float32 [n, 2], asks for."""
    first = ops.cast(noise[:, 1:] * (len(_NORMAL) - _SIDE**2), "int32")
    values = ops.take(_NORMAL, first + ops.arange(_SIDE**2, dtype="int32"))
    values = ops.reshape(values, (-1, _SIDE, _SIDE, 1))
    return _to_bytes(ops.cast(pixels, "float32") + _per_image(noise[:, 0]) * values)


def _to_bytes(images: Tensor) -> Tensor:
    return ops.cast(ops.round(ops.clip(images, 0, 255)), "uint8")


def _per_image(values: Tensor) -> Tensor:
    return ops.reshape(values, (-1, 1, 1, 1))


def _inside(boxes: Tensor) -> Tensor:
    """Whether each pixel lies in its image's box: bool [n, 48, 48, 1]."""
    positions = ops.arange(_SIDE, dtype="float32")[None, :]
    rows = ops.logical_and(positions >= boxes[:, 0:1], positions < boxes[:, 1:2])
    columns = ops.logical_and(positions >= boxes[:, 2:3], positions < boxes[:, 3:4])
    return ops.logical_and(rows[:, :, None], columns[:, None, :])[..., None]
