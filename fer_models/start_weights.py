"""Start a network from another one of the same shape: one of our checkpoints, or a foreign file."""

from collections.abc import Iterator

import keras
import numpy as np

from fer_data.emotions import permutation_from
from fer_data.errors import UserError
from fer_data.storage import redacted
from fer_models.factory import set_precision
from fer_models.foreign import load_any
from fer_models.reading import ORDERS

_TOLERANCE = 0.01
"""How far logarithms of probabilities may differ between two networks that compute the same."""


def load_start_weights(model: keras.Model, source: str) -> None:
    """Set all weights of `model`, one of our networks, to those of the network at `source`; see `load_any`.

    Layers are matched by their order, and must have the same weights. The result must compute what the source does, so
    that a network with other preprocessing is refused too; the outputs may be in any order of ORDERS. Either all
    weights are set or none. Raises UserError.
    """
    where = redacted(source)
    theirs = load_any(source)[0]
    twin = keras.models.clone_model(model)
    set_precision(twin, "float32")
    found = list(_with_weights(theirs))
    for ours in _with_weights(twin):
        expected = [tuple(weight.shape) for weight in ours.weights]
        actual = [tuple(weight.shape) for weight in found[0].weights] if found else []
        if expected != actual:
            raise UserError(
                f"{where} is another network than {model.name}: in place of {ours.name}, {_shown(expected)}, it has "
                f"{_shown(actual)}: give weights of the same --model and --width"
            )
        ours.set_weights(found.pop(0).get_weights())
    if found:
        raise UserError(f"{where} is another network than {model.name}: it has more layers, such as {found[0].name}")
    if not any(_same(twin, theirs, permutation_from(order)) for order in ORDERS.values()):
        raise UserError(
            f"{where} has the layers of {model.name} but computes something else: its preprocessing, activations or "
            "class order are others"
        )
    model.set_weights(twin.get_weights())


def _same(model: keras.Model, theirs: keras.Model, order: list[int]) -> bool:
    """Whether `model` computes what `theirs` does once its outputs are put in `order`; if so, they are."""
    random = np.random.default_rng(0)
    faces = random.integers(0, 256, (8, 6, 6, 1), np.uint8).repeat(8, axis=1).repeat(8, axis=2)
    ours, expected = (np.log(np.maximum(np.asarray(each(faces)), 1e-30)) for each in (model, theirs))
    if not np.allclose(ours[:, order], expected, atol=_TOLERANCE):
        return False
    head = model.layers[-1]
    head.set_weights([values[..., order] for values in head.get_weights()])
    return True


def _with_weights(model: keras.Model) -> Iterator[keras.layers.Layer]:
    """The layers of `model` and of the models in it that have weights, from input to output."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _with_weights(layer)
        elif layer.weights:
            yield layer


def _shown(shapes: list[tuple[int, ...]]) -> str:
    return ", ".join("×".join(map(str, shape)) or "a number" for shape in shapes) or "nothing"
