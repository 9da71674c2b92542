"""Lay one image on another by an affine map, and measure whether they show the same photograph.

Many pairs are registered at once: the inverse compositional method of Lucas and Kanade (Baker and Matthews 2004), with
brightness and contrast among the unknowns, and with less weight for pixels that do not fit, such as a watermark's.
"""

from functools import cache
from typing import NamedTuple

import cv2
import numpy as np

from fer_data.near_copies.descriptors import VIEWS
from fer_data.near_copies.table import Progress, told, unheard
from fer_data.parallel import Run, run_on_threads
from fer_data.rows import SIDE

ALIKE = 0.84
"""`detail` from which two images show the same photograph. Of 4,000 drawn faces, at most two look as much alike."""
_STAGES = ((1, 0.6), (1, 0.65), (2, 0.66), (4, 0.68))
"""At half the size: steps, and the correlation of edges after them below which a pair is given up."""
_FINE_STEPS = 5
_SMALLEST_OVERLAP = 0.2
"""Share of the pixels that both images show, neither black nor white."""
_LARGEST_SCALE, _LARGEST_STRETCH, _LARGEST_TURN = 1.9, 1.35, 20.0
"""Of a map between two crops of a photograph: its scale, the ratio of its axes, and its rotation in degrees."""
_NEIGHBOURHOOD = 13
_NOISE = 0.5
"""Variance, in squared grey levels, of edges that are no more than noise."""
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
        self._halves = _blurred(halves, 0.75)
        self._edges = _limited_edges(self._halves)

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

        `correlation` and `detail` are 0 for a map that no crop of a photograph gives. With `give_up`, they are also 0
        for a pair that has little in common at half the size.
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
        maps = _resized(maps, 0.5)
        left = np.arange(len(one))
        for steps, least in _STAGES:
            image = self._halves[one[left]]
            maps[left] = _aligned(self._halves[other[left]], image, maps[left], steps)
            if give_up:
                warped, inside = _warped(image, maps[left])
                left = left[_correlation(self._edges[other[left]], _limited_edges(warped), inside) >= least]
        maps = _resized(maps, 2.0)
        correlation, detail = np.zeros((2, len(one)), np.float32)
        template, image = (self._pixels[rows[left], :, :, 0].astype(np.float32) for rows in (other, one))
        maps[left] = _aligned(_blurred(template, 0.75), _blurred(image, 0.75), maps[left], _FINE_STEPS)
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
    residual: np.ndarray | None = None
    maps = _square(maps)
    for _ in range(steps):
        warped, inside = (each.reshape(count, -1) for each in _warped(image, maps[:, :2]))
        columns[:, 6] = warped
        if residual is None:
            residual = _light(warped, target, inside).relit(warped) - target
        spread = (np.abs(residual) * inside).sum(axis=1) / _count(inside, 1)[:, 0] + 1e-3
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


class _Light(NamedTuple):
    """Brightness and contrast of pairs of images over the pixels that count, float32 [n, 1] each."""

    mean: np.ndarray
    other_mean: np.ndarray
    variance: np.ndarray
    other_variance: np.ndarray
    covariance: np.ndarray

    def reversed(self) -> "_Light":
        return _Light(self.other_mean, self.mean, self.other_variance, self.variance, self.covariance)

    def relit(self, images: np.ndarray) -> np.ndarray:
        """The first `images`, float32 [n, pixels], with the light that fits the others best."""
        gain = np.clip(self.covariance / np.maximum(self.variance, 1e-3), 0.3, 3)
        return images * gain + (self.other_mean - self.mean * gain)


def _light(one: np.ndarray, other: np.ndarray, inside: np.ndarray) -> _Light:
    """Of pairs of images, float32 [n, pixels], over the pixels `inside`."""
    share = inside / _count(inside, 1)
    means = [np.einsum("np,np->n", image, share)[:, None] for image in (one, other)]
    one, other = one - means[0], other - means[1]
    moments = [np.einsum("np,np,np->n", a, b, share)[:, None] for a, b in ((one, one), (other, other), (one, other))]
    return _Light(*means, *moments)


def _measured(template: np.ndarray, image: np.ndarray, maps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`correlation` and `detail` of a Fit. Both are 0 for a small overlap and for a map that no crop gives."""
    warped, inside = _warped(image, maps)
    # What is black or white, such as letters, is lost. It counts nowhere, and the other image fills it.
    shown = _is_lit(template)
    other_shown = inside & (_warped(_is_lit(image).astype(np.float32), maps)[0] > 0.99)
    both = shown & other_shown
    correlation = _correlation(template, warped, both)
    flat = [each.reshape(len(each), -1) for each in (template, warped, both)]
    light = _light(*flat)
    from_this = light.relit(flat[0]).reshape(template.shape)
    from_other = light.reversed().relit(flat[1]).reshape(template.shape)
    template = np.where(shown | ~other_shown, template, from_other)
    warped = np.where(inside & (other_shown | ~shown), warped, from_this)
    one, other = (_edges(_blurred(each, 0.75), 1.2) for each in (template, warped))
    detail = _agreement(one, other, both)
    refused = _is_absurd(maps) | (both.mean(axis=(1, 2)) < _SMALLEST_OVERLAP)
    return np.where(refused, 0, correlation), np.where(refused, 0, detail)


def _is_lit(images: np.ndarray) -> np.ndarray:
    """Where `images`, float32, are neither black nor white."""
    return (images > 0) & (images < 255)


def _agreement(one: np.ndarray, other: np.ndarray, counted: np.ndarray) -> np.ndarray:
    """The correlation of two images around a pixel that two thirds of the pixels `counted` reach: float32 [n].

    Images are float32 [n, 48, 48].
    """
    mask = counted.astype(np.float32)
    sums = _window_sums(SIDE)
    one, other = one * mask, other * mask
    pixels = np.maximum(_filtered(mask, sums), 1)
    mean, other_mean = _filtered(one, sums) / pixels, _filtered(other, sums) / pixels
    variance = _filtered(one * one, sums) / pixels - mean * mean
    other_variance = _filtered(other * other, sums) / pixels - other_mean * other_mean
    common = _filtered(one * other, sums) / pixels - mean * other_mean
    local = common / np.sqrt(np.maximum(variance, 0) * np.maximum(other_variance, 0) + _NOISE)
    counted = counted & (pixels > 0.4 * _NEIGHBOURHOOD**2)
    # Pixels that do not count are sorted behind all others.
    local = np.sort(np.where(counted, local, 2).reshape(len(local), -1), axis=1)
    count = counted.sum(axis=(1, 2))
    return np.where(count, local[np.arange(len(local)), count // 3], 0).astype(np.float32)


def _correlation(one: np.ndarray, other: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """The correlation over the pixels `inside`, of images float32 [n, side, side]."""
    both = (1, 2)
    count = _count(inside, both)
    one, other = ((each - (each * inside).sum(axis=both, keepdims=True) / count) * inside for each in (one, other))
    lengths = np.sqrt((one * one).sum(axis=both) * (other * other).sum(axis=both))
    return (one * other).sum(axis=both) / np.maximum(lengths, 1)


def _count(inside: np.ndarray, axis: int | tuple[int, ...]) -> np.ndarray:
    """How many pixels are `inside`, 1 at least: float32, because an integer would make all that follows float64."""
    return np.maximum(inside.sum(axis=axis, keepdims=True, dtype=np.float32), 1)


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
    return _filtered(images, _gaussian(images.shape[1], sigma))


def _filtered(images: np.ndarray, line: np.ndarray) -> np.ndarray:
    """`images`, float32 [n, side, side], after the filter that `line`, float32 [side, side], is for a column.

    As products of matrices, because a call of OpenCV's for each image makes the threads wait for each other.
    """
    return line @ (images @ line.T)


@cache
def _gaussian(side: int, sigma: float) -> np.ndarray:
    return cv2.GaussianBlur(np.eye(side, dtype=np.float32), (1, 2 * round(4 * sigma) + 1), sigma)


@cache
def _window_sums(side: int) -> np.ndarray:
    """Sums over the neighbourhood of a pixel, zero beyond the border."""
    return cv2.boxFilter(
        np.eye(side, dtype=np.float32),
        -1,
        (1, _NEIGHBOURHOOD),
        normalize=False,
        borderType=cv2.BORDER_CONSTANT,
    )


def _edges(images: np.ndarray, sigma: float) -> np.ndarray:
    """`images` without what changes slowly over the face."""
    return images - _blurred(images, sigma)


def _limited_edges(halves: np.ndarray) -> np.ndarray:
    """The edges of `halves`, float32 [n, 24, 24], none of them so strong that it outweighs all others."""
    edges = _edges(halves, 1.0)
    most = 2.5 * np.abs(edges).mean(axis=(1, 2), keepdims=True)
    return np.clip(edges, -most, most)


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
    steps = np.arange(side, dtype=np.float32)
    places = []
    inside = np.ones((len(maps), side**2), bool)
    for across, down, start in maps.transpose(1, 2, 0)[:, :, :, None].astype(np.float32):
        place = ((down * steps + start)[:, :, None] + (across * steps)[:, None]).reshape(len(maps), -1)
        moved = np.clip(place, 0, side - 1)
        inside &= moved == place
        places.append(moved)
    return places[0], places[1], inside


def _square(maps: np.ndarray) -> np.ndarray:
    square = np.zeros((len(maps), 3, 3), np.float32)
    square[:, :2], square[:, 2, 2] = maps, 1
    return square


def _resized(maps: np.ndarray, factor: float) -> np.ndarray:
    """`maps` between images of `factor` times the size, whose pixels' centres stay where they are."""
    to = np.array([[factor, 0, (factor - 1) / 2], [0, factor, (factor - 1) / 2], [0, 0, 1]], np.float32)
    return (to @ _square(maps) @ np.linalg.inv(to))[:, :2]
