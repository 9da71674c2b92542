"""Corruptions of images: 14 kinds at 3 strengths, reproducible for each image.

After Hendrycks and Dietterich 2019 (arXiv:1903.12261), at strengths that suit 48×48 grey faces.
"""

from collections.abc import Callable

import cv2
import numpy as np

STRENGTHS = (1, 2, 3)
Image = np.ndarray
_Random = np.random.Generator


def _gaussian_noise(image: Image, strength: int, random: _Random) -> Image:
    return image + random.normal(0, (8, 18, 32)[strength], image.shape)


def _shot_noise(image: Image, strength: int, random: _Random) -> Image:
    photons = (500, 100, 32)[strength]  # At mid-grey this is as much noise as `gaussian_noise` adds.
    return random.poisson(image / 255 * photons) / photons * 255


def _salt_and_pepper(image: Image, strength: int, random: _Random) -> Image:
    hit = random.random(image.shape) < (0.02, 0.06, 0.14)[strength]
    return np.where(hit, random.integers(0, 2, image.shape) * 255.0, image)


def _defocus_blur(image: Image, strength: int, random: _Random) -> Image:
    return cv2.GaussianBlur(image, (0, 0), (0.8, 1.4, 2.2)[strength], borderType=cv2.BORDER_REPLICATE)


def _motion_blur(image: Image, strength: int, random: _Random) -> Image:
    length = (3, 6, 10)[strength]
    kernel = np.zeros((2 * length + 1, 2 * length + 1), np.float32)
    angle = random.uniform(0, np.pi)
    reach = np.array([np.cos(angle), np.sin(angle)]) * length / 2
    start, end = (np.rint(length + sign * reach).astype(int).tolist() for sign in (-1, 1))
    cv2.line(kernel, start, end, 1.0)
    return cv2.filter2D(image, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REPLICATE)


def _low_contrast(image: Image, strength: int, random: _Random) -> Image:
    return (image - image.mean()) * (0.6, 0.35, 0.15)[strength] + image.mean()


def _darker(image: Image, strength: int, random: _Random) -> Image:
    return image * (0.6, 0.35, 0.15)[strength]


def _brighter(image: Image, strength: int, random: _Random) -> Image:
    return 255 - (255 - image) * (0.65, 0.4, 0.2)[strength]


def _side_light(image: Image, strength: int, random: _Random) -> Image:
    """Puts one half of the face in shadow, with a soft edge in a random direction."""
    angle = random.uniform(0, 2 * np.pi)
    y, x = np.mgrid[-1 : 1 : image.shape[0] * 1j, -1 : 1 : image.shape[1] * 1j]
    light = 1 / (1 + np.exp(-6 * (x * np.cos(angle) + y * np.sin(angle))))
    darkest = (0.5, 0.25, 0.08)[strength]
    return image * (darkest + (1 - darkest) * light)


def _jpeg(image: Image, strength: int, random: _Random) -> Image:
    quality = (30, 12, 5)[strength]
    encoded = cv2.imencode(".jpg", _to_bytes(image), [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.asarray(cv2.imdecode(encoded, cv2.IMREAD_GRAYSCALE), np.float32)


def _low_resolution(image: Image, strength: int, random: _Random) -> Image:
    side = (28, 18, 12)[strength]
    small = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)
    return cv2.resize(small, image.shape[::-1], interpolation=cv2.INTER_LINEAR)


def _occlusion(image: Image, strength: int, random: _Random) -> Image:
    """Covers a random place with a square of one grey."""
    side = (10, 16, 24)[strength]
    top, left = (int(random.integers(0, size - side + 1)) for size in image.shape)
    covered = image.copy()
    covered[top : top + side, left : left + side] = random.uniform(0, 255)
    return covered


def _rotation(image: Image, strength: int, random: _Random) -> Image:
    angle = (8, 16, 28)[strength] * random.choice((-1, 1))
    centre = ((image.shape[1] - 1) / 2, (image.shape[0] - 1) / 2)
    return _warped(image, cv2.getRotationMatrix2D(centre, float(angle), 1.0))


def _shift(image: Image, strength: int, random: _Random) -> Image:
    angle = random.uniform(0, 2 * np.pi)
    x, y = (4, 8, 12)[strength] * np.array([np.cos(angle), np.sin(angle)])
    return _warped(image, np.array([[1, 0, x], [0, 1, y]], np.float32))


def _warped(image: Image, matrix: np.ndarray) -> Image:
    return cv2.warpAffine(image, matrix, image.shape[::-1], flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _to_bytes(image: Image) -> Image:
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


_ALL = (
    *(_gaussian_noise, _shot_noise, _salt_and_pepper, _defocus_blur, _motion_blur, _low_contrast, _darker, _brighter),
    *(_side_light, _jpeg, _low_resolution, _occlusion, _rotation, _shift),
)
CORRUPTIONS: dict[str, Callable[[Image, int, _Random], Image]] = {
    change.__name__.removeprefix("_"): change for change in _ALL
}
"""By name. The order is part of the seed: add at the end."""


def corrupt(pixels: np.ndarray, corruption: str, strength: int, seeds: np.ndarray) -> np.ndarray:
    """`pixels`, uint8 [n, 48, 48, 1], with `corruption` applied at `strength` 1 to 3.

    Randomness depends only on the seed of the image (`seeds`, uint64 [n]), the corruption and the strength.
    """
    change = CORRUPTIONS[corruption]
    number = list(CORRUPTIONS).index(corruption)
    result = np.empty_like(pixels)
    for row, (image, seed) in enumerate(zip(pixels[..., 0], seeds, strict=True)):
        random = np.random.Generator(np.random.PCG64([int(seed), number, strength]))
        result[row, ..., 0] = _to_bytes(change(image.astype(np.float32), strength - 1, random))
    return result
