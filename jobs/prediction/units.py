"""The `Unit` of a prediction: a piece of a collection of pictures."""

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from fer_data.emotions import CLASSES
from fer_data.picture_pieces import Piece
from jobs.evaluation.predictions import CHECKPOINT, table_schema

PICTURED = table_schema(
    CHECKPOINT,
    ("source", pa.string(), "the picture: its path in the folder or zip, its line of the list, its row, or its id"),
    ("face", pa.int32(), "number of the face in the picture, from 0, the largest first; null where there is none"),
    ("x", pa.int32(), "left edge of the face in pixels, in the upright picture; null for whole pictures"),
    ("y", pa.int32(), "top edge of the face in pixels; null for whole pictures"),
    ("width", pa.int32(), "width of the face in pixels; null for whole pictures"),
    ("height", pa.int32(), "height of the face in pixels; null for whole pictures"),
    ("predicted", pa.int8(), "most probable class, 0 to 6; null where there is no face or an error"),
    *((f"p_{name}", pa.float32(), f"probability of {name}, 0 to 1; null where predicted is") for name in CLASSES),
    ("error", pa.string(), "why the picture could not be read or the face not be scored; null where they were"),
)
"""A row for each face, and one without a face for each picture in which none was found or that cannot be read. All rows
of one checkpoint, then all rows of the next; in each, pictures in the order of the input."""


@dataclass(frozen=True)
class PictureUnit:
    """Piece number `index` of a collection."""

    index: int
    piece: Piece

    @property
    def rows(self) -> int:
        return self.piece.images

    @property
    def file_name(self) -> str:
        return f"part-{self.index:06d}.parquet"

    @property
    def counted_by(self) -> tuple[str, ...]:
        return ("face",)

    def images_in(self, predictions: pa.Table) -> int:
        """Each picture has one row that is its first face or no face."""
        first = pc.fill_null(predictions.column("face"), 0)
        return int(pc.sum(pc.equal(first, 0)).as_py() or 0)


def units_of(pieces: Sequence[Piece]) -> list[PictureUnit]:
    """A unit for each piece."""
    return [PictureUnit(index, piece) for index, piece in enumerate(pieces)]


def read_faces(unit: PictureUnit, *, detect: bool) -> pa.Table:
    """The faces of `unit`: a table of `picture_pieces.FACES`. Raises UserError when storage fails."""
    return unit.piece.read(detect=detect)
