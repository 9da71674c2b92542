"""Lay one image on another by an affine map, and measure whether they show the same photograph.

Many pairs are registered at once: the inverse compositional method of Lucas and Kanade (Baker and Matthews 2004), with
brightness and contrast among the unknowns, and with less weight for pixels that do not fit, such as a watermark's.
"""

from typing import NamedTuple

import numpy as np

from fer_data.near_copies.descriptors import VIEWS
from fer_data.near_copies.likeness import blurred, correlated, light_of, limited_edges, measured, pixel_count
from fer_data.near_copies.maps import resized, square, warp
from fer_data.near_copies.table import Progress, told, unheard
from fer_data.parallel import Run, run_on_threads

ALIKE = 0.84
"""`detail` from which two images show the same photograph. Of 4,000 drawn faces, at most two look as much alike."""
_STAGES = ((1, 0.6), (1, 0.65), (2, 0.66), (4, 0.68))
"""At half the size: steps, and the correlation of edges after them below which a pair is given up."""
_FINE_STEPS = 5
PAIRS = 512
"""Pairs that are registered at once. OpenCV cannot remap an image of more than 32,767 rows."""
_LONGEST_STEP = 4.0  # pixels


class Fit(NamedTuple):
    """How well pairs fit where they overlap, float32 [n] each.

    `correlation` is that of the images, but for pixels that are black or white in one of them. `detail` is a
    correlation that two thirds of the pixels reach: of the edges and textures around each. It is high only if the
    images agree in most places, which people who look alike do not. `overlap` is a share of the image. `map` takes
    pixels of the second image to pixels of the first, float32 [n, 2, 3].
    """

    correlation: np.ndarray
    detail: np.ndarray
    overlap: np.ndarray
    map: np.ndarray


class Registration:
    """Registers pairs of the images `pixels`, uint8 [n, 48, 48, 1]; takes 5 KB of memory for each image.

    `halves` are the same images at half the size, float32 [n, 24, 24].
    """

    def __init__(self, pixels: np.ndarray, halves: np.ndarray) -> None:
        self._pixels = pixels
        self._halves = blurred(halves, 0.75)
        self._edges = limited_edges(self._halves)

    def fit(
        self,
        one: np.ndarray,
        other: np.ndarray,
        maps: np.ndarray,
        run: Run = run_on_threads,
        done: Progress = unheard,
        *,
        give_up: bool = True,
    ) -> Fit:
        """Lay the images `one` on the images `other`, int64 [n] each, beginning with `maps`, float32 [n, 2, 3].

        `correlation` and `detail` are 0 for a map that no crop of a photograph gives. With `give_up`, a pair that has
        little in common at half the size has 0 everywhere.
        """
        parts = [
            (one[at : at + PAIRS], other[at : at + PAIRS], maps[at : at + PAIRS], give_up)
            for at in range(0, len(one), PAIRS)
        ]
        fits = told(run(Registration._fit, self, parts), len(parts), done)
        if not fits:
            nothing = np.zeros(0, np.float32)
            return Fit(nothing, nothing, nothing, np.zeros((0, 2, 3), np.float32))
        return Fit(*(np.concatenate(column) for column in zip(*fits, strict=True)))

    def _fit(self, part: tuple[np.ndarray, np.ndarray, np.ndarray, bool]) -> Fit:
        one, other, maps, give_up = part
        maps = resized(maps, 0.5)
        left = np.arange(len(one))
        for steps, least in _STAGES:
            image = self._halves[one[left]]
            maps[left] = _aligned(self._halves[other[left]], image, maps[left], steps)
            if give_up:
                warped, inside = warp(image, maps[left])
                left = left[correlated(self._edges[other[left]], limited_edges(warped), inside) >= least]
        maps = resized(maps, 2.0)
        correlation, detail, overlap = np.zeros((3, len(one)), np.float32)
        template, image = (self._pixels[rows[left], :, :, 0].astype(np.float32) for rows in (other, one))
        maps[left] = _aligned(blurred(template, 0.75), blurred(image, 0.75), maps[left], _FINE_STEPS)
        correlation[left], detail[left], overlap[left] = measured(template, image, maps[left])
        return Fit(correlation, detail, overlap, maps)


def view_maps(views: np.ndarray) -> np.ndarray:
    """The maps with which to register candidates that were found in these views, float32 [n, 2, 3]."""
    return np.stack([view.matrix() for view in VIEWS])[views]


def _aligned(template: np.ndarray, image: np.ndarray, maps: np.ndarray, steps: int) -> np.ndarray:
    """`maps`, after `steps` of Gauss and Newton; images are float32 [n, side, side]."""
    count, side, _ = template.shape
    if not count:
        return maps
    centre = (side - 1) / 2
    to_unit = np.array([[1 / centre, 0, -1], [0, 1 / centre, -1], [0, 0, 1]], np.float32)
    down, across = (axis.reshape(count, -1) for axis in np.gradient(template, axis=(1, 2)))
    y, x = (axis.ravel() / centre - 1 for axis in np.mgrid[:side, :side].astype(np.float32))
    # How each of six parameters of the map changes a pixel; then the image itself (contrast) and 1 (brightness).
    columns = np.empty((count, 8, side * side), np.float32)
    for k, change in enumerate((across * x, across * y, across, down * x, down * y, down)):
        columns[:, k] = change
    columns[:, 7] = 1
    target = template.reshape(count, -1)
    residual: np.ndarray | None = None
    maps = square(maps)
    for _ in range(steps):
        warped, inside = (each.reshape(count, -1) for each in warp(image, maps[:, :2]))
        columns[:, 6] = warped
        if residual is None:
            residual = light_of(warped, target, inside).relit(warped) - target
        spread = (np.abs(residual) * inside).sum(axis=1) / pixel_count(inside, 1)[:, 0] + 1e-3
        weighted = columns * (inside / (1 + (residual / (2 * spread[:, None])) ** 2))[:, None]
        normal = weighted @ columns.transpose(0, 2, 1)
        scale = 1 / np.sqrt(np.maximum(np.einsum("nii->ni", normal), 1e-6))
        normal = normal * scale[:, :, None] * scale[:, None] + 1e-4 * np.eye(8, dtype=np.float32)
        right = (weighted @ target[:, :, None])[..., 0] * scale
        solution = np.linalg.solve(normal, right[..., None])[..., 0] * scale
        residual = target - np.einsum("nkp,nk->np", columns, solution)
        step = np.zeros_like(maps)
        step[:, :2] = -solution[:, :6].reshape(-1, 2, 3)
        step = step @ to_unit
        np.clip(step[:, :, 2], -_LONGEST_STEP, _LONGEST_STEP, out=step[:, :, 2])
        # Small enough that the inverse exists.
        np.clip(step[:, :2, :2], -0.3, 0.3, out=step[:, :2, :2])
        maps = maps @ np.linalg.inv(np.eye(3, dtype=np.float32) + step)
    return maps[:, :2]
