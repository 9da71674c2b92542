"""What a model takes in place of our raw grey pixels: another size, three channels, another range. NumPy alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from fer_data.errors import UserError
from fer_models.reading import InputRange

SIDE = 48
MAX_SIDE = 1024
"""Larger inputs are refused: a batch of them would not fit in memory."""
IMAGENET_MEAN_BGR = (103.939, 116.779, 123.68)
"""From keras.applications.imagenet_utils, mode "caffe", which ResNet and VGG use."""
_TORCH_MEAN, _TORCH_DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""From the same module, mode "torch", which torchvision uses."""
IN_WORDS = {
    "unit": "0 to 1",
    "raw": "0 to 255",
    "signed": "-1 to 1",
    "imagenet": "BGR less the means of ImageNet",
    "torch": "RGB normalised as PyTorch's models for ImageNet expect",
}


@dataclass(frozen=True)
class InputForm:
    """Images of `height` × `width` pixels with 1 or 3 `channels`, in the last axis or the first, in a `range`.

    Raises UserError for any other number of channels, for an absurd size, and for a range of three channels with one.
    """

    height: int
    width: int
    channels: int
    range: InputRange
    where: str
    channels_first: bool = False

    def __post_init__(self) -> None:
        if self.channels not in (1, 3) or not all(1 <= side <= MAX_SIDE for side in (self.height, self.width)):
            raise UserError(
                f"{self.where}: takes {self.height}×{self.width}×{self.channels}, not images with 1 or 3 channels and "
                f"sides of at most {MAX_SIDE} pixels"
            )
        if self.channels == 1 and self.range in ("imagenet", "torch"):
            raise UserError(f"{self.where}: --input-range {self.range} is for three channels, and it takes one")

    @property
    def plain(self) -> bool:
        """Whether it is our own: raw grey pixels of 48×48."""
        return (self.height, self.width, self.channels, self.range) == (SIDE, SIDE, 1, "raw")

    @property
    def resized(self) -> bool:
        return (self.height, self.width) != (SIDE, SIDE)

    def scaling(self) -> tuple[Any, Any]:
        """Factor and offset, numbers or one for each channel, from 0 to 255 to the range."""
        if self.range == "imagenet":
            return 1.0, [-mean for mean in IMAGENET_MEAN_BGR]  # Of grey images RGB and BGR are the same.
        if self.range == "torch":
            factors = [1 / 255 / deviation for deviation in _TORCH_DEVIATION]
            return factors, [-mean / deviation for mean, deviation in zip(_TORCH_MEAN, _TORCH_DEVIATION, strict=True)]
        return {"unit": (1 / 255, 0.0), "raw": (1.0, 0.0), "signed": (1 / 127.5, -1.0)}[self.range]

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """Raw grey pixels, uint8 [n, 48, 48, 1], as the model takes them: float32, resized as Keras does."""
        images = pixels[..., 0].astype(np.float32)
        if self.resized:
            images = _weights(self.height) @ images @ _weights(self.width).T
        factor, offset = (np.asarray(value, np.float32) for value in self.scaling())
        images = np.repeat(images[..., None], self.channels, axis=-1) * factor + offset
        return np.ascontiguousarray(np.moveaxis(images, -1, 1) if self.channels_first else images)

    def in_words(self) -> str:
        size = f"resized to {self.height}×{self.width}, " if self.resized else ""
        return f"{size}{IN_WORDS[self.range]}"


def taken_in_words(form: InputForm, *, found: bool) -> str:
    """What a foreign model is given, and whether its first layers show that or it is assumed."""
    return f"it is given pixels {form.in_words()}, which {'its first layers expect' if found else 'is assumed'}"


def sizes_in_words(shape: Sequence[int | None]) -> str:
    """Such as "48×48×1"; sides that are open are "any"."""
    return "×".join("any" if size is None else str(size) for size in shape) or "no"


@cache
def _weights(size: int) -> np.ndarray:
    """Bilinear interpolation of 48 pixels at `size` positions, float32 [size, 48], between the centres of pixels."""
    at = np.clip((np.arange(size) + 0.5) * SIDE / size - 0.5, 0, SIDE - 1)
    first = np.floor(at).astype(int)
    weights = np.zeros((size, SIDE), np.float32)
    weights[np.arange(size), first] = 1 - (at - first)
    weights[np.arange(size), np.minimum(first + 1, SIDE - 1)] += at - first
    return weights
