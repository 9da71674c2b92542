"""Images worth a look: the most confident mistakes of each checkpoint, and labels that may be wrong."""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa

from fer_data.emotions import CLASSES
from jobs.evaluation.report import schemas
from jobs.evaluation.report.results import Predictions, Rows, rows_of
from jobs.evaluation.request import Request
from jobs.evaluation.scoring.shards import Shard, read_shard

SUSPICIOUS = 0.7
MAX_SUSPECTS = 1000


@dataclass(frozen=True, order=True)
class Example:
    """An image with a wrong prediction, at `row` of `shard`. Sorts by falling confidence, then by id.

    `p_label` is the probability of the annotated class. `other_labels` names the classes as which other images of the
    same photograph are annotated; None where none is known.
    """

    negative_confidence: float
    image_id: str
    label: int
    predicted: int
    p_label: float
    shard: int
    row: int
    other_labels: str | None = field(default=None, compare=False)

    @property
    def label_name(self) -> str:
        return CLASSES[self.label]

    @property
    def predicted_name(self) -> str:
        return CLASSES[self.predicted]

    @property
    def confidence(self) -> float:
        """The probability of the predicted class."""
        return -self.negative_confidence


def confident_mistakes(predictions: Predictions, position: int, split: str, count: int) -> list[Example]:
    """The `count` most confident mistakes on `split` of the contender at `position`."""
    best: list[Example] = []
    for shard, table in predictions.tables(split=split):
        rows = rows_of(table, position, shard.rows)
        wrong = np.flatnonzero(shard.members[split] & rows.scored & (rows.predicted != rows.labels))
        confidence = rows.probabilities[wrong].max(axis=1)
        first = wrong[np.argsort(-confidence, kind="stable")[:count]]
        mistakes = _examples(table, shard, rows, first, rows.probabilities, rows.probabilities)
        best = heapq.nsmallest(count, best + mistakes)
    return best


def suspected_label_errors(predictions: Predictions, split: str) -> list[Example]:
    """Images of `split` that all models assign to the same wrong class with SUSPICIOUS confidence or more.

    At most MAX_SUSPECTS, with their `other_labels`. The confidence is the lowest of any model, and `p_label` the
    highest.
    """
    found: list[Example] = []
    for shard, table in predictions.tables(split=split):
        every = [rows_of(table, position, shard.rows) for position in range(predictions.request.models)]
        lowest = np.min([rows.probabilities for rows in every], axis=0)
        highest = np.max([rows.probabilities for rows in every], axis=0)
        first = every[0]
        agreed = shard.members[split] & (first.predicted != first.labels)
        for rows in every:
            agreed &= rows.scored & (rows.predicted == first.predicted)
        sure = np.flatnonzero(agreed & (lowest[np.arange(shard.rows), first.predicted] >= SUSPICIOUS))
        suspects = _examples(table, shard, first, sure, lowest, highest)
        found = heapq.nsmallest(MAX_SUSPECTS, found + suspects)
    photographs = predictions.photographs
    if photographs is None:
        return found
    numbers = [photographs.numbers(predictions.request.shards[suspect.shard])[suspect.row] for suspect in found]
    return [
        replace(suspect, other_labels=photographs.other_labels(int(number)))
        for suspect, number in zip(found, numbers, strict=True)
    ]


def suspects_table(found: dict[str, list[Example]]) -> pa.Table:
    """The suspected label errors of each split as a table."""
    rows = [
        {"split": split} | {name: getattr(example, name) for name in schemas.SUSPECTS.names[1:]}
        for split, examples in found.items()
        for example in examples
    ]
    return pa.Table.from_pylist(rows, schema=schemas.SUSPECTS)


def pixels_of_examples(request: Request, examples: Sequence[Example]) -> list[np.ndarray]:
    """The image of each example, uint8 [48, 48]. Reads each shard once."""
    images: dict[tuple[int, int], np.ndarray] = {}
    for index in sorted({example.shard for example in examples}):
        column = read_shard(request.dataset, request.shards[index]).column("pixels")
        for example in examples:
            if example.shard == index:
                images[index, example.row] = np.frombuffer(column[example.row].as_py(), np.uint8).reshape(48, 48)
    return [images[example.shard, example.row] for example in examples]


def _examples(
    table: pa.Table, shard: Shard, rows: Rows, chosen: np.ndarray, confidence: np.ndarray, p_label: np.ndarray
) -> list[Example]:
    """The `chosen` of `rows`, int [m]. `confidence` and `p_label` hold the probabilities to state, float [n, 7]."""
    ids = table.column("image_id")
    return [
        Example(
            -float(confidence[row, rows.predicted[row]]),
            ids[row].as_py(),
            int(rows.labels[row]),
            int(rows.predicted[row]),
            float(p_label[row, rows.labels[row]]),
            shard.index,
            row,
        )
        for row in chosen.tolist()
    ]
