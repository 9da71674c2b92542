"""Read members of zip, tar and gzip archives that nobody vouches for. Nothing is extracted under its own name.

Every member's path and kind is checked, not only those that are used: absolute paths, `..` and links are refused. So
are archives that would expand beyond all proportion, whatever sizes they declare.
"""

import gzip
import io
import re
import shutil
import stat
import sys
import tarfile
import tempfile
import threading
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import IO, Any, NoReturn, cast

from pyarrow import fs

from fer_data.containers import HEAD_BYTES
from fer_data.decoding import MAX_IMAGE_BYTES, BadImage
from fer_data.errors import DAMAGED_ZIP, UserError
from fer_data.storage import is_remote, one_line, redacted, reported, resolve

# FER-2013's own archives expand threefold. Small archives may be of anything, blank images too.
MAX_EXPANSION = 100
ALWAYS_ALLOWED = 256 * 2**20
MEMBERS_ALWAYS_ALLOWED, BYTES_OF_A_MEMBER = 5_000, 256
"""Files in an archive: so many, and one more for each 256 bytes that it has. Even an image of 48x48 has more."""
MAX_EXTENDED_HEADER = 8192
"""Bytes. Such a header holds a long path, times and sizes."""
_DIGITS = re.compile(rb"\d{64}")
_EXTENDED = (
    *(tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE),
    *(tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK),
)

_DAMAGE = (*DAMAGED_ZIP, tarfile.TarError)


@dataclass(frozen=True)
class Zip:
    """The zip at `uri`, as it was when its size and time were noted: a `Container` and its `Reader`.

    It is opened once per process.
    """

    uri: str
    size: int
    mtime_ns: int | None
    concurrency: int = 1
    most_at_once: int = sys.maxsize

    @property
    def where(self) -> str:
        return redacted(self.uri)

    def paths(self) -> list[str]:
        """The paths of its files, in archive order.

        Raises UserError when the archive is damaged, encrypted, unsafe or swells too much.
        """
        members = _opened(self).infolist()
        seen: set[str] = set()
        for member in members:
            _check_path(self.uri, member.orig_filename)
            if stat.S_ISLNK(member.external_attr >> 16):
                raise UserError(f"{self.where}: {_shown(member.filename)} is a link: links are not followed")
            if member.flag_bits & 0x1:
                raise UserError(f"{self.where}: {_shown(member.filename)} is encrypted: remove the password")
            if member.filename in seen:
                raise UserError(f"{self.where}: {_shown(member.filename)} occurs twice: which one is meant?")
            seen.add(member.filename)
        _check_count(self.uri, len(members), self.size)
        _check_expansion(self.uri, sum(member.file_size for member in members), self.size)
        return [member.filename for member in members if not member.is_dir()]

    def head(self, path: str) -> bytes:
        return self._read(path, HEAD_BYTES)

    def read(self, path: str) -> bytes:
        """See `Container`. Raises UserError, too, when the member is larger than any image should be."""
        check_image_size(self.uri, path, _opened(self).getinfo(path).file_size)
        return self._read(path, MAX_IMAGE_BYTES + 1)

    def _read(self, path: str, limit: int) -> bytes:
        try:
            with _opened(self).open(path) as stream:
                return stream.read(limit)
        except _DAMAGE as error:
            raise BadImage(f"is damaged in the archive ({one_line(error, 80)})") from error

    @contextmanager
    def open(self, path: str) -> Iterator[IO[bytes]]:
        """A stream of one member; damage met while it is read is a UserError."""
        with damage_reported(self.uri), _opened(self).open(path) as stream:
            yield stream

    def reader(self, paths: Sequence[str]) -> "Zip":
        return self


def open_zip(uri: str) -> Zip:
    """The zip at `uri`. Raises UserError when there is none, or it is damaged or truncated."""
    info = _file_info(uri)
    archive = Zip(uri, info.size, info.mtime_ns)
    _opened(archive)
    return archive


def tar_members(uri: str) -> Iterator[tuple[str, IO[bytes]]]:
    """Path and stream of each file in the tar or tar.gz at `uri`, in one pass: read a stream before going on.

    Raises UserError as `Zip.paths` does, when the offending member is reached.
    """
    size = _file_info(uri).size
    filesystem, path = resolve(uri)
    with reported(uri):
        raw = filesystem.open_input_stream(path, compression=None)
    with raw, damage_reported(uri):
        head = io.BufferedReader(raw, 2**20)
        zipped = head.peek(2)[:2] == b"\x1f\x8b"
        unzipped = gzip.GzipFile(fileobj=head) if zipped else head
        stream = _Limited(unzipped, uri, size)
        with tarfile.open(fileobj=stream, mode="r|", tarinfo=_Header) as archive:
            for count, member in enumerate(archive, 1):
                archive.members = []  # type: ignore[attr-defined]  # It would keep every one.
                _check_count(uri, count, size)
                _check_path(uri, member.name)
                if member.isdir():
                    continue
                if not member.isreg() or member.issparse():
                    kind = "a link" if member.islnk() or member.issym() else "not a plain file"
                    raise UserError(f"{redacted(uri)}: {_shown(member.name)} is {kind}: it is not followed")
                content = archive.extractfile(member)
                assert content is not None
                yield member.name, content
        while stream.read(2**20):  # to the end of the file, where gzip keeps its checksum
            pass


@contextmanager
def gunzipped(uri: str) -> Iterator[IO[bytes]]:
    """What is in the gzip file at `uri`, as a stream. Damage, and too much of it, are a UserError."""
    size = _file_info(uri).size
    filesystem, path = resolve(uri)
    with reported(uri):
        raw = filesystem.open_input_stream(path, compression=None)
    with raw, damage_reported(uri):
        stream = _Limited(gzip.GzipFile(fileobj=io.BufferedReader(raw, 2**20)), uri, size)
        yield cast(IO[bytes], stream)


class TooLarge(UserError):
    """A member of an archive is larger than any image should be."""


def check_image_size(uri: str, path: str, size: int) -> None:
    """Raises TooLarge when the image at `path` in the archive `uri` is larger than any image should be."""
    if size > MAX_IMAGE_BYTES:
        raise TooLarge(f"{redacted(uri)}: {_shown(path)} has {size:,} bytes: no image here is that large")


_OPENING = threading.Lock()


def _opened(archive: Zip) -> zipfile.ZipFile:
    with _OPENING:
        return _open_once(archive)


@lru_cache(maxsize=2)
def _open_once(archive: Zip) -> zipfile.ZipFile:
    """Opened and its directory parsed; a remote zip is first copied to an unnamed local file."""
    filesystem, path = resolve(archive.uri)
    source: IO[bytes]
    with reported(archive.uri):
        if is_remote(archive.uri):
            source = tempfile.TemporaryFile()  # noqa: SIM115
            with filesystem.open_input_stream(path, compression=None) as remote:
                shutil.copyfileobj(remote, source, 2**22)
        else:
            source = open(path, "rb")  # noqa: SIM115
    with damage_reported(archive.uri):
        return zipfile.ZipFile(source)


def _file_info(uri: str) -> fs.FileInfo:
    filesystem, path = resolve(uri)
    with reported(uri):
        info = filesystem.get_file_info(path)
    if info.type != fs.FileType.File:
        raise UserError(f"{redacted(uri)} is not a file: check the path")
    return info


class _Header(tarfile.TarInfo):
    """A header of a tar. Raises ReadError for one that makes the library read much before any path is known.

    Python 3.11 takes quadratic time for digits in an extended header, and for the map of a sparse file.
    """

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> "_Header":
        header = super().frombuf(buf, encoding, errors)
        if header.type in _EXTENDED and header.size > MAX_EXTENDED_HEADER:
            raise tarfile.ReadError(f"an extended header of {header.size:,} bytes")
        if header.type == tarfile.GNUTYPE_SPARSE:
            raise tarfile.ReadError("a sparse file")
        return header

    def _proc_pax(self, archive: Any) -> Any:
        stream, body = archive.fileobj, archive.fileobj.read(self._block(self.size))  # type: ignore[attr-defined]
        if _DIGITS.search(body):
            raise tarfile.ReadError("a number of 64 digits or more in an extended header")
        archive.fileobj = _Again(body, stream)
        try:
            return super()._proc_pax(archive)  # type: ignore[misc]
        finally:
            archive.fileobj = stream

    def _proc_gnusparse_10(self, *_: object) -> NoReturn:
        raise tarfile.ReadError("a sparse file")


class _Again:
    """`stream`, of which `body` has been read: that comes once more."""

    def __init__(self, body: bytes, stream: Any) -> None:
        self._body, self._stream = body, stream

    def read(self, count: int) -> bytes:
        body, self._body = self._body, b""
        return body or self._stream.read(count)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class _Limited(io.RawIOBase):
    """A stream that refuses to yield more than an archive of `size` bytes may expand to."""

    def __init__(self, stream: io.BufferedIOBase, uri: str, size: int) -> None:
        self._stream, self._uri, self._size, self._read = stream, uri, size, 0

    def read(self, count: int = -1) -> bytes:
        data = self._stream.read(count)
        self._read += len(data)
        _check_expansion(self._uri, self._read, self._size)
        return data


def _check_path(uri: str, name: str) -> None:
    path = name.replace("\\", "/")
    if path.startswith("/") or path[1:2] == ":" or ".." in path.split("/") or "\0" in path:
        where = redacted(uri)
        raise UserError(f"{where}: {_shown(name)} is an absolute path or has '..': the archive is not safe")


def _check_count(uri: str, count: int, size: int) -> None:
    if count > MEMBERS_ALWAYS_ALLOWED + size // BYTES_OF_A_MEMBER:
        raise UserError(f"{redacted(uri)} has {count:,} files or more in {size:,} bytes: no data set does that")


def _check_expansion(uri: str, expanded: int, size: int) -> None:
    if expanded > max(ALWAYS_ALLOWED, MAX_EXPANSION * size):
        raise UserError(
            f"{redacted(uri)} would expand from {size:,} bytes to {expanded:,} or more: no data set does that"
        )


@contextmanager
def damage_reported(uri: str) -> Iterator[None]:
    """Turns what reading a damaged archive raises inside the block into a UserError."""
    try:
        yield
    except _DAMAGE as error:
        raise UserError(f"{redacted(uri)} is truncated or damaged ({one_line(error, 120)}): fetch it again") from error


def _shown(name: str) -> str:
    return repr(name if len(name) <= 120 else f"{name[:119]}…")
