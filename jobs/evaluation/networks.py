"""From a contender to a function: raw pixels in, probabilities out, whatever wrote the file.

Runs inside scoring actors: TensorFlow, LiteRT and ONNX Runtime are imported when a model needs them.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from fer_data.emotions import FOLDER_ORDER, NUM_CLASSES, permutation_from
from fer_data.errors import UserError
from fer_data.storage import one_line, redacted, reported, resolve
from jobs.evaluation.contenders import Contender

Predict = Callable[[np.ndarray], np.ndarray]
"""uint8 [n, 48, 48, 1] to float32 [n, 7] probabilities."""


@dataclass(frozen=True)
class Network:
    """A loaded model: `predict`, how many parameters it has (None when the file does not say), warnings."""

    predict: Predict
    parameters: int | None = None
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Arithmetic:
    """How models compute: `threads` of the processor, and the Keras dtype policy (`saved`: the model's own).

    `classes` is the order of classes in files that have no card.
    """

    threads: int
    precision: str
    classes: Literal["folder", "csv"] | None = None


def load_network(contender: Contender, arithmetic: Arithmetic) -> Network:
    """The model of `contender`, tried on two images.

    Raises UserError when it cannot be loaded, takes other input than 48×48 grey pixels or gives anything
    but seven probabilities.
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
        given.min() >= -1e-6 and given.max() <= 1 + 1e-3 and np.allclose(given.sum(axis=1), 1, atol=1e-2)
    ):
        raise UserError(f"{where} gives values that are no probabilities (they must be 0 to 1 and sum to 1)")
    if contender.kind in _CARDLESS and arithmetic.classes == "folder":
        ours = permutation_from(FOLDER_ORDER)
        return replace(network, predict=lambda pixels: network.predict(pixels)[:, ours])
    return network


_CARDLESS = ("tflite", "onnx")


def _keras(uri: str, arithmetic: Arithmetic) -> Network:
    import tensorflow as tf

    _configure(tf, arithmetic.threads)
    from fer_models.foreign import load_any

    model, _, notes = load_any(uri, arithmetic.classes)
    shape = tuple(model.input_shape) if not isinstance(model.input_shape, list) else ()
    if shape[1:] != (48, 48, 1):
        raise UserError(f"{redacted(uri)} takes input of shape {list(shape[1:])}, not [48, 48, 1]")
    if arithmetic.precision != "saved":
        set_precision(model, arithmetic.precision)

    # Keras's own predict copies, traces and updates progress for each call; the graph alone is what computes.
    @tf.function(input_signature=[tf.TensorSpec((None, 48, 48, 1), tf.uint8)], autograph=False)
    def forward(pixels: Any) -> Any:
        return tf.cast(model(pixels, training=False), tf.float32)

    return Network(lambda pixels: forward(tf.constant(pixels)).numpy(), model.count_params(), list(notes))


def set_precision(model: Any, policy: str) -> None:
    """Makes every layer of a Keras model compute under the dtype policy; the output stays float32.

    Weights are float32 under each policy and do not change.
    """
    import keras

    last = {tensor._keras_history.operation for tensor in model.outputs}
    for layer in model._flatten_layers(include_self=False):
        if isinstance(layer, keras.layers.InputLayer) or layer in last:
            continue
        if layer.dtype_policy.variable_dtype == "float32":
            layer.dtype_policy = keras.DTypePolicy(policy)


def _configure(tf: Any, threads: int) -> None:
    try:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)
        for gpu in tf.config.list_physical_devices("GPU"):
            tf.config.experimental.set_memory_growth(gpu, True)
    except RuntimeError:
        pass  # An earlier model has started TensorFlow in this process, with the same settings.


def _litert(uri: str, arithmetic: Arithmetic) -> Network:
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        raise UserError(f"{redacted(uri)} needs LiteRT: pip install ai-edge-litert") from None
    try:
        interpreter = Interpreter(model_content=_read(uri), num_threads=arithmetic.threads)
        taken, given = interpreter.get_input_details(), interpreter.get_output_details()
    except (ValueError, RuntimeError) as error:
        raise UserError(f"{redacted(uri)} is not a LiteRT model: {one_line(error, 160)}") from error
    if len(taken) != 1 or len(given) != 1 or list(taken[0]["shape"][1:]) != [48, 48, 1]:
        raise UserError(f"{redacted(uri)} takes input of shape {taken[0]['shape'][1:].tolist()}, not [48, 48, 1]")
    if taken[0]["dtype"] != np.uint8:
        raise UserError(f"{redacted(uri)} takes {np.dtype(taken[0]['dtype'])} input, not uint8 pixels")

    def predict(pixels: np.ndarray) -> np.ndarray:
        if tuple(interpreter.get_input_details()[0]["shape"]) != pixels.shape:
            interpreter.resize_tensor_input(taken[0]["index"], pixels.shape)
            interpreter.allocate_tensors()
        interpreter.set_tensor(taken[0]["index"], pixels)
        interpreter.invoke()
        return interpreter.get_tensor(given[0]["index"]).astype(np.float32)

    interpreter.allocate_tensors()
    return Network(predict)


def _onnx(uri: str, arithmetic: Arithmetic) -> Network:
    try:
        import onnxruntime
    except ImportError:
        raise UserError(f"{redacted(uri)} needs ONNX Runtime: pip install onnxruntime") from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = arithmetic.threads
    options.log_severity_level = 3
    available = onnxruntime.get_available_providers()
    providers = [p for p in ("CUDAExecutionProvider", "CPUExecutionProvider") if p in available]
    try:
        session = onnxruntime.InferenceSession(_read(uri), options, providers=providers)
    except Exception as error:  # ONNX Runtime's exceptions share no base class.
        raise UserError(f"{redacted(uri)} is not an ONNX model: {one_line(error, 160)}") from error
    taken = session.get_inputs()
    if len(taken) != 1 or list(taken[0].shape[1:]) != [48, 48, 1]:
        raise UserError(f"{redacted(uri)} takes input of shape {taken[0].shape[1:]}, not [48, 48, 1]")
    return Network(lambda pixels: session.run(None, {taken[0].name: pixels})[0].astype(np.float32))


def _read(uri: str) -> bytes:
    with reported(uri):
        filesystem, path = resolve(uri)
        with filesystem.open_input_stream(path) as stream:
            return stream.read()
