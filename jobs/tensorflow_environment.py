"""How TensorFlow starts in drivers, workers and actors: its environment variables, and what it may say."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_DEFAULTS = {
    # TensorFlow itself uses oneDNN on processors with AVX-512 alone; with AVX2 it makes `compact` train twice as fast.
    "TF_ENABLE_ONEDNN_OPTS": "1",
    "TF_CPP_MIN_LOG_LEVEL": "2",
}
_FILTER = """
import sys
for line in sys.stdin.buffer:
    if not line.startswith((b"I0000 ", b"WARNING: All log messages before absl::InitializeLog() is called")):
        sys.stderr.buffer.write(line)
        sys.stderr.buffer.flush()
"""


def tensorflow_environment() -> dict[str, str]:
    """By name; what the user has set wins."""
    return {name: os.environ.get(name, value) for name, value in _DEFAULTS.items()}


@contextmanager
def quiet_start() -> Iterator[None]:
    """Keeps what TensorFlow notes, but not what it warns of, off stderr while it is imported inside the block.

    TF_CPP_MIN_LOG_LEVEL does not reach what the library says while it is loaded; at 0 nothing is kept back. The
    filter is a process of its own, so that the last words of an import that crashes come through.
    """
    if os.environ.get("TF_CPP_MIN_LOG_LEVEL") == "0":
        yield
        return
    sys.stderr.flush()
    stderr = os.dup(2)
    strainer = subprocess.Popen([sys.executable, "-ISc", _FILTER], stdin=subprocess.PIPE, stderr=stderr)
    assert strainer.stdin is not None
    os.dup2(strainer.stdin.fileno(), 2)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(stderr, 2)
        os.close(stderr)
        strainer.stdin.close()
        with suppress(subprocess.TimeoutExpired):  # It ends with the last process that holds the pipe.
            strainer.wait(5)
