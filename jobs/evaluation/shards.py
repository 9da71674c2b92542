"""The unit of work: one row group of the data set, with the positions that each split takes of it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fer_data.dataset import PreparedDataset
from fer_data.emotions import NUM_CLASSES
from fer_data.errors import UserError
from fer_data.manifest import RowGroup
from fer_data.splits import split
from fer_data.storage import join, redacted


@dataclass(frozen=True)
class Shard:
    """Rows of one row group: `rows` of them, those that any split takes.

    `taken` says which each split takes, as positions, int32 [n], or None for all. What has a value for every row is
    made when asked for, so that a plan does not grow with the rows.
    """

    index: int
    group: RowGroup
    rows: int
    taken: dict[str, np.ndarray | None]

    @property
    def file_name(self) -> str:
        """Name of the file that holds what came of these rows."""
        return f"{self.group.part.removesuffix('.parquet')}-{self.group.index:03d}.parquet"

    @property
    def positions(self) -> np.ndarray:
        """The rows to score, int32 [rows], sorted."""
        return _positions(self.group, self.taken)

    @property
    def members(self) -> dict[str, np.ndarray]:
        """By split, which of the rows to score belong to it: bool [rows]."""
        positions = self.positions
        everything = np.ones(self.rows, bool)
        return {name: everything if rows is None else np.isin(positions, rows) for name, rows in self.taken.items()}


def _positions(group: RowGroup, taken: dict[str, np.ndarray | None]) -> np.ndarray:
    some = [rows for rows in taken.values() if rows is not None]
    return np.arange(group.rows, dtype=np.int32) if len(some) < len(taken) else np.unique(np.concatenate(some))


def plan(dataset: PreparedDataset, splits: Sequence[str], protocol: str) -> list[Shard]:
    """The shards that hold each row of `splits` once, in the data set's order, however the splits overlap.

    Raises UserError as `splits.split` does.
    """
    taken: dict[tuple[str, int], dict[str, np.ndarray | None]] = {}
    groups: dict[tuple[str, int], RowGroup] = {}
    for name in splits:
        for group, rows in split(dataset, name, protocol).groups:
            key = (group.part, group.index)
            groups[key] = group
            taken.setdefault(key, {})[name] = rows
    return [
        Shard(index, groups[key], len(_positions(groups[key], taken[key])), taken[key])
        for index, key in enumerate(sorted(groups))
    ]


def check_labels(dataset: PreparedDataset, shards: Sequence[Shard]) -> None:
    """Raises UserError, naming the row, when a label that will be scored is missing or not 0 to 6."""
    for shard in shards:
        table = dataset.read(shard.group, columns=("image_id", "label"))
        column = table.column("label").combine_chunks()
        positions = shard.positions
        labels = column.fill_null(-1).to_numpy(zero_copy_only=False)[positions]
        wrong = np.flatnonzero((labels < 0) | (labels >= NUM_CLASSES))
        if len(wrong):
            row = positions[wrong[0]]
            image_id = table.column("image_id")[int(row)].as_py()
            value = column[int(row)].as_py()
            raise UserError(
                f"{redacted(join(dataset.uri, shard.group.part))}: image {image_id} has label {value}, not 0 to "
                f"{NUM_CLASSES - 1}: mend the source and run jobs/prepare_data.py again"
            )
