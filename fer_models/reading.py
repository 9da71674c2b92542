"""How to read a model that has no card: which output is which class, and what range of pixels it expects.

Needs Python and NumPy only, since `live` uses it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from fer_data.emotions import CLASSES, FOLDER_ORDER, NUM_CLASSES, class_index, permutation_from
from fer_data.errors import UserError
from fer_data.text import one_line

ClassOrder = Literal["folder", "csv"]
ORDERS: dict[str, Sequence[str]] = {"folder": FOLDER_ORDER, "csv": CLASSES}
InputRange = Literal["unit", "raw", "signed", "imagenet", "torch"]
RANGES = get_args(InputRange)
NOT_OURS = ("contempt", "ignore")
"""Names of outputs that are none of the seven classes and are left out."""


@dataclass(frozen=True)
class Columns:
    """Where each of our classes stands among a model's outputs, None where it lacks one; `outputs` is their number."""

    positions: tuple[int | None, ...]
    outputs: int

    @property
    def shared(self) -> tuple[int, ...]:
        """The positions of the classes that the model has, in our order."""
        return tuple(position for position in self.positions if position is not None)

    @property
    def partial(self) -> bool:
        """Whether the model has outputs that are none of our classes."""
        return self.outputs > len(self.shared)

    def __call__(self, probabilities: np.ndarray) -> np.ndarray:
        """Probabilities float [n, outputs] in our order, float32 [n, 7]; 0 where the model lacks a class.

        Without the outputs that are none of ours, the rest is divided by its sum.
        """
        shared = probabilities[:, self.shared].astype(np.float32)
        if self.partial:
            shared = shared / np.maximum(shared.sum(axis=1, keepdims=True), 1e-7)
        ours = np.zeros((len(shared), NUM_CLASSES), np.float32)
        ours[:, [i for i, position in enumerate(self.positions) if position is not None]] = shared
        return ours


@dataclass(frozen=True)
class Reading:
    """What is known of models without a card; None or nothing where it has to be found or assumed.

    `class_names` are for models with as many outputs. Raises ValueError for an unknown order, range or name.
    """

    classes: ClassOrder | None = None
    class_names: tuple[str, ...] = ()
    input_range: InputRange | None = None

    def __post_init__(self) -> None:
        if self.classes is not None and self.classes not in ORDERS:
            raise ValueError(f"unknown class order {self.classes!r}: choose one of {', '.join(ORDERS)}")
        if self.input_range is not None and self.input_range not in RANGES:
            raise ValueError(f"unknown input range {self.input_range!r}: choose one of {', '.join(RANGES)}")
        known = [label for label in map(_label, self.class_names) if label is not None]
        if len(set(known)) < len(known) or (self.class_names and len(known) < 2):
            raise ValueError(f"--class-names must name two or more of {', '.join(CLASSES)}, each once")

    @property
    def missing(self) -> tuple[int, ...]:
        """The labels of the classes that `class_names` lack."""
        known = {_label(name) for name in self.class_names} or set(range(NUM_CLASSES))
        return tuple(label for label in range(NUM_CLASSES) if label not in known)

    def columns(self, outputs: int, where: str, *, ours: bool, stated: Sequence[str] | None = None) -> Columns:
        """The columns of a model with this many outputs. Raises UserError, naming `where`, when they cannot be told.

        `ours` is whether it takes raw grey pixels, as our own models do; `stated` are the names in its file.
        """
        names = self.class_names if stated is None and len(self.class_names) == outputs else stated
        if names is None and outputs == NUM_CLASSES:
            names = ORDERS[self.classes or ("csv" if ours else "folder")]
        if names is None or len(names) != outputs:
            raise UserError(
                f"{where}: gives {outputs} outputs per image, not {NUM_CLASSES} classes: name each with --class-names "
                f"({', '.join(CLASSES)}, {' or '.join(NOT_OURS)})"
            )
        labels = [_label(name) for name in names]
        return Columns(tuple(labels.index(i) if i in labels else None for i in range(NUM_CLASSES)), outputs)

    def of_file(
        self, where: str, outputs: int, *, ours: bool, stated: Sequence[str] | None, names: str, taken: str | None
    ) -> tuple[Columns, list[str]]:
        """The columns of a LiteRT or ONNX file, and what is assumed of it, of which `taken` is one thing.

        Raises UserError as `columns` does, and when those that `names`, a part of the file, states are not the seven.
        """
        if stated is not None:
            try:
                permutation_from(stated)
            except (KeyError, ValueError) as error:
                raise UserError(f"{where}: its {names} does not name the seven classes: {one_line(error)}") from None
        known = stated is not None or self.knows_classes(outputs)
        columns = self.columns(outputs, where, ours=ours, stated=stated)
        return columns, said(where, order=None if known else order_in_words(ours=ours), taken=taken)

    def knows_classes(self, outputs: int) -> bool:
        """Whether the classes of a model with this many outputs are given rather than assumed."""
        return self.classes is not None or len(self.class_names) == outputs


def said(where: str, *, order: str | None = None, taken: str | None = None) -> list[str]:
    """One line on what is assumed of a model: its class `order`, and what it is given (`taken`); none if neither."""
    options = {"--classes or --class-names": order, "--input-range": taken}
    assumed = [what for what in options.values() if what]
    if not assumed:
        return []
    mend = " and ".join(option for option, what in options.items() if what)
    return [f"{where} has no card: {'; '.join(assumed)}; if that is wrong, give {mend}"]


def order_in_words(*, ours: bool) -> str:
    """What is assumed of the class order of a model of which nobody says it."""
    if ours:
        return "it takes raw grey pixels: our own (csv) class order is assumed"
    return "folder (alphabetical) class order is assumed"


def _label(name: str) -> int | None:
    """The label that `name` stands for; None for one that is not ours. Raises ValueError for an unknown name."""
    if name.strip().lower() in NOT_OURS:
        return None
    try:
        return class_index(name)
    except KeyError:
        raise ValueError(
            f"--class-names: {name!r} is no class: give {', '.join(CLASSES)}, {' or '.join(NOT_OURS)}"
        ) from None


NOTHING_KNOWN = Reading()
