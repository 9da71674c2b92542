"""Describe an image by a few numbers that change little when it is blurred, brightened or compressed.

The descriptor holds the low frequencies of a window in the middle of the image. A query describes the same window under
many transforms, so that one of them looks like the descriptor of another crop of the same photograph.
"""

import itertools
from typing import NamedTuple

import numpy as np

from fer_data.rows import SIDE

HALF = SIDE // 2
"""Images are described, and first registered, at half their size."""
DIMENSIONS = 48
FLAT = 4.0
"""Standard deviation, in grey levels at half the size, below which an image shows nothing that could be recognised."""
_WINDOW, _CELLS, _SIGMA = 36.0, 12, 1.6
_SCALES, _SHIFTS = (0.83, 1.0, 1.2), (-4.0, 0.0, 4.0)


class View(NamedTuple):
    """A window: its size relative to the middle one, its shift in pixels, and whether it is mirrored."""

    scale: float
    right: float
    down: float
    mirrored: bool

    def matrix(self) -> np.ndarray:
        """The affine map, float32 [2, 3], from pixels of the middle window's image to pixels of this view's image."""
        centre, down = (SIDE - 1) / 2, self.scale
        across = -down if self.mirrored else down
        right, below = centre * (1 - across) + self.right, centre * (1 - down) + self.down
        return np.array([[across, 0, right], [0, down, below]], np.float32)


MIDDLE = View(1.0, 0.0, 0.0, mirrored=False)
VIEWS = [View(*view) for view in itertools.product(_SCALES, _SHIFTS, _SHIFTS, (False, True))]


def halved(pixels: np.ndarray) -> np.ndarray:
    """`pixels`, uint8 [n, 48, 48, 1], at half the size: float32 [n, 24, 24]."""
    return pixels.reshape(len(pixels), HALF, 2, HALF, 2).mean(axis=(2, 4), dtype=np.float32)


def described(halves: np.ndarray, view: View) -> np.ndarray:
    """A descriptor of length 1 for each of `halves`, float32 [n, 24, 24]: float32 [n, DIMENSIONS]."""
    found = halves.reshape(len(halves), -1) @ _projection(view)
    return found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-6)


def _projection(view: View) -> np.ndarray:
    """Half-size pixels to a descriptor, which is linear: float32 [576, DIMENSIONS]."""
    cells = np.einsum("yi,xj->yxij", *_weights(view)).reshape(_CELLS**2, HALF**2)
    return (_frequencies() @ cells).T.astype(np.float32)


def _weights(view: View) -> tuple[np.ndarray, np.ndarray]:
    """How much each row, and each column, of a half-size image counts in each cell of the window: [12, 24] each."""
    offsets = (np.arange(_CELLS) - (_CELLS - 1) / 2) * _WINDOW * view.scale / _CELLS
    middle, pixels = (SIDE - 1) / 2, 2 * np.arange(HALF) + 0.5
    centres = (middle + view.down + offsets, middle + view.right + (-offsets if view.mirrored else offsets))
    distances = [(centre[:, None] - pixels) / (_SIGMA * view.scale) for centre in centres]
    weights = [np.exp(-(distance**2) / 2) + 1e-30 for distance in distances]
    down, across = (weight / weight.sum(axis=1, keepdims=True) for weight in weights)
    return down, across


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
