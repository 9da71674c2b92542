"""What was found, in one pass over the predictions: counts, and the faces of each class to show."""

import heapq
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from fer_data.emotions import CLASSES, NUM_CLASSES
from fer_data.picture_pieces import BOX
from jobs.evaluation.predictions import PROBABILITIES


@dataclass(frozen=True, order=True)
class FoundFace:
    """A face in unit number `unit`, with the probability of its predicted class. Sorts by `rank`, then by source."""

    rank: float
    source: str
    face: int
    unit: int
    confidence: float
    box: tuple[int, ...] | None = field(compare=False)


@dataclass
class Findings:
    """What one checkpoint found. `surest` and `least_sure` have at most `most` faces for each class, each once."""

    most: int
    pictures: int = 0
    faces: int = 0
    without_face: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    by_class: np.ndarray = field(default_factory=lambda: np.zeros(NUM_CLASSES, np.int64))
    surest: list[list[FoundFace]] = field(default_factory=lambda: [[] for _ in CLASSES])
    least_sure: list[list[FoundFace]] = field(default_factory=lambda: [[] for _ in CLASSES])

    def add(self, unit: int, table: pa.Table) -> None:
        """Take in the rows of a unit."""
        face = table.column("face").fill_null(-1).to_numpy()
        predicted = table.column("predicted").fill_null(-1).to_numpy()
        probabilities = np.stack([table.column(name).fill_null(0).to_numpy() for name in PROBABILITIES], axis=1)
        confidence = probabilities.max(axis=1)
        failed = table.column("error").is_valid().to_numpy()
        self.pictures += int((face <= 0).sum())
        self.faces += int((predicted >= 0).sum())
        self.without_face += int(((face < 0) & ~failed).sum())
        self.errors.update(table.column("error").drop_null().to_pylist())
        for c in range(NUM_CLASSES):
            rows = np.flatnonzero(predicted == c)
            self.by_class[c] += len(rows)
            for kept, sign in ((self.surest, -1.0), (self.least_sure, 1.0)):
                first = rows[np.argsort(sign * confidence[rows], kind="stable")[: self.most]]
                found = [_face(unit, table, int(row), sign, float(confidence[row])) for row in first]
                kept[c] = heapq.nsmallest(self.most, kept[c] + found)

    def show_each_once(self) -> None:
        """Where a class has few faces, leave those that are among the surest out of the least sure."""
        for c, surest in enumerate(self.surest):
            shown = {(face.unit, face.source, face.face) for face in surest}
            self.least_sure[c] = [f for f in self.least_sure[c] if (f.unit, f.source, f.face) not in shown]


def findings(tables: Iterable[tuple[int, pa.Table]], checkpoints: int, most: int) -> list[Findings]:
    """For each of the `checkpoints`, what is in `tables`: the units' numbers and predictions."""
    found = [Findings(most) for _ in range(checkpoints)]
    for unit, table in tables:
        rows = table.num_rows // checkpoints
        for position, one in enumerate(found):
            one.add(unit, table.slice(position * rows, rows))
    for one in found:
        one.show_each_once()
    return found


def _face(unit: int, table: pa.Table, row: int, sign: float, confidence: float) -> FoundFace:
    box = tuple(table.column(name)[row].as_py() for name in BOX)
    source, face = table.column("source")[row].as_py(), table.column("face")[row].as_py()
    return FoundFace(sign * confidence, source, face, unit, confidence, None if box[0] is None else box)
