"""Divide images of which nobody has said which train and which test: `--split-shares`.

What belongs together stays together: exact copies, near copies where they are known, and the images of a group, such as
those of a person. Such sets of images are dealt out from the largest to the smallest, and in an order drawn from the
seed among equals. Each goes where it brings the images, and those of its classes, nearest to the shares.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
import pyarrow as pa

from fer_data.commands import check
from fer_data.dataset import PreparedDataset
from fer_data.emotions import NUM_CLASSES
from fer_data.errors import UserError
from fer_data.near_copies.table import Copies
from fer_data.rows import USAGES


@dataclass(frozen=True)
class Division:
    """`shares` of training, public test (which validates) and, if there are three, private test; they sum to 1.

    `group_by` is a pattern for the names of files (see `Reading.group`). Raises ValueError for anything else.
    """

    shares: tuple[float, ...]
    seed: int = 0
    group_by: str | None = None

    def __post_init__(self) -> None:
        given = " ".join(map(str, self.shares))
        rule = "--split-shares must be two or three numbers above 0 that sum to 1, such as 0.8 0.1 0.1"
        fits = len(self.shares) in (2, 3) and all(share > 0 for share in self.shares)
        check(fits and abs(sum(self.shares) - 1) < 1e-6, rule, given)
        if self.group_by is not None:
            try:
                re.compile(self.group_by)
            except re.error as error:
                raise ValueError(f"--group-by {self.group_by!r} is no regular expression ({error})") from None


def divide(
    dataset: PreparedDataset, groups: Sequence[str], division: Division
) -> tuple[Iterator[pa.Table], Copies | None]:
    """The tables of `dataset`, all of whose rows are training rows, with the usages that `division` gives them.

    Also the near copies in them, if they are known in `dataset`. `groups` has the group of each row, in their order, or
    nothing. Raises UserError when one of the shares would have no image.
    """
    row_groups = dataset.row_groups(USAGES[0])
    rows = pa.concat_tables(dataset.read(group, ("image_id", "label", "pixels_hash")) for group in row_groups)
    copies = _copies(dataset, rows)
    together = [rows.column("pixels_hash").to_numpy()]
    if division.group_by is not None:
        together.append(np.array(groups))
    if copies is not None:
        photograph = -1 - np.arange(rows.num_rows)
        photograph[copies.row] = copies.photograph
        together.append(photograph)
    usage = assigned(rows.column("label").to_numpy(), together, division)

    def tables() -> Iterator[pa.Table]:
        start, columns = 0, dataset.columns
        for group in row_groups:
            table = dataset.read(group, columns)
            names = pa.array(np.array(USAGES)[usage[start : start + group.rows]], pa.string())
            yield table.set_column(columns.index("usage"), "usage", names)
            start += group.rows

    return tables(), None if copies is None else _moved(copies, usage)


def assigned(labels: np.ndarray, together: Sequence[np.ndarray], division: Division) -> np.ndarray:
    """The usage of each image, int64 [n], as a position in USAGES.

    Of the arrays [n] in `together`, the first, of hashes, is also what an image is known by: the result does not depend
    on the order of the images. Images with equal values in one of them get the same usage.
    """
    sets = _sets(together)
    count = sets.max() + 1
    classes = np.zeros((count, NUM_CLASSES), np.int64)
    np.add.at(classes, (sets, labels), 1)
    known_by = np.full(count, np.iinfo(np.uint64).max, np.uint64)
    np.minimum.at(known_by, sets, together[0])
    drawn = [blake2b(f"{division.seed} {name}".encode(), digest_size=8).digest() for name in known_by.tolist()]
    # The number of images counts like an eighth class.
    held = np.column_stack([classes, classes.sum(axis=1)])
    wanted = np.outer(division.shares, held.sum(axis=0)).tolist()
    left = [list(row) for row in wanted]
    parts = [[(label, n) for label, n in enumerate(row) if n] for row in held.tolist()]
    usage = np.zeros(count, np.int64)

    def gain(share: int, one: int) -> float:
        """By how much the sum of left² / wanted falls if the set `one` goes to `share`."""
        return sum(n * (2 * left[share][label] - n) / wanted[share][label] for label, n in parts[one])

    for one in sorted(range(count), key=lambda one: (-held[one, -1], drawn[one])):
        usage[one] = chosen = max(range(len(division.shares)), key=lambda share: gain(share, one))
        for label, n in parts[one]:
            left[chosen][label] -= n
    for share, name in enumerate(USAGES[: len(division.shares)]):
        if not (usage == share).any():
            given = " ".join(map(str, division.shares))
            raise UserError(
                f"--split-shares {given} leaves {name} without an image: the {len(labels):,} images are {count:,} sets "
                "that stay together; give fewer or larger shares, or more images"
            )
    return usage[sets]


def _sets(together: Sequence[np.ndarray]) -> np.ndarray:
    """Numbers, int64 [n], that are equal for images that are joined by equal values in any of the arrays."""
    from scipy.sparse import coo_array  # Here: SciPy takes a while to import, and few jobs divide.
    from scipy.sparse.csgraph import connected_components

    count = len(together[0])
    edges, nodes = [], count
    for values in together:
        found, node = np.unique(values, return_inverse=True)
        edges.append(nodes + node)
        nodes += len(found)
    ends = np.concatenate(edges)
    starts = np.tile(np.arange(count), len(together))
    graph = coo_array((np.ones(len(ends), bool), (starts, ends)), shape=(nodes, nodes))
    return np.unique(connected_components(graph, directed=False)[1][:count], return_inverse=True)[1]


def _copies(dataset: PreparedDataset, rows: pa.Table) -> Copies | None:
    """The near copies of `dataset` by row."""
    table = dataset.near_copies()
    if table is None:
        return None
    row_of = {image_id: row for row, image_id in enumerate(rows.column("image_id").to_pylist())}
    columns = {name: table.column(name).to_numpy() for name in ("photograph", "correlation", "mirrored")}
    for column, ids in (("row", "image_id"), ("partner", "partner")):
        columns[column] = np.array([row_of[image_id] for image_id in table.column(ids).to_pylist()], np.int64)
    return Copies(**columns)


def _moved(copies: Copies, usage: np.ndarray) -> Copies:
    """`copies` after the rows were sorted by `usage`."""
    place = np.empty(len(usage), np.int64)
    place[np.argsort(usage, kind="stable")] = np.arange(len(usage))
    order = np.argsort(place[copies.row])
    moved = copies._replace(row=place[copies.row], partner=place[copies.partner])
    return Copies(*(column[order] for column in moved))
