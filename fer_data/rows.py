"""Rows of the data set as a table: the columns, and the way from arrays to a table and back."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from fer_data.audit import hashes_of

SIDE = 48
PIXELS = SIDE * SIDE
SCHEMA: pa.Schema = pa.schema(
    [
        ("image_id", pa.string()),
        ("usage", pa.string()),
        ("label", pa.int8()),
        ("pixels", pa.binary(PIXELS)),
        ("pixels_hash", pa.uint64()),
    ]
)
USAGES = ("training", "public_test", "private_test", "test")


@dataclass(frozen=True)
class Decoded:
    """What a piece of a source gave: a table of SCHEMA, and (image_id, reason) of each rejected row."""

    table: pa.Table
    rejected: list[tuple[str, str]]


def rows_table(
    image_ids: Sequence[str] | pa.Array,
    usages: str | Sequence[str],
    labels: np.ndarray,
    pixels: np.ndarray,
) -> pa.Table:
    """A table of SCHEMA from n ids, one usage for all or one each, labels [n] of 0 to 6, and

    pixels uint8 [n, 48, 48], [n, 48, 48, 1] or [n, 2304]; the pixels' hashes are computed.
    """
    count = len(labels)
    flat = np.ascontiguousarray(pixels, dtype=np.uint8).reshape(count, PIXELS)
    usage_column = pa.array([usages] * count if isinstance(usages, str) else usages, pa.string())
    columns = [
        pa.array(image_ids, pa.string()),
        usage_column,
        pa.array(np.asarray(labels, dtype=np.int8)),
        pa.FixedSizeBinaryArray.from_buffers(pa.binary(PIXELS), count, [None, pa.py_buffer(flat)]),
        pa.array(hashes_of(flat)),
    ]
    return pa.Table.from_arrays(columns, schema=SCHEMA)


def pixels_of(table: pa.Table) -> np.ndarray:
    """The images of `table`, read-only and without a copy: uint8 [n, 48, 48, 1]."""
    column = table.column("pixels")
    array = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    flat = np.frombuffer(array.buffers()[1] or b"", dtype=np.uint8)
    rows = flat[array.offset * PIXELS : (array.offset + len(array)) * PIXELS]
    rows.flags.writeable = False
    return rows.reshape(len(array), SIDE, SIDE, 1)
