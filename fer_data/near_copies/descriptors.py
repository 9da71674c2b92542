"""Describe an image by a few numbers that change little when it is blurred, brightened or compressed.

The descriptor holds the low frequencies of a window in the middle of the image. A query describes the same window under
many transforms, so that one of them looks like the descriptor of another crop of the same photograph.
"""

import itertools
import math
from functools import cache
from typing import NamedTuple

import cv2
import numpy as np

from fer_data.rows import SIDE

HALF = SIDE // 2
"""Images are described, and first registered, at half their size."""
DIMENSIONS = 48
FLAT = 4.0
"""Standard deviation, in grey levels at half the size, below which an image shows nothing that could be recognised."""
_PLAIN, _WIDEST_FRAME = 6.0, 8
"""Standard deviation, in grey levels, of a row or column of a frame; rows or columns of the widest one."""
_WINDOW, _CELLS, _SIGMA = 36.0, 12, 1.6
_CENTRE = (SIDE - 1) / 2


class View(NamedTuple):
    """A window: its size relative to the middle one, shift in pixels, turn in degrees, and whether it is mirrored."""

    scale: float = 1.0
    right: float = 0.0
    down: float = 0.0
    turn: float = 0.0
    mirrored: bool = False

    def matrix(self) -> np.ndarray:
        """The affine map, float32 [2, 3], from pixels of the middle window's image to pixels of this view's image."""
        cosine, sine = self.scale * math.cos(math.radians(self.turn)), self.scale * math.sin(math.radians(self.turn))
        linear = np.array([[cosine, -sine], [sine, cosine]]) @ np.diag([-1.0 if self.mirrored else 1.0, 1.0])
        shift = _CENTRE - linear.sum(axis=1) * _CENTRE + (self.right, self.down)
        return np.column_stack([linear, shift]).astype(np.float32)


MIDDLE = View()
_NEAR, _FAR = (-4.0, 0.0, 4.0), (-8.0, -4.0, 0.0, 4.0, 8.0)
VIEWS = [
    # Shifts alone are found from either image, so that half of them are enough; mirrored, half of those up and down.
    *(View(1.0, right, down) for right in _FAR for down in _FAR if (down, right) >= (0.0, 0.0)),
    *(View(1.0, right, down, mirrored=True) for right in _FAR for down in _FAR if down >= 0),
    *(
        View(scale, right, down, mirrored=mirrored)
        for scale, right, down, mirrored in itertools.product((0.83, 1.2), _NEAR, _NEAR, (False, True))
    ),
    *(
        View(0.7, right, down, mirrored=mirrored)
        for right, down in ((0.0, 0.0), *itertools.product((-4.0, 4.0), repeat=2))
        for mirrored in (False, True)
    ),
    *(View(turn=turn, mirrored=mirrored) for turn in (-8.0, 8.0) for mirrored in (False, True)),
]


def unframed(pixels: np.ndarray) -> np.ndarray:
    """`pixels`, uint8 [n, 48, 48, 1], in which what is inside a frame of one grey fills the image: the same type."""
    images = pixels[..., 0].astype(np.float32)
    plain = [images.std(axis=axis) < _PLAIN for axis in (2, 1)]  # Rows, then columns.
    # How many lines of one grey there are from each of the four sides.
    margins = np.stack(
        [np.argmin(np.pad(each[:, ::way], ((0, 0), (0, 1)))[:, :], axis=1) for each in plain for way in (1, -1)]
    )
    unframed = pixels.copy()
    for at in np.flatnonzero(margins.all(axis=0) & (margins.max(axis=0) <= _WIDEST_FRAME)):
        top, bottom, left, right = margins[:, at]
        inside = pixels[at, top : SIDE - bottom, left : SIDE - right, 0]
        unframed[at, :, :, 0] = cv2.resize(inside, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    return unframed


def calmed(pixels: np.ndarray) -> np.ndarray:
    """`pixels`, uint8 [n, 48, 48, 1], without lines as thin as those of letters: the same type."""
    calm = np.empty_like(pixels)
    for image, place in zip(pixels, calm, strict=True):
        cv2.medianBlur(image[..., 0], 5, dst=place[..., 0])
    return calm


def halved(pixels: np.ndarray) -> np.ndarray:
    """`pixels`, uint8 [n, 48, 48, 1], at half the size: float32 [n, 24, 24]."""
    rows = pixels[:, ::2, :, 0].astype(np.uint16) + pixels[:, 1::2, :, 0]
    return (rows[:, :, ::2] + rows[:, :, 1::2]).astype(np.float32) / 4


def described(halves: np.ndarray, view: View) -> np.ndarray:
    """A descriptor of length 1 for each of `halves`, float32 [n, 24, 24]: float32 [n, DIMENSIONS]."""
    return _unit(halves.reshape(len(halves), -1) @ _projection(view))


def viewed(halves: np.ndarray) -> np.ndarray:
    """The descriptors of each of `halves`, float32 [n, 24, 24], in all VIEWS: float32 [n, views, DIMENSIONS]."""
    found = halves.reshape(len(halves), -1) @ _projections()
    return _unit(found.reshape(len(halves), len(VIEWS), DIMENSIONS))


def _unit(descriptors: np.ndarray) -> np.ndarray:
    descriptors /= np.maximum(np.sqrt(np.einsum("...k,...k->...", descriptors, descriptors)), 1e-6)[..., None]
    return descriptors


@cache
def _projections() -> np.ndarray:
    return np.concatenate([_projection(view) for view in VIEWS], axis=1)


@cache
def _projection(view: View) -> np.ndarray:
    """Half-size pixels to a descriptor, which is linear: float32 [576, DIMENSIONS]."""
    offsets = _CENTRE + (np.arange(_CELLS) - (_CELLS - 1) / 2) * _WINDOW / _CELLS
    cells = np.stack([*(axis.ravel() for axis in np.meshgrid(offsets, offsets)), np.ones(_CELLS**2)])
    pixels = np.stack([axis.ravel() for axis in np.meshgrid(*[2 * np.arange(HALF) + 0.5] * 2)])
    distances = ((view.matrix() @ cells)[:, :, None] - pixels[:, None]) / (_SIGMA * view.scale)
    # A cell beyond the border has the nearest pixels.
    weights = -(distances**2).sum(axis=0) / 2
    weights = np.exp(weights - weights.max(axis=1, keepdims=True))
    weights /= weights.sum(axis=1, keepdims=True)
    return (_frequencies() @ weights).T.astype(np.float32)


@cache
def _frequencies() -> np.ndarray:
    """The lowest frequencies of the cells, without the mean, as rows: float64 [DIMENSIONS, 144].

    A frequency counts with the square root of its height: in photographs the low ones would outweigh all others.
    """
    steps = np.arange(_CELLS)
    waves = np.cos(np.pi * (steps + 0.5) * steps[:, None] / _CELLS)
    waves /= np.linalg.norm(waves, axis=1, keepdims=True)
    height = np.hypot(steps[:, None], steps).ravel()
    lowest = np.argsort(height, kind="stable")[1 : DIMENSIONS + 1]
    both = np.einsum("uy,vx->uvyx", waves, waves).reshape(_CELLS**2, _CELLS**2)
    return both[lowest] * np.sqrt(height[lowest])[:, None]
