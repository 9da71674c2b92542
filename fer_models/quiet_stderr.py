"""Drop the notes of native libraries from stderr."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_FILTER = """
import os, re, signal, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that writes the lines.
beginnings = re.compile(b"|".join(map(os.fsencode, sys.argv[1:])))
for line in sys.stdin.buffer:
    if not beginnings.match(line):
        sys.stderr.buffer.write(line)
        sys.stderr.buffer.flush()
"""


@contextmanager
def without_lines(*beginnings: str) -> Iterator[None]:
    """Drops lines whose beginning matches one of `beginnings`, regular expressions, from this process's stderr.

    It does not matter who writes them.

    The filter is a separate process, so that the last lines before a crash still appear.
    """
    try:
        stderr = os.dup(2)
    except OSError:  # stderr is closed.
        yield
        return
    sys.stderr.flush()
    command = [sys.executable, "-ISc", _FILTER, *beginnings]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=stderr)
    assert process.stdin is not None
    os.dup2(process.stdin.fileno(), 2)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(stderr, 2)
        os.close(stderr)
        process.stdin.close()
        with suppress(subprocess.TimeoutExpired):  # The filter ends with the last process that holds the pipe.
            process.wait(5)
