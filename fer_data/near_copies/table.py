"""The table of a data set's near copies: which images show the same photograph."""

from collections.abc import Callable, Iterable
from typing import NamedTuple, TypeVar

import numpy as np
import pyarrow as pa

NEAR_COPIES = "near_copies.parquet"
NEAR_COPIES_SCHEMA: pa.Schema = pa.schema(
    [
        ("image_id", pa.string()),
        ("photograph", pa.int64()),
        ("partner", pa.string()),
        ("correlation", pa.float32()),
        ("mirrored", pa.bool_()),
    ]
)
"""A row for each image that has a partner, exact copies included, in the order of the data set.

All images of one photograph have its number. `partner` is the image that resembles it most, `correlation` that of the
two where they overlap, from -1 to 1, and `mirrored` says whether one of them is the other's mirror image.
"""


class Copies(NamedTuple):
    """The images whose photograph occurs again, in the order of their rows.

    `row` int64, `photograph` int64 (numbered from 0), `partner` int64 (the row of the best one), `correlation` float32
    with the partner, and whether one of the two is `mirrored`.
    """

    row: np.ndarray
    photograph: np.ndarray
    partner: np.ndarray
    correlation: np.ndarray
    mirrored: np.ndarray


NO_COPIES = Copies(*(np.zeros(0, dtype) for dtype in (np.int64, np.int64, np.int64, np.float32, bool)))
"""Of images that show no photograph twice."""
Find = Callable[[np.ndarray, np.ndarray], Copies]
"""Finds the copies among images, uint8 [n, 48, 48, 1], whose hashes are the second argument, uint64 [n]."""


Progress = Callable[[float], None]
"""Hears which share of the search is done, 0 to 1."""
Result = TypeVar("Result")


def unheard(_: float) -> None:
    """For those who do not want to hear."""


def told(results: Iterable[Result], count: int, done: Progress) -> list[Result]:
    """All `count` results; `done` hears of each as it comes."""
    kept = []
    for result in results:
        kept.append(result)
        done(len(kept) / count)
    return kept


def near_copies_table(image_ids: pa.Array, copies: Copies) -> pa.Table:
    """`copies` as a table of NEAR_COPIES_SCHEMA; `image_ids` are those of all rows."""
    columns = [
        image_ids.take(pa.array(copies.row)),
        pa.array(copies.photograph),
        image_ids.take(pa.array(copies.partner)),
        pa.array(copies.correlation),
        pa.array(copies.mirrored),
    ]
    return pa.Table.from_arrays(columns, schema=NEAR_COPIES_SCHEMA)
