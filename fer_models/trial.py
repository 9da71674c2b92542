"""Try a file that others made on one image, in a process of its own that has little memory and time.

How much a model computes on its way is known only when it has run, and a damaged one may end the process that reads it.
Only Linux can limit a process so; elsewhere nothing is tried.
"""

import subprocess
import sys
from pathlib import Path
from typing import Literal

from fer_data.errors import UserError

MEGABYTES, SECONDS = 384, 4
"""Memory above that of the idle process and of the weights, and time of a processor."""
_SIDE = 48


def megabytes_of_litert(model: bytes, where: str) -> float:
    """How much memory a LiteRT file takes for an image. Raises UserError, naming `where`, when that is too much."""
    if sys.platform != "linux":
        return 0
    child = _tried("litert", model)
    said = child.stdout.decode().split()
    if child.returncode == 0 and said:
        return float(said[-1])
    raise _refused(where)


def check_onnx(model: bytes, where: str) -> None:
    """Raises UserError, naming `where`, when an ONNX file takes too long to load or to run, or ends its process.

    What else may be wrong with it, ONNX Runtime says itself.
    """
    if sys.platform == "linux" and _tried("onnx", model).returncode < 0:
        raise _refused(where)


def _refused(where: str) -> UserError:
    return UserError(
        f"{where} cannot be run on one image within {MEGABYTES} MB and {SECONDS} seconds: it is damaged or means harm"
    )


def _tried(kind: Literal["litert", "onnx"], model: bytes) -> subprocess.CompletedProcess[bytes]:
    # -P: the modules beside this one must not stand in for others.
    command = [sys.executable, "-P", __file__, kind, str(MEGABYTES * 2**20 + 3 * len(model))]
    return subprocess.run(command, input=model, capture_output=True, check=False)


def _status(name: str) -> int:
    """A line of this process's status, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(f"{name}:"))


def _limit(more: int) -> None:
    """Let this process take `more` bytes of memory, and SECONDS, from now on."""
    import resource
    import time

    limit = _status("VmData") + more
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    seconds = int(time.process_time()) + 1 + SECONDS
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))


def _try_litert(model: bytes, more: int) -> None:
    import numpy as np
    from ai_edge_litert.interpreter import Interpreter

    before = _status("VmRSS")
    _limit(more)
    interpreter = Interpreter(model_content=model, num_threads=1)
    taken = interpreter.get_input_details()[0]
    shape = 1, *map(int, taken["shape"][1:])
    interpreter.resize_tensor_input(taken["index"], shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(taken["index"], np.zeros(shape, taken["dtype"]))
    interpreter.invoke()
    print(max(0, _status("VmHWM") - before - len(model)) / 2**20)


def _try_onnx(model: bytes, more: int) -> None:
    import numpy as np
    import onnxruntime

    _limit(more)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    (taken,) = session.get_inputs()
    shape = [1, *(side if isinstance(side, int) else _SIDE for side in taken.shape[1:])]
    kinds = {"tensor(uint8)": np.uint8, "tensor(float16)": np.float16, "tensor(double)": np.float64}
    session.run(None, {taken.name: np.zeros(shape, kinds.get(taken.type, np.float32))})


if __name__ == "__main__":
    {"litert": _try_litert, "onnx": _try_onnx}[sys.argv[1]](sys.stdin.buffer.read(), int(sys.argv[2]))
