"""How much memory a process has needed."""

import resource
import sys
from contextlib import suppress
from pathlib import Path

_KIB = 1024


def peak_mib() -> float:
    """The peak memory, in MiB, of this process alone.

    Pages of Ray's object store do not count, if the system lists them separately: a process maps ever more of them, up
    to the size of the store, and shares them all. The count is the current one, so that pages mapped after the peak are
    subtracted too.
    """
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else _KIB)
    shared = 0
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("RssShmem:"):
                shared = int(line.split()[1]) * _KIB
    return (peak - shared) / _KIB**2
