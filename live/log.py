"""Log the faces: one row per face and frame, as Parquet, CSV or JSON lines.

source         the file, camera or stream
frame          number of the frame in it, from 0
time           seconds since it began: a video's own presentation time; 0 for an image
face           number of the person in it; empty, like the columns after it, where there is no face
x, y, width, height    of the box, in pixels of the frame
expression     the class on the screen
p_angry … p_neutral    its smoothed probabilities
latency_ms     milliseconds from the frame's arrival to its drawn result
"""

import csv
import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from fer_data.emotions import CLASSES
from fer_data.errors import UserError
from fer_data.text import for_spreadsheet
from live.frames import Frame
from live.pipeline import Analysis
from live.unfinished import Unfinished

COLUMNS = (
    *("source", "frame", "time", "face", "x", "y", "width", "height", "expression"),
    *(f"p_{name}" for name in CLASSES),
    "latency_ms",
)
_FLUSH_ROWS = 4096


class Log:
    """Writes rows to `path` in the format of its suffix. The file gets its name when it is closed.

    An image without a face has a row too, and with `empty` every frame without one.
    """

    def __init__(self, path: Path, *, empty: bool = False, overwrite: bool = False) -> None:
        writers: dict[str, Callable[[Path], _Writer]] = {".parquet": _Parquet, ".csv": _Csv, ".jsonl": _JsonLines}
        if path.suffix.lower() not in writers:
            raise UserError(f"--log {path}: give a name that ends in {', '.join(writers)}")
        if path.suffix.lower() == ".parquet":
            need_pyarrow(f"--log {path}")
        self._file = Unfinished(path, "--log", overwrite=overwrite)
        self._failed: OSError | None = None
        self._rows: list[dict[str, Any]] = []
        self._empty = empty
        try:
            self._writer = writers[path.suffix.lower()](self._file.temporary)
        except OSError as error:
            raise OSError(self._file.fail(error)) from error

    def write(self, frame: Frame, analysis: Analysis, latency: float) -> None:
        """Add the faces of one frame; `latency` in milliseconds."""
        found = [(face.id, *face.box, face.expression, *map(float, face.probabilities)) for face in analysis.faces]
        nothing = [(None,) * (len(COLUMNS) - 4)] if frame.still or self._empty else []
        for values in found or nothing:
            row = frame.origin, frame.number, frame.seconds, *values, latency
            self._rows.append(dict(zip(COLUMNS, row, strict=True)))
        if len(self._rows) >= _FLUSH_ROWS:
            self._flush()

    def close(self) -> None:
        """Finish the file. Raises OSError, which names it, where it is not complete."""
        try:
            try:
                self._flush()
            finally:
                self._writer.close()
        except OSError as error:
            self._failed = self._failed or error
        if self._failed:
            raise OSError(self._file.fail(self._failed)) from self._failed
        self._file.publish()

    def discard(self) -> None:
        """Leave no file."""
        with suppress(OSError):
            self._writer.close()
        self._file.discard()

    def _flush(self) -> None:
        rows, self._rows = self._rows, []
        try:
            self._writer.write(rows)
        except OSError as error:
            self._failed = error
            raise


class _Writer(Protocol):
    def write(self, rows: list[dict[str, Any]]) -> None: ...

    def close(self) -> None: ...


class _Csv:
    def __init__(self, path: Path) -> None:
        self._file = path.open("w", newline="", encoding="utf-8")
        self._csv = csv.DictWriter(self._file, COLUMNS)
        self._csv.writeheader()

    def write(self, rows: list[dict[str, Any]]) -> None:
        self._csv.writerows({name: for_spreadsheet(value) for name, value in row.items()} for row in rows)
        self._file.flush()

    def close(self) -> None:
        self._file.close()


class _JsonLines:
    def __init__(self, path: Path) -> None:
        self._file = path.open("w", encoding="utf-8")

    def write(self, rows: list[dict[str, Any]]) -> None:
        self._file.writelines(json.dumps(row) + "\n" for row in rows)
        self._file.flush()

    def close(self) -> None:
        self._file.close()


class _Parquet:
    def __init__(self, path: Path) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        kinds = {"source": pa.string(), "expression": pa.string(), "time": pa.float64(), "latency_ms": pa.float32()}
        kinds |= dict.fromkeys(("frame", "face", "x", "y", "width", "height"), pa.int32())
        self._schema = pa.schema([(name, kinds.get(name, pa.float32())) for name in COLUMNS])
        self._table, self._file = pa.Table, pq.ParquetWriter(path, self._schema)

    def write(self, rows: list[dict[str, Any]]) -> None:
        if rows:
            self._file.write_table(self._table.from_pylist(rows, schema=self._schema))

    def close(self) -> None:
        self._file.close()


def need_pyarrow(option: str) -> None:
    """Raises UserError where pyarrow is not installed, which `option` needs."""
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError:
        raise UserError(f"{option} needs pyarrow: pip install pyarrow, or use .csv or .jsonl") from None
