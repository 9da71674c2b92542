"""Collections of pictures without labels, in any usual form, local or remote, as pieces to read.

    a folder, with its subfolders, or a zip    of images, known by their content
    an image                                   by itself
    a CSV, or Parquet files in a folder        with a column `pixels`: 48x48 grey values for each row
    a text file                                with the path or URI of an image on each line

The form is recognised by content. What is no image is counted and left out; what is one and cannot be read is a row.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.parquet as pq

from fer_data.archives import open_zip
from fer_data.containers import REMOTE_READS, Container, Folder, head_of
from fer_data.csv_rows import BLOCK_BYTES, MAX_LINE_BYTES, named_columns
from fer_data.decoding import BadImage, is_image
from fer_data.errors import UserError
from fer_data.image_files import NO_IMAGE, is_litter, is_named_image, no_image
from fer_data.picture_pieces import CsvPart, Listed, ParquetPart, PictureFiles, Piece
from fer_data.storage import absolute, is_remote, join, opened, printable, read_file, redacted, reported, resolve

PIECE_IMAGES = 512
"""Images in a piece: a killed job does those of an unfinished piece again."""
PIECE_ROWS = 16_384
"""Rows of a Parquet file in a piece. Row groups are read as a whole, so more of them at once is faster."""
MAX_LIST_BYTES = 2**30
FIRST_LINES = 20
"""A text whose first lines lead nowhere is no list of pictures."""
FORMS = "a folder, a zip, an image, a CSV or Parquet files with a column pixels, or a text file of paths and URIs"


@dataclass(frozen=True)
class Pictures:
    """The collection at `uri`: its `pieces`, in order, and how many files were `left_out` for which reason.

    With `are_faces`, its images are 48x48 faces already.
    """

    uri: str
    pieces: Sequence[Piece]
    left_out: dict[str, int] = field(default_factory=dict)
    are_faces: bool = False

    @property
    def images(self) -> int:
        return sum(piece.images for piece in self.pieces)


def open_pictures(uri: str) -> Pictures:
    """The collection at `uri`. Raises UserError when there is none, or it has no image, or is not safe to read."""
    uri = absolute(uri)
    where = redacted(uri)
    head = head_of(uri, FORMS)
    if head is None:
        return _contained(uri, Folder(uri))
    if is_image(head):
        return Pictures(uri, [PictureFiles(Listed("", 1), (uri,))])
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _contained(uri, open_zip(uri))
    if head.startswith(b"PAR1"):
        return Pictures(uri, _some(uri, _parquet_parts(uri, "")), are_faces=True)
    if "pixels" in named_columns(head.partition(b"\n")[0]):
        return Pictures(uri, _some(uri, _csv_parts(uri)), are_faces=True)
    if b"\0" in head or head.startswith(b"\x1f\x8b"):
        raise UserError(f"{where} is not of a known form: give {FORMS}; unpack other archives first")
    return _listed(uri)


def _contained(uri: str, container: Container) -> Pictures:
    """The images in a folder or zip, or the Parquet files in a folder."""
    paths = sorted(path for path in container.paths() if not is_litter(path))
    tables = [path for path in paths if path.lower().endswith(".parquet")]
    if tables and isinstance(container, Folder) and not any(map(is_named_image, paths)):
        parts = [part for path in tables for part in _parquet_parts(join(uri, path), f"{path}: ")]
        if parts:
            left_out = Counter(_kind(path) for path in paths if path not in tables)
            return Pictures(uri, parts, dict(left_out), are_faces=True)
    kept, left_out = [], Counter[str]()
    for path in paths:
        if reason := no_image(path, container):
            left_out[reason if reason != NO_IMAGE else _kind(path)] += 1
        else:
            kept.append(path)
    if not kept:
        table = next((path for path in paths if path.lower().endswith((".csv", ".parquet"))), "")
        mend = f"give {printable(table)} in it, unpacked" if table else f"give {FORMS}"
        raise UserError(f"{container.where} holds no image: {mend}")
    chunks = [tuple(kept[start : start + PIECE_IMAGES]) for start in range(0, len(kept), PIECE_IMAGES)]
    return Pictures(uri, [PictureFiles(container.reader(chunk), chunk) for chunk in chunks], dict(left_out))


def _kind(path: str) -> str:
    name = path.replace("\\", "/").rpartition("/")[2]
    return f"no image by its content ({printable(name.rpartition('.')[2].lower()) if '.' in name else 'no suffix'})"


def _listed(uri: str) -> Pictures:
    """The images that the text file at `uri` lists."""
    where = redacted(uri)
    try:
        text = read_file(uri, MAX_LIST_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UserError(f"{where} is not of a known form: give {FORMS}") from None
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), 1)]
    named = [(number, line) for number, line in lines if line and not line.startswith("#")]
    if not named:
        raise UserError(f"{where} lists no image: give {FORMS}")
    reader = Listed(uri.rpartition("/")[0] or "/", 1)
    for number, line in named:
        try:
            found = reader.uri(line)
        except UserError as error:
            raise UserError(f"{where}, line {number}: {error}") from error
        if is_remote(found):
            reader = Listed(reader.folder, REMOTE_READS)
    _refuse_if_none_can_be_read(where, reader, named[:FIRST_LINES])
    sources = [line for _, line in named]
    chunks = [tuple(sources[start : start + PIECE_IMAGES]) for start in range(0, len(sources), PIECE_IMAGES)]
    return Pictures(uri, [PictureFiles(reader, chunk) for chunk in chunks])


def _refuse_if_none_can_be_read(where: str, reader: Listed, lines: Sequence[tuple[int, str]]) -> None:
    """Raises UserError when none of the numbered `lines` leads to a file, as in a text that is no list."""
    reasons = []
    for _, line in lines:
        try:
            reader.read(line)
            return
        except BadImage as reason:
            reasons.append(reason)
    number, line = lines[0]
    others = f", nor can the others of its first {len(lines)} be read" if len(lines) > 1 else ""
    raise UserError(
        f"{where} does not list pictures: line {number}, {printable(line[:80])}, {reasons[0]}{others}: give {FORMS}"
    )


def _csv_parts(uri: str) -> Iterator[CsvPart]:
    """Pieces of PIECE_IMAGES lines. It reads the file once, since only its lines say where they begin."""
    with opened(uri) as stream:
        header, start, row = b"", 0, 1
        begin, first, count, rest = 0, 1, 0, b""
        columns: tuple[str, ...] = ()
        while block := stream.read(BLOCK_BYTES):
            lines = (rest + block).split(b"\n")
            rest = lines.pop()
            if len(rest) > MAX_LINE_BYTES:
                raise UserError(f"{redacted(uri)}: a line is longer than {MAX_LINE_BYTES:,} bytes: it is no such CSV")
            for line in lines:
                start += len(line) + 1
                if not header:
                    header, columns, begin = line, named_columns(line), start
                    continue
                count += bool(line.strip())
                row += 1
                if count == PIECE_IMAGES:
                    yield CsvPart(uri, columns, first, count, begin, start)
                    begin, first, count = start, row, 0
        if count + bool(rest.strip()):
            yield CsvPart(uri, columns, first, count + bool(rest.strip()), begin, start + len(rest))


def _parquet_parts(uri: str, prefix: str) -> Iterator[ParquetPart]:
    """Pieces of a Parquet file: none if it has no column of pixels."""
    filesystem, path = resolve(uri)
    with reported(uri), filesystem.open_input_file(path) as file:
        table = pq.ParquetFile(file)
        schema, metadata = table.schema_arrow, table.metadata
        groups = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
    if "pixels" not in schema.names:
        return
    ids = schema.field("image_id").type if "image_id" in schema.names else None
    first = 1
    for group, rows in enumerate(groups):
        for skip in range(0, rows, PIECE_ROWS):
            count = min(PIECE_ROWS, rows - skip)
            yield ParquetPart(uri, prefix, group, skip, count, first + skip, ids in (pa.string(), pa.large_string()))
        first += rows


def _some(uri: str, parts: Iterator[Piece]) -> list[Piece]:
    found = list(parts)
    if not found:
        raise UserError(f"{redacted(uri)} has no rows with a column pixels: give {FORMS}")
    return found
