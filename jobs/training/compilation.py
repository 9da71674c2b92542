"""Whether XLA compiles the steps of a run, and the error when it cannot. TensorFlow is not imported here."""

import os
import re
from pathlib import Path
from typing import Literal

from fer_data.errors import UserError

Compile = Literal["auto", "on", "off"]

_PAYS_AFTER_STEPS = 3_000
"""On one H200, XLA took 20 to 45 s to compile `compact` and saved about 16 ms a step."""


def is_compiled(compile: Compile, *, on_gpu: bool, steps: int) -> bool:
    """Whether XLA compiles a run with `steps` steps left.

    `auto` never compiles on CPUs: XLA does not use oneDNN there, and a step of `compact` takes 15 times as long.
    """
    return compile == "on" or (compile == "auto" and on_gpu and steps >= _PAYS_AFTER_STEPS)


def set_up_xla(*, deterministic: bool) -> None:
    """Cache compiled programs on disk. For a worker, before it loads TensorFlow. The user's own flags win."""
    if deterministic:
        # By default XLA chooses among kernels by timing them.
        _prepend("XLA_FLAGS", "--xla_gpu_deterministic_ops=true --xla_gpu_autotune_level=0")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "fer_jobs" / "xla"
    try:
        cache.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError:
        return  # Without a writable home, XLA compiles at every start.
    _prepend("TF_XLA_FLAGS", f"--tf_xla_persistent_cache_directory={cache}")


def _prepend(variable: str, flags: str) -> None:
    os.environ[variable] = f"{flags} {os.environ.get(variable, '')}".strip()


def user_mistake(error: Exception, *, compiled: bool) -> UserError | None:
    """TensorFlow's `error` in a step, as a message with the mend; None when the user cannot mend it."""
    message = str(error)
    if type(error).__name__ == "ResourceExhaustedError" or "RESOURCE_EXHAUSTED" in message:
        return UserError(
            "the device's memory is too small for this run: lower --batch-size, --micro-batch or --input-size"
        )
    if compiled and (unsupported := _unsupported(message)):
        return UserError(f"--compile: XLA cannot compile {unsupported}: give --compile off")
    return None


def _unsupported(message: str) -> str | None:
    """The operations that XLA refused, found in an error's message; None when the message is about something else."""
    found = re.findall(r"(?:unsupported operations when trying to compile graph [^:]*: |No registered ')(\w+)", message)
    if found:
        return ", ".join(sorted(set(found)))
    return " ".join(message.split())[:160] if "XLA" in message and "compil" in message else None
