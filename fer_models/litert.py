"""A LiteRT model as a function from raw pixels to probabilities. Needs NumPy and LiteRT only.

The file holds the class order as `labels.txt` in a zip that is appended to the model. TensorFlow Lite's metadata keep
labels there too, so that other tools find them. Source: https://ai.google.dev/edge/litert/models/metadata
"""

import io
import math
import sys
import zipfile
from collections.abc import Sequence

import numpy as np

from fer_data.errors import DAMAGED_ZIP, UserError
from fer_models.input_form import InputForm, taken_in_words
from fer_models.reading import NOTHING_KNOWN, Reading
from fer_models.trial import megabytes_of_litert

FLOAT32_FILE, INT8_FILE = "model.tflite", "model.int8.tflite"
"""The names of a checkpoint's LiteRT files."""
LABELS = "labels.txt"
_MAX_LABELS_BYTES = 4096
_KEPT_SIZES = 8
_MEGABYTES = 2048
"""What the images of a batch may take: others go in parts."""
_MAX_VALUES = 64 * 2**20
"""Values of a tensor for each image: the weights of the largest layers have no more."""


def with_classes(model: bytes, classes: Sequence[str]) -> bytes:
    """The LiteRT file `model` with the names of its outputs, in order, added."""
    file = io.BytesIO(model)
    file.seek(0, io.SEEK_END)
    with zipfile.ZipFile(file, "a") as archive:
        # Always the same date, so that equal models give equal files.
        archive.writestr(zipfile.ZipInfo(LABELS, (1980, 1, 1, 0, 0, 0)), "\n".join(classes) + "\n")
    return file.getvalue()


def classes_in(model: bytes) -> tuple[str, ...] | None:
    """The names of the outputs of the LiteRT file `model`, in order; None when it has no names."""
    try:
        with zipfile.ZipFile(io.BytesIO(model)) as archive:
            if archive.getinfo(LABELS).file_size > _MAX_LABELS_BYTES:
                return None
            return tuple(archive.read(LABELS).decode().split())
    except (KeyError, *DAMAGED_ZIP):
        return None


class LiteRTModel:
    """Raw grey pixels, uint8 [n, 48, 48, 1], to probabilities, float32 [n, 7], in our order of classes.

    A foreign model may take float32 images of another size and of 1 or 3 channels: `reading` says what is known of it.
    `classes` is the order that the file names, None if it names none; `warnings` say what was assumed. Raises
    UserError, naming `where`, when `model` is not a LiteRT file or has other inputs or outputs. Unless it is `ours`, it
    is tried in a process of its own first.
    """

    def __init__(
        self, model: bytes, where: str, threads: int = 1, reading: Reading = NOTHING_KNOWN, *, ours: bool = False
    ) -> None:
        self._model, self._threads, self._one_by_one = model, threads, False
        self._interpreters: dict[int, _Interpreter] = {}
        try:
            first = self._for(1)
        except (ValueError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:160]
            raise UserError(f"{where} is not a LiteRT model of faces: {reason}") from error
        shape, dtype = first.takes
        if len(shape) != 4 or dtype not in (np.uint8, np.float32):
            raise UserError(f"{where} takes {np.dtype(dtype)} {list(shape)}, not uint8 [n, 48, 48, 1] pixels")
        if len(first.gives) != 2:
            raise UserError(f"{where} gives {list(first.gives)} values for a face, not probabilities of classes")
        self._whole = dtype == np.uint8
        self._form = InputForm(*shape[1:], "raw" if self._whole else reading.input_range or "unit", where)
        self.classes = classes_in(model)
        self._columns, self.warnings = reading.of_file(
            where,
            first.gives[1],
            ours=self._whole and self._form.plain,
            stated=self.classes,
            names=LABELS,
            taken=None if self._whole or reading.input_range else taken_in_words(self._form, found=False),
        )
        self._most = sys.maxsize if ours else max(1, int(_MEGABYTES / max(1, megabytes_of_litert(model, where))))

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        if not self._form.plain or not self._whole:
            pixels = self._form(pixels)
        if self._whole and pixels.dtype != np.uint8:
            pixels = np.rint(pixels).astype(np.uint8)
        return self._columns(self._run(pixels))

    def _run(self, images: np.ndarray) -> np.ndarray:
        if len(images) > self._most:
            parts = range(0, len(images), self._most)
            return np.concatenate([self._run(images[start : start + self._most]) for start in parts])
        if not self._one_by_one:
            try:
                given = self._for(len(images)).run(images)
            except (ValueError, RuntimeError):
                given = None
            if given is not None and len(given) == len(images):
                return given
            if len(images) == 1:
                raise RuntimeError("the LiteRT model does not run")
            self._one_by_one = True  # It was made for one image.
        return np.concatenate([self._for(1).run(image[None]) for image in images])

    def _for(self, count: int) -> "_Interpreter":
        """The interpreter for batches of `count`. Several are kept, because resizing one is slow."""
        if count not in self._interpreters:
            while len(self._interpreters) >= _KEPT_SIZES:
                del self._interpreters[next(iter(self._interpreters))]
            self._interpreters[count] = _Interpreter(self._model, count, self._threads)
        return self._interpreters[count]


class _Interpreter:
    def __init__(self, model: bytes, count: int, threads: int) -> None:
        from ai_edge_litert.interpreter import Interpreter

        self._interpreter = Interpreter(model_content=model, num_threads=threads)
        taken, given = self._interpreter.get_input_details(), self._interpreter.get_output_details()
        if len(taken) != 1 or len(given) != 1:
            raise ValueError(f"it has {len(taken)} inputs and {len(given)} outputs, not one of each")
        self._input, self._output = taken[0]["index"], given[0]["index"]
        if len(taken[0]["shape"]) == 4 and taken[0]["shape"][0] != count:
            self._interpreter.resize_tensor_input(self._input, (count, *taken[0]["shape"][1:]))
        # Tensors that depend on the input have a dimension of 0 or -1 until memory is taken for them.
        largest = max(math.prod(map(int, each["shape"])) for each in self._interpreter.get_tensor_details())
        if largest > _MAX_VALUES * count:
            raise ValueError(f"a tensor has {largest:,} values")
        self._interpreter.allocate_tensors()
        self.takes = tuple(map(int, self._interpreter.get_input_details()[0]["shape"])), taken[0]["dtype"]
        self.gives = tuple(map(int, self._interpreter.get_output_details()[0]["shape"]))

    def run(self, pixels: np.ndarray) -> np.ndarray:
        self._interpreter.set_tensor(self._input, pixels)
        self._interpreter.invoke()
        return self._interpreter.get_tensor(self._output).astype(np.float32)
