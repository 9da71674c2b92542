"""Terminal output of `python -m live`."""

import sys

from fer_data.errors import UserError


def say(line: str) -> None:
    print(line, flush=True)


def warn(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def fail_in_one_line(error: OSError) -> UserError:
    """The user's message for a file system error, in one line."""
    return UserError(f"{error.filename or ''}: {error.strerror or error}".removeprefix(": "))
