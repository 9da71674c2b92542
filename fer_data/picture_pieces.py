"""Pieces of a collection of pictures without labels: each is read by itself, on any machine, to a table of FACES.

A table has a row for each face, and one without a face for each image in which none was found or that cannot be read.
"""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fer_data.archives import TooLarge
from fer_data.containers import Reader
from fer_data.csv_rows import face_of, fields_of
from fer_data.decoding import MAX_IMAGE_BYTES, BadImage, colours
from fer_data.errors import StorageError
from fer_data.faces.crops import face_crops
from fer_data.faces.photographs import find_faces
from fer_data.images import grey_face
from fer_data.parallel import in_order
from fer_data.rows import PIXELS, SIDE
from fer_data.storage import absolute, is_remote, join, one_line, reported, resolve

BOX = ("x", "y", "width", "height")
FACES: pa.Schema = pa.schema(
    [
        ("source", pa.string()),
        ("face", pa.int32()),
        *((name, pa.int32()) for name in BOX),
        ("pixels", pa.binary(PIXELS)),
        ("error", pa.string()),
    ]
)
"""`face` counts from 0 within an image, the largest first; it is null, and the pixels are zeros, where there is none.
The box is null for whole images."""

Box = Sequence[int] | None
Face = tuple[Box, np.ndarray]
"""The box of a face, in pixels, and the face, uint8 [48, 48]."""


class Piece(Protocol):
    """Some images of a collection. It pickles."""

    @property
    def images(self) -> int: ...

    def read(self, *, detect: bool) -> pa.Table:
        """A table of FACES: with `detect` the faces that are found in each image, else each image as one face.

        Raises UserError when storage fails.
        """

    def shown(self, faces: Sequence[tuple[str, Box]]) -> list[np.ndarray]:
        """The pictures, uint8 [48, 48], of some faces that `read` has found, by their sources and boxes."""


@dataclass(frozen=True)
class PictureFiles:
    """Image files of any size and usual kind, by their `paths`, which are their sources."""

    reader: Reader
    paths: tuple[str, ...]

    @property
    def images(self) -> int:
        return len(self.paths)

    def read(self, *, detect: bool) -> pa.Table:
        rows = _Rows()
        for path, data in zip(self.paths, self._contents(), strict=True):
            try:
                if isinstance(data, BadImage):
                    raise data
                rows.add(path, _faces_in(data, detect))
            except BadImage as reason:
                rows.add(path, [], error=str(reason))
        return rows.table()

    def shown(self, faces: Sequence[tuple[str, Box]]) -> list[np.ndarray]:
        return [_shown(self.reader.read(path), box) for path, box in faces]

    def _contents(self) -> Iterator[bytes | BadImage]:
        # Each is held until its turn. They may be photographs, so only a few are.
        if self.reader.concurrency == 1:
            yield from map(self._content, self.paths)
            return
        with ThreadPoolExecutor(self.reader.concurrency) as pool:
            yield from in_order(
                self.paths,
                lambda path: pool.submit(self._content, path),
                lambda job: job.result(),
                workers=self.reader.concurrency // 2,
            )

    def _content(self, path: str) -> bytes | BadImage:
        try:
            return self.reader.read(path)
        except TooLarge:
            return BadImage("is too large an image")
        except BadImage as reason:
            return reason


@dataclass(frozen=True)
class Listed:
    """A `Reader` of files by their paths and URIs, as a list has them. Paths may be relative to `folder`."""

    folder: str
    concurrency: int

    def uri(self, path: str) -> str:
        """Where `path` leads. Raises UserError for what is neither a path nor an s3:// or gs:// URI."""
        rooted = "://" in path or path.startswith(("/", "~"))
        uri = absolute(path if rooted else join(self.folder, path))
        resolve(uri)
        return uri

    def head(self, path: str) -> bytes:
        return self.read(path)[:32]

    def read(self, path: str) -> bytes:
        uri = self.uri(path)
        filesystem, place = resolve(uri)
        if not is_remote(uri) and os.path.exists(place) and not os.path.isfile(place):
            raise BadImage("is no plain file")
        try:
            with reported(uri), filesystem.open_input_file(place) as file:
                if file.size() > MAX_IMAGE_BYTES:
                    raise BadImage(f"has {file.size():,} bytes: too large an image")
                return file.read()
        except Exception as error:
            if isinstance(error.__cause__, FileNotFoundError):
                raise BadImage("does not exist") from error
            if isinstance(error.__cause__, OSError) and not is_remote(uri):
                raise BadImage("cannot be read from the disk") from error
            raise


class _PixelRows:
    """Base of pieces whose rows are whole faces already."""

    def read(self, *, detect: bool) -> pa.Table:
        rows = _Rows()
        for source, face in self._rows():
            if isinstance(face, np.ndarray):
                rows.add(source, [(None, face)])
            else:
                rows.add(source, [], error=face)
        return rows.table()

    def shown(self, faces: Sequence[tuple[str, Box]]) -> list[np.ndarray]:
        wanted = {source for source, _ in faces}
        found = {source: face for source, face in self._rows() if source in wanted}
        return [np.asarray(found[source]).reshape(SIDE, SIDE) for source, _ in faces]

    def _rows(self) -> Iterator[tuple[str, np.ndarray | str]]:
        """Source, and pixels, uint8 of 2,304 values, or why there are none."""
        raise NotImplementedError


@dataclass(frozen=True)
class CsvPart(_PixelRows):
    """`images` lines of the CSV at `uri`, from byte `start` to `stop`. `first` is the number of the first one."""

    uri: str
    columns: tuple[str, ...]
    first: int
    images: int
    start: int
    stop: int

    def _rows(self) -> Iterator[tuple[str, np.ndarray | str]]:
        filesystem, path = resolve(self.uri)
        with reported(self.uri), filesystem.open_input_file(path) as file:
            file.seek(self.start)
            text = file.read(self.stop - self.start)
        at = self.columns.index("pixels")
        for number, line in enumerate(text.split(b"\n"), self.first):
            if not line.strip():
                continue
            values = fields_of(line)
            face: np.ndarray | str = f"has {len(values)} fields, not {len(self.columns)}"
            if len(values) == len(self.columns):
                try:
                    face = face_of(values[at].strip())
                except ValueError as reason:
                    face = str(reason)
            yield f"row-{number:08d}", face


@dataclass(frozen=True)
class ParquetPart(_PixelRows):
    """`images` rows of row group `group` of the Parquet file at `uri`, from its row `skip`.

    Where there is a column image_id, it is their source, else their number, from `first`, after `prefix`.
    """

    uri: str
    prefix: str
    group: int
    skip: int
    images: int
    first: int
    has_ids: bool

    def _rows(self) -> Iterator[tuple[str, np.ndarray | str]]:
        names = [f"{self.prefix}row-{self.first + i:08d}" for i in range(self.images)]
        columns = ["image_id", "pixels"] if self.has_ids else ["pixels"]
        try:
            with reported(self.uri):
                table = self._table(columns)
        except StorageError as error:
            damaged = isinstance(error.__cause__, pa.ArrowException)
            if is_remote(self.uri) and not damaged:
                raise
            reason = one_line(error.__cause__ or error, 120)
            for name in names:
                yield name, f"the row group cannot be read: {reason}"
            return
        ids = table.column("image_id").to_pylist() if self.has_ids else names
        for name, source, value in zip(names, ids, table.column("pixels"), strict=True):
            yield str(source or name), _pixels(value)

    def _table(self, columns: list[str]) -> pa.Table:
        filesystem, path = resolve(self.uri)
        with filesystem.open_input_file(path) as file:
            table = pq.ParquetFile(file, pre_buffer=True).read_row_group(self.group, columns, use_threads=False)
        return table.slice(self.skip, self.images)


def _pixels(value: pa.Scalar) -> np.ndarray | str:
    if not value.is_valid:
        return "the pixels are missing"
    try:
        given = value.values if isinstance(value, pa.ListScalar) else np.frombuffer(value.as_buffer(), np.uint8)
        numbers = np.asarray(given)
    except (TypeError, ValueError, pa.ArrowException):
        return "the pixels cannot be read"
    if numbers.dtype.kind not in "iu":
        return "the pixels are no whole numbers"
    if len(numbers) != PIXELS:
        return f"has {len(numbers):,} pixels, not {PIXELS:,}"
    if numbers.min() < 0 or numbers.max() > 255:
        return "has a pixel outside 0 to 255"
    return numbers.astype(np.uint8)


def _faces_in(data: bytes, detect: bool) -> list[Face]:
    if not detect:
        return [(None, grey_face(data, resize=True))]
    boxes, crops = find_faces(colours(data))
    return [(box.tolist(), crop) for box, crop in zip(boxes, crops, strict=True)]


def _shown(data: bytes, box: Box) -> np.ndarray:
    if box is None:
        return grey_face(data, resize=True)
    return face_crops(colours(data), np.array([box]))[0, :, :, 0]


@dataclass
class _Rows:
    """The rows of a table of FACES, as they are found."""

    columns: dict[str, list[Any]] = field(default_factory=lambda: {name: [] for name in FACES.names})

    def add(self, source: str, faces: Sequence[Face], error: str | None = None) -> None:
        """The rows of an image: its faces, or one without a face."""
        found: list[tuple[int | None, Box, bytes]] = [(i, box, face.tobytes()) for i, (box, face) in enumerate(faces)]
        for number, box, pixels in found or [(None, None, bytes(PIXELS))]:
            values = (source, number, *(box or (None,) * len(BOX)), pixels, error)
            for column, value in zip(self.columns.values(), values, strict=True):
                column.append(value)

    def table(self) -> pa.Table:
        return pa.table(self.columns, schema=FACES)
