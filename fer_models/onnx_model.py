"""An ONNX model as a function from raw pixels to probabilities. Needs NumPy and ONNX Runtime only."""

import re
import sys
from functools import cache
from typing import Any

import numpy as np

from fer_data.errors import UserError
from fer_data.storage import one_line
from fer_models.input_form import SIDE, InputForm, taken_in_words
from fer_models.reading import NOTHING_KNOWN, InputRange, Reading
from fer_models.trial import check_onnx

_CUDA = "CUDAExecutionProvider"
_MOST_BYTES = 256 * 2**20
"""Of what a model computes on its way, on a CPU; its weights do not count. Images that do not fit go in parts."""
_NO_MEMORY, _NO_ROOM = "Failed to allocate memory", "is smaller than requested bytes"
"""Parts of the messages of ONNX Runtime 1.32 when a batch does not fit the memory, or _MOST_BYTES. Its exceptions share
no base class."""

_EXTERNAL = re.compile(rb"(?:\x0a|\x8a\x80*\x00)(?:\x08|\x88\x80*\x00)location")
"""The key `location` of a tensor's external data, as protobuf writes it: ONNX Runtime would look for that file in this
process's working directory."""
_LOOP = re.compile(rb"(?:\x22|\xa2\x80*\x00)(?:\x04|\x84\x80*\x00)(?:Loop|Scan)")
"""The operations that may go on for ever, as protobuf writes their names."""

_TYPES = {
    "tensor(uint8)": np.uint8,
    "tensor(float16)": np.float16,
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
}


def can_use_gpu() -> bool:
    """Whether ONNX Runtime is installed and was built for CUDA."""
    try:
        import onnxruntime
    except ImportError:
        return False
    return _CUDA in onnxruntime.get_available_providers()


class OnnxModel:
    """Raw grey pixels, uint8 [n, 48, 48, 1], to probabilities, float32 [n, 7], in our order of classes.

    A foreign model may take float32 images of another size and of 1 or 3 channels, in the last axis or, as PyTorch
    writes them, in the first: `reading` says what is known of it. `classes` is the order that the file names, None if
    it names none; `warnings` say what was assumed. With `gpu` the model computes on a GPU if ONNX Runtime
    was built for one; `on_gpu` is the result. Calls raise MemoryError for too many images at a time. Raises UserError,
    naming `where`, when ONNX Runtime is missing or finds no GPU, and when `model` is not an ONNX file, has another
    input or names other classes. Unless it is `ours`, its time for an image is tried in a process of its own first.
    """

    def __init__(
        self,
        model: bytes,
        where: str,
        threads: int = 1,
        reading: Reading = NOTHING_KNOWN,
        *,
        gpu: bool = False,
        ours: bool = False,
    ) -> None:
        try:
            import onnxruntime
        except ImportError:
            raise UserError(f"{where} needs ONNX Runtime: pip install onnxruntime") from None
        if _EXTERNAL.search(model):
            raise UserError(f"{where} keeps its weights in other files: save it as one file, without external data")
        if _LOOP.search(model):
            raise UserError(f"{where} has a loop, which a network of faces needs none of: refused")
        if not ours:
            check_onnx(model, where)
        _bound_memory()
        options = onnxruntime.SessionOptions()
        options.add_session_config_entry("session.use_env_allocators", "1")
        options.add_session_config_entry("session.use_device_allocator_for_initializers", "1")
        options.intra_op_num_threads = threads
        options.log_severity_level = 4  # What fails is said in our words.
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
        self._most = sys.maxsize
        taken = self._session.get_inputs()
        if len(taken) != 1 or len(taken[0].shape) != 4 or taken[0].type not in _TYPES:
            shown = f"{taken[0].type} {taken[0].shape[1:]}" if len(taken) == 1 else f"{len(taken)} inputs"
            raise UserError(f"{where} takes {shown}, not uint8 [n, 48, 48, 1] pixels")
        self._input, self._dtype = taken[0].name, _TYPES[taken[0].type]
        self._one_by_one = taken[0].shape[0] == 1
        self._form = _form_of(taken[0].shape[1:], "raw" if self._whole else reading.input_range or "unit", where)
        named = self._session.get_modelmeta().custom_metadata_map.get("classes")
        self.classes = tuple(named.split(",")) if named else None
        self._columns, self.warnings = reading.of_file(
            where,
            self._outputs(where),
            ours=self._whole and self._form.plain,
            stated=self.classes,
            names="property classes",
            taken=None if self._whole or reading.input_range else taken_in_words(self._form, found=False),
        )

    @property
    def _whole(self) -> bool:
        return self._dtype == np.uint8

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        if not self._form.plain or not self._whole:
            pixels = self._form(pixels)
        if self._one_by_one:
            return self._columns(np.concatenate([self._run(image[None]) for image in pixels]))
        return self._columns(self._run(pixels))

    def _outputs(self, where: str) -> int:
        """Of one image, on which the model is tried."""
        try:
            given = self._run(self._form(np.zeros((1, SIDE, SIDE, 1), np.uint8)))
        except MemoryError as error:
            raise UserError(f"{where} takes more than {_MOST_BYTES >> 20} MiB for an image: refused") from error
        except Exception as error:
            raise UserError(f"{where} does not run: {one_line(error, 160)}") from error
        if given.ndim != 2:
            raise UserError(f"{where} gives {list(given.shape[1:])} values for a face, not probabilities of classes")
        return given.shape[1]

    def _run(self, images: np.ndarray) -> np.ndarray:
        if len(images) > self._most:
            parts = range(0, len(images), self._most)
            return np.concatenate([self._run(images[start : start + self._most]) for start in parts])
        images = (np.rint(images) if self._whole else images).astype(self._dtype)
        try:
            return self._session.run(None, {self._input: images})[0].astype(np.float32)
        except Exception as error:
            if _NO_ROOM in str(error) and len(images) > 1:
                self._most = len(images) // 2
                return self._run(images)
            if _NO_ROOM in str(error) or _NO_MEMORY in str(error):
                raise MemoryError(one_line(error, 160)) from error
            raise


@cache
def _bound_memory() -> None:
    """Give the sessions of this process one memory of at most _MOST_BYTES on the CPU."""
    import onnxruntime

    place = onnxruntime.OrtMemoryInfo(
        "Cpu", onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, onnxruntime.OrtMemType.DEFAULT
    )
    bound = onnxruntime.OrtArenaCfg({"max_mem": _MOST_BYTES, "arena_extend_strategy": 1})
    onnxruntime.create_and_register_allocator(place, bound)


def _form_of(shape: list[Any], input_range: InputRange, where: str) -> InputForm:
    """The form of an input of `shape`, where names stand for open sides; the axis of 1 or 3 has the channels."""
    first = shape[0] in (1, 3) and shape[2] not in (1, 3)
    height, width, channels = [*shape[1:], shape[0]] if first else shape
    height, width = (side if isinstance(side, int) else SIDE for side in (height, width))
    channels = channels if isinstance(channels, int) else 0
    return InputForm(height, width, channels, input_range, where, channels_first=first)
