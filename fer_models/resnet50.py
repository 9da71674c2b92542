"""ResNet-50 with the original project's head, or a pooled one."""

from typing import get_args

import keras

from fer_data.emotions import NUM_CLASSES
from fer_data.errors import UserError
from fer_models.catalogue import Head, Preprocessing, Stem
from fer_models.input_form import IMAGENET_MEAN_BGR

HEADS = get_args(Head)
PREPROCESSINGS = get_args(Preprocessing)
STEMS = get_args(Stem)
INPUT_SIZES = (48, 224)
_MEAN_LAYER = "subtract_imagenet_mean"


def resnet50(
    dropout: float = 0.6,
    input_size: int = 48,
    head: Head = "published",
    preprocessing: Preprocessing = "divide_by_255",
    stem: Stem = "published",
) -> keras.Model:
    """Raw grey pixels in, `uint8 [N, 48, 48, 1]`; class probabilities out, `float32 [N, 7]`.

    Keras's ResNet50 without top (He et al. 2015, arXiv:1512.03385), with Keras's layer names, on `input_size` ×
    `input_size` pixels (48 to 224, bilinear). The published head is three dense layers at every position, dropout, and
    a dense layer, batch norm and softmax over all positions. The pooled head is global average pooling, dropout and
    softmax. With `imagenet` preprocessing the backbone gets what the published ImageNet weights were trained on: BGR, 0
    to 255, less the mean of each channel (keras.applications.resnet, "caffe"). The small stem keeps the resolution, for
    small images: its convolution has stride 1 and no pooling follows, so that all stages see four times the side. Its
    weights have the shapes of the published one's.

    Raises UserError for an unknown head, preprocessing or stem, or another size.
    """
    for what, given, known in (("head", head, HEADS), ("stem", stem, STEMS)):
        if given not in known:
            raise UserError(f"unknown {what} {given!r}: choose one of {', '.join(known)}")
    if not INPUT_SIZES[0] <= input_size <= INPUT_SIZES[1]:
        raise UserError(f"ResNet-50 takes an input size of 48 to 224, not {input_size}")
    pixels = keras.Input((48, 48, 1), dtype="uint8", name="pixels")
    x = _preprocess(pixels, input_size, preprocessing)
    x = keras.applications.ResNet50(include_top=False, weights=None, input_tensor=x).output
    if stem == "small":
        pixels, x = _keeping_resolution(keras.Model(pixels, x))
    x = _published_head(x, dropout) if head == "published" else _pooled_head(x, dropout)
    probabilities = keras.layers.Dense(NUM_CLASSES, activation="softmax", dtype="float32", name="emotion")(x)
    return keras.Model(pixels, probabilities, name="resnet50")


def preprocessing_of(model: keras.Model) -> Preprocessing:
    """The preprocessing inside a `resnet50` model."""
    return "imagenet" if any(layer.name == _MEAN_LAYER for layer in model.layers) else "divide_by_255"


def _keeping_resolution(model: keras.Model) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """Input and output of a copy of `model`, a ResNet-50, whose stem has no strides."""

    def copied(layer: keras.layers.Layer) -> keras.layers.Layer:
        config = layer.get_config()
        if layer.name == "conv1_conv":
            config["strides"] = 1
        if layer.name in ("pool1_pad", "pool1_pool"):
            return keras.layers.Identity(name=layer.name, dtype=layer.dtype_policy)
        return type(layer).from_config(config)

    copy = keras.models.clone_model(model, clone_function=copied)
    return copy.inputs[0], copy.outputs[0]


def _preprocess(pixels: keras.KerasTensor, input_size: int, preprocessing: str) -> keras.KerasTensor:
    """In float32 under every precision: bfloat16 keeps only 8 bits of a resized or centred pixel."""
    if preprocessing not in PREPROCESSINGS:
        raise UserError(f"unknown preprocessing {preprocessing!r}: choose one of {', '.join(PREPROCESSINGS)}")
    imagenet = preprocessing == "imagenet"
    scale = 1.0 if imagenet else 1 / 255
    x = keras.layers.Rescaling(scale, dtype="float32", name="rescale")(pixels)
    if input_size != 48:
        x = keras.layers.Resizing(input_size, input_size, interpolation="bilinear", dtype="float32", name="upsample")(x)
    x = keras.layers.Concatenate(dtype="float32", name="grey_to_rgb")([x, x, x])  # Equal channels: RGB is BGR.
    if imagenet:
        offset = [-mean for mean in IMAGENET_MEAN_BGR]
        x = keras.layers.Rescaling(1.0, offset, dtype="float32", name=_MEAN_LAYER)(x)
    return x


def _published_head(x: keras.KerasTensor, dropout: float) -> keras.KerasTensor:
    for units in (32, 64, 128):
        x = keras.layers.Dense(units, activation="relu", kernel_initializer="he_uniform", name=f"dense_{units}")(x)
    x = keras.layers.Dropout(dropout, name="dropout")(x)
    x = keras.layers.Flatten(name="flatten")(x)
    x = keras.layers.Dense(32, kernel_initializer="he_uniform", name="dense")(x)
    x = keras.layers.BatchNormalization(name="batch_norm")(x)
    return keras.layers.ReLU(name="relu")(x)


def _pooled_head(x: keras.KerasTensor, dropout: float) -> keras.KerasTensor:
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.layers.Dropout(dropout, name="dropout")(x)
