"""The rows of a data set: the columns of its tables, images to columns and back, and the hash of an image."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import blake2b

import numpy as np
import pyarrow as pa

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
VOTED = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt", "unknown", "nf")
"""What annotators of FER+ could choose: seven expressions like ours, contempt, "I do not know" and "no face"."""
SCHEMA_WITH_VOTES: pa.Schema = SCHEMA.append(pa.field("votes", pa.list_(pa.int8(), len(VOTED))))
"""The columns of a data set that was labelled by votes: how many annotators chose each of VOTED."""
USAGES = ("training", "public_test", "private_test", "test")


@dataclass(frozen=True)
class Decoded:
    """The rows of one piece of a source, and (image_id, reason) of what became no row.

    `table` is one of SCHEMA, or of SCHEMA_WITH_VOTES. Rejected rows are unusable. Others are `left_out` as they should
    be: ignored classes, files that are no images. `groups` says whose picture each row is, where anyone asked.
    """

    table: pa.Table
    rejected: list[tuple[str, str]]
    left_out: list[tuple[str, str]] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)


def rows_table(
    image_ids: Sequence[str] | pa.Array,
    usages: str | Sequence[str],
    labels: np.ndarray,
    pixels: np.ndarray,
    votes: np.ndarray | None = None,
) -> pa.Table:
    """A table of SCHEMA, with the hash of each image, or of SCHEMA_WITH_VOTES if there are `votes`, int8 [n, 10].

    Takes n image ids, one usage for all rows or n of them, labels [n] from 0 to 6, and pixels
    uint8 [n, 48, 48], [n, 48, 48, 1] or [n, 2304].
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
    if votes is None:
        return pa.Table.from_arrays(columns, schema=SCHEMA)
    flat_votes = pa.array(np.ascontiguousarray(votes, np.int8).ravel())
    columns.append(pa.FixedSizeListArray.from_arrays(flat_votes, len(VOTED)))
    return pa.Table.from_arrays(columns, schema=SCHEMA_WITH_VOTES)


def pixels_of(table: pa.Table) -> np.ndarray:
    """The images of `table`, uint8 [n, 48, 48, 1]: read-only, and without a copy where the column is in one piece."""
    column = table.column("pixels")
    array = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    flat = np.frombuffer(array.buffers()[1] or b"", dtype=np.uint8)
    rows = flat[array.offset * PIXELS : (array.offset + len(array)) * PIXELS]
    rows.flags.writeable = False
    return rows.reshape(len(array), SIDE, SIDE, 1)


def pixels_hash(pixels: bytes | memoryview) -> int:
    """The content hash of one image's 2,304 bytes: blake2b with an 8-byte digest, read little-endian."""
    return int.from_bytes(blake2b(pixels, digest_size=8).digest(), "little")


def hashes_of(pixels: np.ndarray) -> np.ndarray:
    """`pixels_hash` of each image in `pixels`, uint8 [n, …], as uint64 [n]."""
    rows = np.ascontiguousarray(pixels).reshape(len(pixels), -1) if len(pixels) else pixels
    return np.array([pixels_hash(row.data) for row in rows], np.uint64)
