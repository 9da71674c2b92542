"""How much memory a process has needed."""

import resource
import sys
from pathlib import Path

_KIB = 1024


def peak_mib() -> float:
    """The peak memory, in MiB, of this process alone.

    Pages of Ray's object store do not count, if the system lists them separately: a process maps ever more of them, up
    to the size of the store, and shares them all. The count is the current one, so that pages mapped after the peak are
    subtracted too.
    """
    status = _status()
    # On Linux, a process has the ru_maxrss of the one that started it.
    peak = status.get("VmHWM") or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (
        1 if sys.platform == "darwin" else _KIB
    )
    return (peak - status.get("RssShmem", 0)) / _KIB**2


def _status() -> dict[str, int]:
    """The sizes in /proc/self/status, in bytes by name; nothing where there is no such file."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return {}
    sizes = (line.split() for line in lines if line.endswith(" kB"))
    return {name.removesuffix(":"): int(size) * _KIB for name, size, _ in sizes}
