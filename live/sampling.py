"""Which frames of a video are analysed: all, or a sample."""

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Every:
    """A sample: every so many frames, or the first frame in every so many seconds."""

    frames: int = 1
    seconds: float = 0.0

    @classmethod
    def parse(cls, text: str) -> "Every":
        """From 10 (frames) or 0.5s (seconds). Raises ValueError for anything else."""
        if re.fullmatch(r"[1-9]\d{0,8}", text):
            return cls(int(text))
        if re.fullmatch(r"(\d+(\.\d*)?|\.\d+)s", text) and 0.001 <= float(text[:-1]) <= 86400:
            return cls(seconds=float(text[:-1]))
        raise ValueError("--every must be a number of frames, such as 10, or of seconds, such as 0.5s")


ALL = Every()
