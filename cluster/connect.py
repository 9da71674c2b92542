"""Connect to Ray: the cluster that RAY_ADDRESS names, or a Ray of our own on the loopback address."""

import atexit
import logging
import os
import socket
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, TypeVar

import ray
from ray.autoscaler.sdk import request_resources

from cluster.ray_internals import (
    LONGEST_FOLDER,
    NODE_IS_TOO_SLOW,
    address_of_ray_start,
    forbid_other_clusters,
    init_on_loopback,
)
from fer_data.commands import counted, stops_delayed, stops_kept
from fer_data.errors import UserError
from fer_data.scratch import NAME_LENGTH, scratch_folder
from fer_data.text import one_line

Placement = TypeVar("Placement")
_SHORT = "/tmp"
_QUIET: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.WARNING}


@dataclass(frozen=True)
class WorkerResources:
    """What each worker of a run reserves."""

    cpus: int
    gpus: int

    @property
    def bundle(self) -> dict[str, int]:
        """The resources by Ray's names."""
        return {"CPU": self.cpus} | ({"GPU": self.gpus} if self.gpus else {})


def start_local(**more: Any) -> None:
    """Start a Ray of this process's own, on the loopback address; `more` is for `ray.init`.

    Raises UserError when Ray gives up, as on a machine that is very busy, or cannot write its files.
    """
    try:
        with ExitStack() as stack:
            folder = _short_folder(stack)
            stack.callback(ray.shutdown)
            with stops_delayed():  # A Ray that has half started leaves processes behind, and may crash this one.
                init_on_loopback(folder, **(_QUIET | more))
            atexit.register(stack.pop_all().close)
    except OSError as error:
        why = f"it cannot write {error.filename} ({error.strerror})" if error.filename else one_line(error)
        at_home = str(error.filename).startswith(os.path.expanduser("~"))
        mend = ": let HOME name a folder that can be written" if at_home else ""
        raise UserError(f"Ray did not start: {why}{mend}") from error
    except Exception as error:  # Ray raises no class of its own.
        if NODE_IS_TOO_SLOW not in str(error):
            raise
        raise UserError("Ray did not start within 30 s: this machine may be too busy; run the command again") from error


def _short_folder(stack: ExitStack) -> str:
    """A folder for Ray's files: in TMPDIR, or in /tmp where TMPDIR is too long for the names of Ray's sockets.

    Batch systems such as Slurm name such folders. Raises UserError when it cannot be made.
    """
    where, longest = tempfile.gettempdir(), LONGEST_FOLDER - 1 - NAME_LENGTH
    if len(where.encode()) > longest:
        where = _SHORT
    try:
        return stack.enter_context(scratch_folder(where))
    except OSError as error:
        raise UserError(
            f"Ray's files cannot be written to {where} ({error.strerror}): let TMPDIR name a folder with room, of at "
            f"most {longest} characters"
        ) from error


def connect() -> None:
    """Start or join Ray, unless this process has already.

    Raises UserError when RAY_ADDRESS names no reachable cluster, or when the token is missing that RAY_AUTH_MODE asks
    for.
    """
    if ray.is_initialized():
        return
    forbid_other_clusters()
    address = os.environ.get("RAY_ADDRESS")
    if address == "auto":
        address = address_of_ray_start()
        if address is None:
            raise UserError(
                "RAY_ADDRESS=auto finds no cluster that `ray start` has started: give HOST:PORT, or unset it"
            )
        os.environ["RAY_ADDRESS"] = address
    try:
        if address in (None, "", "local"):
            start_local()
            return
        _check_reachable(address)
        with stops_kept():
            ray.init(**_QUIET)
    except ray.exceptions.AuthenticationError as error:
        cause = str(error).partition(". ")[0]
        raise UserError(
            f"{cause}: get the token of your cluster; if that cluster is gone: unset RAY_AUTH_MODE RAY_AUTH_TOKEN_PATH"
        ) from error
    except OSError as error:  # ConnectionError among them, which Ray raises.
        raise UserError(f"no Ray cluster answers at RAY_ADDRESS={address}: start it, or unset the variable") from error


def _check_reachable(address: str) -> None:
    """Raises OSError when nothing listens at HOST:PORT, where Ray would retry for many minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()


def wait_for_room(
    place: Callable[[list[dict]], Placement],
    *,
    minutes: float,
    wanted: Sequence[Mapping[str, float]],
    say: Callable[[str], None],
) -> Placement:
    """Call `place` with `ray.nodes()` until it raises no UserError, and return its result.

    Meanwhile, ask the autoscaler for `wanted`, the resources of each process by Ray's names. Raises the last UserError
    after `minutes`.
    """
    deadline = time.monotonic() + 60 * minutes
    asked = False
    try:
        while True:
            try:
                return place(ray.nodes())
            except UserError as error:
                if time.monotonic() >= deadline:
                    if not asked:
                        raise
                    raise UserError(f"{error} (waited {minutes:g} minutes)") from None
                if not asked:
                    say(f"waiting up to {minutes:g} minutes: {error}")
                    request_resources(bundles=[dict(each) for each in wanted])
                    asked = True
            time.sleep(1)
    finally:
        if asked:
            request_resources(bundles=[])  # From now on, the run's own reservations count.


def worker_resources(
    nodes: list[dict], *, workers: int, device: str, cpus_per_worker: int | None, option: str = "--workers"
) -> WorkerResources:
    """CPUs and GPUs for each of `workers`, so that all fit on `nodes` (as from `ray.nodes()`).

    `device` is auto, cpu or gpu. Messages name `option`, which sets `workers`. Raises UserError with the size of the
    cluster when they do not fit.
    """
    sizes = _sizes(nodes)
    cpus, gpus = sum(size[0] for size in sizes), sum(size[1] for size in sizes)
    has = capacity(nodes)
    on_gpu = device == "gpu" or (device == "auto" and gpus >= workers)
    if on_gpu and gpus < workers:
        raise UserError(f"{option} {workers} --device gpu needs {counted(workers, 'GPU')}, but {has}")
    wanted = [cpus_per_worker] if cpus_per_worker else range(max(1, cpus // workers), 0, -1)
    for cpu in wanted:
        if room(nodes, cpu, int(on_gpu)) >= workers:
            return WorkerResources(cpu, int(on_gpu))
    each = counted(cpus_per_worker or 1, "CPU")
    raise UserError(f"{option} {workers} needs {each} for each worker, but {has}: ask for fewer workers")


def room(nodes: list[dict], cpus: int, gpus: float) -> int:
    """How many processes fit on `nodes` at once, each with `cpus` and `gpus` (a part of one GPU, or whole GPUs).

    A process reserves all of its resources on one machine.
    """
    return sum(min(c // cpus, _gpu_room(g, gpus)) if gpus else c // cpus for c, g in _sizes(nodes))


def _gpu_room(machine: int, each: float) -> int:
    # Ray counts GPUs in ten-thousandths.
    return machine // int(each) if each >= 1 else machine * (10_000 // round(each * 10_000))


def capacity(nodes: list[dict]) -> str:
    """The size of the cluster of `nodes`, in words."""
    sizes = _sizes(nodes)
    cpus, gpus = (counted(sum(size[kind] for size in sizes), noun) for kind, noun in enumerate(("CPU", "GPU")))
    return f"the cluster has {counted(len(sizes), 'machine')} with {cpus} and {gpus} in all"


def _sizes(nodes: list[dict]) -> list[tuple[int, int]]:
    """CPUs and GPUs of each machine that is alive."""
    alive = [node["Resources"] for node in nodes if node["Alive"]]
    return [(int(node.get("CPU", 0)), int(node.get("GPU", 0))) for node in alive]
