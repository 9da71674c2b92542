"""The files of a tar, which can only be read from its beginning to its end, in any order."""

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader, BytesIO, RawIOBase
from typing import IO, cast

from fer_data.archives import check_image_size, damage_reported, tar_members
from fer_data.containers import HEAD_BYTES
from fer_data.decoding import is_image
from fer_data.errors import UserError
from fer_data.storage import printable, redacted, reported

_BLOCK = 2**22


class Unpacked:
    """The tar `uri` as a `Container`. Its images, and the files that are `wanted`, are in one unnamed file on the disk.

    `wanted` decides by a file's path and head. Of other files the head alone is kept, so that a bomb fills no disk.
    """

    def __init__(self, uri: str, wanted: Callable[[str, bytes], bool]) -> None:
        """Reads the whole tar. Raises UserError as `archives.tar_members` does."""
        self.where, self.most_at_once = redacted(uri), 32  # They may be photographs, and are held in memory.
        self._places: dict[str, tuple[int, int]] = {}
        self._file = tempfile.TemporaryFile()  # noqa: SIM115
        with damage_reported(uri):
            for path, stream in tar_members(uri):
                if path in self._places:
                    raise UserError(f"{self.where}: {printable(path)} occurs twice: which one is meant?")
                self._places[path] = self._file.tell(), self._keep(path, stream, uri, wanted)

    def _keep(self, path: str, stream: IO[bytes], uri: str, wanted: Callable[[str, bytes], bool]) -> int:
        """Writes what is kept of a file. Returns the size of that."""
        head, size = stream.read(HEAD_BYTES), 0
        image = is_image(head)
        for block in _blocks(head, stream if image or wanted(path, head) else BytesIO()):
            size += len(block)
            if image:
                check_image_size(uri, path, size)
            with reported(uri, "unpack"):
                self._file.write(block)
        return size

    def paths(self) -> list[str]:
        return list(self._places)

    @contextmanager
    def open(self, path: str) -> Iterator[IO[bytes]]:
        yield cast(IO[bytes], BufferedReader(_Part(self._file, *self._places[path]), _BLOCK))

    def reader(self, paths: Sequence[str]) -> "Held":
        """The files, in memory."""
        return Held({path: self._read(path) for path in paths})

    def _read(self, path: str) -> bytes:
        start, size = self._places[path]
        self._file.seek(start)
        return self._file.read(size)


@dataclass(frozen=True)
class Held:
    """A `Reader` of files in memory."""

    files: Mapping[str, bytes]
    concurrency: int = 1

    def head(self, path: str) -> bytes:
        return self.files[path][:HEAD_BYTES]

    def read(self, path: str) -> bytes:
        return self.files[path]


class _Part(RawIOBase):
    """`size` bytes of a file, from `start`."""

    def __init__(self, file: IO[bytes], start: int, size: int) -> None:
        self._file, self._at, self._end = file, start, start + size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        self._file.seek(self._at)
        data = self._file.read(min(len(buffer), self._end - self._at))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


def _blocks(head: bytes, rest: IO[bytes]) -> Iterator[bytes]:
    yield head
    while block := rest.read(_BLOCK):
        yield block
