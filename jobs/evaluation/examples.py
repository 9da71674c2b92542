"""Images worth a look: the most confident mistakes of each checkpoint, and labels that may be wrong."""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fer_data.dataset import PreparedDataset
from jobs.evaluation import schemas
from jobs.evaluation.analysis import rows_of
from jobs.evaluation.reading import read_shard
from jobs.evaluation.shards import Shard
from jobs.evaluation.workspace import Workspace

SUSPICIOUS = 0.7
MAX_SUSPECTS = 1000


@dataclass(frozen=True, order=True)
class Example:
    """One image that was got wrong; sorts the most confident mistake first, then by id.

    `p_label` is the probability given to the label, `shard` and `row` where the image is.
    """

    doubt: float
    image_id: str
    label: int
    predicted: int
    p_label: float
    shard: int
    row: int

    @property
    def confidence(self) -> float:
        """The probability given to the predicted class."""
        return -self.doubt


def confident_mistakes(
    workspace: Workspace, shards: Sequence[Shard], position: int, split: str, count: int
) -> list[Example]:
    """The `count` mistakes on `split` that the `position`-th checkpoint was surest of."""
    best: list[Example] = []
    for shard in shards:
        if split not in shard.taken:
            continue
        table = pq.read_table(workspace.path("predictions", shard))
        rows = rows_of(table, position, shard.rows)
        wrong = np.flatnonzero(shard.members[split] & rows.scored & (rows.predicted != rows.labels))
        confidence = rows.probabilities[wrong].max(axis=1)
        first = wrong[np.argsort(-confidence, kind="stable")[:count]]
        found = _examples(table, shard, first, rows.labels, rows.predicted, rows.probabilities, rows.probabilities)
        best = heapq.nsmallest(count, best + found)
    return best


def suspected_label_errors(workspace: Workspace, shards: Sequence[Shard], models: int, split: str) -> list[Example]:
    """Images of `split` that each of the first `models` checkpoints, at SUSPICIOUS confidence or more, puts into

    one and the same other class; at most MAX_SUSPECTS. The confidence is the least that any gives the
    class, `p_label` the most that any gives the label.
    """
    found: list[Example] = []
    for shard in shards:
        if split not in shard.taken:
            continue
        table = pq.read_table(workspace.path("predictions", shard))
        every = [rows_of(table, position, shard.rows) for position in range(models)]
        least = np.min([rows.probabilities for rows in every], axis=0)
        most = np.max([rows.probabilities for rows in every], axis=0)
        first = every[0]
        agreed = shard.members[split] & (first.predicted != first.labels)
        for rows in every:
            agreed &= rows.scored & (rows.predicted == first.predicted)
        sure = np.flatnonzero(agreed & (least[np.arange(shard.rows), first.predicted] >= SUSPICIOUS))
        found = heapq.nsmallest(
            MAX_SUSPECTS, found + _examples(table, shard, sure, first.labels, first.predicted, least, most)
        )
    return found


def suspects_table(found: dict[str, list[Example]]) -> pa.Table:
    """The suspected label errors of each split as a table."""
    rows = [
        {
            "split": split,
            "image_id": example.image_id,
            "label": example.label,
            "predicted": example.predicted,
            "confidence": example.confidence,
            "p_label": example.p_label,
        }
        for split, examples in found.items()
        for example in examples
    ]
    return pa.Table.from_pylist(rows, schema=schemas.SUSPECTS)


def pixels_of_examples(
    dataset: PreparedDataset, shards: Sequence[Shard], examples: Sequence[Example]
) -> list[np.ndarray]:
    """The image of each example, uint8 [48, 48]; each shard is read once."""
    by_index = {shard.index: shard for shard in shards}
    images: dict[tuple[int, int], np.ndarray] = {}
    for index in sorted({example.shard for example in examples}):
        column = read_shard(dataset, by_index[index]).column("pixels")
        for example in examples:
            if example.shard == index:
                images[index, example.row] = np.frombuffer(column[example.row].as_py(), np.uint8).reshape(48, 48)
    return [images[example.shard, example.row] for example in examples]


def _examples(
    table: pa.Table,
    shard: Shard,
    rows: np.ndarray,
    labels: np.ndarray,
    predicted: np.ndarray,
    for_predicted: np.ndarray,
    for_label: np.ndarray,
) -> list[Example]:
    ids = table.column("image_id")
    return [
        Example(
            -float(for_predicted[row, predicted[row]]),
            ids[int(row)].as_py(),
            int(labels[row]),
            int(predicted[row]),
            float(for_label[row, labels[row]]),
            shard.index,
            int(row),
        )
        for row in rows
    ]
