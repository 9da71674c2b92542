"""The `Unit` of an evaluation: the rows of one row group that the splits hold."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fer_data.dataset import PreparedDataset
from fer_data.emotions import NUM_CLASSES
from fer_data.errors import UserError
from fer_data.manifest import RowGroup
from fer_data.rows import PIXELS, SCHEMA, hashes_of, pixels_of
from fer_data.splits import split
from fer_data.storage import join, one_line, redacted, resolve

IMAGES: pa.Schema = SCHEMA.append(pa.field("error", pa.string()))
"""The columns of a shard's table: those of a prepared data set, then why a row cannot be scored, or null."""


@dataclass(frozen=True)
class Shard:
    """`rows` rows of one row group: those that belong to at least one split.

    `taken` gives, for each split, the positions of its rows in the row group, int32 [n], or None for all rows. Arrays
    with a value per row are computed on request, so that the plan stays small.
    """

    index: int
    group: RowGroup
    rows: int
    taken: dict[str, np.ndarray | None]

    @property
    def file_name(self) -> str:
        """Name of the file that holds the results of this shard."""
        return f"{self.group.part.removesuffix('.parquet')}-{self.group.index:03d}.parquet"

    @property
    def counted_by(self) -> tuple[str, ...]:
        """See `Unit`."""
        return ()

    def images_in(self, predictions: pa.Table) -> int:
        """See `Unit`: each row is an image."""
        return predictions.num_rows

    @property
    def positions(self) -> np.ndarray:
        """Positions of the rows in the row group, int32 [rows], sorted."""
        return _positions(self.group, self.taken)

    @property
    def members(self) -> dict[str, np.ndarray]:
        """By split, which of the rows belong to it: bool [rows]."""
        positions = self.positions
        everything = np.ones(self.rows, bool)
        return {name: everything if rows is None else np.isin(positions, rows) for name, rows in self.taken.items()}


def _positions(group: RowGroup, taken: dict[str, np.ndarray | None]) -> np.ndarray:
    some = [rows for rows in taken.values() if rows is not None]
    return np.arange(group.rows, dtype=np.int32) if len(some) < len(taken) else np.unique(np.concatenate(some))


def plan_shards(dataset: PreparedDataset, splits: Sequence[str], protocol: str) -> list[Shard]:
    """The shards of `splits`, in the order of the data set. A row that several splits hold is in one shard only.

    Raises UserError as `fer_data.splits.split` does.
    """
    taken: dict[tuple[str, int], dict[str, np.ndarray | None]] = {}
    groups: dict[tuple[str, int], RowGroup] = {}
    for name in splits:
        for group, rows in split(dataset, name, protocol).groups:
            key = (group.part, group.index)
            groups[key] = group
            taken.setdefault(key, {})[name] = rows
    return [
        Shard(index, groups[key], len(_positions(groups[key], taken[key])), taken[key])
        for index, key in enumerate(sorted(groups))
    ]


def check_labels(dataset: PreparedDataset, shards: Sequence[Shard]) -> None:
    """Raises UserError, naming the row, when a label in `shards` is missing or outside 0 to 6."""
    for shard in shards:
        table = dataset.read(shard.group, columns=("image_id", "label"))
        column = table.column("label").combine_chunks()
        positions = shard.positions
        labels = column.fill_null(-1).to_numpy(zero_copy_only=False)[positions]
        wrong = np.flatnonzero((labels < 0) | (labels >= NUM_CLASSES))
        if len(wrong):
            row = int(positions[wrong[0]])
            raise UserError(
                f"{redacted(join(dataset.uri, shard.group.part))}: image {table.column('image_id')[row]} has label "
                f"{column[row]}, not 0 to {NUM_CLASSES - 1}: correct the source and run jobs/prepare_data.py again"
            )


def read_shard(dataset: PreparedDataset, shard: Shard) -> pa.Table:
    """The rows of `shard` as a table of IMAGES, in row order.

    A row whose pixels are missing, unreadable or different from those that were prepared has an `error`, and zeros
    for pixels. Raises UserError when ids or labels cannot be read.
    """
    positions = shard.positions
    table = dataset.read(shard.group, columns=("image_id", "usage", "label", "pixels_hash")).take(pa.array(positions))
    pixels, errors = _pixels(dataset, shard, positions)
    stated = table.column("pixels_hash").combine_chunks().fill_null(0).to_numpy(zero_copy_only=False)
    for row in np.flatnonzero(hashes_of(pixels) != stated):
        errors[row] = errors[row] or "the pixels are damaged: they do not match their hash"
        pixels[row] = 0
    columns = [
        *(table.column(name).combine_chunks() for name in ("image_id", "usage", "label")),
        pa.FixedSizeBinaryArray.from_buffers(pa.binary(PIXELS), shard.rows, [None, pa.py_buffer(pixels)]),
        pa.array(stated, pa.uint64()),
        pa.array(errors, pa.string()),
    ]
    return pa.Table.from_arrays(columns, schema=IMAGES)


def _pixels(dataset: PreparedDataset, shard: Shard, positions: np.ndarray) -> tuple[np.ndarray, list[str | None]]:
    """The images at `positions`, uint8 [n, 2304], and the error of each row; an image with an error is zeros."""
    pixels = np.zeros((shard.rows, PIXELS), np.uint8)
    errors: list[str | None] = [None] * shard.rows
    try:
        column = dataset.read(shard.group, columns=("pixels",)).column("pixels")
    except UserError:
        # A page has a wrong checksum. Most of its rows may be intact, and their hashes tell which: read without it.
        filesystem, path = resolve(join(dataset.uri, shard.group.part))
        try:
            with filesystem.open_input_file(path) as source:
                column = pq.ParquetFile(source).read_row_group(shard.group.index, columns=["pixels"]).column("pixels")
        except (OSError, pa.ArrowException) as error:
            return pixels, [f"the pixels cannot be read: {one_line(error, 120)}"] * shard.rows
    if not column.null_count:
        images = pixels_of(pa.table({"pixels": column}))[positions]
        return images.reshape(shard.rows, PIXELS), errors
    for row, value in enumerate(column.combine_chunks().take(pa.array(positions))):
        image = value.as_py()
        if image is None:
            errors[row] = "the pixels are missing"
        else:
            pixels[row] = np.frombuffer(image, np.uint8)
    return pixels, errors
