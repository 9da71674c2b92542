"""A file that gets its name when it is complete: until then it has one that nobody can guess, and a lock."""

import fcntl
import glob
import os
import secrets
from contextlib import suppress
from pathlib import Path

from fer_data.errors import UserError

_PREFIX = ".unfinished-"


class Unfinished:
    """The file that will be `path`; `temporary` is where to write it.

    Raises UserError when `path` exists, when it cannot be written, and while another program writes it.
    """

    def __init__(self, path: Path, option: str, *, overwrite: bool) -> None:
        self.path, self._overwrite = path, overwrite
        if path.exists() and not overwrite:
            raise UserError(f"{option} {path} exists: choose another name, or give --overwrite")
        # The name ends in the suffix, by which OpenCV chooses the container of a video.
        self.temporary = path.with_name(f"{_PREFIX}{secrets.token_hex(8)}-{path.name}")
        try:
            # It must not exist: whatever it was a link to would be overwritten.
            self._lock = os.open(self.temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666)
        except OSError as error:
            raise UserError(f"{option} {path} cannot be written: {error.strerror}") from error
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        for other in path.parent.glob(f"{_PREFIX}*-{glob.escape(path.name)}"):
            if other != self.temporary and not _remove_if_left(other):
                self.discard()
                raise UserError(f"{option} {path} is being written by another program: choose another name")

    def publish(self) -> None:
        """Give the file its name. Raises OSError where that is taken by now; the file stays where it is then."""
        try:
            if self._overwrite:
                self.temporary.replace(self.path)
            else:
                os.link(self.temporary, self.path)  # Unlike a rename, it replaces nothing.
                self.temporary.unlink()
        except FileExistsError:
            raise OSError(f"{self.path} exists by now: what was written is in {self.temporary}") from None
        except OSError:
            if self.path.exists() and not self._overwrite:
                raise
            self.temporary.replace(self.path)  # This file system has no links.
        os.close(self._lock)

    def discard(self) -> None:
        """Leave no file."""
        self.temporary.unlink(missing_ok=True)
        os.close(self._lock)

    def fail(self, why: str) -> str:
        """What to say where the file could not be completed. An empty one is removed."""
        left = self.temporary.exists() and self.temporary.stat().st_size > 0
        if not left:
            self.temporary.unlink(missing_ok=True)
        return f"{self.path}: {why}" + (f" (what was written is in {self.temporary})" if left else "")


def _remove_if_left(file: Path) -> bool:
    """Remove what a program left that was killed; False where it is at work."""
    if file.is_symlink():
        return True
    with suppress(FileNotFoundError):
        lock = os.open(file, os.O_RDONLY | os.O_NOFOLLOW)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            file.unlink(missing_ok=True)
        except OSError:
            return False
        finally:
            os.close(lock)
    return True
