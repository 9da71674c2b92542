"""Load a contender of any file format as one function from pixels to probabilities.

Runs inside scoring actors. TensorFlow, LiteRT and ONNX Runtime are imported when a model needs them.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fer_data.emotions import NUM_CLASSES
from fer_data.errors import UserError
from fer_data.storage import one_line, read_file, redacted
from fer_models import onnx_model
from fer_models.litert import LiteRTModel
from fer_models.reading import ClassOrder, InputRange, Reading
from jobs.evaluation.scoring.contenders import KERAS_KINDS, Contender
from jobs.tensorflow_environment import set_up_tensorflow

Predict = Callable[[np.ndarray], np.ndarray]
"""uint8 [n, 48, 48, 1] to probabilities, float32 [n, 7]. Raises MemoryError when the batch does not fit."""


@dataclass(frozen=True)
class Network:
    """A loaded model. `parameters` is None when the file does not state it; `missing` has the labels that it lacks."""

    predict: Predict
    parameters: int | None = None
    warnings: list[str] = field(default_factory=list)
    on_gpu: bool = False
    missing: tuple[int, ...] = ()


@dataclass(frozen=True)
class Arithmetic:
    """How models compute: CPU `threads`, and the Keras dtype policy `precision` (`saved`: the model's own).

    `gpu` is whether the actor has a GPU. The rest is how to read files without a card; see `Reading`.
    """

    threads: int
    precision: str
    classes: ClassOrder | None = None
    gpu: bool = False
    class_names: tuple[str, ...] = ()
    input_range: InputRange | None = None

    @property
    def reading(self) -> Reading:
        return Reading(self.classes, self.class_names, self.input_range)


def can_use_gpu(contender: Contender) -> bool:
    """Whether its runtime can use a GPU: TensorFlow can, LiteRT cannot, ONNX Runtime only when built for CUDA."""
    return onnx_model.can_use_gpu() if contender.kind == "onnx" else contender.kind in KERAS_KINDS


_ROUNDED = 0.03
"""How far the sum of seven probabilities may be from 1: those of 8-bit files are multiples of 1/256."""


def load_network(contender: Contender, arithmetic: Arithmetic) -> Network:
    """The model of `contender`, tested on two images.

    Raises UserError when it cannot be loaded, does not take 48×48 grey pixels or does not give seven probabilities.
    """
    load = {"tflite": _litert, "onnx": _onnx}.get(contender.kind, _keras)
    network = load(contender.uri, arithmetic)
    where = redacted(contender.uri)
    try:
        given = network.predict(np.stack([np.zeros((48, 48, 1), np.uint8), np.full((48, 48, 1), 200, np.uint8)]))
    except Exception as error:  # Each runtime refuses a wrong input in its own way.
        raise UserError(f"{where} does not take uint8 [N, 48, 48, 1] pixels: {one_line(error, 160)}") from error
    if given.shape != (2, NUM_CLASSES):
        raise UserError(f"{where} gives {list(given.shape[1:])} values for an image, not {NUM_CLASSES} probabilities")
    if np.isfinite(given).all() and not (
        given.min() >= -1e-6 and given.max() <= 1 + 1e-3 and np.allclose(given.sum(axis=1), 1, atol=_ROUNDED)
    ):
        raise UserError(f"{where} gives values that are not probabilities (they must be 0 to 1 and sum to 1)")
    return network


def _keras(uri: str, arithmetic: Arithmetic) -> Network:
    # On GPUs a report must not differ from one that processors made.
    exact = arithmetic.gpu and arithmetic.precision == "float32"
    set_up_tensorflow(threads=arithmetic.threads, operations=1, tf32=not exact)
    import tensorflow as tf

    from fer_models.factory import set_precision
    from fer_models.foreign import load_any

    reading = arithmetic.reading
    model, card, notes = load_any(
        uri, reading.classes, class_names=reading.class_names, input_range=reading.input_range
    )
    shape = tuple(model.input_shape) if not isinstance(model.input_shape, list) else ()
    if shape[1:] != (48, 48, 1):
        raise UserError(f"{redacted(uri)} takes input of shape {list(shape[1:])}, not [48, 48, 1]")
    if arithmetic.precision != "saved":
        set_precision(model, arithmetic.precision)

    # Without the copies, the tracing and the progress bar of Keras's own `predict`.
    @tf.function(input_signature=[tf.TensorSpec((None, 48, 48, 1), tf.uint8)], autograph=False)
    def forward(pixels: Any) -> Any:
        return tf.cast(model(pixels, training=False), tf.float32)

    def predict(pixels: np.ndarray) -> np.ndarray:
        try:
            return forward(tf.constant(pixels)).numpy()
        except tf.errors.ResourceExhaustedError as error:
            raise MemoryError(one_line(error, 160)) from error

    # An imported model's card has the names of its own classes.
    names = reading.class_names if card is None else tuple(card.configuration.get("class_names", ()))
    return Network(predict, model.count_params(), list(notes), arithmetic.gpu, Reading(class_names=names).missing)


def _litert(uri: str, arithmetic: Arithmetic) -> Network:
    reading = arithmetic.reading
    model = LiteRTModel(read_file(uri), redacted(uri), arithmetic.threads, reading)
    return Network(model, warnings=model.warnings, missing=() if model.classes else reading.missing)


def _onnx(uri: str, arithmetic: Arithmetic) -> Network:
    reading = arithmetic.reading
    model = onnx_model.OnnxModel(read_file(uri), redacted(uri), arithmetic.threads, reading, gpu=arithmetic.gpu)
    missing = () if model.classes else reading.missing
    return Network(model, warnings=model.warnings, on_gpu=model.on_gpu, missing=missing)
