"""What the input of a foreign Keras network is: size, channels, and the range that its first layers expect."""

import keras
import numpy as np

from fer_data.errors import UserError
from fer_models.input_form import SIDE, InputForm, sizes_in_words, taken_in_words
from fer_models.reading import InputRange

_SCALING = frozenset(
    (
        *("InputLayer", "Rescaling", "Normalization", "Resizing", "Concatenate", "Identity", "Reshape", "Permute"),
        *("RandomBrightness", "RandomContrast", "RandomFlip", "RandomRotation", "RandomTranslation", "RandomZoom"),
        *("Add", "Subtract", "Multiply", "TrueDivide", "Divide", "Negative", "GetItem", "Stack", "Cast"),
    )
)
"""Layers and operations that change only the range, size or order of what they get when a network predicts."""


def form_of(model: keras.Model, where: str, given: InputRange | None) -> tuple[InputForm, str | None]:
    """The input of `model`, and in words what is assumed of it: None where nothing is.

    The range is the `given` one, else what the first layers show, else 0 to 1, as most networks are trained. Raises
    UserError for what is no image.
    """
    height, width, channels = _sides(model, where)
    found = given or _expected(model, where, (height, width, channels))
    form = InputForm(height, width, channels, found or "unit", where)
    if given or form.plain:
        return form, None
    return form, taken_in_words(form, found=found is not None)


def on_raw_pixels(foreign: keras.Model, form: InputForm) -> keras.Model:
    """`foreign` behind layers that make its input from raw grey pixels, uint8 [N, 48, 48, 1]."""
    pixels = x = keras.Input((SIDE, SIDE, 1), dtype="uint8", name="pixels")
    whole = "int" in foreign.inputs[0].dtype
    if form.resized:
        x = keras.layers.Resizing(form.height, form.width, interpolation="bilinear", dtype="float32", name="resize")(x)
    if form.channels == 3:
        x = keras.layers.Concatenate(dtype=x.dtype, name="grey_to_rgb")([x, x, x])
    if not whole:
        x = keras.layers.Rescaling(*form.scaling(), dtype="float32", name="rescale")(x)
    elif form.resized:
        x = keras.ops.cast(keras.ops.round(x), foreign.inputs[0].dtype)
    return keras.Model(pixels, foreign(x), name="imported")


def _sides(model: keras.Model, where: str) -> tuple[int, int, int]:
    """Height, width and channels of the one input; sides that the model leaves open are ours."""
    shape = tuple(model.inputs[0].shape[1:])
    if len(shape) != 3 or shape[-1] is None:
        raise UserError(f"{where}: takes {sizes_in_words(shape)}, not images")
    return shape[0] or SIDE, shape[1] or SIDE, shape[2]


def _expected(model: keras.Model, where: str, shape: tuple[int, int, int]) -> InputRange | None:
    """The range that the first layers of `model` turn into another; None if they leave it as it is."""
    if "int" in model.inputs[0].dtype:
        return "raw"
    low, high = (np.full((1, *shape), value, np.float32) for value in (0, 1))
    low, high = _through(model, low), _through(model, high)
    factor, offset = float(np.mean(high - low)), float(np.mean(low))
    if factor == 0 or (factor, offset) == (1, 0):
        return None
    centre = -offset / factor  # The value that becomes 0.
    if abs(factor) < 0.1 or centre > 2:
        return "raw"
    return "signed" if centre <= -0.5 else "unit"


def _through(model: keras.Model, images: np.ndarray) -> np.ndarray:
    """`images` after the first layers that do no more than scale."""
    last, rest = None, None
    for operation in getattr(model, "operations", model.layers):
        if type(operation).__name__ not in _SCALING:
            rest = operation
            break
        last = operation
    if last is not None and not isinstance(last, keras.layers.InputLayer):
        images = np.asarray(keras.Model(model.inputs[0], last.output)(images))
    return _through(rest, images) if isinstance(rest, keras.Model) and len(rest.inputs) == 1 else images
