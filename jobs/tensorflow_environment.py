"""How TensorFlow starts in drivers, workers and actors: environment, messages, threads and memory."""

import gc
import os
import sys
from contextlib import AbstractContextManager, nullcontext

from fer_models.quiet_stderr import without_lines

_DEFAULTS = {
    # By default TensorFlow uses oneDNN only on CPUs with AVX-512, but it doubles the speed of `compact` on AVX2 too.
    "TF_ENABLE_ONEDNN_OPTS": "1",
    "TF_CPP_MIN_LOG_LEVEL": "2",
}
# The wording of TensorFlow 2.21, which tests/jobs/test_tensorflow_environment.py checks.
_NOTES = ("I0000 ", r"WARNING: All log messages before absl::InitializeLog\(\) is called")
_NO_GPU = "E0000 .*failed call to cuInit"
"""What TensorFlow reports where CUDA_VISIBLE_DEVICES hides the GPUs, or where there are none."""


def tensorflow_environment() -> dict[str, str]:
    """Environment variables by name; the user's own values win."""
    return {name: os.environ.get(name, value) for name, value in _DEFAULTS.items()}


def quiet(*more: str) -> AbstractContextManager[None]:
    """Drops TensorFlow's notes, and its complaint that there is no GPU, from stderr inside the block.

    `more` are regular expressions for the beginnings of other lines to drop.

    TF_CPP_MIN_LOG_LEVEL has no effect while the library is loaded. At 0 nothing is dropped.
    """
    return nullcontext() if os.environ.get("TF_CPP_MIN_LOG_LEVEL") == "0" else without_lines(*_NOTES, _NO_GPU, *more)


def load_keras() -> None:
    """Import TensorFlow and Keras: 5 s instead of 9 on a slow core.

    Keras imports scikit-learn and Matplotlib where they are installed, for wrappers and plots of which no job makes
    use. And the imports make a million objects, none of which is garbage.
    """
    unused = [name for name in ("matplotlib", "sklearn") if name not in sys.modules]
    collects = gc.isenabled()
    gc.disable()
    sys.modules |= dict.fromkeys(unused)  # type: ignore[arg-type]  # None: to be taken for not installed.
    try:
        import keras  # noqa: F401
    finally:
        for name in unused:
            del sys.modules[name]
        if collects:
            gc.enable()


def set_up_tensorflow(*, threads: int, operations: int, tf32: bool = True, deterministic: bool = False) -> None:
    """Set how this process computes, before it computes anything.

    `threads` is the number per operation; `operations` run at the same time. GPU memory is allocated as needed. Without
    `tf32`, GPUs multiply float32 with all 23 bits of the mantissa, as CPUs do, rather than 10. A later call changes
    neither threads nor memory.
    """
    load_keras()
    import tensorflow as tf

    if not tf32:
        tf.config.experimental.enable_tensor_float_32_execution(False)
    if deterministic:
        tf.config.experimental.enable_op_determinism()
    try:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(operations)
        for gpu in tf.config.list_physical_devices("GPU"):
            tf.config.experimental.set_memory_growth(gpu, True)
    except RuntimeError:
        pass  # An earlier call has set them, and TensorFlow has already started.
