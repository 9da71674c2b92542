"""What `python -m live` writes in the terminal."""

import sys

from fer_data.errors import UserError


def say(line: str) -> None:
    print(line, flush=True)


def warn(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def fail_in_one_line(error: OSError) -> UserError:
    """A file system's refusal as the one line that a user reads."""
    return UserError(f"{error.filename or ''}: {error.strerror or error}".removeprefix(": "))
