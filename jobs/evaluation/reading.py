"""The rows of a shard as a table; damaged pixels are marked, never dropped."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fer_data.dataset import PreparedDataset
from fer_data.errors import UserError
from fer_data.rows import PIXELS, hashes_of, pixels_of
from fer_data.storage import join, one_line, resolve
from jobs.evaluation.shards import Shard

BLOCK_SCHEMA: pa.Schema = pa.schema(
    [
        ("image_id", pa.string()),
        ("usage", pa.string()),
        ("label", pa.int8()),
        ("pixels", pa.binary(PIXELS)),
        ("pixels_hash", pa.uint64()),
        ("error", pa.string()),
    ]
)


def read_shard(dataset: PreparedDataset, shard: Shard) -> pa.Table:
    """The rows of `shard` as a table of BLOCK_SCHEMA, in row order.

    `error` says what is wrong with a row whose pixels are missing, cannot be read or are not those that
    were prepared; its pixels are then zeros. Raises UserError when even ids and labels cannot be read.
    """
    positions = shard.positions
    table = dataset.read(shard.group, columns=("image_id", "usage", "label", "pixels_hash")).take(pa.array(positions))
    pixels, errors = _pixels(dataset, shard, positions)
    stated = table.column("pixels_hash").combine_chunks().fill_null(0).to_numpy(zero_copy_only=False)
    for row in np.flatnonzero(hashes_of(pixels) != stated):
        errors[row] = errors[row] or "the pixels are damaged: they do not match their hash"
        pixels[row] = 0
    flat = pa.FixedSizeBinaryArray.from_buffers(pa.binary(PIXELS), shard.rows, [None, pa.py_buffer(pixels)])
    columns = [
        table.column("image_id").combine_chunks(),
        table.column("usage").combine_chunks(),
        table.column("label").combine_chunks(),
        flat,
        pa.array(stated, pa.uint64()),
        pa.array(errors, pa.string()),
    ]
    return pa.Table.from_arrays(columns, schema=BLOCK_SCHEMA)


def _pixels(dataset: PreparedDataset, shard: Shard, positions: np.ndarray) -> tuple[np.ndarray, list[str | None]]:
    """The images at `positions`, uint8 [n, 2304], zeros where there are none, and each row's error so far."""
    pixels = np.zeros((shard.rows, PIXELS), np.uint8)
    errors: list[str | None] = [None] * shard.rows
    try:
        column = dataset.read(shard.group, columns=("pixels",)).column("pixels")
    except UserError:
        # A page's checksum fails: most of its rows may still be sound, and their hashes tell which.
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
