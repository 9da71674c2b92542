"""A residual network of at most 490,000 parameters and 60 million multiply-adds per face at its default width."""

from collections.abc import Sequence

import keras

from fer_data.emotions import NUM_CLASSES

MAX_PARAMETERS = 490_000
MAX_MULTIPLY_ADDS = 60_000_000
_STAGES = ((40, 1), (80, 2), (96, 1))


def compact(dropout: float = 0.3, width: float = 1.0) -> keras.Model:
    """A `residual_network` of 408,249 parameters with three stages, at 24, 12 and 6 pixels."""
    return residual_network("compact", stem=32, stages=_STAGES, dropout=dropout, width=width)


def residual_network(
    name: str, *, stem: int, stages: Sequence[tuple[int, int]], dropout: float, width: float
) -> keras.Model:
    """Raw grey pixels in, `uint8 [N, 48, 48, 1]`; class probabilities out, `float32 [N, 7]`.

    Each image is standardised by its own mean and deviation. A convolution of `stem` filters and residual stages with
    squeeze-and-excitation follow (He et al. 2015, arXiv:1512.03385; Hu et al. 2017, arXiv:1709.01507). `stages` has
    the filters and blocks of each; its first block halves the resolution. `width` multiplies the filters (Zagoruyko and
    Komodakis 2016, arXiv:1605.07146); parameters and multiply-adds grow with its square.
    """
    pixels = keras.Input((48, 48, 1), dtype="uint8", name="pixels")
    x = keras.layers.Rescaling(1 / 255, name="rescale")(pixels)
    x = keras.layers.LayerNormalization(axis=(1, 2, 3), center=False, scale=False, epsilon=1e-4, name="standardise")(x)
    x = _convolution(x, round(stem * width), name="stem")
    x = keras.layers.ReLU(name="stem_relu")(x)
    for i, (filters, blocks) in enumerate(stages):
        for block in range(blocks):
            block_name = f"stage{i + 1}_block{block + 1}"
            x = _residual_block(x, round(filters * width), strides=1 if block else 2, name=block_name)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    x = keras.layers.Dropout(dropout, name="dropout")(x)
    probabilities = keras.layers.Dense(NUM_CLASSES, activation="softmax", dtype="float32", name="emotion")(x)
    return keras.Model(pixels, probabilities, name=name)


def _convolution(
    x: keras.KerasTensor, filters: int, *, size: int = 3, strides: int = 1, name: str
) -> keras.KerasTensor:
    x = keras.layers.Conv2D(
        filters,
        size,
        strides=strides,
        padding="same",
        use_bias=False,
        kernel_initializer="he_normal",
        name=f"{name}_conv",
    )(x)
    return keras.layers.BatchNormalization(momentum=0.9, name=f"{name}_norm")(x)


def _residual_block(x: keras.KerasTensor, filters: int, *, strides: int, name: str) -> keras.KerasTensor:
    """With `strides` 2 the shortcut is average pooling and a 1×1 convolution."""
    shortcut = x
    if strides == 2:
        shortcut = keras.layers.AveragePooling2D(2, name=f"{name}_shortcut_pool")(x)
        shortcut = _convolution(shortcut, filters, size=1, name=f"{name}_shortcut")
    x = _convolution(x, filters, strides=strides, name=f"{name}_a")
    x = keras.layers.ReLU(name=f"{name}_a_relu")(x)
    x = _convolution(x, filters, name=f"{name}_b")
    x = _squeeze_and_excitation(x, filters, name=f"{name}_se")
    x = keras.layers.Add(name=f"{name}_add")([x, shortcut])
    return keras.layers.ReLU(name=f"{name}_relu")(x)


def _squeeze_and_excitation(x: keras.KerasTensor, filters: int, *, name: str) -> keras.KerasTensor:
    weights = keras.layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}_pool")(x)
    weights = keras.layers.Dense(filters // 4, activation="relu", name=f"{name}_reduce")(weights)
    weights = keras.layers.Dense(filters, activation="sigmoid", name=f"{name}_expand")(weights)
    return keras.layers.Multiply(name=name)([x, weights])
