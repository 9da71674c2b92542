"""Training batches: deterministic, aware of ranks, in memory that does not grow with the data.

The order of an epoch depends on (seed, epoch) alone. Row groups are shuffled and taken 48 at a time, and the rows of
those 48 are shuffled together: a data set of up to 48 row groups (49,152 rows) is thus shuffled perfectly. Global
batches are cut from that order. The rows of each are divided among the ranks by row group, so that a rank reads little
more than the rows that it trains on.

A rank gets its rows in windows: the rows of many steps in one array, for the device.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

import numpy as np
import pyarrow as pa

from fer_data.dataset import PreparedDataset
from fer_data.rows import pixels_of
from fer_data.splits import Split

SHUFFLED_ROW_GROUPS = 48
_ROW_BITS = 32
_END = object()
Item = TypeVar("Item")


@dataclass(frozen=True)
class Window:
    """One rank's rows of consecutive steps, from step `first` of an epoch on.

    `pixels` uint8 [steps, n, 48, 48, 1] and `labels` int64 [steps, n], n being the rank's share of a global batch.
    """

    first: int
    pixels: np.ndarray
    labels: np.ndarray


def labels_in(rows: pa.Table) -> np.ndarray:
    """The labels of `rows`, int64 [n]."""
    return rows.column("label").to_numpy().astype(np.int64)


class TrainingBatches:
    """The global batches of a training split, as seen by one of `world_size` ranks.

    Every rank gets `steps_per_epoch` batches per epoch. Together they are all rows; the epoch's first rows fill up the
    last global batch. `rows` is the slice of each global batch that belongs to this rank. `encode` makes one
    number of a row's `columns`, int64 [n], which is given as its label.
    """

    def __init__(
        self,
        dataset: PreparedDataset,
        split: Split,
        *,
        global_batch: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        columns: Sequence[str] = ("label", "pixels"),
        encode: Callable[[pa.Table], np.ndarray] = labels_in,
    ) -> None:
        if split.num_rows == 0:
            raise ValueError(f"the split {split.name!r} has no rows")
        if global_batch < world_size:
            raise ValueError(f"a global batch of {global_batch} cannot be shared by {world_size} workers")
        self._dataset = dataset
        self._columns, self._encode = columns, encode
        self._split = split
        self._global_batch = global_batch
        self._seed = seed
        bounds = np.linspace(0, global_batch, world_size + 1).astype(int)
        self.rows = slice(int(bounds[rank]), int(bounds[rank + 1]))
        self.steps_per_epoch = -(-split.num_rows // global_batch)
        self._loaded: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def windows(self, epoch: int, steps: int, first: int = 0) -> Iterator[Window]:
        """The rows of `epoch` from step `first` on, `steps` steps at a time; the last window may have fewer.

        For one thread at a time. Row groups that a later step of the epoch may need stay in memory: at most twice 48.
        A data set of no more than 48 is read once for all epochs.
        """
        plan = islice(self._global_batches(epoch), first, None)
        while batches := list(islice(plan, steps)):
            live = batches[-1][1]
            rows = np.stack([np.sort(batch)[self.rows] for batch, _ in batches])
            pixels, labels = self._gather(rows.ravel())
            for group in self._loaded.keys() - live:
                del self._loaded[group]
            yield Window(first, pixels.reshape(*rows.shape, 48, 48, 1), labels.reshape(rows.shape))
            first += len(batches)

    def _gather(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        groups, positions = rows >> _ROW_BITS, rows & ((1 << _ROW_BITS) - 1)
        pixels = np.empty((len(rows), 48, 48, 1), np.uint8)
        labels = np.empty(len(rows), np.int64)
        for group in np.unique(groups).tolist():
            if group not in self._loaded:
                self._loaded[group] = _read(self._dataset, self._split, group, self._columns, self._encode)
            here = np.flatnonzero(groups == group)
            pixels[here] = self._loaded[group][0][positions[here]]
            labels[here] = self._loaded[group][1][positions[here]]
        return pixels, labels

    def _global_batches(self, epoch: int) -> Iterator[tuple[np.ndarray, set[int]]]:
        """The row numbers of each global batch, and the row groups that this batch or a later one may need."""
        random = np.random.default_rng([self._seed, epoch])
        groups = random.permutation(len(self._split.groups))
        size = self._global_batch
        pending, first = np.empty(0, np.int64), np.empty(0, np.int64)
        live: set[int] = set()
        for start in range(0, len(groups), SHUFFLED_ROW_GROUPS):
            window = np.sort(groups[start : start + SHUFFLED_ROW_GROUPS])
            live = set(window.tolist())
            rows = random.permutation(np.concatenate([self._row_numbers(group) for group in window]))
            carried = set((pending >> _ROW_BITS).tolist())
            pending = np.concatenate([pending, rows])
            if start == 0:
                first = pending[:size]
            while len(pending) >= size:
                yield pending[:size], live | carried
                pending, carried = pending[size:], set()
        if len(pending):
            filler = np.resize(first, size - len(pending))
            yield np.concatenate([pending, filler]), live

    def _row_numbers(self, group: np.int64) -> np.ndarray:
        """The numbers of a row group's rows: the group's position in the split, then the row's among those chosen."""
        return (group << _ROW_BITS) + np.arange(_rows_in(self._split, int(group)), dtype=np.int64)


def ordered_batches(
    dataset: PreparedDataset, split: Split, *, batch_size: int, rank: int = 0, world_size: int = 1
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """One rank's contiguous share of a split, in row order: pixels uint8 [n, 48, 48, 1] and labels int64 [n].

    The shares of all ranks, one after the other, make up the split: every row once.
    """
    bounds = share_bounds(split.num_rows, world_size)
    first, last = bounds[rank], bounds[rank + 1]
    return prefetched(_ordered(dataset, split, first, last, batch_size))


def share_bounds(rows: int, world_size: int) -> list[int]:
    """Where each rank's contiguous share of `rows` rows begins, and the end: world_size + 1 numbers."""
    return [int(bound) for bound in np.linspace(0, rows, world_size + 1).astype(np.int64)]


def prefetched(items: Iterator[Item], depth: int = 3) -> Iterator[Item]:
    """`items`, computed up to `depth` ahead by one thread, which ends with the iterator."""
    pool = ThreadPoolExecutor(1, thread_name_prefix="batches")
    try:
        pending = deque(pool.submit(next, items, _END) for _ in range(depth))
        while (item := pending.popleft().result()) is not _END:
            pending.append(pool.submit(next, items, _END))
            yield item  # type: ignore[misc]
    finally:
        pool.shutdown(cancel_futures=True)
        if isinstance(items, Generator):  # It may have a thread of its own to end.
            items.close()


def _ordered(
    dataset: PreparedDataset, split: Split, first: int, last: int, batch_size: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    start = 0
    for group in range(len(split.groups)):
        count = _rows_in(split, group)
        here = slice(max(first - start, 0), min(last - start, count))
        start += count
        if here.start < here.stop:
            pixels, labels = _read(dataset, split, group, ("label", "pixels"), labels_in)
            pixels, labels = pixels[here], labels[here]
            for at in range(0, len(labels), batch_size):
                yield pixels[at : at + batch_size], labels[at : at + batch_size]


def _rows_in(split: Split, group: int) -> int:
    row_group, rows = split.groups[group]
    return row_group.rows if rows is None else len(rows)


def _read(
    dataset: PreparedDataset,
    split: Split,
    group: int,
    columns: Sequence[str],
    encode: Callable[[pa.Table], np.ndarray],
) -> tuple[np.ndarray, np.ndarray]:
    row_group, rows = split.groups[group]
    table = dataset.read(row_group, columns)
    pixels, labels = pixels_of(table), encode(table)
    return (pixels, labels) if rows is None else (pixels[rows], labels[rows])
