"""Terminal output of `python -m live`."""

import sys
import time

from fer_data.errors import UserError
from fer_data.text import plain

_CLEAR = "\r\x1b[K"
_TERMINAL_SECONDS, _FILE_SECONDS = 0.2, 10.0
"""How often progress is shown on a terminal, where one line is written again and again, and elsewhere."""


def say(line: str) -> None:
    _clear()
    print(plain(line), flush=True)


def warn(line: str) -> None:
    _clear()
    print(plain(line), file=sys.stderr, flush=True)


class Progress:
    """Shows how far a run is, on stderr. A run shorter than ten seconds shows it on a terminal only."""

    def __init__(self) -> None:
        self._shown = time.monotonic()

    def __call__(self, text: str) -> None:
        terminal = sys.stderr.isatty()
        if time.monotonic() - self._shown < (_TERMINAL_SECONDS if terminal else _FILE_SECONDS):
            return
        self._shown = time.monotonic()
        text = plain(text)
        print(f"{_CLEAR}{text}" if terminal else text, end="" if terminal else "\n", file=sys.stderr, flush=True)


def fail_in_one_line(error: OSError) -> UserError:
    """The user's message for a file system error, in one line."""
    return UserError(f"{error.filename or ''}: {error.strerror or error}".removeprefix(": "))


def _clear() -> None:
    """Remove the progress, so that a line can take its place."""
    if sys.stderr.isatty():
        print(_CLEAR, end="", file=sys.stderr, flush=True)
