"""Load any published model with raw pixels as its input: our checkpoints, `.keras` and `.h5` files of Keras 2 and 3.

Models from strangers are treated as data: their layers are rebuilt from a list of allowed ones and their weights are
read as arrays. No code in the file is ever run.
"""

from collections.abc import Sequence
from itertools import pairwise

import keras
import numpy as np

from fer_data.emotions import NUM_CLASSES
from fer_data.errors import UserError
from fer_data.storage import one_line, read_file, redacted
from fer_models.card import Card
from fer_models.checkpoint import load_model
from fer_models.foreign_config import rebuild
from fer_models.foreign_files import HDF5_MAGIC, ZIP_MAGIC, is_folder, parse_archive, parse_whole_model
from fer_models.foreign_input import form_of, on_raw_pixels
from fer_models.foreign_weights import assign_archive_weights, assign_whole_model_weights
from fer_models.hdf5 import MAX_BYTES
from fer_models.input_form import sizes_in_words
from fer_models.reading import ClassOrder, Columns, InputRange, Reading, order_in_words, said


def load_any(
    uri: str,
    classes: ClassOrder | None = None,
    *,
    class_names: Sequence[str] = (),
    input_range: InputRange | None = None,
) -> tuple[keras.Model, Card | None, list[str]]:
    """A model with raw pixels in, `uint8 [N, 48, 48, 1]`, and our class order out, `float32 [N, 7]`.

    Returns the model, its card (None without one) and warnings, one line each, which say what was assumed. `uri` is a
    checkpoint folder, a `.keras` file or a whole model in `.h5`, local, s3:// or gs://. The rest is for models without
    a card; see `Reading`. `classes` names the class order (`ORDERS`). By default a model that takes raw grey pixels of
    48×48 has our order, and any other has folder order. `class_names` name each output instead, for models of six or
    eight classes too: the seven that are ours are divided by their sum, and a class that is missing gets 0. Images are
    resized to the model's input (bilinear) and repeated for each channel. Their range is `input_range`, or else what
    the model's first layers expect, or 0 to 1.

    Raises UserError, in one line, for a file that is not a model, for a model that contains code, and for another input
    or another number of classes.
    """
    try:
        reading = Reading(classes, tuple(class_names), input_range)
    except ValueError as error:
        raise UserError(str(error)) from None
    where = redacted(uri)
    if is_folder(uri):
        model, card = load_model(uri)
        given = {"--classes": classes, "--class-names": class_names, "--input-range": input_range}
        ignored = " and ".join(option for option, value in given.items() if value)
        return model, card, [f"{where}: its card says how to read it; {ignored} is ignored"] if ignored else []
    foreign = read_foreign(uri)
    _require_one_of_each(foreign, where)
    form, taken = form_of(foreign, where, input_range)
    _require_probabilities(foreign, where, (form.height, form.width, form.channels))
    outputs = foreign.outputs[0].shape[-1]
    ours = form.plain and foreign.inputs[0].dtype == "uint8"
    columns = reading.columns(outputs, where, ours=ours)
    order = None if reading.knows_classes(outputs) else order_in_words(ours=ours)
    model = foreign if ours else on_raw_pixels(foreign, form)
    return in_our_order(model, columns), None, said(where, order=order, taken=taken)


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


def in_our_order(model: keras.Model, columns: Columns) -> keras.Model:
    """Put the outputs `float [N, n]` of `model` in the order of CLASSES, as `columns` does with arrays.

    Runs of classes that stay together are cut out and joined. This is exact on every device (multiplying by a
    permutation matrix is not, in TF32).
    """
    if columns.positions == tuple(range(columns.outputs)):
        return model
    column = keras.layers.Reshape((columns.outputs, 1), name="classes")(model.outputs[0])
    runs: list[keras.KerasTensor] = []
    for number, (first, stop) in enumerate(_runs(columns.positions)):
        position = columns.positions[first]
        before, name = (0 if position is None else position), f"run{number}"
        cut = keras.layers.Cropping1D((before, columns.outputs - before - (stop - first)), name=name)(column)
        runs.append(keras.layers.Rescaling(0.0, name=f"{name}_missing")(cut) if position is None else cut)
    x = keras.layers.Concatenate(axis=1, name="class_order")(runs)
    if columns.partial:
        total = keras.ops.sum(x, axis=1, keepdims=True)
        x = keras.ops.divide(x, keras.ops.maximum(total, 1e-7))
    probabilities = keras.layers.Reshape((NUM_CLASSES,), dtype="float32", name="probabilities")(x)
    return keras.Model(model.inputs[0], probabilities, name=model.name)


def _runs(positions: Sequence[int | None]) -> list[tuple[int, int]]:
    """The first and the stop of each stretch of positions that follow one another; a None is one by itself."""

    def follows(one: int | None, other: int | None) -> bool:
        return one is not None and other == one + 1

    breaks = [i for i in range(1, len(positions)) if not follows(positions[i - 1], positions[i])]
    return list(pairwise([0, *breaks, len(positions)]))


def _require_one_of_each(model: keras.Model, where: str) -> None:
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise UserError(f"{where}: {len(model.inputs)} inputs and {len(model.outputs)} outputs; one of each is needed")
    given = tuple(model.outputs[0].shape[1:])
    if len(given) != 1 or given[0] is None:
        raise UserError(f"{where}: gives {sizes_in_words(given)} outputs per image, not {NUM_CLASSES} classes")


def _require_probabilities(model: keras.Model, where: str, shape: tuple[int, int, int]) -> None:
    """Raises UserError unless the model runs on images of `shape` and gives probabilities."""
    images = np.random.default_rng(0).integers(0, 2, (1, *shape)).astype(model.inputs[0].dtype)
    try:
        outputs = np.asarray(model(images))
    except Exception as error:  # Any layer may fail on a stranger's numbers.
        raise UserError(f"{where}: the model cannot be run: {one_line(error)}") from error
    if not (np.all(outputs >= 0) and np.allclose(outputs.sum(axis=1), 1, atol=1e-3)):
        raise UserError(f"{where}: its outputs are not probabilities (of a softmax), which sum to 1")
