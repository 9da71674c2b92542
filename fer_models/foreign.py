"""Load any published model with raw pixels as its input: our checkpoints, `.keras` and `.h5` files of Keras 2 and 3.

Models from strangers are treated as data: their layers are rebuilt from a list of allowed ones and their weights are
read as arrays. No code in the file is ever run.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import keras
import numpy as np

from fer_data.emotions import CLASSES, FOLDER_ORDER, NUM_CLASSES, permutation_from
from fer_data.errors import UserError
from fer_data.storage import one_line, read_file, redacted
from fer_models.card import Card
from fer_models.checkpoint import load_model
from fer_models.foreign_config import rebuild
from fer_models.foreign_files import HDF5_MAGIC, ZIP_MAGIC, is_folder, parse_archive, parse_whole_model
from fer_models.foreign_weights import assign_archive_weights, assign_whole_model_weights
from fer_models.hdf5 import MAX_BYTES

ClassOrder = Literal["folder", "csv"]
ORDERS: dict[str, Sequence[str]] = {"folder": FOLDER_ORDER, "csv": CLASSES}


def load_any(uri: str, classes: ClassOrder | None = None) -> tuple[keras.Model, Card | None, list[str]]:
    """A model with raw pixels in, `uint8 [N, 48, 48, 1]`, and our class order out, `float32 [N, 7]`.

    Returns the model, its card (None without one) and warnings, one line each. `uri` is a checkpoint folder, a `.keras`
    file or a whole model in `.h5`, local, s3:// or gs://. `classes` names the class order (`ORDERS`) of a model without
    a card. By default a model that takes raw pixels has our order, and any other has folder order. A model that does
    not take raw pixels gets the input of the original project's: grey divided by 255, or unscaled for an integer input,
    repeated for each channel.

    Raises UserError, in one line, for a file that is not a model, for a model that contains code, and for another input
    or another number of classes.
    """
    if classes is not None and classes not in ORDERS:
        raise UserError(f"unknown class order {classes!r}: choose one of {', '.join(ORDERS)}")
    if is_folder(uri):
        model, card = load_model(uri)
        ignored = f"{redacted(uri)}: its card gives the class order; --classes {classes} is ignored"
        return model, card, [] if classes is None else [ignored]
    foreign = read_foreign(uri)
    where = redacted(uri)
    channels = _require_contract(foreign, where)
    warnings = []
    if channels == 1 and foreign.inputs[0].dtype == "uint8":
        model = foreign
        if classes is None:
            warnings.append(f"{where} has no card but takes raw grey pixels: our own (csv) class order is assumed")
    else:
        model = _on_raw_pixels(foreign, channels)
        if classes is None:
            classes = "folder"
            warnings.append(
                f"{where} has no card: folder (alphabetical) class order is assumed; "
                f"give --classes csv for a model trained in the order of the CSV"
            )
    return in_our_order(model, ORDERS[classes or "csv"]), None, warnings


def read_foreign(uri: str) -> keras.Model:
    """The network in a `.keras` or `.h5` file, with its own input, preprocessing and class order.

    Raises UserError as `load_any` does.
    """
    where, content = redacted(uri), read_file(uri, MAX_BYTES)
    if content.startswith(ZIP_MAGIC):
        archive = parse_archive(content, where)
        model = rebuild(archive.config, where, len(content))
        assign_archive_weights(model, archive.config, archive.weights, where)
    elif content.startswith(HDF5_MAGIC):
        whole = parse_whole_model(content, where)
        model = rebuild(whole.config, where, len(content))
        assign_whole_model_weights(model, whole.weights, where)
    else:
        raise UserError(f"{where} is neither a checkpoint folder nor a model in .keras or .h5")
    return model


def in_our_order(model: keras.Model, order: Sequence[str]) -> keras.Model:
    """Reorder the outputs `float [N, 7]` of `model` from `order` to the order of CLASSES.

    Runs of classes that stay together are cut out and joined. This is exact on every device (multiplying by a
    permutation matrix is not, in TF32) and uses ordinary layers, which can be saved.
    """
    positions = permutation_from(order)
    if positions == list(range(NUM_CLASSES)):
        return model
    breaks = [i for i in range(1, NUM_CLASSES) if positions[i] != positions[i - 1] + 1]
    column = keras.layers.Reshape((NUM_CLASSES, 1), name="classes")(model.outputs[0])
    runs = []
    for first, stop in pairwise([0, *breaks, NUM_CLASSES]):
        before, after = positions[first], NUM_CLASSES - 1 - positions[stop - 1]
        runs.append(keras.layers.Cropping1D((before, after), name="_".join(("only", *CLASSES[first:stop])))(column))
    joined = keras.layers.Concatenate(axis=1, name="class_order")(runs)
    probabilities = keras.layers.Reshape((NUM_CLASSES,), dtype="float32", name="probabilities")(joined)
    return keras.Model(model.inputs[0], probabilities, name=model.name)


def _on_raw_pixels(foreign: keras.Model, channels: int) -> keras.Model:
    pixels = x = keras.Input((48, 48, 1), dtype="uint8", name="pixels")
    if "int" not in foreign.inputs[0].dtype:
        x = keras.layers.Rescaling(1 / 255, name="rescale")(x)
    if channels == 3:
        x = keras.layers.Concatenate(dtype=x.dtype, name="grey_to_rgb")([x, x, x])
    return keras.Model(pixels, foreign(x), name="imported")


def _require_contract(model: keras.Model, where: str) -> int:
    """The channels (1 or 3) of the model's 48×48 input. Raises UserError unless it gives seven probabilities."""
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise UserError(f"{where}: {len(model.inputs)} inputs and {len(model.outputs)} outputs; one of each is needed")
    taken, given = tuple(model.inputs[0].shape[1:]), tuple(model.outputs[0].shape[1:])
    if taken not in ((48, 48, 1), (48, 48, 3)):
        raise UserError(f"{where}: takes {_sizes(taken)}, not images of 48×48×1 or 48×48×3")
    if given != (NUM_CLASSES,):
        raise UserError(f"{where}: gives {_sizes(given)} outputs per image, not {NUM_CLASSES} classes")
    images = np.random.default_rng(0).integers(0, 2, (2, *taken)).astype(model.inputs[0].dtype)
    try:
        outputs = np.asarray(model(images))
    except Exception as error:  # Any layer may fail on a stranger's numbers.
        raise UserError(f"{where}: the model cannot be run: {one_line(error)}") from error
    if not (np.all(outputs >= 0) and np.allclose(outputs.sum(axis=1), 1, atol=1e-3)):
        raise UserError(f"{where}: its outputs are not probabilities (of a softmax), which sum to 1")
    return taken[-1]


def _sizes(shape: Sequence[int | None]) -> str:
    return "×".join("any" if size is None else str(size) for size in shape) or "no"
