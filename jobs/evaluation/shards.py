"""The unit of work: one row group of the data set, with the positions that each split takes of it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fer_data.dataset import PreparedDataset, RowGroup
from fer_data.emotions import NUM_CLASSES
from fer_data.errors import UserError
from fer_data.splits import split
from fer_data.storage import join, redacted


@dataclass(frozen=True)
class Shard:
    """Rows of one row group. `positions` (int32, sorted) are the rows to score;

    `members` says by split which of these belong to it: bool, as long as `positions`.
    """

    index: int
    group: RowGroup
    positions: np.ndarray
    members: dict[str, np.ndarray]

    @property
    def file_name(self) -> str:
        """Name of the file that holds what came of these rows."""
        return f"{self.group.part.removesuffix('.parquet')}-{self.group.index:03d}.parquet"

    @property
    def rows(self) -> int:
        return len(self.positions)


def plan(dataset: PreparedDataset, splits: Sequence[str], protocol: str) -> list[Shard]:
    """The shards that hold each row of `splits` once, in the data set's order, however the splits overlap.

    Raises UserError as `splits.split` does.
    """
    chosen: dict[tuple[str, int], dict[str, np.ndarray]] = {}
    groups: dict[tuple[str, int], RowGroup] = {}
    for name in splits:
        for group, rows in split(dataset, name, protocol).groups:
            key = (group.part, group.index)
            groups[key] = group
            positions = np.arange(group.rows, dtype=np.int32) if rows is None else rows
            chosen.setdefault(key, {})[name] = positions
    shards = []
    for index, key in enumerate(sorted(groups)):
        positions = np.unique(np.concatenate(list(chosen[key].values())))
        members = {name: np.isin(positions, rows) for name, rows in chosen[key].items()}
        shards.append(Shard(index, groups[key], positions, members))
    return shards


def check_labels(dataset: PreparedDataset, shards: Sequence[Shard]) -> None:
    """Raises UserError, naming the row, when a label that will be scored is missing or not 0 to 6."""
    for shard in shards:
        table = dataset.read(shard.group, columns=("image_id", "label"))
        column = table.column("label").combine_chunks()
        labels = column.fill_null(-1).to_numpy(zero_copy_only=False)[shard.positions]
        wrong = np.flatnonzero((labels < 0) | (labels >= NUM_CLASSES))
        if len(wrong):
            row = shard.positions[wrong[0]]
            image_id = table.column("image_id")[int(row)].as_py()
            value = column[int(row)].as_py()
            raise UserError(
                f"{redacted(join(dataset.uri, shard.group.part))}: image {image_id} has label {value}, not 0 to "
                f"{NUM_CLASSES - 1}: mend the source and run jobs/prepare_data.py again"
            )
