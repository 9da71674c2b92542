"""Prepared rows as a Ray Data source: one read task, one block and one row for each shard."""

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
from jobs.evaluation.packing import packed
from jobs.evaluation.reading import BLOCK_SCHEMA, read_shard
from jobs.evaluation.shards import Shard


class ShardSource(Datasource):
    """A Ray Data source with a read task for each of `shards`, which gives one row.

    The row has the shard's number, its images (`reading.BLOCK_SCHEMA`, packed) and, where they cannot be read, the
    user's mistake that keeps them from it. Where actors have GPUs, Ray Data insists on a number of rows for each
    call; of rows that are shards it may be 1, so that a shard stays whole.
    """

    def __init__(self, dataset: PreparedDataset, shards: Sequence[Shard]) -> None:
        super().__init__()
        self._dataset, self._shards = dataset, shards

    def estimate_inmemory_data_size(self) -> int:
        return sum(shard.rows for shard in self._shards) * (PIXELS + 64)

    def get_read_tasks(self, parallelism: int, *_: Any, **__: Any) -> list[ReadTask]:
        """One task for each shard, whatever `parallelism` Ray would like: a shard is what a resumed run skips."""
        return [
            ReadTask(
                partial(_blocks, self._dataset, shard),
                BlockMetadata(
                    num_rows=1,
                    size_bytes=shard.rows * (PIXELS + 64),
                    input_files=None,
                    exec_stats=None,
                ),
            )
            for shard in self._shards
        ]


def _blocks(dataset: PreparedDataset, shard: Shard) -> Iterable[pa.Table]:
    """The row for `shard`. A user's mistake is in it: a task that raises would come back wrapped in tracebacks."""
    mistake = None
    try:
        images = read_shard(dataset, shard)
    except UserError as error:
        images, mistake = BLOCK_SCHEMA.empty_table(), str(error)
    yield pa.table(
        {
            "shard": pa.array([shard.index], pa.int32()),
            "images": packed([images]),
            "mistake": pa.array([mistake], pa.string()),
        }
    )
