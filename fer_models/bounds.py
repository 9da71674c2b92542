"""Bounds of a network that a file describes, checked before memory is taken for any of its weights."""

import math
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any

import keras
from keras.src.backend.common import global_state  # Private: variables that wait for memory; seen in Keras 3.15.

from fer_data.errors import UserError

SMALL_PARAMETERS = 10 * 10**6
"""A network of so many is built whatever the size of its file; others need a byte of it for each parameter."""
MAX_LAYERS, MAX_MULTIPLY_ADDS = 2000, 2 * 10**10
"""Calls of layers, and multiply-adds for an image. VGG-16 at 224x224 has 15 billion of these."""
MAX_VALUES, MAX_ALL_VALUES = 8 * 2**20, 200 * 2**20
"""Values that a layer gives, and all layers together, for an image. EfficientNetB4 at 380x380 has 172 * 2**20."""
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
    """Raises UserError for a configuration of more than MAX_LAYERS calls of layers, each of which takes time to build.

    A model within a model counts once for each of its calls.
    """
    count = _calls_in(config)
    if count > MAX_LAYERS:
        raise UserError(f"{where}: {count:,} layers; at most {MAX_LAYERS:,} are read")


def _calls_in(entry: Any) -> int:
    config = entry.get("config") if isinstance(entry, dict) else None
    layers = config.get("layers") if isinstance(config, dict) else None
    if not isinstance(layers, list):
        return 1
    return sum(_times(layer) * _calls_in(layer) for layer in layers)


def _times(layer: Any) -> int:
    nodes = layer.get("inbound_nodes") if isinstance(layer, dict) else None
    return max(1, len(nodes)) if isinstance(nodes, list) else 1


def _check(model: keras.Model, where: str, file_bytes: int) -> None:
    parameters = model.count_params()
    if parameters > max(SMALL_PARAMETERS, file_bytes):
        raise UserError(f"{where}: {parameters:,} parameters do not fit into a file of {file_bytes:,} bytes: refused")
    all_values = sums = 0
    for operation, outputs in _calls(model):
        values = max(map(_values, outputs), default=0)
        if values > MAX_VALUES:
            raise UserError(f"{where}: the layer {operation.name} gives {values:,} values for an image: refused")
        kernels = [
            math.prod(weight.shape[:-1]) for weight in getattr(operation, "weights", ()) if len(weight.shape) > 1
        ]
        sums += values * max(kernels, default=0)
        all_values += values
    if sums > MAX_MULTIPLY_ADDS:
        raise UserError(f"{where}: {sums:,} multiply-adds for an image; at most {MAX_MULTIPLY_ADDS:,} are read")
    if all_values > MAX_ALL_VALUES:
        raise UserError(
            f"{where}: its layers give {all_values:,} values for an image; at most {MAX_ALL_VALUES:,} are read"
        )


def _calls(model: keras.Model) -> Iterator[tuple[Any, list[Any]]]:
    """Every call of a layer or an operation in `model` and the models within it, with the tensors that it gives."""
    graph = getattr(model, "_functional", model)
    for node in chain.from_iterable(graph._nodes_by_depth.values()):  # Private, of Keras 3.15: the calls in a graph.
        if isinstance(node.operation, keras.Model):
            yield from _calls(node.operation)
        else:
            yield node.operation, keras.tree.flatten(node.outputs)


def _values(tensor: Any) -> int:
    return math.prod(size or 1 for size in tensor.shape[1:])
