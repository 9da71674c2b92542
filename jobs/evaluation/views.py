"""Test-time augmentation: the views of an image whose probabilities are averaged."""

import numpy as np

SHIFT = 3
"""How many of the 48 pixels the four outer crops of `ten_crop` are off the centre."""
VIEWS = {"none": 1, "flip": 2, "ten_crop": 10}


def views(pixels: np.ndarray, kind: str) -> list[np.ndarray]:
    """The views of `pixels`, uint8 [n, 48, 48, 1] each: itself first.

    `flip` adds the mirror image; `ten_crop` takes the centre and four corners of the image padded with
    its edge by SHIFT pixels, and their mirror images (Krizhevsky et al. 2012, at one size).
    """
    if kind == "none":
        return [pixels]
    crops = [pixels]
    if kind == "ten_crop":
        padded = np.pad(pixels, ((0, 0), (SHIFT, SHIFT), (SHIFT, SHIFT), (0, 0)), mode="edge")
        side = pixels.shape[1]
        crops += [padded[:, y : y + side, x : x + side] for y in (0, 2 * SHIFT) for x in (0, 2 * SHIFT)]
    return [np.ascontiguousarray(view) for crop in crops for view in (crop, crop[:, :, ::-1])]
