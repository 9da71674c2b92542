"""What augmentation may do, and the random numbers of it, drawn on the host.

Numbers are drawn for a whole global batch from (seed, epoch, step), and every rank takes its own rows of them: an image
is changed the same way whatever the number of workers. `augment` applies them in the training graph.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import with_config

from fer_data.commands import check

_SIDE = 48


@with_config(extra="forbid")
@dataclass(frozen=True)
class AugmentationConfig:
    """Ranges of the random changes made to training images; 0 switches a change off."""

    rotation: float = 2.0
    """Rotation, in degrees either way."""
    shift: float = 0.2
    """Shift along each axis, as a fraction of the side, either way."""
    zoom: float = 0.2
    """Zoom of each axis by an independent factor in 1 ± this."""
    shear: float = 0.2
    """Shear angle, in degrees either way."""
    flip: bool = True
    """Mirror half of the images."""
    brightness: float = 0.0
    """Added to every pixel, as a fraction of the range, either way."""
    contrast: float = 0.0
    """Contrast about the image's mean by a factor in 1 ± this."""
    gamma: float = 0.0
    """Exponent of the pixel values, its logarithm to base 2 in ± this."""
    erase_probability: float = 0.0
    """Share of images of which a rectangle is painted over."""
    erase_area: float = 0.2
    """Largest share of the image that is painted over."""
    mixup: float = 0.0
    """Parameter of the Beta distribution that mixes pairs of images and their labels."""
    noise: float = 0.0
    """Gaussian noise added to half of the images. Its standard deviation, as a fraction of the range, is up to this.
    Teachers see the images without it."""

    def __post_init__(self) -> None:
        limits = {
            "rotation": 180.0,
            "shift": 1.0,
            "zoom": 0.95,
            "shear": 80.0,
            "brightness": 1.0,
            "contrast": 1.0,
            "gamma": 4.0,
            "erase_probability": 1.0,
            "erase_area": 1.0,
            "mixup": 100.0,
            "noise": 1.0,
        }
        for name, highest in limits.items():
            value = getattr(self, name)
            check(0 <= value <= highest, f"--{name.replace('_', '-')} must be between 0 and {highest:g}", value)

    @property
    def warps(self) -> bool:
        return any((self.rotation, self.shift, self.zoom, self.shear, self.flip))

    @property
    def erases(self) -> bool:
        return self.erase_probability > 0 and self.erase_area > 0


NO_AUGMENTATION = AugmentationConfig(rotation=0, shift=0, zoom=0, shear=0, flip=False)


@dataclass(frozen=True)
class Draws:
    """Random parameters of n images, arrays with n rows each.

    `transforms` float32 [n, 8]: output to input pixel coordinates, in the form that `keras.ops.image.affine_transform`
    takes. `tones` float32 [n, 3]: contrast factor, added brightness (in grey levels), gamma. `boxes` float32 [n, 5]:
    top, bottom, left, right (in pixels; empty when top = bottom) and grey level. `mix` float32 [n] and `partner` int32
    [n]: weight of the image itself, and the row of the image that it is mixed with. `noise` float32 [n, 2]: standard
    deviation of the noise (in grey levels), and from 0 to below 1, the place in its table.
    """

    transforms: np.ndarray
    tones: np.ndarray
    boxes: np.ndarray
    mix: np.ndarray
    partner: np.ndarray
    noise: np.ndarray

    def arrays(self) -> tuple[np.ndarray, ...]:
        return (self.transforms, self.tones, self.boxes, self.mix, self.partner, self.noise)


DRAWN = (((8,), "float32"), ((3,), "float32"), ((5,), "float32"), ((), "float32"), ((), "int32"), ((2,), "float32"))
"""Shape of an image's row and dtype of each array of `Draws`."""


def draw(
    config: AugmentationConfig,
    *,
    seed: int,
    epoch: int,
    steps: Sequence[int],
    global_batch: int,
    rows: slice,
    view: int | None = None,
) -> Draws:
    """The parameters of rows `rows` of the global batches of `global_batch` images at `steps`, step after step.

    With `view`, they are those of that epoch, except for the noise, which is always new. Partners for mixup come from
    the same rows of the same step, since a rank holds no other images: with mixup alone, the draws depend on how a
    batch is divided.
    """
    view = epoch if view is None else view
    dice = [np.random.default_rng([seed, view, step]) for step in steps]
    drawn = [random.uniform(-1, 1, (global_batch, 16))[rows] for random in dice]
    uniform = np.concatenate(drawn)
    half = (uniform + 1) / 2
    transforms = _transforms(config, uniform)
    tones = np.stack(
        [
            1 + config.contrast * uniform[:, 7],
            255 * config.brightness * uniform[:, 8],
            np.exp2(config.gamma * uniform[:, 9]),
        ],
        axis=1,
    )
    area = np.where(half[:, 10] < config.erase_probability, config.erase_area * half[:, 11], 0)
    aspect = np.exp2(uniform[:, 12])
    height = np.minimum(np.round(_SIDE * np.sqrt(area * aspect)), _SIDE)
    width = np.minimum(np.round(_SIDE * np.sqrt(area / aspect)), _SIDE)
    top = np.floor(half[:, 13] * (_SIDE - height + 1))
    left = np.floor(half[:, 14] * (_SIDE - width + 1))
    boxes = np.stack([top, top + height, left, left + width, 255 * half[:, 15]], axis=1)
    mix, partner = np.ones(len(uniform)), np.arange(len(uniform))
    if config.mixup:
        n = len(drawn[0])
        for i, step in enumerate(steps):
            local = np.random.default_rng([seed, view, step, rows.start or 0])
            weight = local.beta(config.mixup, config.mixup, n)
            mix[i * n : (i + 1) * n] = np.maximum(weight, 1 - weight)
            partner[i * n : (i + 1) * n] = i * n + local.permutation(n)
    noise = np.zeros((len(uniform), 2))
    if config.noise:
        own = [np.random.default_rng(np.random.SeedSequence([seed, epoch, step], spawn_key=(0,))) for step in steps]
        noise = np.concatenate([random.random((global_batch, 2))[rows] for random in own])
        noise[:, 0] = 255 * config.noise * np.maximum(2 * noise[:, 0] - 1, 0)
    arrays = (transforms, tones, boxes, mix, partner, noise)
    return Draws(*(array.astype(dtype) for array, (_, dtype) in zip(arrays, DRAWN, strict=True)))


def _transforms(config: AugmentationConfig, uniform: np.ndarray) -> np.ndarray:
    """Rotation, shift, shear, zoom and flip as one matrix about the centre, as Keras's generator had it."""
    angle, shear = np.deg2rad(config.rotation * uniform[:, 0]), np.deg2rad(config.shear * uniform[:, 3])
    zero, one = np.zeros_like(angle), np.ones_like(angle)
    rotation = _matrix([[np.cos(angle), np.sin(angle), zero], [-np.sin(angle), np.cos(angle), zero]])
    shift = _matrix(
        [
            [one, zero, _SIDE * config.shift * uniform[:, 1]],
            [zero, one, _SIDE * config.shift * uniform[:, 2]],
        ]
    )
    shearing = _matrix([[np.cos(shear), zero, zero], [-np.sin(shear), one, zero]])
    mirror = np.where((uniform[:, 6] < 0) & config.flip, -1.0, 1.0)
    zoom = _matrix(
        [
            [mirror * (1 + config.zoom * uniform[:, 4]), zero, zero],
            [zero, 1 + config.zoom * uniform[:, 5], zero],
        ]
    )
    centre = (_SIDE - 1) / 2
    to_centre = _matrix([[one, zero, -centre * one], [zero, one, -centre * one]])
    from_centre = _matrix([[one, zero, centre * one], [zero, one, centre * one]])
    whole = from_centre @ rotation @ shift @ shearing @ zoom @ to_centre
    return whole.reshape(len(uniform), 9)[:, :8]


def _matrix(rows: list[list[np.ndarray]]) -> np.ndarray:
    """Affine matrices [n, 3, 3] from two rows of three columns, each float [n]."""
    n = len(rows[0][0])
    bottom = np.broadcast_to([0.0, 0.0, 1.0], (n, 1, 3))
    return np.concatenate([np.stack([np.stack(row, axis=1) for row in rows], axis=1), bottom], axis=1)
