"""How much of the hardware a run uses: arithmetic per second, and its share of the GPU's peak.

Only the function that asks for the GPU's name imports TensorFlow.
"""

PEAK_TFLOPS = {
    "B200": (2250.0, 1125.0),
    "H200": (989.0, 495.0),
    "H100 PCIe": (756.0, 378.0),
    "H100": (989.0, 495.0),
    "A100": (312.0, 156.0),
    "L40S": (362.0, 183.0),
    "L4": (121.0, 60.0),
    "A10": (125.0, 62.5),
    "V100": (125.0, 15.7),
    "T4": (65.0, 8.1),
    "RTX 4090": (165.0, 82.6),
    "RTX 3090": (71.0, 35.6),
}
"""Dense peak of GPUs by a part of their name, in 16 bits and in float32 (TF32 if the GPU has it), from NVIDIA's data
sheets. The first entry that matches counts."""
_PASSES = 6
"""Floating-point operations per multiply-add of the forward pass: two, and twice as many for the gradients."""


def tflops(multiply_adds: int, images_per_second: float) -> float:
    """10^12 floating-point operations per second of training a network with `multiply_adds` per image."""
    return _PASSES * multiply_adds * images_per_second / 1e12


def peak_tflops(card: str, precision: str) -> float | None:
    """The dense peak of `card` under a Keras dtype policy; None for a card that is not in the table."""
    for part, (half, full) in PEAK_TFLOPS.items():
        if part in card:
            return full if precision == "float32" else half
    return None


def this_peak(precision: str) -> float | None:
    """The dense peak of this worker's GPU; None on CPUs."""
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        return None
    return peak_tflops(tf.config.experimental.get_device_details(gpus[0]).get("device_name", ""), precision)
