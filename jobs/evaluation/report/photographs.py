"""Images of the same photograph: their labels, and the training image that each near copy resembles."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fer_data.dataset import PreparedDataset
from fer_data.emotions import CLASSES
from fer_data.rows import USAGES
from fer_data.splits import Split
from jobs.evaluation.scoring.shards import Shard, read_shard


class Photographs:
    """The images of `dataset` whose photograph occurs again, from its table of near copies, `copies`.

    An image goes by its number, its place among all rows in the order of the data set. Reads the ids and labels of all
    rows; keeps two bytes for each row, and 25 for each image in the table.
    """

    def __init__(self, dataset: PreparedDataset, copies: pa.Table, training: Split) -> None:
        self._dataset = dataset
        self._groups = [group for usage in USAGES for group in dataset.row_groups(usage)]
        self._first = np.cumsum([0, *(group.rows for group in self._groups)])
        self._index = {(group.part, group.index): i for i, group in enumerate(self._groups)}
        rows = pa.concat_tables(dataset.read(group, columns=("image_id", "label")) for group in self._groups)
        self._labels = rows.column("label").combine_chunks().fill_null(-1).to_numpy(zero_copy_only=False)
        trains = np.zeros(len(self._labels), bool)
        for group, positions in training.groups:
            first = self._first[self._index[group.part, group.index]]
            trains[first + (np.arange(group.rows) if positions is None else positions)] = True

        numbers = _places(copies.column("image_id"), rows.column("image_id"))
        order = np.argsort(numbers, kind="stable")
        order = order[numbers[order] >= 0]
        self._numbers = numbers[order]
        self._photograph = copies.column("photograph").to_numpy()[order]
        self._mirrored = copies.column("mirrored").to_numpy()[order]
        self._partner = _places(copies.column("partner"), rows.column("image_id"))[order]
        self._twin = np.where((self._partner >= 0) & trains[self._partner], self._partner, self._first_of(trains))

    def _first_of(self, trains: np.ndarray) -> np.ndarray:
        """For each image in the table, the number of the first training image of its photograph; -1 without one."""
        inside = trains[self._numbers]
        photographs, first = np.unique(self._photograph[inside], return_index=True)
        if not len(photographs):
            return np.full(len(self._numbers), -1)
        at = np.searchsorted(photographs, self._photograph).clip(max=len(photographs) - 1)
        return np.where(photographs[at] == self._photograph, self._numbers[inside][first[at]], -1)

    def numbers(self, shard: Shard) -> np.ndarray:
        """The numbers of the rows of `shard`, int64 [rows]."""
        return self._first[self._index[shard.group.part, shard.group.index]] + shard.positions

    def labels(self, numbers: np.ndarray) -> np.ndarray:
        """The labels of images, int8 [n]."""
        return self._labels[numbers]

    def twins(self, numbers: np.ndarray) -> np.ndarray:
        """The training image that shows the same photograph as each image, int64 [n]; -1 where there is none.

        It is the image's partner if that is a training image, else the first training image of the photograph.
        """
        return self._look_up(self._twin, numbers)

    def partners(self, numbers: np.ndarray) -> np.ndarray:
        """The image that each image resembles most, int64 [n]; -1 where its photograph occurs once."""
        return self._look_up(self._partner, numbers)

    def mirrored(self, number: int) -> bool:
        """Whether the image and its partner are each other's mirror image."""
        return bool(self._look_up(self._mirrored, np.array([number]))[0] == 1)

    def other_labels(self, number: int) -> str | None:
        """The classes, by name, as which the other images of the photograph are annotated; None without any."""
        at = np.searchsorted(self._numbers, number)
        if at == len(self._numbers) or self._numbers[at] != number:
            return None
        others = self._numbers[(self._photograph == self._photograph[at]) & (self._numbers != number)]
        labels = np.unique(self._labels[others])
        return ", ".join(CLASSES[label] for label in labels if label >= 0) or None

    def image(self, number: int) -> tuple[str, np.ndarray]:
        """The id of an image and its pixels, uint8 [48, 48]; zeros where they are damaged."""
        at = int(np.searchsorted(self._first, number, side="right")) - 1
        position = np.array([number - self._first[at]], np.int32)
        table = read_shard(self._dataset, Shard(0, self._groups[at], 1, {"": position}))
        pixels = np.frombuffer(table.column("pixels")[0].as_py(), np.uint8).reshape(48, 48)
        return table.column("image_id")[0].as_py(), pixels

    def _look_up(self, values: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        """Of `values`, [images in the table], those of `numbers`; -1 for images that are not in the table."""
        if not len(self._numbers):
            return np.full(len(numbers), -1)
        at = np.searchsorted(self._numbers, numbers).clip(max=len(self._numbers) - 1)
        return np.where(self._numbers[at] == numbers, values[at].astype(np.int64), -1)


def _places(ids: pa.ChunkedArray, among: pa.ChunkedArray) -> np.ndarray:
    """Where each of `ids` is `among` others, int64 [n]; -1 where it is not."""
    found = pc.index_in(ids, value_set=among.combine_chunks())
    return found.combine_chunks().fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
