"""Try a LiteRT file that others made on one image, in a process of its own that has little memory and time.

How much a model computes on its way is known only when it has run, and a damaged one may end the process that reads it.
Only Linux can limit a process so; elsewhere nothing is tried.
"""

import subprocess
import sys
from pathlib import Path

from fer_data.errors import UserError

MEGABYTES, SECONDS = 384, 15
"""Memory above that of the idle process and of the weights, and time of a processor."""


def megabytes_for_an_image(model: bytes, where: str) -> float:
    """How much memory `model` takes for an image. Raises UserError, naming `where`, when that is too much."""
    if sys.platform != "linux":
        return 0
    # -P: the modules beside this one must not stand in for others.
    command = [sys.executable, "-P", __file__, str(MEGABYTES * 2**20 + 3 * len(model))]
    child = subprocess.run(command, input=model, capture_output=True, check=False)
    said = child.stdout.decode().split()
    if child.returncode == 0 and said:
        return float(said[-1])
    raise UserError(
        f"{where} cannot be run on one image within {MEGABYTES} MB and {SECONDS} seconds: it is damaged or means harm"
    )


def _status(name: str) -> int:
    """A line of this process's status, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(f"{name}:"))


def _main() -> None:
    import resource

    import numpy as np
    from ai_edge_litert.interpreter import Interpreter

    model = sys.stdin.buffer.read()
    before = _status("VmRSS")
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    limit = _status("VmData") + int(sys.argv[1])
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    interpreter = Interpreter(model_content=model, num_threads=1)
    taken = interpreter.get_input_details()[0]
    shape = 1, *map(int, taken["shape"][1:])
    interpreter.resize_tensor_input(taken["index"], shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(taken["index"], np.zeros(shape, taken["dtype"]))
    interpreter.invoke()
    print(max(0, _status("VmHWM") - before - len(model)) / 2**20)


if __name__ == "__main__":
    _main()
