"""The CSV forms of FER-2013: `emotion,pixels,Usage` in any order of columns, one image to a line.

Without the column Usage all rows are training rows. A CSV is read once, in blocks of whole lines that are parsed apart
from each other. A row's id is its usage, or "row" where there is none, and its number, counted from 1 after the header.
"""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

import numpy as np

from fer_data.class_maps import ClassMap
from fer_data.emotions import CLASSES, NUM_CLASSES
from fer_data.errors import UserError
from fer_data.reading import Reading
from fer_data.rows import PIXELS, Decoded, rows_table
from fer_data.votes import Votes, majority

COLUMNS = ("emotion", "pixels", "usage")
WITHOUT_USAGE = COLUMNS[:2]
EXPECTED = "emotion,pixels,Usage"
BLOCK_BYTES = 4 * 2**20
MAX_HEADER_BYTES = 1024
MAX_LINE_BYTES = 2**20
_USAGES = {"training": "training", "publictest": "public_test", "privatetest": "private_test"}
_LABELS = {str(label).encode(): label for label in range(NUM_CLASSES)}


@dataclass(frozen=True)
class CsvBlock:
    """Whole lines of the CSV called `name`, whose first is row `first_row`; `columns` in the file's order."""

    name: str
    columns: tuple[str, ...]
    first_row: int
    text: bytes
    classes: ClassMap
    votes: Votes | None = None

    def decode(self) -> Decoded:
        """The block's rows. Raises UserError for a row whose usage is none of FER-2013's."""
        ids, usages, labels, faces, votes = [], [], [], [], []
        rejected, left_out = [], []
        for number, line in enumerate(self.text.split(b"\n"), self.first_row):
            if not line.strip():
                continue
            fields = [field.strip() for field in fields_of(line)]
            if len(fields) != len(self.columns):
                rejected.append((f"row-{number:08d}", f"has {len(fields)} fields, not {len(self.columns)}"))
                continue
            values = dict(zip(self.columns, fields, strict=True))
            usage_field = values.get("usage", b"training")
            if not usage_field:
                rejected.append((f"row-{number:08d}", "has no Usage" if any(fields) else "is empty"))
                continue
            usage = _USAGES.get(usage_field.decode(errors="replace").lower())
            if usage is None:
                shown = usage_field.decode(errors="replace")[:40]
                known = "Training, PublicTest or PrivateTest"
                raise UserError(f"{self.name}, row {number}: Usage is {shown!r}: it must be {known}")
            image_id = f"{usage if 'usage' in values else 'row'}-{number:08d}"
            try:
                label = self._label(number, values["emotion"], usage_field)
                face = face_of(values["pixels"])
            except LeftOut as reason:
                left_out.append((image_id, str(reason)))
                continue
            except ValueError as reason:
                rejected.append((image_id, str(reason)))
                continue
            ids.append(image_id)
            usages.append(usage)
            labels.append(label)
            faces.append(face)
            if self.votes is not None:
                votes.append(self.votes.counts[number - self.first_row])
        stacked = np.stack(faces) if faces else np.empty((0, PIXELS), np.uint8)
        counts = None if self.votes is None else np.array(votes, np.int8)
        table = rows_table(ids, usages, np.array(labels, np.int8), stacked, counts)
        return Decoded(table, rejected, left_out)

    def _label(self, number: int, emotion: bytes, usage: bytes) -> int:
        """The label of row `number`. Raises ValueError for one that has none, which may be LeftOut."""
        if self.votes is None:
            return _label(emotion, self.classes)
        at = number - self.first_row
        if self.votes.usages[at] != usage.decode().lower():
            raise UserError(
                f"{self.votes.name}, row {number}: Usage is {self.votes.usages[at]!r}, but {usage.decode()!r} in "
                f"{self.name}: its rows must follow those of the CSV that it labels"
            )
        return voted_label(self.votes.counts[at], self.classes)


def columns_of(header: bytes) -> tuple[str, ...] | None:
    """The columns that a first line names, in lower case; None when it is no FER-2013 header."""
    columns = named_columns(header)
    return columns if sorted(columns) in (sorted(COLUMNS), sorted(WITHOUT_USAGE)) else None


def named_columns(header: bytes) -> tuple[str, ...]:
    text = header.decode("utf-8-sig", errors="replace")
    return tuple(column.strip().strip('"').lower() for column in text.strip().split(","))


def csv_blocks(stream: IO[bytes], name: str, reading: Reading) -> Iterator[CsvBlock]:
    """The CSV in `stream`, block by block, holding one at a time.

    Raises UserError for a header other than FER-2013's, for lines too long to be a row of it, for a column Usage where
    `reading` is to divide the images, and for another number of rows than `reading` has votes for.
    """
    rest = stream.read(MAX_HEADER_BYTES)
    while b"\n" not in rest and len(rest) < MAX_HEADER_BYTES and (more := stream.read(MAX_HEADER_BYTES)):
        rest += more
    header, _, rest = rest.partition(b"\n")
    columns = columns_of(header)
    if columns is None:
        raise UserError(wrong_header(name, header))
    if reading.faces is not None:
        raise UserError(f"{name}: --detect-faces looks for faces in photographs, and a CSV holds faces: leave it out")
    if reading.group_by is not None:
        raise UserError(f"{name}: --group-by goes by the names of files, and a CSV has none: leave it out")
    if reading.divide and "usage" in columns:
        raise UserError(f"{name} has the column Usage, which divides its images already: leave --split-shares out")
    if reading.votes is not None and "usage" not in columns:
        raise UserError(f"{name} has no column Usage: --labels needs the whole of FER-2013's CSV")
    row, rows = 1, 0
    while block := stream.read(BLOCK_BYTES):
        text, newline, rest_after = (rest + block).rpartition(b"\n")
        if len(rest_after) > MAX_LINE_BYTES:
            raise UserError(f"{name}: a line is longer than {MAX_LINE_BYTES:,} bytes: it is no FER-2013 CSV")
        if newline:
            yield _block(name, columns, row, text, reading)
            rows = row + text.rstrip().count(b"\n") if text.strip() else rows
            row += text.count(b"\n") + 1
        rest = rest_after
    if rest.strip():
        yield _block(name, columns, row, rest, reading)
        rows = row + rest.rstrip().count(b"\n")
    if reading.votes is not None and rows != len(reading.votes.usages):
        raise _other_rows(name, f"{rows:,}", reading.votes)


def _block(name: str, columns: tuple[str, ...], row: int, text: bytes, reading: Reading) -> CsvBlock:
    votes = None
    if reading.votes is not None:
        lines = text.rstrip().count(b"\n") + bool(text.strip())
        votes = reading.votes[row - 1 : row - 1 + lines]
        if len(votes.usages) < lines:
            raise _other_rows(name, "more", reading.votes)
    return CsvBlock(name, columns, row, text, reading.classes, votes)


def _other_rows(name: str, rows: str, votes: Votes) -> UserError:
    has = f"{votes.name} has {len(votes.usages):,} rows, but {name} has {rows}"
    return UserError(f"{has}: the rows of labels must follow those of the CSV")


def wrong_header(name: str, header: bytes) -> str:
    """What to tell the user about a first line that `columns_of` does not accept."""
    columns = named_columns(header)
    if "pixels" in columns and set(columns) <= {"pixels", "usage"}:
        return f"{name} has pixels and no column emotion: its images have no labels, so they can neither train nor test"
    shown = header.decode("utf-8", errors="replace").strip()[:60]
    return f"{name}: the header is {shown!r}, not {EXPECTED} (in any order): it is no FER-2013 CSV"


def fields_of(line: bytes) -> list[bytes]:
    if b'"' not in line:
        return line.split(b",")
    try:
        return [field.encode() for field in next(csv.reader([line.decode(errors="replace").strip("\r\n")]))]
    except csv.Error:
        return []


class LeftOut(ValueError):
    """Why a row is left out, where that is no fault of the data."""


def _label(field: bytes, classes: ClassMap) -> int:
    """The label of one row: a number of FER-2013's, unless `classes` has others."""
    name = field.decode(errors="replace")[:20]
    try:
        ignored = not classes.names and name.lower() in classes.ignored
        label = None if ignored else classes.label(name if classes.names else CLASSES[_LABELS[field]])
    except KeyError:
        known = "in the --class-map" if classes.names else f"0 to {NUM_CLASSES - 1}"
        raise ValueError(f"emotion is {name!r}, not {known}") from None
    if label is None:
        raise LeftOut(f"is of the class {name}, which is ignored")
    return label


def voted_label(counts: np.ndarray, classes: ClassMap) -> int:
    """The label that most annotators gave."""
    try:
        name = majority(counts)
    except ValueError as reason:
        raise LeftOut(str(reason)) from None
    try:
        label = classes.label(name)
    except KeyError:
        raise LeftOut(f"has no label: most annotators chose {name}, which is none of the seven classes") from None
    if label is None:
        raise LeftOut(f"is of the class {name}, which is ignored")
    return label


def face_of(field: bytes) -> np.ndarray:
    """The pixels of one row: uint8 [2304]. Raises ValueError with the reason when it is no face."""
    try:
        values = np.fromstring(field.decode("ascii"), dtype=np.int64, sep=" ")
    except (ValueError, DeprecationWarning) as error:
        raise ValueError("pixels are not numbers between spaces") from error
    if len(values) != PIXELS:
        raise ValueError(f"has {len(values):,} pixels, not {PIXELS:,}")
    if values.min() < 0 or values.max() > 255:
        raise ValueError("has a pixel outside 0 to 255")
    return values.astype(np.uint8)
