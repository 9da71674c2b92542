"""Make sure that TensorFlow finds the GPUs that Ray has reserved, and uses no others.

Ray does not check the GPUs that it counts. If TensorFlow finds none (packages without CUDA, no driver), it computes on
the CPU for hours without a message. The checks here find the cause first and report it in one line.
"""

import ctypes
import os
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import ray
from packaging.requirements import Requirement
from ray.exceptions import GetTimeoutError, RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from cluster.rehearsal import REHEARSED_GPU
from fer_data.errors import UserError
from fer_data.storage import one_line
from jobs.tensorflow_environment import tensorflow_environment

REHEARSED = "the GPUs of this cluster are rehearsed: everything computes on the CPU"
OTHERWISE = "or use the CPU: --device cpu"
_START_SECONDS = 60.0
"""How long a machine may take to start a process on its GPU. After that, its GPUs are in use, which is no error."""
_LOOK_SECONDS = 120.0
"""How long TensorFlow may take to load and find a GPU."""


def are_rehearsed(nodes: Sequence[dict]) -> bool:
    """Whether the GPUs of `nodes` (as from `ray.nodes()`) are those of a rehearsal."""
    return any(node["Alive"] and node["Resources"].get(REHEARSED_GPU) for node in nodes)


def check_gpus(nodes: Sequence[dict], gpus_each: float, say: Callable[[str], object] = print) -> None:
    """Check, on each machine of `nodes` with GPUs, that TensorFlow finds one; for workers that get `gpus_each`.

    All machines are checked at the same time, in processes that start as workers do. A machine whose GPUs are in use is
    skipped: its workers check for themselves. Rehearsed GPUs pass, with a message to `say`. Raises UserError with the
    cause from the first machine on which TensorFlow finds no GPU.
    """
    alive = [node for node in nodes if node["Alive"] and node["Resources"].get("GPU", 0) > 0]
    if are_rehearsed(alive):
        say(REHEARSED)
    real = [node for node in alive if not are_rehearsed([node])]
    probes = {node["NodeManagerAddress"]: _probe(node, min(1.0, gpus_each)) for node in real}
    try:
        started = {address: probe.ready.remote() for address, probe in probes.items()}
        looked = {address: probe.missing.remote() for address, probe in probes.items()}
        if started:
            ray.wait(list(started.values()), num_returns=len(started), timeout=_START_SECONDS)
        for address in probes:
            if _has_started(started[address]) and (message := _answer(address, looked[address])):
                raise UserError(message)
    finally:
        for probe in probes.values():
            ray.kill(probe)


def keep_to_reserved_gpus() -> bool:
    """Hide from this process the GPUs that it has not reserved. Returns whether it has reserved a real one.

    Call it before the process first uses CUDA. Ray hides other processes' GPUs only from a process that has reserved
    one. A process with a rehearsed GPU must not see a real one either.
    """
    if ray.get_gpu_ids() and not are_rehearsed([_this_node()]):
        return True
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    return False


def missing_gpu() -> str | None:
    """Why TensorFlow does not find the GPU that this Ray process has reserved, in one line; None when it does.

    Call it before TensorFlow looks for GPUs, so that it sees only those that `keep_to_reserved_gpus` leaves.
    """
    if not keep_to_reserved_gpus():
        return None
    import tensorflow as tf

    if tf.config.list_physical_devices("GPU"):
        return None
    node = _this_node()
    faults = _faults(tf.sysconfig.get_build_info())
    return f"TensorFlow finds no GPU on machine {node['NodeManagerAddress']}: {'; '.join(faults)}; {OTHERWISE}"


def _this_node() -> dict:
    own = ray.get_runtime_context().get_node_id()
    return next(node for node in ray.nodes() if node["NodeID"] == own)


def _faults(build: Any) -> list[str]:
    """Why TensorFlow finds no GPU on this machine, and how to fix it; `build` is TensorFlow's build information."""
    found = [fault for fault in (_packages_fault(build), _driver_fault(build)) if fault]
    look = """python -c 'import tensorflow as tf; tf.config.list_physical_devices("GPU")'"""
    return found or [f"driver and packages are there: run `{look}` on it to see what it cannot load"]


def _packages_fault(build: Any) -> str | None:
    mend = "install '.[gpu]' in place of '.[jobs]'"
    if not build.get("is_cuda_build"):
        return f"this TensorFlow was built without CUDA: {mend}"
    needed = [Requirement(line) for line in metadata.requires("tensorflow") or ()]
    # What `pip install tensorflow[and-cuda]` installs.
    missing = [each.name for each in needed if "and-cuda" in str(each.marker) and not _is_installed(each.name)]
    if not missing:
        return None
    others = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
    return f"its CUDA libraries are not installed ({missing[0]}{others}): {mend}"


def _is_installed(package: str) -> bool:
    try:
        metadata.distribution(package)
    except metadata.PackageNotFoundError:
        return False
    return True


def _driver_fault(build: Any) -> str | None:
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError:
        if Path("/proc/driver/nvidia").exists():
            return "NVIDIA's driver is not in this container (libcuda.so.1): start it with GPUs, as by --gpus all"
        return "it has no NVIDIA driver (libcuda.so.1): install one"
    version = ctypes.c_int()
    cuda.cuDriverGetVersion(ctypes.byref(version))
    needed = str(build.get("cuda_version", "")).partition(".")[0]
    if needed.isdigit() and version.value // 1000 < int(needed):
        can = f"{version.value // 1000}.{version.value % 1000 // 10}"
        return f"its NVIDIA driver is too old (for CUDA {can}; TensorFlow needs {needed}): install a newer one"
    if code := cuda.cuInit(0):
        return f"its NVIDIA driver fails (cuInit returns {code}): run nvidia-smi there"
    return None


class _Probe:
    """A process that reserves a GPU and looks for it."""

    def ready(self) -> None:
        """Returns once the process has started."""

    def missing(self) -> str | None:
        return missing_gpu()


def _probe(node: dict, gpus: float) -> Any:
    return (
        ray.remote(_Probe)
        .options(
            num_cpus=0,
            num_gpus=gpus,
            scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False),
            runtime_env={"env_vars": tensorflow_environment()},
        )
        .remote()
    )


def _has_started(reference: ray.ObjectRef) -> bool:
    try:
        ray.get(reference, timeout=0)
    except RayError:  # The GPUs are in use, or the machine is gone. Placing the workers deals with both.
        return False
    return True


def _answer(address: str, reference: ray.ObjectRef) -> str | None:
    """Why the machine at `address` finds no GPU, or how its check failed; None when it finds one."""
    try:
        return ray.get(reference, timeout=_LOOK_SECONDS)
    except GetTimeoutError:
        failure = f"has not answered for {_LOOK_SECONDS:g} seconds"
    except RayTaskError as error:
        failure = f"failed: {one_line(error.cause or error, 160)}"
    except RayError:
        failure = "crashed its process, probably inside the driver or a CUDA library"
    return f"TensorFlow's check for a GPU on machine {address} {failure}: run nvidia-smi there; {OTHERWISE}"
