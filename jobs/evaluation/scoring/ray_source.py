"""A prepared data set as a Ray Data source: each shard is one read task, one block and one row."""

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import pyarrow as pa
from ray.data import Datasource
from ray.data.block import BlockMetadata
from ray.data.datasource import ReadTask

from fer_data.dataset import PreparedDataset
from fer_data.errors import UserError
from fer_data.rows import PIXELS
from jobs.evaluation.scoring.packing import packed
from jobs.evaluation.scoring.shards import IMAGES, Shard, read_shard

_ROW_BYTES = PIXELS + 64


class ShardSource(Datasource):
    """The row of a shard has columns `shard` (its index), `images` (a packed table of `shards.IMAGES`) and `mistake`.

    `mistake` is the user's error that keeps the images from being read, or null. Ray Data 2.60 requires a batch size
    for actors with GPUs; because a row is a whole shard, no batch size can split one.
    """

    def __init__(self, dataset: PreparedDataset, shards: Sequence[Shard]) -> None:
        super().__init__()
        self._dataset, self._shards = dataset, shards

    def estimate_inmemory_data_size(self) -> int:
        return _ROW_BYTES * sum(shard.rows for shard in self._shards)

    def get_read_tasks(self, parallelism: int, *_: Any, **__: Any) -> list[ReadTask]:
        """One task per shard, whatever `parallelism` Ray suggests: a resumed run skips whole shards."""
        return [
            ReadTask(
                partial(_blocks, self._dataset, shard),
                BlockMetadata(num_rows=1, size_bytes=_ROW_BYTES * shard.rows, input_files=None, exec_stats=None),
            )
            for shard in self._shards
        ]


def _blocks(dataset: PreparedDataset, shard: Shard) -> Iterable[pa.Table]:
    """The row of `shard`. A mistake of the user's is a value: Ray would wrap an exception in tracebacks."""
    mistake = None
    try:
        images = read_shard(dataset, shard)
    except UserError as error:
        images, mistake = IMAGES.empty_table(), str(error)
    yield pa.table(
        {
            "shard": pa.array([shard.index], pa.int32()),
            "images": packed([images]),
            "mistake": pa.array([mistake], pa.string()),
        }
    )
