"""Prepared rows as a Ray Data source: one read task, and so one block, for each shard."""

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
from jobs.evaluation.reading import BLOCK_SCHEMA, read_shard
from jobs.evaluation.shards import Shard


class ShardSource(Datasource):
    """A Ray Data source with a read task, and so a block, for each of `shards`."""

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
                    num_rows=shard.rows,
                    size_bytes=shard.rows * (PIXELS + 64),
                    input_files=None,
                    exec_stats=None,
                ),
            )
            for shard in self._shards
        ]


def _blocks(dataset: PreparedDataset, shard: Shard) -> Iterable[pa.Table]:
    """The rows of `shard`, or in their place one row that says what mistake of the user's kept them from being read.

    A task that raises would come back wrapped in tracebacks.
    """
    try:
        yield read_shard(dataset, shard)
    except UserError as mistake:
        nothing = dict.fromkeys(BLOCK_SCHEMA.names)
        yield pa.Table.from_pylist([nothing | {"shard": shard.index, "mistake": str(mistake)}], schema=BLOCK_SCHEMA)
