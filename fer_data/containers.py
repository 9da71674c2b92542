"""Files by their paths, wherever they are: in a folder, or in an archive (`archives`, `unpacked`)."""

import os
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import lru_cache
from typing import IO, Protocol

from pyarrow import fs

from fer_data.decoding import BadImage, read_limited
from fer_data.errors import UserError
from fer_data.storage import is_remote, join, opened, printable, redacted, reported, resolve

HEAD_BYTES = 1024
"""How much of a file is read to see what it is."""
REMOTE_READS = 16


class Reader(Protocol):
    """Reads image files by their paths, `concurrency` of them at a time. It pickles, and works on another machine."""

    @property
    def concurrency(self) -> int: ...

    def head(self, path: str) -> bytes:
        """The first HEAD_BYTES of a file. Raises BadImage when it cannot be read."""

    def read(self, path: str) -> bytes:
        """The bytes of an image. Safe to call from several threads. Raises BadImage when the row is to be rejected."""


class Container(Protocol):
    """A folder or an archive, what messages call it (`where`), and how many images a reader should have at most."""

    @property
    def where(self) -> str: ...

    @property
    def most_at_once(self) -> int: ...

    def paths(self) -> list[str]:
        """The paths of its files. Raises UserError when one is not safe."""

    def open(self, path: str) -> AbstractContextManager[IO[bytes]]:
        """A stream of a file; a failure to read is a UserError. Raises BadImage for a link that is not followed."""

    def reader(self, paths: Sequence[str]) -> Reader:
        """A reader of the files at `paths`, and perhaps of others."""


def head_of(uri: str, forms: str) -> bytes | None:
    """The first HEAD_BYTES of the file at `uri`, or None for a folder.

    Raises UserError, which says to give one of `forms`, when there is nothing or an empty file, or storage refuses.
    """
    filesystem, path = resolve(uri)
    with reported(uri):
        info = filesystem.get_file_info(path)
        if info.type == fs.FileType.NotFound:
            raise UserError(f"{redacted(uri)} does not exist: give {forms}")
        if info.type == fs.FileType.Directory:
            return None
        with filesystem.open_input_stream(path, compression=None) as stream:
            head = stream.read(HEAD_BYTES)
    if not head:
        raise UserError(f"{redacted(uri)} is empty: give {forms}")
    return head


@dataclass(frozen=True)
class Folder:
    """The folder `uri`: a `Container` and its `Reader`. Links that lead out of it are not followed."""

    uri: str
    most_at_once: int = sys.maxsize

    @property
    def where(self) -> str:
        return redacted(self.uri)

    @property
    def concurrency(self) -> int:
        """From an object store, many files at a time."""
        return REMOTE_READS if is_remote(self.uri) else 1

    def paths(self) -> list[str]:
        """See `Container`. A link to a folder is refused: it may lead in a circle."""
        if not is_remote(self.uri):
            return self._local_paths()
        with reported(self.uri):
            filesystem, path = resolve(self.uri)
            infos = filesystem.get_file_info(fs.FileSelector(path, recursive=True))
            prefix = path.rstrip("/") + "/"
            return [info.path.removeprefix(prefix) for info in infos if info.type == fs.FileType.File]

    def _local_paths(self) -> list[str]:
        found = []

        def refuse(error: OSError) -> None:
            raise error

        with reported(self.uri):
            for folder, folders, names in os.walk(self.uri, onerror=refuse):
                inside = os.path.relpath(folder, self.uri)
                prefix = "" if inside == os.curdir else f"{inside}/"
                for name in folders:
                    if os.path.islink(os.path.join(folder, name)):
                        shown = printable(f"{prefix}{name}")
                        raise UserError(
                            f"{self.where}: {shown} is a link to a folder, which is not followed: put the folder there"
                        )
                found += [f"{prefix}{name}" for name in names]
            for path in found:
                path.encode()  # Raises UnicodeEncodeError where a name is not UTF-8.
        return found

    def head(self, path: str) -> bytes:
        return self._read(path, HEAD_BYTES)

    def read(self, path: str) -> bytes:
        return self._read(path, None)

    def _read(self, path: str, limit: int | None) -> bytes:
        if is_remote(self.uri):
            uri = join(self.uri, path)
            filesystem, place = resolve(uri)
            with reported(uri), filesystem.open_input_file(place) as stream:
                return _content(stream, limit)
        self._check(path)
        try:
            # Not by `resolve`, which takes longer than a small image.
            with open(os.path.join(self.uri, path), "rb") as file:
                return _content(file, limit)
        except OSError as error:
            raise BadImage("cannot be read from the disk") from error

    def open(self, path: str) -> AbstractContextManager[IO[bytes]]:
        self._check(path)
        return opened(join(self.uri, path))

    def reader(self, paths: Sequence[str]) -> "Folder":
        return self

    def _check(self, path: str) -> None:
        """Raises BadImage where `path`, on this machine, is neither a plain file nor a link to one in the folder."""
        if is_remote(self.uri):
            return
        file = os.path.join(self.uri, path)
        if os.path.islink(file):
            target = os.path.realpath(file)
            if not os.path.exists(target):
                raise BadImage("is a link to a file that does not exist")
            if not target.startswith(_real(self.uri).rstrip("/") + "/"):
                raise BadImage("is a link to a file outside of the folder: copy the file")
        if not os.path.isfile(file):
            raise BadImage("is no plain file")


def _content(file: IO[bytes], limit: int | None) -> bytes:
    return read_limited(file) if limit is None else file.read(limit)


@lru_cache(maxsize=4)
def _real(root: str) -> str:
    return os.path.realpath(root)
