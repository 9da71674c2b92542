"""Choose the fastest precision of a run's hardware."""

from pathlib import Path

import tensorflow as tf

# In order of preference; every worker of a run must use the same.
POLICIES = ("float32", "mixed_float16", "mixed_bfloat16")


def fastest_policy() -> str:
    """`mixed_bfloat16` on CPUs and GPUs that support it, `mixed_float16` on older GPUs, else `float32`."""
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        capability = tf.config.experimental.get_device_details(gpus[0]).get("compute_capability", (0, 0))
        if capability >= (8, 0):
            return "mixed_bfloat16"
        return "mixed_float16" if capability >= (7, 0) else "float32"
    cpuinfo = Path("/proc/cpuinfo")
    flags = cpuinfo.read_text() if cpuinfo.exists() else ""
    return "mixed_bfloat16" if "avx512_bf16" in flags or "amx_bf16" in flags else "float32"


def common_policy(policies: list[str]) -> str:
    """The policy for all ranks: theirs if they agree, else float32."""
    return policies[0] if len(set(policies)) == 1 else "float32"
