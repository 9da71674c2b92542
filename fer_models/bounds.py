"""Bounds of a network that a file describes, checked before memory is taken for any of its weights."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import keras
from keras.src.backend.common import global_state  # Private: variables that wait for memory; seen in Keras 3.15.

from fer_data.errors import UserError

SMALL_PARAMETERS = 10 * 10**6
"""A network of so many is built whatever the size of its file; others need a byte of it for each parameter."""
MAX_LAYERS, MAX_VALUES, MAX_MULTIPLY_ADDS = 2000, 8 * 2**20, 2 * 10**10
"""Layers; values that a layer gives, and multiply-adds, for an image. VGG-16 at 224x224 has 15 billion of these."""
_WAITING = "uninitialized_variables"


def build_within_bounds(build: Callable[[], keras.Model], where: str, file_bytes: int) -> keras.Model:
    """The network that `build` makes. Raises UserError for one that a file of `file_bytes` cannot hold.

    While it is checked its variables have shapes, but no memory.
    """
    with keras.StatelessScope():  # At its end, Keras makes the variables.
        try:
            model = build()
            _check(model, where, file_bytes)
        except BaseException:
            global_state.set_global_attribute(_WAITING, [])
            raise
    return model


def check_layers(config: Any, where: str) -> None:
    """Raises UserError for a configuration of more than MAX_LAYERS layers, each of which takes time to build."""
    count, left = 0, [config]
    while left:
        value = left.pop()
        inner = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
        layers = value.get("layers") if isinstance(value, dict) else None
        count += len(layers) if isinstance(layers, list) else 0
        left += inner
    if count > MAX_LAYERS:
        raise UserError(f"{where}: {count:,} layers; at most {MAX_LAYERS:,} are read")


def _check(model: keras.Model, where: str, file_bytes: int) -> None:
    layers = list(_leaves(model))
    parameters = model.count_params()
    if parameters > max(SMALL_PARAMETERS, file_bytes):
        raise UserError(f"{where}: {parameters:,} parameters do not fit into a file of {file_bytes:,} bytes: refused")
    sums = 0
    for layer in layers:
        values = max(map(_values, _outputs(layer)), default=0)
        if values > MAX_VALUES:
            raise UserError(f"{where}: the layer {layer.name} gives {values:,} values for an image: refused")
        kernels = [math.prod(weight.shape[:-1]) for weight in layer.weights if len(weight.shape) > 1]
        sums += values * max(kernels, default=0)
    if sums > MAX_MULTIPLY_ADDS:
        raise UserError(f"{where}: {sums:,} multiply-adds for an image; at most {MAX_MULTIPLY_ADDS:,} are read")


def _leaves(model: keras.Model) -> Iterator[keras.layers.Layer]:
    for layer in model.layers:
        yield from _leaves(layer) if isinstance(layer, keras.Model) else [layer]


def _outputs(layer: keras.layers.Layer) -> Iterator[Any]:
    for node in getattr(layer, "_inbound_nodes", ()):
        yield from keras.tree.flatten(node.outputs)


def _values(tensor: Any) -> int:
    return math.prod(size or 1 for size in tensor.shape[1:])
