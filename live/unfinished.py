"""A file that gets its name when it is complete: until then it has one that nobody can guess, and a lock."""

import fcntl
import glob
import os
import secrets
import stat
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

    def write(self, content: bytes) -> None:
        """Write the whole file and give it its name. Raises OSError, which names it, where that fails."""
        try:
            self.temporary.write_bytes(content)
        except OSError as error:
            raise OSError(self.fail(error)) from error
        self.publish()

    def publish(self) -> None:
        """Give the file its name. Raises OSError where that is taken by now; what was written is kept then."""
        try:
            if self._overwrite:
                self.temporary.replace(self.path)
            else:
                _rename(self.temporary, self.path)
        except FileExistsError:
            raise OSError(self.fail("it exists by now")) from None
        except OSError as error:
            raise OSError(self.fail(error)) from error
        os.close(self._lock)

    def discard(self) -> None:
        """Leave no file."""
        self.temporary.unlink(missing_ok=True)
        os.close(self._lock)

    def fail(self, why: OSError | str) -> str:
        """What to say where the file could not be completed. What was written is kept under a name that is not hidden.

        The next program that writes `path` removes hidden ones. An empty file is removed.
        """
        said = f"{self.path}: {(why.strerror or str(why)) if isinstance(why, OSError) else why}"
        if not self.temporary.exists() or not self.temporary.stat().st_size:
            self.discard()
            return said
        kept = self.temporary.with_name(self.temporary.name.removeprefix("."))
        self.temporary.rename(kept)
        os.close(self._lock)
        return f"{said} (what was written is in {kept})"


def _rename(file: Path, name: Path) -> None:
    """Unlike Path.rename, it replaces nothing. Raises FileExistsError."""
    try:
        os.link(file, name)
        file.unlink()
    except OSError:
        if name.exists() or name.is_symlink():
            raise FileExistsError(name) from None
        file.rename(name)  # This file system has no links.


def _remove_if_left(file: Path) -> bool:
    """Remove what a program left that was killed; False where it is at work."""
    with suppress(FileNotFoundError):
        if not stat.S_ISREG(file.lstat().st_mode):
            return True  # None of ours: it is left alone.
        lock = os.open(file, os.O_RDONLY | os.O_NOFOLLOW)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            file.unlink(missing_ok=True)
        except OSError:
            return False
        finally:
            os.close(lock)
    return True
