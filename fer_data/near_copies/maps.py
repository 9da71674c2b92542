"""Affine maps between images, float32 [n, 2, 3]: from pixels of a second image to pixels of a first one."""

import cv2
import numpy as np

_LARGEST_SCALE, _LARGEST_STRETCH, _LARGEST_TURN = 1.9, 1.35, 20.0
"""Of a map between two crops of a photograph: its scale, the ratio of its axes, and its rotation in degrees."""


def reversed_maps(maps: np.ndarray) -> np.ndarray:
    """The inverse of each of `maps`, float32 [n, 2, 3]."""
    return np.linalg.inv(square(maps))[:, :2]


def chained(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The maps from the second image of `second` to the first image of `first`, float32 [n, 2, 3]."""
    return (square(first) @ square(second))[:, :2]


def is_absurd(maps: np.ndarray) -> np.ndarray:
    """Whether no crop of a photograph gives such a map: a squeeze, a large turn or a large change of size."""
    linear = maps[:, :, :2].astype(np.float64)
    linear[np.linalg.det(linear) < 0, :, 0] *= -1  # The mirror image.
    left, sizes, right = np.linalg.svd(linear)
    rotation = left @ right
    degrees = np.degrees(np.abs(np.arctan2(rotation[:, 1, 0], rotation[:, 0, 0])))
    largest, smallest = sizes[:, 0], np.maximum(sizes[:, 1], 1e-6)
    size = np.maximum(largest, 1 / smallest)
    return (size > _LARGEST_SCALE) | (largest / smallest > _LARGEST_STRETCH) | (degrees > _LARGEST_TURN)


def warp(image: np.ndarray, maps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
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


def square(maps: np.ndarray) -> np.ndarray:
    """`maps` as matrices that can be multiplied, float32 [n, 3, 3]."""
    square = np.zeros((len(maps), 3, 3), np.float32)
    square[:, :2], square[:, 2, 2] = maps, 1
    return square


def resized(maps: np.ndarray, factor: float) -> np.ndarray:
    """`maps` between images of `factor` times the size, whose pixels' centres stay where they are."""
    to = np.array([[factor, 0, (factor - 1) / 2], [0, factor, (factor - 1) / 2], [0, 0, 1]], np.float32)
    return (to @ square(maps) @ np.linalg.inv(to))[:, :2]
