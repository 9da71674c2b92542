"""Lay one image on another by an affine map, and measure whether they show the same photograph.

Many pairs are registered at once: the inverse compositional method of Lucas and Kanade (Baker and Matthews 2004), with
brightness and contrast among the unknowns, and with less weight for pixels that do not fit, such as a watermark's.
"""

from typing import NamedTuple

import cv2
import numpy as np

from fer_data.near_copies.descriptors import VIEWS, calmed, halved
from fer_data.near_copies.table import Progress, told, unheard
from fer_data.parallel import Run, run_on_threads
from fer_data.rows import SIDE

ALIKE = 0.85
"""`detail` from which two images show the same photograph. Of pairs of drawn faces one in 20,000 has as much."""
_STAGES = ((1, 0.45), (1, 0.55), (6, 0.6))
"""At half the size: steps, and the correlation of edges after them below which a pair is given up."""
_FINE_STEPS = 4
_SMALLEST_OVERLAP = 0.3
_LARGEST_SCALE, _LARGEST_STRETCH, _LARGEST_TURN = 1.9, 1.35, 20.0
"""Of a map between two crops of a photograph: its scale, the ratio of its axes, and its rotation in degrees."""
_NEIGHBOURHOOD = (13, 13)
_NOISE = 0.5
"""Variance, in squared grey levels, of edges that are no more than noise."""
PAIRS = 256
"""Pairs that are registered at once. OpenCV cannot remap an image of more than 32,767 rows."""
_LONGEST_STEP = 4.0  # pixels


class Fit(NamedTuple):
    """How well pairs fit where they overlap, float32 [n] each.

    `correlation` is that of the images. `detail` is that of their edges and textures around a pixel, at half of all
    pixels or more: it is high only if the images agree in most places, which people who look alike do not. `overlap` is
    a share of the image. `map` takes pixels of the second image to pixels of the first, float32 [n, 2, 3].
    """

    correlation: np.ndarray
    detail: np.ndarray
    overlap: np.ndarray
    map: np.ndarray


class Registration:
    """Registers pairs of the images `pixels`, uint8 [n, 48, 48, 1]; takes 5 KB of memory for each image."""

    def __init__(self, pixels: np.ndarray) -> None:
        self._pixels = pixels
        self._halves = _blurred(halved(calmed(pixels)), 0.75)
        edges = _edges(self._halves, 1.0)
        # The edges of a frame or of letters must not outweigh all others.
        most = 3 * np.median(np.abs(edges), axis=(1, 2), keepdims=True)
        self._edges = np.clip(edges, -most, most)

    def fit(
        self,
        one: np.ndarray,
        other: np.ndarray,
        maps: np.ndarray,
        run: Run = run_on_threads,
        done: Progress = unheard,
    ) -> Fit:
        """Lay the images `one` on the images `other`, int64 [n] each, beginning with `maps`, float32 [n, 2, 3].

        Pairs that have little in common are given up at half the size, and so are maps that no crop of a photograph
        gives: their `correlation` and `detail` are 0.
        """
        parts = [
            (one[at : at + PAIRS], other[at : at + PAIRS], maps[at : at + PAIRS]) for at in range(0, len(one), PAIRS)
        ]
        fits = told(run(Registration._fit, self, parts), len(parts), done)
        if not fits:
            nothing = np.zeros(0, np.float32)
            return Fit(nothing, nothing, nothing, np.zeros((0, 2, 3), np.float32))
        return Fit(*(np.concatenate(column) for column in zip(*fits, strict=True)))

    def _fit(self, part: tuple[np.ndarray, np.ndarray, np.ndarray]) -> Fit:
        one, other, maps = part
        maps = _resized(maps, 0.5)
        left = np.arange(len(one))
        for steps, least in _STAGES:
            maps[left] = _aligned(self._halves[other[left]], self._halves[one[left]], maps[left], steps)
            warped, inside = _warped(self._edges[one[left]], maps[left])
            left = left[_correlation(self._edges[other[left]], warped, inside) >= least]
        maps = _resized(maps, 2.0)
        template, image = (self._pixels[rows[left], :, :, 0].astype(np.float32) for rows in (other, one))
        maps[left] = _aligned(_blurred(template, 0.75), _blurred(image, 0.75), maps[left], _FINE_STEPS)
        correlation, detail = np.zeros((2, len(one)), np.float32)
        correlation[left], detail[left] = _measured(template, image, maps[left])
        overlap = _places(maps, SIDE)[2].mean(axis=1, dtype=np.float32)
        return Fit(correlation, detail, overlap, maps)


def view_maps(views: np.ndarray) -> np.ndarray:
    """The maps with which to register candidates that were found in these views, float32 [n, 2, 3]."""
    return np.stack([view.matrix() for view in VIEWS])[views]


def reversed_maps(maps: np.ndarray) -> np.ndarray:
    """The inverse of each of `maps`, float32 [n, 2, 3]."""
    return np.linalg.inv(_square(maps))[:, :2]


def chained(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The maps from the second image of `second` to the first image of `first`, float32 [n, 2, 3]."""
    return (_square(first) @ _square(second))[:, :2]


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
    residual = None
    maps = _square(maps)
    for _ in range(steps):
        warped, inside = (each.reshape(count, -1) for each in _warped(image, maps[:, :2]))
        columns[:, 6] = warped
        weights = inside.astype(np.float32)
        if residual is None:
            residual = _relit(target, warped, inside) - target
        if True:
            spread = (np.abs(residual) * inside).sum(axis=1) / np.maximum(inside.sum(axis=1), 1) + 1e-3
            weights /= 1 + (residual / (2 * spread[:, None])) ** 2
        weighted = columns * weights[:, None]
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


def _relit(target: np.ndarray, warped: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """`warped`, float32 [n, pixels], with the brightness and contrast of `target` over the pixels `inside`."""
    count = np.maximum(inside.sum(axis=1, keepdims=True), 1)
    ours, theirs = (np.where(inside, each, 0).sum(axis=1, keepdims=True) / count for each in (warped, target))
    ours, theirs = warped - ours, theirs
    common = np.where(inside, ours * target, 0).sum(axis=1, keepdims=True)
    gain = common / np.maximum(np.where(inside, ours * ours, 0).sum(axis=1, keepdims=True), 1)
    return ours * np.clip(gain, 0.3, 3) + theirs


def _measured(template: np.ndarray, image: np.ndarray, maps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`correlation` and `detail` of a Fit. Both are 0 for a small overlap and for a map that no crop gives."""
    warped, inside = _warped(image, maps)
    correlation = _correlation(template, warped, inside)
    lit = (template > 0) & (template < 255) & (warped > 0) & (warped < 255)
    warped, _ = _warped(_blurred(image, 0.75), maps)
    template = _blurred(template, 0.75)
    # Outside the image the template goes on, so that the image's border is no edge.
    edges = (_edges(each, 1.2) for each in (template, np.where(inside, warped, template)))
    detail = np.array([_agreement(*each) for each in zip(*edges, inside & lit, strict=True)], np.float32)
    refused = _is_absurd(maps) | (inside.mean(axis=(1, 2)) < _SMALLEST_OVERLAP)
    return np.where(refused, 0, correlation), np.where(refused, 0, detail)


def _agreement(one: np.ndarray, other: np.ndarray, inside: np.ndarray) -> float:
    """The median, over the pixels `inside`, of the correlation of two images, float32 [48, 48], around a pixel."""
    mask = inside.astype(np.float32)

    def around(values: np.ndarray) -> np.ndarray:
        return cv2.boxFilter(values * mask, -1, _NEIGHBOURHOOD, normalize=False, borderType=cv2.BORDER_CONSTANT)

    pixels = np.maximum(around(np.ones_like(mask)), 1)
    mean, other_mean = around(one) / pixels, around(other) / pixels
    variance, other_variance = around(one * one) / pixels - mean**2, around(other * other) / pixels - other_mean**2
    common = around(one * other) / pixels - mean * other_mean
    local = common / np.sqrt(np.maximum(variance, 0) * np.maximum(other_variance, 0) + _NOISE)
    counted = inside & (pixels > 0.4 * _NEIGHBOURHOOD[0] * _NEIGHBOURHOOD[1])
    return float(np.median(local[counted])) if counted.any() else 0.0


def _correlation(one: np.ndarray, other: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """The correlation over the pixels `inside`, of images float32 [n, side, side]."""
    both = (1, 2)
    count = np.maximum(inside.sum(axis=both, keepdims=True), 1)
    one, other = ((each - (each * inside).sum(axis=both, keepdims=True) / count) * inside for each in (one, other))
    lengths = np.sqrt((one * one).sum(axis=both) * (other * other).sum(axis=both))
    return (one * other).sum(axis=both) / np.maximum(lengths, 1)


def _is_absurd(maps: np.ndarray) -> np.ndarray:
    """Whether no crop of a photograph gives such a map: a squeeze, a large turn or a large change of size."""
    linear = maps[:, :, :2].astype(np.float64)
    linear[np.linalg.det(linear) < 0, :, 0] *= -1  # The mirror image.
    left, sizes, right = np.linalg.svd(linear)
    rotation = left @ right
    degrees = np.degrees(np.abs(np.arctan2(rotation[:, 1, 0], rotation[:, 0, 0])))
    largest, smallest = sizes[:, 0], np.maximum(sizes[:, 1], 1e-6)
    size = np.maximum(largest, 1 / smallest)
    return (size > _LARGEST_SCALE) | (largest / smallest > _LARGEST_STRETCH) | (degrees > _LARGEST_TURN)


def _blurred(images: np.ndarray, sigma: float) -> np.ndarray:
    """`images`, float32 [n, side, side], after a Gaussian filter of `sigma` pixels."""
    blurred = np.empty_like(images)
    for image, place in zip(images, blurred, strict=True):
        cv2.GaussianBlur(image, (0, 0), sigma, dst=place)
    return blurred


def _edges(images: np.ndarray, sigma: float) -> np.ndarray:
    """`images` without what changes slowly over the face."""
    return images - _blurred(images, sigma)


def _warped(image: np.ndarray, maps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`image`, [n, side, side], at the places to which `maps` take each pixel, and whether they are inside it."""
    count, side, _ = image.shape
    if not count:
        return image, np.zeros(image.shape, bool)
    right, below, inside = _places(maps, side)
    # One tall image, because OpenCV remaps it in one call.
    below += np.arange(count, dtype=np.float32)[:, None] * side
    warped = cv2.remap(image.reshape(-1, side), right, below, cv2.INTER_LINEAR)
    return warped.reshape(image.shape), inside.reshape(image.shape)


def _places(maps: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where `maps` take each pixel, float32 [n, side²] each, moved to the border if outside; whether it is inside."""
    y, x = (axis.ravel() for axis in np.mgrid[:side, :side].astype(np.float32))
    right, below = (maps[:, k, 0, None] * x + maps[:, k, 1, None] * y + maps[:, k, 2, None] for k in (0, 1))
    inside = (right >= 0) & (right <= side - 1) & (below >= 0) & (below <= side - 1)
    return np.clip(right, 0, side - 1), np.clip(below, 0, side - 1), inside


def _square(maps: np.ndarray) -> np.ndarray:
    square = np.zeros((len(maps), 3, 3), np.float32)
    square[:, :2], square[:, 2, 2] = maps, 1
    return square


def _resized(maps: np.ndarray, factor: float) -> np.ndarray:
    """`maps` between images of `factor` times the size, whose pixels' centres stay where they are."""
    to = np.array([[factor, 0, (factor - 1) / 2], [0, factor, (factor - 1) / 2], [0, 0, 1]], np.float32)
    return (to @ _square(maps) @ np.linalg.inv(to))[:, :2]
