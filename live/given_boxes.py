"""Faces that need not be detected: whole images, and boxes from a file."""

import csv
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from fer_data.errors import UserError
from fer_data.text import for_spreadsheet
from live.frames import Frame
from live.log import need_pyarrow

_COLUMNS = ("source", "frame", "x", "y", "width", "height")
_NEEDED = f"its columns are {', '.join(_COLUMNS)}"
_MOST = 5_000_000
"""Boxes in a file."""
_FURTHEST = 1_000_000.0
"""Pixels."""


def centre_square(frame: Frame) -> np.ndarray:
    """The largest square in the middle of an image that is a face: float32 [1, 4]. Preparing data cuts the same."""
    height, width = frame.image.shape[:2]
    side = min(height, width)
    return np.array([[(width - side) // 2, (height - side) // 2, side, side]], np.float32)


class BoxFile:
    """The boxes in a .csv, .jsonl or .parquet file with the columns of a log: source, frame, x, y, width, height.

    `source` may be missing if there is one file, `frame` if there are only images. A source is a path as in a log, or
    relative to `folder`. Raises UserError when the file cannot be read, or a row has no box.
    """

    def __init__(self, path: Path, folder: Path) -> None:
        self._path, self._folder = path, folder
        self._boxes: dict[str | None, dict[int | None, list[list[float]]]] = {}
        self._used: set[str | None] = set()
        count = 0
        for number, row in _rows(path):
            if not isinstance(row, dict):
                raise UserError(f"--boxes {path}, row {number}: cannot be read: it has no names of columns")
            if row.get("x", 0) in (None, ""):  # A frame without a face.
                continue
            count += 1
            if count > _MOST:
                raise UserError(f"--boxes {path} has more than {_MOST} boxes: divide it, and the source")
            try:
                box = [float(row[name]) for name in ("x", "y", "width", "height")]
                frame = int(row["frame"]) if row.get("frame") not in (None, "") else None
            except KeyError as missing:
                raise UserError(f"--boxes {path} has no column {missing.args[0]}: {_NEEDED}") from None
            except (ValueError, TypeError):
                raise UserError(
                    f"--boxes {path}, row {number}: x, y, width, height and frame must be numbers"
                ) from None
            if not all(map(math.isfinite, box)) or min(box[2:]) <= 0 or max(map(abs, box)) > _FURTHEST:
                raise UserError(f"--boxes {path}, row {number}: {box} is no box in pixels")
            source = row.get("source") or None
            self._boxes.setdefault(source, {}).setdefault(frame, []).append(box)
        if not count:
            raise UserError(f"--boxes {path} has no boxes: {_NEEDED}")

    def __call__(self, frame: Frame) -> np.ndarray:
        """The boxes in a frame: float32 [n, 4]. Raises UserError if they do not say which frame of a video they fit."""
        names = [frame.origin, str(Path(frame.origin).resolve()), None]
        if Path(frame.origin).is_relative_to(self._folder):
            names.insert(1, str(Path(frame.origin).relative_to(self._folder)))
        names += [for_spreadsheet(name) for name in names]  # As a log in CSV has them.
        name = next((name for name in names if name in self._boxes), None)
        boxes = self._boxes.get(name, {})
        if None in boxes and not frame.still:
            raise UserError(f"--boxes {self._path} needs a column frame: {frame.origin} is a video")
        if boxes:
            self._used.add(name)
        return np.array(boxes.get(frame.number, boxes.get(None, [])), np.float32).reshape(-1, 4)

    def unused(self) -> str:
        """A line on the sources that were not among the files; '' if all were."""
        unused = [str(name) for name in self._boxes if name not in self._used]
        if not unused:
            return ""
        more = f" and {len(unused) - 3} more" if len(unused) > 3 else ""
        return f"--boxes {self._path}: no file was read for its source {', '.join(unused[:3])}{more}"


def _rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The rows of a table, with their numbers from 1."""
    suffix = path.suffix.lower()
    try:
        if suffix == ".csv":
            with path.open(newline="", encoding="utf-8-sig") as file:
                yield from enumerate(csv.DictReader(file), 1)
        elif suffix == ".jsonl":
            with path.open(encoding="utf-8") as file:
                yield from enumerate((json.loads(line) for line in file if line.strip()), 1)
        elif suffix == ".parquet":
            yield from enumerate(_parquet_rows(path), 1)
        else:
            raise UserError(f"--boxes {path}: give a name that ends in .csv, .jsonl, .parquet")
    except OSError as error:
        raise UserError(f"--boxes {path} cannot be read: {error.strerror or 'it is damaged'}") from error
    except (ValueError, csv.Error) as error:
        raise UserError(f"--boxes {path} cannot be read: {str(error).splitlines()[0]}") from error


def _parquet_rows(path: Path) -> Iterator[dict[str, Any]]:
    need_pyarrow(f"--boxes {path}")
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as table:
        names = [name for name in _COLUMNS if name in table.schema_arrow.names]
        for batch in table.iter_batches(columns=names):
            yield from batch.to_pylist()
