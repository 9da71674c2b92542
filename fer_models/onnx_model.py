"""An ONNX model as a function from raw pixels to probabilities. Needs NumPy and ONNX Runtime only."""

import re

import numpy as np

from fer_data.emotions import CLASSES, permutation_from
from fer_data.errors import UserError
from fer_data.storage import one_line

_CUDA = "CUDAExecutionProvider"
_NO_MEMORY = "Failed to allocate memory"
"""Part of the message of ONNX Runtime 1.32 when a batch does not fit. Its exceptions share no base class."""

_EXTERNAL = re.compile(rb"(?:\x0a|\x8a\x80*\x00)(?:\x08|\x88\x80*\x00)location")
"""The key `location` of a tensor's external data, as protobuf writes it: ONNX Runtime would look for that file in this
process's working directory."""


def can_use_gpu() -> bool:
    """Whether ONNX Runtime is installed and was built for CUDA."""
    try:
        import onnxruntime
    except ImportError:
        return False
    return _CUDA in onnxruntime.get_available_providers()


class OnnxModel:
    """Raw grey pixels, uint8 [n, 48, 48, 1], to probabilities, float32 [n, 7], in the file's own order of classes.

    `classes` is that order, None when the file does not name it. With `gpu` the model computes on a GPU if ONNX Runtime
    was built for one; `on_gpu` is the result. Calls raise MemoryError for too many images at a time. Raises UserError,
    naming `where`, when ONNX Runtime is missing or finds no GPU, and when `model` is not an ONNX file, has another
    input or names other classes.
    """

    def __init__(self, model: bytes, where: str, threads: int = 1, *, gpu: bool = False) -> None:
        try:
            import onnxruntime
        except ImportError:
            raise UserError(f"{where} needs ONNX Runtime: pip install onnxruntime") from None
        if _EXTERNAL.search(model):
            raise UserError(f"{where} keeps its weights in other files: save it as one file, without external data")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        gpu = gpu and can_use_gpu()
        providers = [*([_CUDA] if gpu else []), "CPUExecutionProvider"]
        try:
            self._session = onnxruntime.InferenceSession(model, options, providers=providers)
        except Exception as error:
            raise UserError(f"{where} is not an ONNX model: {one_line(error, 160)}") from error
        self.on_gpu = _CUDA in self._session.get_providers()
        if gpu and not self.on_gpu:
            raise UserError(
                f"{where}: ONNX Runtime finds no GPU: install its CUDA libraries "
                "(pip install 'onnxruntime-gpu[cuda,cudnn]'), or use the CPU: --device cpu"
            )
        taken = self._session.get_inputs()
        if len(taken) != 1 or list(taken[0].shape[1:]) != [48, 48, 1]:
            raise UserError(f"{where} takes input of shape {taken[0].shape[1:]}, not [48, 48, 1]")
        self._input = taken[0].name
        named = self._session.get_modelmeta().custom_metadata_map.get("classes")
        self.classes = tuple(named.split(",")) if named else None
        try:
            permutation_from(self.classes or CLASSES)
        except (KeyError, ValueError) as error:
            raise UserError(f"{where} does not name the seven classes: {one_line(error)}") from None

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        try:
            return self._session.run(None, {self._input: pixels})[0].astype(np.float32)
        except Exception as error:
            if _NO_MEMORY in str(error):
                raise MemoryError(one_line(error, 160)) from error
            raise
