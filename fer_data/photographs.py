"""The photographs that training rows show: one label distribution for each, and one row of each in an epoch."""

import numpy as np
import pyarrow as pa

from fer_data.dataset import PreparedDataset
from fer_data.emotions import NUM_CLASSES
from fer_data.errors import UserError
from fer_data.splits import Split


class Photographs:
    """The photographs that the rows of `training` show. Keeps 80 bytes for each row with a partner, 8 for each other.

    Rows of other splits play no part, and neither do their labels. Raises UserError when near copies are not known.
    """

    def __init__(self, dataset: PreparedDataset, training: Split) -> None:
        copies = dataset.near_copies()
        if copies is None:
            raise UserError(f"{dataset.name} has no near copies: prepare it with jobs/prepare_data.py --near-copies on")
        copies = copies.sort_by("image_id")
        self._ids = copies.column("image_id").to_numpy().astype(str)
        numbers = copies.column("photograph").to_numpy()
        self._first_free = int(numbers.max(initial=-1)) + 1
        self._numbers = numbers
        self._counts = np.zeros((self._first_free, NUM_CLASSES), np.int64)
        of_groups = []
        for group, rows in training.groups:
            table = dataset.read(group, columns=("image_id", "label"))
            at = self._places(table)
            photographs = np.where(at >= 0, numbers[at] if len(numbers) else -1, -1)
            chosen = np.arange(group.rows) if rows is None else rows
            photographs, labels = photographs[chosen], table.column("label").to_numpy()[chosen]
            known = photographs >= 0
            np.add.at(self._counts, (photographs[known], labels[known]), 1)
            of_groups.append(photographs)
        self._bounds = np.cumsum([0, *map(len, of_groups)])
        photographs = np.concatenate(of_groups)
        alone = photographs < 0
        photographs[alone] = self._first_free + np.arange(alone.sum())
        self.of_rows = np.unique(photographs, return_inverse=True)[1]
        self.count = int(self.of_rows.max(initial=-1)) + 1

    def labels(self, table: pa.Table) -> np.ndarray:
        """How often each class is the label of a training image of each row's photograph: int64 [n, 7]."""
        at = self._places(table)
        own = np.eye(NUM_CLASSES, dtype=np.int64)[table.column("label").to_numpy()]
        if not len(self._ids):
            return own
        shared = self._counts[self._numbers[at]]
        return np.where((at >= 0)[:, None] & (shared.sum(1) > 0)[:, None], shared, own)

    def drawn(self, seed: int, epoch: int) -> list[np.ndarray]:
        """For each group of the split, whether each of its rows is the one that stands for its photograph: bool [n]."""
        keys = np.random.default_rng([seed, epoch, 1]).random(len(self.of_rows))
        order = np.lexsort((keys, self.of_rows))
        first = np.flatnonzero(np.diff(self.of_rows[order], prepend=-1))
        chosen = np.zeros(len(order), bool)
        chosen[order[first]] = True
        return np.split(chosen, self._bounds[1:-1])

    def _places(self, table: pa.Table) -> np.ndarray:
        ids = table.column("image_id").to_numpy().astype(str)
        if not len(self._ids):
            return np.full(len(ids), -1)
        at = np.searchsorted(self._ids, ids).clip(max=len(self._ids) - 1)
        return np.where(self._ids[at] == ids, at, -1)
