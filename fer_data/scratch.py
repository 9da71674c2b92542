"""Temporary folders that do not outlast a killed program for long: the next program that makes one removes them.

Whoever uses such a folder holds a lock on it. The kernel frees the lock when the process ends, however it ends. Where a
file system knows no locks, nothing is taken for abandoned.
"""

import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_PREFIX, _SUFFIX = "fer-tmp-", ".own"
_NAME = re.compile(re.escape(_PREFIX) + r"[a-z0-9_]{8}" + re.escape(_SUFFIX))
NAME_LENGTH = len(_PREFIX) + 8 + len(_SUFFIX)
"""Characters of such a folder's name."""


@contextmanager
def scratch_folder(within: str | None = None) -> Iterator[str]:
    """A new folder in `within` (by default TMPDIR), removed after the block.

    Also removes those there that killed programs of this user left. Raises OSError when no folder can be made.
    """
    within = within or tempfile.gettempdir()
    _remove_abandoned(within)
    folder, lock = _made(within)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _made(within: str) -> tuple[str, int]:
    """A new folder and the descriptor that holds its lock, which programs that this one starts do not inherit."""
    while True:
        folder = tempfile.mkdtemp(prefix=_PREFIX, suffix=_SUFFIX, dir=within)
        try:
            lock = _opened(folder)
        except FileNotFoundError:  # Another program took it for abandoned before it was locked.
            continue
        if _is_free(lock) and os.path.exists(folder):
            return folder, lock
        os.close(lock)


def _is_free(lock: int) -> bool:
    """Take the lock, unless another program holds it."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # This file system has no locks, so nobody holds one.
        pass
    return True


def _remove_abandoned(within: str) -> None:
    with suppress(OSError):
        for folder in (os.path.join(within, name) for name in os.listdir(within) if _NAME.fullmatch(name)):
            with suppress(OSError):
                lock = _opened(folder)
                try:
                    if os.fstat(lock).st_uid == os.getuid():
                        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                        shutil.rmtree(folder, ignore_errors=True)
                finally:
                    os.close(lock)


def _opened(folder: str) -> int:
    return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)


def try_writing(folder: Path) -> None:
    """Raises OSError when no file can be made in `folder`."""
    with tempfile.TemporaryFile(dir=folder):
        pass
