"""Keep off stderr what native libraries note about themselves."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_FILTER = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process whose lines these are.
beginnings = tuple(map(os.fsencode, sys.argv[1:]))
for line in sys.stdin.buffer:
    if not line.startswith(beginnings):
        sys.stderr.buffer.write(line)
        sys.stderr.buffer.flush()
"""


@contextmanager
def without_lines(*beginnings: str) -> Iterator[None]:
    """Drops the lines that begin with one of `beginnings` and that any code of this process writes to stderr.

    The filter is a process of its own, so that the last lines of a process that crashes come through.
    """
    try:
        stderr = os.dup(2)
    except OSError:  # It is closed.
        yield
        return
    sys.stderr.flush()
    command = [sys.executable, "-ISc", _FILTER, *beginnings]
    strainer = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=stderr)
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
