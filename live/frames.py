"""Frames, and what every source of them has in common."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np


@dataclass(frozen=True)
class Frame:
    """An image, uint8 [h, w, 3] in BGR, and its origin.

    `seconds` since the beginning of the file, or since the camera or stream was opened; `lasts`, the seconds until the
    next frame; `arrived`, its arrival by time.perf_counter; `origin`, the file, camera or stream; `number` in it, from
    0; `still` for an image file.
    """

    image: np.ndarray
    seconds: float
    lasts: float
    arrived: float
    origin: str
    number: int
    still: bool = False


class Source(Protocol):
    """`read` returns the next frame, or None when there is none yet (see `status`) or no more (`over`).

    `live` sources drop frames that are not read in time. `still` says whether the next frame is an image file,
    `only_image` whether it is the only frame. At `frames_per_second` a recording shows all frames. `rate` is how many
    frames per second a camera or stream really gives, 0 for files.
    """

    live: bool
    over: bool
    status: str
    rate: float

    @property
    def still(self) -> bool: ...

    @property
    def only_image(self) -> bool: ...

    @property
    def frames_per_second(self) -> float: ...

    def read(self) -> Frame | None: ...

    def progress(self) -> str:
        """How far it is, for the terminal; '' if that is unknown."""
        ...

    def close(self) -> None: ...
