"""The original project's network."""

import keras

from fer_data.emotions import NUM_CLASSES


def cnn(dropout: float = 0.4) -> keras.Model:
    """Raw grey pixels in, `uint8 [N, 48, 48, 1]`; class probabilities out, `float32 [N, 7]`.

    Four valid 3×3 convolutions, a dense layer at every position, batch norm and a softmax over all 51,200 activations.
    The published network was trained on RGB images with three equal channels, divided by 255. Here the model does both.
    """
    pixels = keras.Input((48, 48, 1), dtype="uint8", name="pixels")
    x = keras.layers.Rescaling(1 / 255, name="rescale")(pixels)
    x = keras.layers.Concatenate(name="grey_to_rgb")([x, x, x])
    for i, filters in enumerate((32, 64, 128, 32)):
        x = keras.layers.Conv2D(filters, 3, activation="relu", name=f"conv{i + 1}")(x)
    x = keras.layers.Dense(32, activation="relu", kernel_initializer="he_uniform", name="dense")(x)
    x = keras.layers.Dropout(dropout, name="dropout")(x)
    x = keras.layers.BatchNormalization(name="batch_norm")(x)
    x = keras.layers.Flatten(name="flatten")(x)
    probabilities = keras.layers.Dense(NUM_CLASSES, activation="softmax", dtype="float32", name="emotion")(x)
    return keras.Model(pixels, probabilities, name="cnn")
