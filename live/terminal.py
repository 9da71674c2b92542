"""What `python -m live` writes in the terminal."""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from fer_data.errors import UserError

_NOTES = b"INFO: "


def say(line: str) -> None:
    print(line, flush=True)


def warn(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def fail_in_one_line(error: OSError) -> UserError:
    """A file system's refusal as the one line that a user reads."""
    return UserError(f"{error.filename or ''}: {error.strerror or error}".removeprefix(": "))


@contextmanager
def without_notes() -> Iterator[None]:
    """Keeps off stderr the lines that native libraries begin with `INFO: `; the others come at the end of the block.

    LiteRT announces its delegate so, and has no switch for it.
    """
    try:
        stderr = os.dup(2)
    except OSError:  # It is closed.
        yield
        return
    with tempfile.TemporaryFile() as written:
        os.dup2(written.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
            written.seek(0)
            for line in written:
                if not line.startswith(_NOTES):
                    os.write(2, line)
