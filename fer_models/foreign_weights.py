"""Load the weights of a foreign file into the model that was rebuilt from its configuration."""

import re
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from fer_data.errors import UserError
from fer_models.foreign_config import CONTAINERS, container_layers, without_slashes
from fer_models.foreign_operations import is_operation
from fer_models.hdf5 import read_archive_weights, read_layer_weights


def assign_archive_weights(model: keras.Model, config: dict[str, Any], content: bytes, where: str) -> None:
    """Set every weight of `model` from `content`, the `model.weights.h5` of the archive with `config`.

    Raises UserError naming the first layer whose weights are missing or of another shape.
    """
    _assign_by_path(model, config, "layers", read_archive_weights(content, where), where)


def assign_whole_model_weights(model: keras.Model, content: bytes, where: str) -> None:
    """Set every weight of `model` from `content`, the whole model in HDF5. Raises UserError as above."""
    layers = read_layer_weights(content, where, "model_weights")
    found = {without_slashes(name): weights for name, weights in layers.items()}
    for layer in model.layers:
        weights = found.get(layer.name, [])
        if isinstance(layer, keras.Model):
            _assign_nested(layer, weights, where)
        else:
            _assign(layer, [values for _, values in weights], where)


def _assign_by_path(
    model: keras.Model, config: dict[str, Any], folder: str, found: dict[str, list[np.ndarray]], where: str
) -> None:
    """An archive names layers by class and number (`conv2d`, `conv2d_1`, …), in the order of the configuration."""
    counts: dict[str, int] = {}
    for entry in container_layers(config):
        if is_operation(entry):
            continue
        kind = _snake_case(entry["class_name"])
        number = counts[kind] = counts.get(kind, -1) + 1
        path = f"{folder}/{kind}_{number}" if number else f"{folder}/{kind}"
        if entry["class_name"] == "InputLayer":
            continue
        layer = model.get_layer(without_slashes(entry["config"]["name"]))
        if entry["class_name"] in CONTAINERS:
            _assign_by_path(layer, entry, f"{path}/layers", found, where)
        else:
            _assign(layer, found.get(path, []), where)


def _assign_nested(model: keras.Model, weights: Sequence[tuple[str, np.ndarray]], where: str) -> None:
    """HDF5 has one list for a nested model's weights; each name ends in its layer: `conv1_conv/kernel:0`."""
    leaves = _leaves(model)
    # A layer may be called as the end of another: `conv` and `block1/conv`.
    names = sorted((layer.name for layer in leaves), key=len, reverse=True)
    by_layer: dict[str, list[np.ndarray]] = {}
    for path, values in weights:
        prefixed = without_slashes(f"/{path.rpartition('/')[0]}")
        owner = next((name for name in names if prefixed.endswith(without_slashes(f"/{name}"))), "")
        by_layer.setdefault(owner, []).append(values)
    for layer in leaves:
        _assign(layer, by_layer.get(layer.name, []), where)


def _leaves(model: keras.Model) -> list[keras.layers.Layer]:
    inner = [_leaves(layer) if isinstance(layer, keras.Model) else [layer] for layer in model.layers]
    return [layer for layers in inner for layer in layers]


def _assign(layer: keras.layers.Layer, values: list[np.ndarray], where: str) -> None:
    if isinstance(layer, keras.layers.Normalization) and len(layer.weights) == 3:
        values = [*values[:2], np.zeros((), np.int64)]  # How many images were counted matters to no prediction.
    expected = [tuple(variable.shape) for variable in layer.weights]
    actual = [array.shape for array in values]
    if expected != actual:
        raise UserError(f"{where}: the layer {layer.name} needs weights of shape {expected}, the file has {actual}")
    layer.set_weights(values)
    if isinstance(layer, keras.layers.Normalization):
        layer.finalize_state()


def _snake_case(name: str) -> str:
    """The name of a class in a Keras archive: `max_pooling2d` for `MaxPooling2D`, `re_lu` for `ReLU`."""
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()
