"""What people do to a photograph before it is in a data set twice: functions of one image, uint8 [48, 48]."""

from collections.abc import Callable

import cv2
import numpy as np

SIDE = 48
Transform = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def moved(
    image: np.ndarray,
    *,
    scale: float = 1.0,
    right: float = 0.0,
    down: float = 0.0,
    turn: float = 0.0,
    mirrored: bool = False,
) -> np.ndarray:
    """`image` after a similarity transform about its middle; `turn` in degrees."""
    matrix = cv2.getRotationMatrix2D(((SIDE - 1) / 2,) * 2, turn, scale)
    matrix[:, 2] += (right, down)
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    changed = cv2.warpAffine(image, matrix, image.shape, flags=how, borderMode=cv2.BORDER_REFLECT)
    return changed[:, ::-1].copy() if mirrored else changed


def brightened(image: np.ndarray, by: int) -> np.ndarray:
    return np.clip(image.astype(int) + by, 0, 255).astype(np.uint8)


def contrasted(image: np.ndarray, factor: float) -> np.ndarray:
    return np.clip((image - 128.0) * factor + 128, 0, 255).astype(np.uint8)


def corrected(image: np.ndarray, gamma: float) -> np.ndarray:
    return np.rint(255 * (image / 255) ** gamma).astype(np.uint8)


def saved_as_jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    return cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_GRAYSCALE)


def written_on(image: np.ndarray, line: int) -> np.ndarray:
    """Text over a tenth of the image, its base at `line`."""
    changed = image.copy()
    colour = 255 if image.mean() < 128 else 0
    cv2.putText(changed, "sample.com", (1, line), cv2.FONT_HERSHEY_SIMPLEX, 0.3, colour, 1)
    return changed


def framed(image: np.ndarray, grey: int) -> np.ndarray:
    inside = cv2.resize(image, (SIDE - 6, SIDE - 6), interpolation=cv2.INTER_AREA)
    return cv2.copyMakeBorder(inside, 3, 3, 3, 3, cv2.BORDER_CONSTANT, value=grey)


TRANSFORMS: dict[str, Transform] = {
    "scale 0.8": lambda image, dice: moved(image, scale=0.8),
    "scale 1.25": lambda image, dice: moved(image, scale=1.25),
    "shift of 8 pixels": lambda image, dice: moved(image, right=dice.choice((-8, 8))),
    "shift of 8 and 8 pixels": lambda image, dice: moved(image, right=dice.choice((-8, 8)), down=dice.choice((-8, 8))),
    "turn of 10°": lambda image, dice: moved(image, turn=dice.choice((-10, 10))),
    "mirrored": lambda image, dice: moved(image, mirrored=True),
    "brightness": lambda image, dice: brightened(image, dice.choice((-60, 60))),
    "contrast": lambda image, dice: contrasted(image, dice.choice((0.5, 1.5))),
    "gamma": lambda image, dice: corrected(image, dice.choice((0.6, 1.7))),
    "JPEG of quality 30": lambda image, dice: saved_as_jpeg(image, 30),
    "text": lambda image, dice: written_on(image, int(dice.integers(12, 46))),
    "frame": lambda image, dice: framed(image, int(dice.choice((0, 255)))),
    "crop of half the area": lambda image, dice: moved(image, scale=2**0.5),
    "some of everything": lambda image, dice: saved_as_jpeg(
        corrected(
            moved(
                image,
                scale=dice.uniform(0.85, 1.18),
                right=dice.uniform(-4, 4),
                down=dice.uniform(-4, 4),
                turn=dice.uniform(-5, 5),
                mirrored=dice.random() < 0.5,
            ),
            dice.uniform(0.8, 1.25),
        ),
        60,
    ),
}
