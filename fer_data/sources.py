"""Every published form of FER-2013 and every usual layout of other data, local or remote, as chunks to decode.

    class folders              a folder with train/<class>/*.jpg, test/<class>/*.jpg, or <class>/*.jpg
    CSV                        emotion,pixels,Usage, or the challenge's emotion, Usage, pixels, or emotion,pixels
    either in a folder, a zip, a tar or a tar.gz; a CSV in a .gz

The form is recognised by content. Chunks come in row order, and each decodes by itself: on a thread or on another
machine.
"""

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from typing import IO, Protocol

from fer_data.archives import gunzipped, open_zip
from fer_data.class_folders import image_chunks, image_files, image_of_class
from fer_data.containers import Container, Folder, head_of
from fer_data.csv_rows import COLUMNS, EXPECTED, MAX_HEADER_BYTES, columns_of, csv_blocks, wrong_header
from fer_data.decoding import BadImage
from fer_data.errors import UserError
from fer_data.reading import AS_IT_IS, Reading
from fer_data.rows import Decoded
from fer_data.storage import absolute, opened, printable, redacted
from fer_data.unpacked import Unpacked

FORMS = f"a folder, zip or tar.gz of train/<class>/*.jpg or of a CSV ({EXPECTED}), or a CSV, plain or in a .gz"


class Chunk(Protocol):
    """A piece of a source. Picklable; `decode` gives the same rows wherever it runs."""

    def decode(self) -> Decoded: ...


@dataclass(frozen=True)
class Source:
    """A raw data set: its name (no path, no credentials) and its chunks, to be taken once."""

    name: str
    chunks: Iterable[Chunk]


def open_source(uri: str, reading: Reading = AS_IT_IS) -> Source:
    """The raw data set at `uri`, in whichever form it is, read as `reading` says.

    Raises UserError when there is nothing, or nothing of a known form, at `uri`; while chunks are
    taken or decoded, for what is wrong further inside.
    """
    uri = absolute(uri)
    where = redacted(uri)
    name = where.rstrip("/").rpartition("/")[2]
    head = head_of(uri, FORMS)
    if head is None:
        return Source(name, _contained_chunks(Folder(uri), reading, name))
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return Source(name, _contained_chunks(open_zip(uri), reading))
    zipped = head.startswith(b"\x1f\x8b")
    if zipped:
        with gunzipped(uri) as stream:
            head = stream.read(MAX_HEADER_BYTES)
    if head[257:262] == b"ustar" or (zipped and b"\0" in head):
        return Source(name, _contained_chunks(Unpacked(uri, _is_fer2013), reading))
    if not zipped and name.lower().endswith((".zip", ".gz", ".tgz", ".tar")):
        raise UserError(f"{where} is not an archive, whatever its name says: fetch it again")
    first_line = head.partition(b"\n")[0]
    if columns_of(first_line) is None:
        if b"\0" in head:
            raise UserError(f"{where} is neither a zip, a tar.gz nor a CSV: give {FORMS}")
        raise UserError(wrong_header(where, first_line))
    return Source(name, _csv_chunks(gunzipped(uri) if zipped else opened(uri), where, reading))


def _contained_chunks(container: Container, reading: Reading, root_name: str = "") -> Iterator[Chunk]:
    """The chunks of the one CSV of FER-2013 in `container`, or else of its class folders."""
    paths, headers = sorted(container.paths()), {}
    for path in paths:
        if _is_csv(path):
            with suppress(BadImage), container.open(path) as stream:
                headers[path] = stream.read(MAX_HEADER_BYTES).partition(b"\n")[0]
    columns = {path: found for path, header in headers.items() if (found := columns_of(header))}
    # Kaggle's challenge has a CSV of everything beside one of the training rows alone.
    tables = [path for path, found in columns.items() if len(found) == len(COLUMNS)] or list(columns)
    if len(tables) > 1:
        both = printable(f"{tables[0]}, {tables[1]}")
        raise UserError(f"{container.where} holds more than one FER-2013 CSV ({both}): give one")
    if tables and isinstance(container, Folder) and (image := image_of_class(paths, reading)):
        both = printable(f"{tables[0]} and {image}")
        raise UserError(f"{container.where} holds a FER-2013 CSV and images in class folders ({both}): give one")
    if tables:
        name = f"{container.where}: {printable(tables[0])}"
        return _csv_chunks(container.open(tables[0]), name, reading)
    if reading.votes is not None:
        raise UserError(f"{container.where} holds no FER-2013 CSV, whose rows {reading.votes.name} could label")
    files = image_files(paths, container, reading, root_name)
    if all(file.left_out for file in files):
        if headers:
            path, header = next(iter(headers.items()))
            raise UserError(wrong_header(f"{container.where}: {printable(path)}", header))
        first = f" ({printable(files[0].path)} {files[0].left_out})" if files else ""
        raise UserError(
            f"{container.where} holds no JPEG or PNG image in class folders and no CSV{first}: give {FORMS}"
        )
    return image_chunks(files, container, reading.face)


def _csv_chunks(file: AbstractContextManager[IO[bytes]], name: str, reading: Reading) -> Iterator[Chunk]:
    with file as stream:
        yield from csv_blocks(stream, name, reading)


def _is_fer2013(path: str, head: bytes) -> bool:
    return _is_csv(path) and columns_of(head.partition(b"\n")[0]) is not None


def _is_csv(path: str) -> bool:
    name = path.replace("\\", "/").rpartition("/")[2]
    return name.lower().endswith(".csv") and not name.startswith(".") and "__MACOSX" not in path
