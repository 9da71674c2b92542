"""Images as a Ray Data source: each unit is one read task, one block and one row."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Generic, TypeVar

import pyarrow as pa
from ray.data import Datasource
from ray.data.block import BlockMetadata
from ray.data.datasource import ReadTask

from fer_data.errors import UserError
from fer_data.rows import PIXELS
from jobs.evaluation.scoring.packing import packed
from jobs.evaluation.scoring.units import Unit

AnyUnit = TypeVar("AnyUnit", bound=Unit)
Read = Callable[[AnyUnit], pa.Table]
"""Reads the images of a unit: a table with the column `pixels` and what the predictions take from it. It pickles."""
_ROW_BYTES = PIXELS + 64


class UnitSource(Datasource, Generic[AnyUnit]):
    """The row of a unit has columns `unit` (its index), `images` (a packed table, as `read` returns it) and `mistake`.

    `mistake` is the user's error that keeps the images from being read, or null. Ray Data 2.60 requires a batch size
    for actors with GPUs; because a row is a whole unit, no batch size can split one.
    """

    def __init__(self, read: Read[AnyUnit], units: Sequence[AnyUnit]) -> None:
        super().__init__()
        self._read, self._units = read, units

    def estimate_inmemory_data_size(self) -> int:
        return _ROW_BYTES * sum(unit.rows for unit in self._units)

    def get_read_tasks(self, parallelism: int, *_: Any, **__: Any) -> list[ReadTask]:
        """One task per unit, whatever `parallelism` Ray suggests: a resumed run skips whole units."""
        return [
            ReadTask(
                partial(_blocks, self._read, unit),
                BlockMetadata(num_rows=1, size_bytes=_ROW_BYTES * unit.rows, input_files=None, exec_stats=None),
            )
            for unit in self._units
        ]


def _blocks(read: Read[AnyUnit], unit: AnyUnit) -> Iterable[pa.Table]:
    """The row of `unit`. A mistake of the user's is a value: Ray would wrap an exception in tracebacks."""
    mistake, images = None, pa.table({})
    try:
        images = read(unit)
    except UserError as error:
        mistake = str(error)
    yield pa.table(
        {
            "unit": pa.array([unit.index], pa.int32()),
            "images": packed([images]),
            "mistake": pa.array([mistake], pa.string()),
        }
    )
