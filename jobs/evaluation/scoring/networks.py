"""Load a contender of any file format as one function from pixels to probabilities.

Runs inside scoring actors. TensorFlow, LiteRT and ONNX Runtime are imported when a model needs them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from fer_data.emotions import CLASSES, FOLDER_ORDER, NUM_CLASSES, permutation_from
from fer_data.errors import UserError
from fer_data.storage import one_line, read_file, redacted
from fer_models.litert import LiteRTModel
from jobs.evaluation.scoring.contenders import KERAS_KINDS, Contender
from jobs.gpus import OTHERWISE

Predict = Callable[[np.ndarray], np.ndarray]
"""uint8 [n, 48, 48, 1] to probabilities, float32 [n, 7]. Raises MemoryError when the batch does not fit."""


@dataclass(frozen=True)
class Network:
    """A loaded model. `parameters` is None when the file does not state it."""

    predict: Predict
    parameters: int | None = None
    warnings: list[str] = field(default_factory=list)
    on_gpu: bool = False


@dataclass(frozen=True)
class Arithmetic:
    """How models compute: CPU `threads`, and the Keras dtype policy `precision` (`saved`: the model's own).

    `classes` is the class order of files that do not state one; `gpu` is whether the actor has a GPU.
    """

    threads: int
    precision: str
    classes: Literal["folder", "csv"] | None = None
    gpu: bool = False


def can_use_gpu(contender: Contender) -> bool:
    """Whether its runtime can use a GPU: TensorFlow can, LiteRT cannot, ONNX Runtime only when built for CUDA."""
    if contender.kind != "onnx":
        return contender.kind in KERAS_KINDS
    try:
        import onnxruntime
    except ImportError:
        return False
    return _CUDA in onnxruntime.get_available_providers()


_CUDA = "CUDAExecutionProvider"
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
    import tensorflow as tf

    _configure(tf, arithmetic)
    from fer_models.factory import set_precision
    from fer_models.foreign import load_any

    model, _, notes = load_any(uri, arithmetic.classes)
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

    return Network(predict, model.count_params(), list(notes), arithmetic.gpu)


def _configure(tf: Any, arithmetic: Arithmetic) -> None:
    if arithmetic.gpu and arithmetic.precision == "float32":
        # TensorFloat-32 has 10 of the 23 bits: a report from a GPU would differ from one computed on CPUs.
        tf.config.experimental.enable_tensor_float_32_execution(False)
    try:
        tf.config.threading.set_intra_op_parallelism_threads(arithmetic.threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)
        for gpu in tf.config.list_physical_devices("GPU"):
            tf.config.experimental.set_memory_growth(gpu, True)
    except RuntimeError:
        pass  # An earlier model already started TensorFlow in this process, with the same settings.


def _litert(uri: str, arithmetic: Arithmetic) -> Network:
    model = LiteRTModel(read_file(uri), redacted(uri), arithmetic.threads)
    return Network(_in_our_order(model, model.classes, arithmetic))


def _onnx(uri: str, arithmetic: Arithmetic) -> Network:
    try:
        import onnxruntime
    except ImportError:
        raise UserError(f"{redacted(uri)} needs ONNX Runtime: pip install onnxruntime") from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = arithmetic.threads
    options.log_severity_level = 3
    wanted = [_CUDA] if arithmetic.gpu and _CUDA in onnxruntime.get_available_providers() else []
    providers = [*wanted, "CPUExecutionProvider"]
    try:
        session = onnxruntime.InferenceSession(read_file(uri), options, providers=providers)
    except Exception as error:  # ONNX Runtime's exceptions share no base class.
        raise UserError(f"{redacted(uri)} is not an ONNX model: {one_line(error, 160)}") from error
    on_gpu = _CUDA in session.get_providers()
    if wanted and not on_gpu:
        raise UserError(
            f"{redacted(uri)}: ONNX Runtime finds no GPU: install its CUDA libraries "
            f"(pip install 'onnxruntime-gpu[cuda,cudnn]'), {OTHERWISE}"
        )
    taken = session.get_inputs()
    if len(taken) != 1 or list(taken[0].shape[1:]) != [48, 48, 1]:
        raise UserError(f"{redacted(uri)} takes input of shape {taken[0].shape[1:]}, not [48, 48, 1]")
    named = session.get_modelmeta().custom_metadata_map.get("classes")
    classes = named.split(",") if named else None

    def predict(pixels: np.ndarray) -> np.ndarray:
        try:
            return session.run(None, {taken[0].name: pixels})[0].astype(np.float32)
        except Exception as error:
            if "Failed to allocate memory" in str(error):
                raise MemoryError(one_line(error, 160)) from error
            raise

    try:
        return Network(_in_our_order(predict, classes, arithmetic), on_gpu=on_gpu)
    except (KeyError, ValueError) as error:
        raise UserError(f"{redacted(uri)} does not name the seven classes: {one_line(error)}") from None


def _in_our_order(predict: Predict, classes: Sequence[str] | None, arithmetic: Arithmetic) -> Predict:
    """`predict` with its columns in our class order. `classes` is the order that the file states, if any."""
    if classes is None:
        classes = FOLDER_ORDER if arithmetic.classes == "folder" else CLASSES
    ours = permutation_from(classes)
    return lambda pixels: predict(pixels)[:, ours]
