"""Every published form of FER-2013, local or remote: recognised by content, given as chunks to decode.

    class-folder tree          a folder with train/<class>/*.jpg, test/<class>/*.jpg
    zip of such a tree
    CSV                        emotion,pixels,Usage, or the challenge's emotion, Usage, pixels
    zip or tar.gz of a CSV

Chunks come in row order, and each decodes by itself: on a thread or on another machine.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from pyarrow import fs

from fer_data.archives import Zip, damage_reported, open_zip, tar_members
from fer_data.class_folders import FolderReader, Reader, ZipReader, image_chunks, image_files
from fer_data.csv_rows import EXPECTED, MAX_HEADER_BYTES, columns_of, csv_blocks, wrong_header
from fer_data.errors import UserError
from fer_data.rows import Decoded
from fer_data.storage import absolute, printable, redacted, reported, resolve

FORMS = f"a folder or zip of train/<class>/*.jpg, or a CSV ({EXPECTED}), plain or in a zip or tar.gz"


class _NoImages(UserError):
    """A tree without images: there may be something else to say about its archive."""


class Chunk(Protocol):
    """A piece of a source. Picklable; `decode` gives the same rows wherever it runs."""

    def decode(self) -> Decoded: ...


@dataclass(frozen=True)
class Source:
    """A raw data set: its name (no path, no credentials) and its chunks, to be taken once."""

    name: str
    chunks: Iterable[Chunk]


def open_source(uri: str, resize: bool = False) -> Source:
    """The raw data set at `uri`, in whichever form it is; `resize` as `images.grey_face` has it.

    Raises UserError when there is nothing, or nothing of a known form, at `uri`; while chunks are
    taken or decoded, for what is wrong further inside.
    """
    uri = absolute(uri)
    where = redacted(uri)
    name = where.rstrip("/").rpartition("/")[2]
    filesystem, path = resolve(uri)
    with reported(uri):
        info = filesystem.get_file_info(path)
        if info.type == fs.FileType.NotFound:
            raise UserError(f"{where} does not exist: give {FORMS}")
        if info.type == fs.FileType.Directory:
            return Source(name, _folder_chunks(uri, name, resize))
        with filesystem.open_input_stream(path, compression=None) as stream:
            head = stream.read(MAX_HEADER_BYTES)
    if not head:
        raise UserError(f"{where} is empty: give {FORMS}")
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return Source(name, _zip_chunks(uri, resize))
    if head.startswith(b"\x1f\x8b") or head[257:262] == b"ustar":
        return Source(name, _tar_chunks(uri))
    if name.lower().endswith((".zip", ".gz", ".tgz", ".tar")):
        raise UserError(f"{where} is not an archive, whatever its name says: fetch it again")
    first_line = head.partition(b"\n")[0]
    if columns_of(first_line) is None:
        if b"\0" in head:
            raise UserError(f"{where} is neither a zip, a tar.gz nor a CSV: give {FORMS}")
        raise UserError(wrong_header(where, first_line))
    return Source(name, _csv_chunks(uri))


def _folder_chunks(uri: str, name: str, resize: bool) -> Iterator[Chunk]:
    filesystem, path = resolve(uri)
    with reported(uri):
        infos = filesystem.get_file_info(fs.FileSelector(path, recursive=True))
        prefix = path.rstrip("/") + "/"
        paths = [info.path.removeprefix(prefix) for info in infos if info.type == fs.FileType.File]
    return _tree_chunks(paths, redacted(uri), FolderReader(uri), resize, name)


def _zip_chunks(uri: str, resize: bool) -> Iterator[Chunk]:
    where = redacted(uri)
    archive = open_zip(uri)
    paths = archive.members()
    tables, other_header = [], b""
    for path in paths:
        if _is_csv(path):
            with archive.open(path) as stream:
                header = stream.read(MAX_HEADER_BYTES).partition(b"\n")[0]
            if columns_of(header):
                tables.append(path)
            else:
                other_header = header
    if len(tables) > 1:
        both = printable(f"{tables[0]}, {tables[1]}")
        raise UserError(f"{where} holds more than one FER-2013 CSV ({both}): give one")
    if tables:
        return _zipped_csv_chunks(archive, tables[0])
    try:
        return _tree_chunks(paths, where, ZipReader(archive), resize)
    except _NoImages as error:
        if other_header:
            raise UserError(wrong_header(where, other_header)) from error
        raise


def _tree_chunks(paths: list[str], where: str, reader: Reader, resize: bool, root: str = "") -> Iterator[Chunk]:
    files = image_files(paths, where, root)
    if not files:
        raise _NoImages(f"{where} holds no JPEG or PNG image in class folders: give {FORMS}")
    return image_chunks(files, reader, resize)


def _csv_chunks(uri: str) -> Iterator[Chunk]:
    filesystem, path = resolve(uri)
    with reported(uri), filesystem.open_input_stream(path, compression=None) as stream:
        yield from csv_blocks(stream, redacted(uri))


def _zipped_csv_chunks(archive: Zip, member: str) -> Iterator[Chunk]:
    with archive.open(member) as stream:
        yield from csv_blocks(stream, f"{redacted(archive.uri)}: {printable(member)}")


def _tar_chunks(uri: str) -> Iterator[Chunk]:
    """One pass, to the archive's end: a member that is not safe may come after the CSV."""
    where = redacted(uri)
    found, other_header = "", b""
    with damage_reported(uri):
        for path, stream in tar_members(uri):
            if not _is_csv(path):
                continue
            head = stream.read(MAX_HEADER_BYTES)
            header = head.partition(b"\n")[0]
            if columns_of(header) is None:
                other_header = header
                continue
            if found:
                raise UserError(f"{where} holds more than one FER-2013 CSV ({found}, {printable(path)}): give one")
            found = printable(path)
            yield from csv_blocks(stream, f"{where}: {found}", head)
    if not found and other_header:
        raise UserError(wrong_header(where, other_header))
    if not found:
        raise UserError(f"{where} holds no CSV: give {FORMS}")


def _is_csv(path: str) -> bool:
    name = path.replace("\\", "/").rpartition("/")[2]
    return name.lower().endswith(".csv") and not name.startswith(".") and "__MACOSX" not in path
