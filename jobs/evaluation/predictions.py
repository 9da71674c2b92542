"""The tables that scoring writes and the report reads, a file of each per shard."""

import pyarrow as pa

from fer_data.emotions import CLASSES

Column = tuple[str, pa.DataType, str]
"""Name, type and meaning."""
PROBABILITIES = [f"p_{name}" for name in CLASSES]
CHECKPOINT = ("checkpoint", pa.string(), "NAME or PATH as given to --checkpoint; ensemble for the average of all")


def table_schema(*columns: Column) -> pa.Schema:
    """A schema that keeps the meaning of each column as field metadata."""
    return pa.schema([pa.field(name, kind, metadata={"meaning": meaning}) for name, kind, meaning in columns])


_IMAGE: tuple[Column, ...] = (
    CHECKPOINT,
    ("image_id", pa.string(), "the image, as in the data set"),
    ("usage", pa.string(), "the usage of the image, as in the data set"),
    ("label", pa.int8(), "annotated class, 0 to 6"),
    ("predicted", pa.int8(), "most probable class, 0 to 6; null where there is an error"),
    *((f"p_{name}", pa.float32(), f"probability of {name}, 0 to 1; null where there is an error") for name in CLASSES),
)
_ERROR: Column = ("error", pa.string(), "why the image could not be scored; null where it was")

SCORED = table_schema(*_IMAGE, _ERROR)
"""What the actors return: PREDICTIONS without the columns that the driver adds."""

PREDICTIONS = table_schema(
    *_IMAGE,
    (
        "copy",
        pa.string(),
        "exact or near: the image shows the same photograph as an image that the protocol trains on; empty: it does "
        "not; null: near copies were not looked for, and it is no exact copy",
    ),
    ("correlation", pa.float32(), "that of a copy with the image that resembles it most, -1 to 1; null for no copy"),
    _ERROR,
)
"""All rows of one checkpoint, then all rows of the next; in each, the rows of the shard in order."""

CORRUPTED = table_schema(
    CHECKPOINT,
    ("corruption", pa.string(), "the corruption"),
    ("strength", pa.int8(), "1 to 3"),
    ("predicted", pa.list_(pa.int8()), "the class of each row of the shard, -1 where there is an error"),
)
"""Results on corrupted images, which are not published."""
