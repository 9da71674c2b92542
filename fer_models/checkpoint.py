"""Save and load models as checkpoints; `checkpoint_files` describes the files."""

import io
from pathlib import Path

import keras
import numpy as np

from fer_data.errors import DAMAGED_ZIP, UserError
from fer_data.scratch import scratch_folder
from fer_data.storage import join, one_line, redacted
from fer_models.bounds import build_within_bounds, check_layers
from fer_models.card import Card
from fer_models.checkpoint_files import MODEL_FILE, STATE_FILE, packed, publish_checkpoint, read_card, read_verified
from fer_models.foreign_files import parse_archive
from fer_models.hdf5 import check_arrays


def save_checkpoint(uri: str, model: keras.Model, card: Card, state: dict[str, np.ndarray] | None = None) -> Card:
    """Write `model`, `card` and `state`, the arrays from which training resumes, at `uri`; see `publish_checkpoint`."""
    with scratch_folder() as folder:
        path = Path(folder) / MODEL_FILE
        model.save(path)
        files = {MODEL_FILE: path.read_bytes()}
    if state is not None:
        files[STATE_FILE] = packed(state)
    return publish_checkpoint(uri, files, card)


def load_model(uri: str) -> tuple[keras.Model, Card]:
    """The model and the card of the checkpoint at `uri`.

    Keras's safe mode is on and nothing is unpickled. Raises UserError when the folder is not a checkpoint or a file
    does not match the card.
    """
    card = read_card(uri)
    content = read_verified(uri, card, MODEL_FILE)
    where = redacted(uri)
    archive = parse_archive(content, where)
    check_arrays(archive.weights, where)
    check_layers(archive.config, where)
    with scratch_folder() as folder:
        path = Path(folder) / MODEL_FILE
        path.write_bytes(content)
        try:
            model = build_within_bounds(
                lambda: keras.saving.deserialize_keras_object(archive.config, safe_mode=True), where, len(content)
            )
            model.load_weights(path)
        except UserError:
            raise
        except Exception as error:  # On a damaged or strange configuration Keras raises exceptions of any type.
            raise UserError(f"{where}: Keras cannot load the model: {one_line(error)}") from error
    return model, card


def load_training_state(uri: str) -> tuple[dict[str, np.ndarray], Card]:
    """The arrays from which training resumes, by name, and the card. Raises UserError as `load_model` does."""
    card = read_card(uri)
    content = read_verified(uri, card, STATE_FILE)
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}, card
    except DAMAGED_ZIP as error:
        raise UserError(f"{redacted(join(uri, STATE_FILE))}: cannot be read: {one_line(error)}") from error
