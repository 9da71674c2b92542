"""What the predictions amount to, computed in passes over the shards: memory does not grow with the checkpoints."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fer_data.dataset import PreparedDataset
from fer_data.emotions import NUM_CLASSES
from fer_data.manifest import RowGroup
from fer_models.metric_state import MetricState, confusion_of
from fer_models.roc_auc import ClassAucs
from jobs.evaluation.copying import training_split
from jobs.evaluation.predictions import PROBABILITIES
from jobs.evaluation.report.comparisons import PairedCounts
from jobs.evaluation.report.photographs import Photographs
from jobs.evaluation.report.schemas import KINDS, SUBSETS
from jobs.evaluation.report_folder import ReportFolder
from jobs.evaluation.request import Request
from jobs.evaluation.scoring.shards import Shard


@dataclass
class Tally:
    """Of some images: how many there are, how many were scored, and how many were right."""

    rows: int = 0
    scored: int = 0
    correct: int = 0


@dataclass(frozen=True)
class Results:
    """The metrics of a checkpoint on a split: of all rows, and of each subset (`schemas.SUBSETS`) by its name.

    `copies` tells the kinds of images apart (`schemas.KINDS`). Where near copies were not looked for, it is empty and
    the subset `unseen` is missing.
    """

    everything: MetricState
    subsets: dict[str, MetricState]
    copies: dict[str, Tally] = field(default_factory=dict)


@dataclass(frozen=True)
class Rows:
    """The predictions of one checkpoint for a shard, as arrays over its n rows; `probabilities` is float32 [n, 7].

    `copy` holds strings: exact, near, or empty for neither; None where it is unknown.
    """

    labels: np.ndarray
    predicted: np.ndarray
    probabilities: np.ndarray
    scored: np.ndarray
    copy: np.ndarray


COLUMNS = ("label", "predicted", "error", "copy", *PROBABILITIES)
"""The columns of PREDICTIONS that `rows_of` needs."""


def rows_of(table: pa.Table, position: int, count: int) -> Rows:
    """The rows of the checkpoint at `position`, from the predictions of a shard of `count` rows."""
    part = table.slice(position * count, count)
    column = {name: part.column(name).combine_chunks() for name in COLUMNS}
    return Rows(
        column["label"].to_numpy(),
        column["predicted"].fill_null(-1).to_numpy(zero_copy_only=False),
        np.stack([column[name].fill_null(0).to_numpy(zero_copy_only=False) for name in PROBABILITIES], axis=1),
        column["error"].is_null().to_numpy(zero_copy_only=False),
        column["copy"].to_numpy(zero_copy_only=False),
    )


@dataclass(frozen=True)
class Predictions:
    """The finished predictions of `request` in `folder`."""

    request: Request
    folder: ReportFolder

    @cached_property
    def photographs(self) -> Photographs | None:
        """The images that show the same photograph; None where near copies were not looked for."""
        dataset = self.request.dataset
        copies = dataset.near_copies()
        if copies is None:
            return None
        return Photographs(dataset, copies, training_split(dataset, self.request.options.protocol))

    def tables(self, columns: list[str] | None = None, split: str | None = None) -> Iterator[tuple[Shard, pa.Table]]:
        """Each shard in order, or each with rows of `split`, and its table of PREDICTIONS."""
        for shard in self.request.shards:
            if split is None or split in shard.taken:
                yield shard, pq.read_table(self.folder.path("predictions", shard), columns=columns)

    def results(self, position: int) -> dict[str, Results]:
        """By split, the results of the contender at `position`."""
        splits = self.request.options.split
        known = self.photographs is not None
        subsets = [subset for subset in SUBSETS if known or subset != "unseen"]
        found = {
            name: Results(
                MetricState(),
                {subset: MetricState() for subset in subsets},
                {kind: Tally() for kind in KINDS} if known else {},
            )
            for name in splits
        }
        areas = {name: ClassAucs() for name in splits}
        for (shard, table), leaks in zip(self.tables(), self._leaks, strict=True):
            rows = rows_of(table, position, shard.rows)
            kinds = self._kinds(shard, rows)
            inside = {"leak_free": np.ones(shard.rows, bool), "unseen": rows.copy == ""}
            inside["leak_free"][leaks] = False
            for name, members in shard.members.items():
                _add(found[name].everything, rows, members)
                for subset, state in found[name].subsets.items():
                    _add(state, rows, members & inside[subset])
                for kind, tally in found[name].copies.items():
                    _count(tally, rows, members & kinds[kind])
                usable = members & rows.scored
                areas[name].add_positives(rows.labels[usable], rows.probabilities[usable])
        for shard, table in self.tables(list(COLUMNS)):
            rows = rows_of(table, position, shard.rows)
            for name, members in shard.members.items():
                usable = members & rows.scored
                areas[name].add_negatives(rows.labels[usable], rows.probabilities[usable])
        for name, results in found.items():
            results.everything.auc = areas[name].areas()
        return found

    def pairs(self, *, unseen: bool = False) -> dict[tuple[str, int, int], PairedCounts]:
        """By split and the positions of two contenders, their counts on the rows that both scored.

        If `unseen`, only on those that are no copies of training images; empty where near copies were not looked for.
        """
        if unseen and self.photographs is None:
            return {}
        pairs = list(combinations(range(len(self.request.contenders)), 2))
        shape = (NUM_CLASSES,) * 3
        joint = {(name, a, b): np.zeros(shape, np.int64) for name in self.request.options.split for a, b in pairs}
        for shard, table in self.tables(["label", "predicted", "copy"]):
            predicted = table.column("predicted").combine_chunks().fill_null(-1).to_numpy().reshape(-1, shard.rows)
            labels = table.column("label").combine_chunks().to_numpy()[: shard.rows]
            counted = np.ones(shard.rows, bool)
            if unseen:
                counted = table.column("copy").combine_chunks().to_numpy(zero_copy_only=False)[: shard.rows] == ""
            for name, members in shard.members.items():
                for a, b in pairs:
                    both = members & counted & (predicted[a] >= 0) & (predicted[b] >= 0)
                    cells = np.ravel_multi_index(
                        [column[both].astype(np.int64) for column in (labels, predicted[a], predicted[b])], shape
                    )
                    joint[name, a, b] += np.bincount(cells, minlength=NUM_CLASSES**3).reshape(shape)
        return {key: PairedCounts(counts) for key, counts in joint.items()}

    def corrupted(self) -> dict[tuple[str, str, str, int], np.ndarray]:
        """By checkpoint, split, corruption and strength, the confusion matrix, int64 [7, 7]."""
        found: dict[tuple[str, str, str, int], np.ndarray] = {}
        for shard, table in self.tables(["label"]):
            labels = table.column("label").combine_chunks().to_numpy()[: shard.rows]
            for row in pq.read_table(self.folder.path("corrupted", shard)).to_pylist():
                predicted = np.array(row["predicted"], np.int64)
                for name, members in shard.members.items():
                    usable = members & (predicted >= 0)
                    key = (row["checkpoint"], name, row["corruption"], row["strength"])
                    found.setdefault(key, np.zeros((NUM_CLASSES, NUM_CLASSES), np.int64))
                    found[key] += confusion_of(labels[usable], predicted[usable])
        return found

    def _kinds(self, shard: Shard, rows: Rows) -> dict[str, np.ndarray]:
        """By kind of image (`schemas.KINDS`), which of the shard's rows are of it, bool [n]; empty if not known."""
        if self.photographs is None:
            return {}
        near = rows.copy == "near"
        twins = self.photographs.twins(self.photographs.numbers(shard))
        same = self.photographs.labels(twins) == rows.labels
        return {
            "unseen": rows.copy == "",
            "exact": rows.copy == "exact",
            "near": near,
            "near, same label": near & same,
            "near, another label": near & ~same,
        }

    @cached_property
    def _leaks(self) -> list[np.ndarray]:
        """For each shard, the few of its rows whose pixels occur among the training rows: int64 [n], sorted."""
        dataset, shards = self.request.dataset, self.request.shards
        training = [_hashes(dataset, group) for group in dataset.row_groups("training")]
        known = np.unique(np.concatenate(training)) if training else np.empty(0, np.uint64)
        return [np.flatnonzero(np.isin(_hashes(dataset, shard.group)[shard.positions], known)) for shard in shards]


def _add(state: MetricState, rows: Rows, chosen: np.ndarray) -> None:
    state.add(rows.labels[chosen & rows.scored], rows.probabilities[chosen & rows.scored])
    state.errors += int((chosen & ~rows.scored).sum())


def _count(tally: Tally, rows: Rows, chosen: np.ndarray) -> None:
    scored = chosen & rows.scored
    tally.rows += int(chosen.sum())
    tally.scored += int(scored.sum())
    tally.correct += int((scored & (rows.predicted == rows.labels)).sum())


def _hashes(dataset: PreparedDataset, group: RowGroup) -> np.ndarray:
    column = dataset.read(group, columns=("pixels_hash",)).column("pixels_hash")
    return column.combine_chunks().fill_null(0).to_numpy(zero_copy_only=False)
