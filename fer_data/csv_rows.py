"""The CSV forms of FER-2013: `emotion,pixels,Usage` in any order of columns, one image to a line.

Without the column Usage all rows are training rows. A CSV is read once, in blocks of whole lines that are parsed apart
from each other. A row's id is its usage and its number, counted from 1 after the header.
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

    def decode(self) -> Decoded:
        """The block's rows. Raises UserError for a row whose usage is none of FER-2013's."""
        ids, usages, labels, faces = [], [], [], []
        rejected, left_out = [], []
        for number, line in enumerate(self.text.split(b"\n"), self.first_row):
            if not line.strip():
                continue
            fields = [field.strip() for field in _fields(line)]
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
            image_id = f"{usage}-{number:08d}"
            try:
                label = _label(values["emotion"], self.classes)
                if label is None:
                    left_out.append((image_id, f"is of the class {_text(values['emotion'])}, which is ignored"))
                    continue
                face = _face(values["pixels"])
            except ValueError as reason:
                rejected.append((image_id, str(reason)))
                continue
            ids.append(image_id)
            usages.append(usage)
            labels.append(label)
            faces.append(face)
        stacked = np.stack(faces) if faces else np.empty((0, PIXELS), np.uint8)
        return Decoded(rows_table(ids, usages, np.array(labels, np.int8), stacked), rejected, left_out)


def columns_of(header: bytes) -> tuple[str, ...] | None:
    """The columns that a first line names, in lower case; None when it is no FER-2013 header."""
    columns = _named_columns(header)
    return columns if sorted(columns) in (sorted(COLUMNS), sorted(WITHOUT_USAGE)) else None


def _named_columns(header: bytes) -> tuple[str, ...]:
    text = header.decode("utf-8-sig", errors="replace")
    return tuple(column.strip().strip('"').lower() for column in text.strip().split(","))


def csv_blocks(stream: IO[bytes], name: str, reading: Reading) -> Iterator[CsvBlock]:
    """The CSV in `stream`, block by block, holding one at a time.

    Raises UserError for a header other than FER-2013's, for lines too long to be a row of it, and for a column Usage
    where `reading` is to divide the images.
    """
    rest = stream.read(MAX_HEADER_BYTES)
    while b"\n" not in rest and len(rest) < MAX_HEADER_BYTES and (more := stream.read(MAX_HEADER_BYTES)):
        rest += more
    header, _, rest = rest.partition(b"\n")
    columns = columns_of(header)
    if columns is None:
        raise UserError(wrong_header(name, header))
    if reading.group_by is not None:
        raise UserError(f"{name}: --group-by goes by the names of files, and a CSV has none: leave it out")
    if reading.divide and "usage" in columns:
        raise UserError(f"{name} has the column Usage, which divides its images already: leave --split-shares out")
    row = 1
    while block := stream.read(BLOCK_BYTES):
        text, newline, rest_after = (rest + block).rpartition(b"\n")
        if len(rest_after) > MAX_LINE_BYTES:
            raise UserError(f"{name}: a line is longer than {MAX_LINE_BYTES:,} bytes: it is no FER-2013 CSV")
        if newline:
            yield CsvBlock(name, columns, row, text, reading.classes)
            row += text.count(b"\n") + 1
        rest = rest_after
    if rest.strip():
        yield CsvBlock(name, columns, row, rest, reading.classes)


def wrong_header(name: str, header: bytes) -> str:
    """What to tell the user about a first line that `columns_of` does not accept."""
    columns = _named_columns(header)
    if "pixels" in columns and set(columns) <= {"pixels", "usage"}:
        return f"{name} has pixels and no column emotion: its images have no labels, so they can neither train nor test"
    shown = header.decode("utf-8", errors="replace").strip()[:60]
    return f"{name}: the header is {shown!r}, not {EXPECTED} (in any order): it is no FER-2013 CSV"


def _fields(line: bytes) -> list[bytes]:
    if b'"' not in line:
        return line.split(b",")
    try:
        return [field.encode() for field in next(csv.reader([line.decode(errors="replace").strip("\r\n")]))]
    except csv.Error:
        return []


def _label(field: bytes, classes: ClassMap) -> int | None:
    """The label of one row, or None where its class is ignored: a number of FER-2013's, unless `classes` has others."""
    name = _text(field)
    try:
        if classes.names:
            return classes.label(name)
        return None if name.lower() in classes.ignored else classes.label(CLASSES[_LABELS[field]])
    except KeyError:
        known = "in the --class-map" if classes.names else f"0 to {NUM_CLASSES - 1}"
        raise ValueError(f"emotion is {name!r}, not {known}") from None


def _face(field: bytes) -> np.ndarray:
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


def _text(field: bytes) -> str:
    return field.decode(errors="replace")[:20]
