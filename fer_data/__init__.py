"""FER-2013 in, training batches out: sources, the prepared data set, splits, audit, augmentation."""

import os

MAX_IMAGE_PIXELS = 50 * 10**6
"""Pixels of the largest image that is decoded, which takes 6 bytes for each: 300 MB."""
# OpenCV reads a limit of its own once, when it is loaded: no image that belies its header gets past it. Every module
# that decodes images imports this package first.
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(MAX_IMAGE_PIXELS))
