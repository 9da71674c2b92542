"""A pass or two over finished predictions for each question asked; memory does not grow with the checkpoints."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fer_data.dataset import PreparedDataset
from fer_data.emotions import CLASSES, NUM_CLASSES
from fer_data.manifest import RowGroup
from jobs.evaluation.auc import ClassAucs
from jobs.evaluation.shards import Shard
from jobs.evaluation.statistics import PairedCounts
from jobs.evaluation.tally import Tally
from jobs.evaluation.workspace import Workspace

PROBABILITIES = [f"p_{name}" for name in CLASSES]


@dataclass
class Results:
    """What a checkpoint achieved on a split: all its rows, the leak-free ones, and the AUC of each class.

    `auc` is float64 [7], NaN for a class that never occurs or alone occurs.
    """

    rows: int
    rows_leak_free: int
    everything: Tally
    leak_free: Tally
    auc: np.ndarray


@dataclass(frozen=True)
class Rows:
    """One checkpoint's predictions of a shard, as arrays over its rows; probabilities float32 [n, 7]."""

    labels: np.ndarray
    predicted: np.ndarray
    probabilities: np.ndarray
    scored: np.ndarray


def rows_of(table: pa.Table, position: int, count: int) -> Rows:
    """The `position`-th checkpoint's rows of a shard of `count` rows, from the table of its predictions."""
    part = table.slice(position * count, count)
    column = {name: part.column(name).combine_chunks() for name in ("label", "predicted", "error", *PROBABILITIES)}
    return Rows(
        column["label"].to_numpy(),
        column["predicted"].fill_null(-1).to_numpy(zero_copy_only=False),
        np.stack([column[name].fill_null(0).to_numpy(zero_copy_only=False) for name in PROBABILITIES], axis=1),
        column["error"].is_null().to_numpy(zero_copy_only=False),
    )


class Analysis:
    """Answers from the predictions of `shards` in a workspace, `contenders` of them to an image."""

    def __init__(
        self,
        workspace: Workspace,
        dataset: PreparedDataset,
        shards: Sequence[Shard],
        splits: Sequence[str],
        contenders: int,
    ) -> None:
        self._workspace, self._dataset, self._shards = workspace, dataset, shards
        self._splits, self._contenders = splits, contenders
        self._leaks = _leaks(dataset, shards)

    def results(self, position: int) -> dict[str, Results]:
        """By split, what the `position`-th checkpoint achieved."""
        found = {name: Results(0, 0, Tally(), Tally(), np.empty(0)) for name in self._splits}
        areas = {name: ClassAucs() for name in self._splits}
        for shard, leaked, table in self._tables():
            rows = rows_of(table, position, shard.rows)
            for name, members in shard.members.items():
                result, clean = found[name], members & ~leaked
                result.rows += int(members.sum())
                result.rows_leak_free += int(clean.sum())
                for tally, chosen in ((result.everything, members), (result.leak_free, clean)):
                    tally.add(rows.labels[chosen & rows.scored], rows.probabilities[chosen & rows.scored])
                    tally.errors += int((chosen & ~rows.scored).sum())
                usable = members & rows.scored
                areas[name].add_positives(rows.labels[usable], rows.probabilities[usable])
        for shard, _, table in self._tables(["label", "predicted", "error", *PROBABILITIES]):
            rows = rows_of(table, position, shard.rows)
            for name, members in shard.members.items():
                usable = members & rows.scored
                areas[name].add_negatives(rows.labels[usable], rows.probabilities[usable])
        for name, result in found.items():
            result.auc = areas[name].areas()
        return found

    def pairs(self) -> dict[tuple[str, int, int], PairedCounts]:
        """By split and positions of a and b, how each pair of checkpoints fared on the rows that both scored."""
        pairs = list(combinations(range(self._contenders), 2))
        shape = (NUM_CLASSES,) * 3
        joint = {(name, a, b): np.zeros(shape, np.int64) for name in self._splits for a, b in pairs}
        for shard, _, table in self._tables(["label", "predicted"]):
            predicted = table.column("predicted").combine_chunks().fill_null(-1).to_numpy().reshape(-1, shard.rows)
            labels = table.column("label").combine_chunks().to_numpy()[: shard.rows]
            for name, members in shard.members.items():
                for a, b in pairs:
                    both = members & (predicted[a] >= 0) & (predicted[b] >= 0)
                    cells = np.ravel_multi_index(
                        [column[both].astype(np.int64) for column in (labels, predicted[a], predicted[b])], shape
                    )
                    joint[name, a, b] += np.bincount(cells, minlength=NUM_CLASSES**3).reshape(shape)
        return {key: PairedCounts(counts) for key, counts in joint.items()}

    def corrupted(self) -> dict[tuple[str, str, str, int], np.ndarray]:
        """By checkpoint, split, corruption and strength, the confusion matrix, int64 [7, 7]."""
        found: dict[tuple[str, str, str, int], np.ndarray] = {}
        for shard, _, table in self._tables(["label"]):
            labels = table.column("label").combine_chunks().to_numpy()[: shard.rows].astype(np.int64)
            for row in pq.read_table(self._workspace.path("corrupted", shard)).to_pylist():
                predicted = np.array(row["predicted"], np.int64)
                for name, members in shard.members.items():
                    usable = members & (predicted >= 0)
                    cells = np.bincount(labels[usable] * NUM_CLASSES + predicted[usable], minlength=NUM_CLASSES**2)
                    key = (row["checkpoint"], name, row["corruption"], row["strength"])
                    found.setdefault(key, np.zeros((NUM_CLASSES, NUM_CLASSES), np.int64))
                    found[key] += cells.reshape(NUM_CLASSES, NUM_CLASSES)
        return found

    def _tables(self, columns: list[str] | None = None) -> Iterator[tuple[Shard, np.ndarray, pa.Table]]:
        """Each shard in order, which of its rows leak from training, and its predictions."""
        for shard, rows in zip(self._shards, self._leaks, strict=True):
            leaked = np.zeros(shard.rows, bool)
            leaked[rows] = True
            yield shard, leaked, pq.read_table(self._workspace.path("predictions", shard), columns=columns)


def _leaks(dataset: PreparedDataset, shards: Sequence[Shard]) -> list[np.ndarray]:
    """For each shard, the few of its rows whose pixels occur among the training rows: int64 [n], sorted."""
    training = [_hashes(dataset, group) for group in dataset.row_groups("training")]
    known = np.unique(np.concatenate(training)) if training else np.empty(0, np.uint64)
    return [np.flatnonzero(np.isin(_hashes(dataset, shard.group)[shard.positions], known)) for shard in shards]


def _hashes(dataset: PreparedDataset, group: RowGroup) -> np.ndarray:
    column = dataset.read(group, columns=("pixels_hash",)).column("pixels_hash")
    return column.combine_chunks().fill_null(0).to_numpy(zero_copy_only=False)
