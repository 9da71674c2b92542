"""A model without a card becomes one of our checkpoints."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import keras

from fer_data.dataset import PreparedDataset
from fer_data.errors import UserError
from fer_data.scratch import scratch_folder
from fer_data.storage import absolute, exists, redacted
from fer_models.card import Card
from fer_models.checkpoint import save_checkpoint
from fer_models.checkpoint_files import CARD_FILE, publish_checkpoint, read_verified
from fer_models.export import export
from fer_models.foreign import load_any
from fer_models.foreign_files import is_folder
from fer_models.reading import ClassOrder, InputRange

NAME = "imported"
"""What the card of such a checkpoint calls the network."""


@dataclass(frozen=True)
class Imported:
    """A model that takes and gives what ours do, the card that it gets, and what was assumed of it."""

    model: keras.Model
    card: Card
    warnings: list[str]

    def export(self, target: str, formats: Sequence[str], dataset: PreparedDataset) -> Card:
        """Write it as a checkpoint at `target`, with its exports; see `fer_models.export.export`. All or nothing."""
        with scratch_folder() as folder:
            made = str(Path(folder) / NAME)
            save_checkpoint(made, self.model, self.card)
            card = export(made, formats, dataset)
            return publish_checkpoint(target, {name: read_verified(made, card, name) for name in card.sha256}, card)


def import_model(
    uri: str, classes: ClassOrder | None, class_names: Sequence[str], input_range: InputRange | None
) -> Imported:
    """The model in the `.keras` or `.h5` file at `uri`, read as `load_any` does. Raises UserError as it does."""
    model, _, warnings = load_any(uri, classes, class_names=class_names, input_range=input_range)
    card = Card(
        model=NAME,
        epoch=0,
        parameters=model.count_params(),
        precision="float32",
        protocol="",
        data_fingerprint="",
        configuration={
            "source": redacted(uri).rpartition("/")[2],
            "classes": classes,
            "class_names": list(class_names),
            "input_range": input_range,
        },
        metrics=[],
    )
    return Imported(model, card, warnings)


def target_of(out: str | None, *, overwrite: bool) -> str:
    """The folder that `--out` names. Raises UserError where there is none, or something that must not be replaced."""
    if out is None:
        raise UserError("--out is missing: give the folder for the checkpoint that the model becomes")
    target = absolute(out)
    if not exists(target):
        return target
    if not overwrite:
        raise UserError(f"{redacted(target)} exists: choose another --out, or give --overwrite")
    if not is_folder(target) or not exists(f"{target}/{CARD_FILE}"):
        raise UserError(f"{redacted(target)} is no checkpoint, and is not replaced: choose another --out")
    return target
