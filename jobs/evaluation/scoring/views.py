"""Test-time augmentation: the views of an image. Their probabilities are averaged."""

import numpy as np

SHIFT = 3
"""Pixels by which the four outer crops of `ten_crop` are off the centre."""
VIEWS = {"none": 1, "flip": 2, "ten_crop": 10}


def views(pixels: np.ndarray, kind: str) -> list[np.ndarray]:
    """The views of `pixels`, uint8 [n, 48, 48, 1] each; `pixels` comes first.

    `flip` adds the mirror images. `ten_crop` pads the images by SHIFT pixels of their edge, then takes the centre, the
    four corners and the mirror images of these (Krizhevsky et al. 2012, at one size).
    """
    if kind == "none":
        return [pixels]
    crops = [pixels]
    if kind == "ten_crop":
        padded = np.pad(pixels, ((0, 0), (SHIFT, SHIFT), (SHIFT, SHIFT), (0, 0)), mode="edge")
        side = pixels.shape[1]
        crops += [padded[:, y : y + side, x : x + side] for y in (0, 2 * SHIFT) for x in (0, 2 * SHIFT)]
    return [np.ascontiguousarray(view) for crop in crops for view in (crop, crop[:, :, ::-1])]
