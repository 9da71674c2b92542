"""How much memory a process has needed."""

import resource
import sys
from contextlib import suppress
from pathlib import Path

_KIB = 1024


def peak_mib() -> float:
    """The most memory, in MiB, that this process has had to itself.

    Pages of Ray's object store do not count, where the system tells them apart: a process maps ever more of them, up
    to the store's size, as blocks pass through it, and has none of them for itself. They are counted now, so that
    those mapped since the peak are taken off as well.
    """
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else _KIB)
    shared = 0
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("RssShmem:"):
                shared = int(line.split()[1]) * _KIB
    return (peak - shared) / _KIB**2
