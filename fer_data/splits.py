"""Which rows train, which validate and which test, under either protocol.

challenge   training = training, validation = public_test, test = private_test
notebook    per class of training, sorted by image id, the first int(0.3·n) rows validate and
            the rest train; test = public_test + private_test (or test)
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fer_data.dataset import PreparedDataset
from fer_data.emotions import CLASSES, NUM_CLASSES
from fer_data.errors import UserError
from fer_data.manifest import RowGroup

PROTOCOLS = ("challenge", "notebook")
SPLITS = ("training", "validation", "test", "public_test", "private_test")
NOTEBOOK_VALIDATION = 0.3


@dataclass(frozen=True)
class Split:
    """The rows of one split, in row order.

    `groups` pairs each row group with the sorted positions of its rows in the split (int32), or with None where all
    its rows are in it. `class_counts` is int64 [7].
    """

    name: str
    protocol: str
    groups: tuple[tuple[RowGroup, np.ndarray | None], ...]
    class_counts: np.ndarray

    @property
    def num_rows(self) -> int:
        """How many rows the split has."""
        return sum(group.rows if rows is None else len(rows) for group, rows in self.groups)


def split(dataset: PreparedDataset, name: str, protocol: str = "challenge") -> Split:
    """The rows of split `name` under `protocol`. `name` is one of SPLITS, of which the last two are usages.

    Splits of whole usages read nothing. The notebook's training and validation read the ids and labels of the training
    rows. Raises UserError for an unknown name or protocol, and when the data set has no rows for the split.
    """
    if protocol not in PROTOCOLS:
        raise UserError(f"unknown protocol {protocol!r}: choose one of {', '.join(PROTOCOLS)}")
    if name not in SPLITS:
        raise UserError(f"unknown split {name!r}: choose one of {', '.join(SPLITS)}")
    if protocol == "notebook" and name in ("training", "validation"):
        chosen = _notebook(dataset, validation=name == "validation")
    else:
        chosen = _usages(dataset, name, protocol, _wanted(dataset, name, protocol))
    if not chosen.num_rows:
        raise UserError(_cannot(dataset, name, protocol))
    return chosen


def share(dataset: PreparedDataset, whole: Split, fraction: float) -> Split:
    """The same `fraction` of the rows of `whole` each time, with at least one row of each class that has any.

    Reads the labels of all row groups of `whole`; a `fraction` of 1 reads nothing and returns `whole`.
    """
    if fraction == 1:
        return whole
    groups = [group for group, _ in whole.groups]
    tables = [dataset.read(group, columns=("label",)) for group in groups]
    labels = np.concatenate([table.column("label").to_numpy() for table in tables])
    member = np.concatenate([_mask(group, rows) for group, rows in whole.groups])
    chosen = np.zeros(len(labels), bool)
    random = np.random.default_rng(0)
    for label in range(NUM_CLASSES):
        rows = random.permutation(np.flatnonzero(member & (labels == label)))
        chosen[rows[: math.ceil(fraction * len(rows))]] = True
    return _selected(whole.name, whole.protocol, groups, labels, chosen)


def _wanted(dataset: PreparedDataset, name: str, protocol: str) -> Sequence[str]:
    if protocol == "notebook" and name == "test":
        return ("public_test", "private_test", "test")
    return {"validation": ("public_test",), "test": ("private_test",)}.get(name, (name,))


def _usages(dataset: PreparedDataset, name: str, protocol: str, usages: Sequence[str]) -> Split:
    groups = [(group, None) for usage in usages for group in dataset.row_groups(usage)]
    counts = dataset.manifest.counts
    per_class = [sum(counts.get(usage, {}).get(label, 0) for usage in usages) for label in CLASSES]
    return Split(name, protocol, tuple(groups), np.array(per_class, np.int64))


def _notebook(dataset: PreparedDataset, validation: bool) -> Split:
    groups = dataset.row_groups("training")
    tables = [dataset.read(group, columns=("image_id", "label")) for group in groups]
    labels = np.concatenate([table.column("label").to_numpy() for table in tables] or [np.empty(0, np.int8)])
    # Ids compare as strings, as file names do in Keras's generator: Training_10 before Training_2.
    ids = pa.chunked_array([chunk for table in tables for chunk in table.column("image_id").chunks], pa.string())
    held_out = np.zeros(len(labels), bool)
    for label in range(NUM_CLASSES):
        rows = np.flatnonzero(labels == label)
        rows = rows[pc.array_sort_indices(ids.take(pa.array(rows)).combine_chunks()).to_numpy()]
        held_out[rows[: int(NOTEBOOK_VALIDATION * len(rows))]] = True
    chosen = held_out if validation else ~held_out
    return _selected("validation" if validation else "training", "notebook", groups, labels, chosen)


def _selected(name: str, protocol: str, groups: Sequence[RowGroup], labels: np.ndarray, chosen: np.ndarray) -> Split:
    """The split of the rows of `groups` for which `chosen` is true; `chosen` and `labels` cover all their rows."""
    pieces = np.split(chosen, np.cumsum([group.rows for group in groups])[:-1]) if groups else []
    selected = [(group, np.flatnonzero(piece).astype(np.int32)) for group, piece in zip(groups, pieces, strict=True)]
    return Split(
        name,
        protocol,
        tuple((group, rows) for group, rows in selected if len(rows)),
        np.bincount(labels[chosen], minlength=NUM_CLASSES).astype(np.int64),
    )


def _mask(group: RowGroup, rows: np.ndarray | None) -> np.ndarray:
    mask = np.ones(group.rows, bool)
    if rows is not None:
        mask[:] = False
        mask[rows] = True
    return mask


def _cannot(dataset: PreparedDataset, name: str, protocol: str) -> str:
    counts = dataset.manifest.counts
    has = ", ".join(f"{sum(counts[usage].values()):,} {usage}" for usage in counts)
    mend = "choose another split or another source"
    if protocol == "challenge" and name in ("validation", "test"):
        mend = "use --protocol notebook" if "training" in counts else "add training images"
        if name == "validation" and "training" in counts:
            mend = (
                "add images in val/<class>, divide them with jobs/prepare_data.py --split-shares 0.8 0.1 0.1, or use "
                "--protocol notebook, which validates on 30 % of the training images"
            )
        if name == "test" and "public_test" in counts:
            mend = "use --protocol notebook, or score the split public_test"
    elif "training" not in counts and name in ("training", "validation"):
        mend = "add training images"
    return f"{dataset.name} has no rows for {name} under the {protocol} protocol (it has {has} rows): {mend}"
