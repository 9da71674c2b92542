"""Create a network by its name, and change or count its arithmetic."""

from collections.abc import Iterator
from importlib import import_module
from typing import Any

import keras

from fer_models.catalogue import NETWORKS


def create_model(name: str, *, precision: str = "float32", **options: Any) -> keras.Model:
    """A new model, initialised from Keras's global seed.

    `precision` is a Keras dtype policy (`float32`, `mixed_bfloat16`, `mixed_float16`): variables and probabilities are
    float32 under each. `options` are the arguments of the network's builder, such as `dropout`. Raises KeyError for an
    unknown name.
    """
    module, _, function = NETWORKS[name].builder.partition(":")
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        return getattr(import_module(module), function)(**options)
    finally:
        keras.config.set_dtype_policy(before)


def set_precision(model: keras.Model, policy: str) -> None:
    """Make every layer of `model` compute under the Keras dtype `policy`. Weights and outputs stay float32."""
    ends = [model.layers[-1].name] if isinstance(model, keras.Sequential) else model.output_names
    last = [model.get_layer(name) for name in ends]
    for layer in _every_layer(model):
        kept = isinstance(layer, keras.layers.InputLayer) or layer in last
        if not kept and layer.dtype_policy.variable_dtype == "float32":
            layer.dtype_policy = keras.DTypePolicy(policy)


def _every_layer(model: keras.Model) -> Iterator[keras.layers.Layer]:
    for layer in model.layers:
        yield layer
        if isinstance(layer, keras.Model):
            yield from _every_layer(layer)


def multiply_adds(model: keras.Model) -> int:
    """Multiply-adds of one image's forward pass, counting convolutions and dense layers."""
    total = 0
    for layer in model.layers:
        if isinstance(layer, keras.layers.Conv2D | keras.layers.Dense):
            positions = 1
            for size in layer.output.shape[1:-1]:
                positions *= size
            total += positions * int(layer.kernel.shape.num_elements())
    return total
