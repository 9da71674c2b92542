"""GPUs that Ray has reserved: TensorFlow must find them, and keep off all others.

Ray counts GPUs as it is told to. Where TensorFlow finds none (packages without CUDA, no driver) it computes on the
processor and says nothing, for hours; here that is found out first and said in a line.
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

REHEARSED = "the GPUs of this cluster are rehearsed: everything computes on processors"
OTHERWISE = "or compute on processors: --device cpu"
_START_SECONDS = 60.0
"""How long a machine may take to start a process on its GPU; its GPUs are others' then, and no fault shows."""
_LOOK_SECONDS = 120.0
"""How long TensorFlow may take to load and to look for a GPU."""


def are_rehearsed(nodes: Sequence[dict]) -> bool:
    """Whether the GPUs of `nodes` (as from `ray.nodes()`) stand for real ones in a rehearsal."""
    return any(node["Alive"] and node["Resources"].get(REHEARSED_GPU) for node in nodes)


def check_gpus(nodes: Sequence[dict], gpus_each: float, say: Callable[[str], object] = print) -> None:
    """Look, on each machine of `nodes` that has GPUs, whether TensorFlow finds one; for workers that get `gpus_each`.

    All machines look at a time, in processes that start as workers do. A machine whose GPUs are taken is left out: its
    workers look for themselves. Rehearsed GPUs pass, and `say` is told of it. Raises UserError with what the first
    machine says that finds none.
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
    """Hide from this process the GPUs that it has not reserved; whether it has reserved a real one.

    To be called before the process first uses CUDA. Ray hides the GPUs of others only from processes that have reserved
    one. A real GPU is hidden, too, from a process that has reserved a rehearsed one.
    """
    if ray.get_gpu_ids() and not are_rehearsed([_this_node()]):
        return True
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    return False


def missing_gpu() -> str | None:
    """Why TensorFlow does not find the GPU that this process of Ray's has reserved, in a line; None when all is well.

    To be called before TensorFlow looks for GPUs: it then finds none but those that `keep_to_reserved_gpus` leaves.
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
    """What is wrong with a machine on which TensorFlow, with `build` about itself, finds no GPU, and what mends it."""
    found = [fault for fault in (_packages_fault(build), _driver_fault(build)) if fault]
    look = """python -c 'import tensorflow as tf; tf.config.list_physical_devices("GPU")'"""
    return found or [f"driver and packages are there; `{look}` on it says what it cannot load"]


def _packages_fault(build: Any) -> str | None:
    mend = "install '.[gpu]' in place of '.[jobs]'"
    if not build.get("is_cuda_build"):
        return f"this TensorFlow was built without CUDA: {mend}"
    needed = [Requirement(line) for line in metadata.requires("tensorflow") or ()]
    # TensorFlow's own list of what `pip install tensorflow[and-cuda]` brings.
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
        return f"its NVIDIA driver fails (cuInit gives {code}): see what nvidia-smi says there"
    return None


class _Probe:
    """A process that holds a GPU and looks for it."""

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
    except RayError:  # Its GPUs are taken, or the machine has gone: both are for those who place the workers.
        return False
    return True


def _answer(address: str, reference: ray.ObjectRef) -> str | None:
    """What the machine at `address` says is missing; what befell it where it does not say."""
    try:
        return ray.get(reference, timeout=_LOOK_SECONDS)
    except GetTimeoutError:
        befell = f"has not answered for {_LOOK_SECONDS:g} seconds"
    except RayTaskError as error:
        befell = f"failed: {one_line(error.cause or error, 160)}"
    except RayError:
        befell = "ended its process, as a crash in a driver's or CUDA's library does"
    return f"TensorFlow's look for a GPU on machine {address} {befell}: see what nvidia-smi says there; {OTHERWISE}"
