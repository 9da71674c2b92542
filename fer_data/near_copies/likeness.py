"""Measure whether two images that lie on one another show the same photograph."""

from functools import cache
from typing import NamedTuple

import cv2
import numpy as np

from fer_data.near_copies.maps import is_absurd, warp
from fer_data.rows import SIDE

_SMALLEST_OVERLAP = 0.2
"""Share of the pixels that both images show, neither black nor white."""
_NEIGHBOURHOOD = 13
_NOISE = 0.5
"""Variance, in squared grey levels, of edges that are no more than noise."""


def measured(template: np.ndarray, image: np.ndarray, maps: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`correlation`, `detail` and `overlap` of a Fit. The first two are 0 for a small overlap or an absurd map."""
    warped, inside = warp(image, maps)
    # What is black or white, such as letters, is lost. It counts nowhere, and the other image fills it.
    shown = _is_lit(template)
    other_shown = inside & (warp(_is_lit(image).astype(np.float32), maps)[0] > 0.99)
    both = shown & other_shown
    correlation = correlated(template, warped, both)
    flat = [each.reshape(len(each), -1) for each in (template, warped, both)]
    light = light_of(*flat)
    from_this = light.relit(flat[0]).reshape(template.shape)
    from_other = light.reversed().relit(flat[1]).reshape(template.shape)
    template = np.where(shown | ~other_shown, template, from_other)
    warped = np.where(inside & (other_shown | ~shown), warped, from_this)
    one, other = (edges(blurred(each, 0.75), 1.2) for each in (template, warped))
    detail = _agreement(one, other, both)
    refused = is_absurd(maps) | (both.mean(axis=(1, 2)) < _SMALLEST_OVERLAP)
    overlap = inside.mean(axis=(1, 2), dtype=np.float32)
    return np.where(refused, 0, correlation), np.where(refused, 0, detail), overlap


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


def light_of(one: np.ndarray, other: np.ndarray, inside: np.ndarray) -> _Light:
    """Of pairs of images, float32 [n, pixels], over the pixels `inside`."""
    share = inside / pixel_count(inside, 1)
    means = [np.einsum("np,np->n", image, share)[:, None] for image in (one, other)]
    one, other = one - means[0], other - means[1]
    moments = [np.einsum("np,np,np->n", a, b, share)[:, None] for a, b in ((one, one), (other, other), (one, other))]
    return _Light(*means, *moments)


def correlated(one: np.ndarray, other: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """The correlation over the pixels `inside`, of images float32 [n, side, side]."""
    both = (1, 2)
    count = pixel_count(inside, both)
    one, other = ((each - (each * inside).sum(axis=both, keepdims=True) / count) * inside for each in (one, other))
    lengths = np.sqrt((one * one).sum(axis=both) * (other * other).sum(axis=both))
    return (one * other).sum(axis=both) / np.maximum(lengths, 1)


def pixel_count(inside: np.ndarray, axis: int | tuple[int, ...]) -> np.ndarray:
    """How many pixels are `inside`, 1 at least: float32, because an integer would make all that follows float64."""
    return np.maximum(inside.sum(axis=axis, keepdims=True, dtype=np.float32), 1)


def blurred(images: np.ndarray, sigma: float) -> np.ndarray:
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


def edges(images: np.ndarray, sigma: float) -> np.ndarray:
    """`images` without what changes slowly over the face."""
    return images - blurred(images, sigma)


def limited_edges(halves: np.ndarray) -> np.ndarray:
    """The edges of `halves`, float32 [n, 24, 24], none of them so strong that it outweighs all others."""
    found = edges(halves, 1.0)
    most = 2.5 * np.abs(found).mean(axis=(1, 2), keepdims=True)
    return np.clip(found, -most, most)
