"""Which images of a data set show a photograph that a network was trained on."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from fer_data.dataset import PreparedDataset
from fer_data.manifest import RowGroup
from fer_data.splits import Split

UNSEEN, NEAR, EXACT = 0, 1, 2
"""What an image is to the training images: no copy, a near copy, an exact copy."""


@dataclass(frozen=True)
class Copying:
    """Of n images: `kind` int8 [n], UNSEEN, NEAR or EXACT, and `correlation` float32 [n] with the best partner.

    The correlation is 0 for images that are unseen.
    """

    kind: np.ndarray
    correlation: np.ndarray


class Seen:
    """The photographs that the rows of `training` show. Keeps 8 bytes for each row, and the table of near copies."""

    def __init__(self, dataset: PreparedDataset, training: Split) -> None:
        self._dataset = dataset
        self._copies = dataset.near_copies()
        if self._copies is not None:
            self._copies = self._copies.sort_by("image_id")
            self._ids = self._copies.column("image_id").to_numpy().astype(str)
        hashes, photographs = [], []
        for group, rows in training.groups:
            table = dataset.read(group, columns=("image_id", "pixels_hash"))
            chosen = slice(None) if rows is None else rows
            hashes.append(_hashes(table)[chosen])
            if self._copies is not None:
                at = self._places(table)[chosen]
                photographs.append(self._column("photograph")[at[at >= 0]])
        self._hashes = np.unique(np.concatenate(hashes)) if hashes else np.empty(0, np.uint64)
        self._photographs = np.unique(np.concatenate(photographs)) if photographs else np.empty(0, np.int64)

    @property
    def near_copies_known(self) -> bool:
        """Whether near copies were looked for. If not, only exact copies are known."""
        return self._copies is not None

    def copying(self, group: RowGroup, rows: np.ndarray | None = None) -> Copying:
        """What the images at the positions `rows` of `group` (None: all) are to the training images."""
        table = self._dataset.read(group, columns=("image_id", "pixels_hash"))
        kind = np.where(np.isin(_hashes(table), self._hashes), EXACT, UNSEEN).astype(np.int8)
        correlation = np.where(kind == EXACT, 1, 0).astype(np.float32)
        if self._copies is not None:
            at = self._places(table)
            near = (at >= 0) & (kind == UNSEEN)
            near[near] = np.isin(self._column("photograph")[at[near]], self._photographs)
            kind[near] = NEAR
            correlation[near] = self._column("correlation")[at[near]]
        chosen = slice(None) if rows is None else rows
        return Copying(kind[chosen], correlation[chosen])

    def copying_of_split(self, split: Split) -> Copying:
        """The same for all rows of `split`, in their order."""
        found = [self.copying(group, rows) for group, rows in split.groups]
        return Copying(np.concatenate([c.kind for c in found]), np.concatenate([c.correlation for c in found]))

    def _places(self, table: pa.Table) -> np.ndarray:
        """The row of each image of `table` in the table of near copies, int64 [n]: -1 if it is not there."""
        ids = table.column("image_id").to_numpy().astype(str)
        if not len(self._ids):
            return np.full(len(ids), -1)
        at = np.searchsorted(self._ids, ids).clip(max=len(self._ids) - 1)
        return np.where(self._ids[at] == ids, at, -1)

    def _column(self, name: str) -> np.ndarray:
        assert self._copies is not None
        return self._copies.column(name).to_numpy()


def _hashes(table: pa.Table) -> np.ndarray:
    return table.column("pixels_hash").combine_chunks().fill_null(0).to_numpy(zero_copy_only=False)
