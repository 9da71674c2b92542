"""The private names and message texts of Ray 2.60 that the project relies on, although Ray may change them.

Each has one function or constant here. If one of them changes, tests/cluster/test_ray_internals.py fails with its name.
The functions import Ray themselves, because some must run before it and some commands do not need it.
"""

import asyncio
import atexit
import logging
import os
import threading
import warnings
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

NODE_HAS_STARTED = "Ray runtime started"
"""What `ray start` prints once the head knows the node."""
NODE_IS_TOO_SLOW = "The current node timed out during startup"
"""Part of the exception that a Ray raises which did not start within 30 s."""
RESTARTS_MAY_FAIL = (
    r"\[.* E \d+ \d+\] core_worker\.cc:\d+: Actor with class name: .* has constructor arguments in the obj"
)
"""Begins what Ray prints of every actor of Ray Data, whose restarts do not fail: the driver keeps its arguments."""
MANY_WORKERS = "worker processes have been started on node"
"""Part of the warning that a node runs more processes than it has CPUs."""
LONGEST_FOLDER = 41
"""How long the name of the folder for Ray's files may be. In it, a socket has the name
session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store.1, of at most 107 bytes in all."""
WORKER_HEALTH_VARIABLE = "RAY_TRAIN_WORKER_HEALTH_CHECK_TIMEOUT_S"
"""For how many seconds Ray Train waits for a worker that does not answer."""
_LOOPBACK_VARIABLE = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
_TOKEN_LOGGER = "ray._private.authentication.authentication_token_setup"
_WATCHER_VARIABLE = "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER"
_POLL_VARIABLE = "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S"
_LOGGING_VARIABLE = "RAY_TRAIN_ENABLE_CONTROLLER_STRUCTURED_LOGGING"
_TRAIN_LOGGER = "ray.train"
_LEAVING_SECONDS = 20.0
"""How long a process that ends waits for its controller, which may be starting workers."""
_LOCAL_VARIABLE = "FER_RAY_IS_LOCAL"
"""Ours: tells this process, and every process of the Ray that it starts, that this Ray has one machine."""
LOCAL_VARIABLES = (_LOCAL_VARIABLE, _WATCHER_VARIABLE, _POLL_VARIABLE, _LOGGING_VARIABLE)
"""What `init_on_loopback` sets in this process, and no other Ray may inherit."""
UNUSED_SERVICES = ("start_api_server", "start_monitor", "start_log_monitor")
"""What starts the processes that nobody needs on one machine: a dashboard without pages, the autoscaler, and the reader
of all workers' logs. They take 3 s of a start on two slow cores, and 300 MB."""
_DASHBOARD_VARIABLE = "RAY_API_SERVER_ADDRESS"
_NO_DASHBOARD = "http://127.0.0.1:1"
"""An address at which nothing listens, so that a request to it fails at once."""


def bind_to_loopback() -> None:
    """Let a Ray that this process starts bind to 127.0.0.1.

    Ray has no option for this on Linux. On macOS Ray does so unless a variable is set. Ray reads the variable on
    import, and so does every process that it starts.
    """
    os.environ[_LOOPBACK_VARIABLE] = "0"
    from ray._private import ray_constants

    ray_constants.ENABLE_RAY_CLUSTER = False
    # By default a local Ray requires a token from every client, and warns about it at each start.
    logging.getLogger(_TOKEN_LOGGER).setLevel(logging.ERROR)


def forbid_other_clusters() -> None:
    """Let this process join no Ray but the one that it asks for.

    Otherwise, a thread that is still at work when Ctrl-C has ended our Ray joins any other Ray of this machine, of
    somebody else, and goes on there.
    """
    from ray._private import auto_init_hook

    auto_init_hook.enable_auto_connect = False


def init_on_loopback(folder: str, **options: Any) -> None:
    """`ray.init` with `options`: a Ray of this process's own, on the loopback address, without a dashboard.

    `folder` is for Ray's files, and for the temporary files of all its processes.

    These have process groups of their own. So a signal to the group of this process, from a terminal or `timeout`,
    leaves them alone: without them nothing could be saved. They end with this process.
    """
    bind_to_loopback()
    import ray
    from ray._private import services
    from ray._private.node import Node

    processes: Any = services

    os.environ[_LOCAL_VARIABLE] = "1"
    # Nothing preempts a machine that runs its own Ray, and Ray Train's watcher costs a process for each set of workers.
    os.environ.setdefault(_WATCHER_VARIABLE, "0")
    # The controller runs in the driver, where its way to set up its log would close the handlers of all others.
    os.environ.setdefault(_LOGGING_VARIABLE, "0")
    os.environ.setdefault(_POLL_VARIABLE, "0.5")  # A run ends up to 2 s sooner. Asking costs nothing on one machine.
    # At the end of each run Ray Train asks the dashboard whether the controller is alive. Without an address, it would
    # wait 12 s for a dashboard to appear, and again in each trial of a sweep.
    for_ray = {_DASHBOARD_VARIABLE: _NO_DASHBOARD, "TMPDIR": folder}
    before = {name: os.environ[name] for name in for_ray if name in os.environ}
    os.environ.update(for_ray)
    unused = {name: getattr(Node, name) for name in UNUSED_SERVICES}
    popen = processes.ConsolePopen
    try:
        processes.ConsolePopen = partial(popen, process_group=0)
        for name in unused:
            setattr(Node, name, lambda *_, **__: None)
        ray.init(address="local", include_dashboard=False, _node_ip_address="127.0.0.1", _temp_dir=folder, **options)
    finally:
        processes.ConsolePopen = popen
        for name, starts in unused.items():
            setattr(Node, name, starts)
        for name in for_ray:
            del os.environ[name]
        os.environ.update(before)


def address_of_ray_start() -> str | None:
    """The address of the cluster that `ray start` last started on this machine, or None.

    Where RAY_ADDRESS is `auto`, Ray itself joins any Ray of this machine, also the private one of another job.
    """
    from ray._private import services

    return services.find_bootstrap_address(None)


def run_command_line_on_loopback() -> None:
    """Run Ray's command line with the arguments of this process, for nodes that share this machine.

    Ray's command line, and nothing else in Ray, refuses to join a second node to a head on the loopback address.
    """
    bind_to_loopback()
    from ray._private import ray_constants, services
    from ray.scripts.scripts import main

    ray_constants.ENABLE_RAY_CLUSTER = True  # In this process only: the processes that it starts read the variable.
    services.get_node_ip_address = lambda *_: "127.0.0.1"
    main()


def runs_in(actor_id: str, pid: int) -> bool:
    """Whether the actor is alive in the process `pid`: false once it has died or is being started again."""
    from ray._private import state

    actor = state.actors(actor_id)
    return actor.get("State") == "ALIVE" and actor.get("Pid") == pid


def data_parallel_trainer() -> Any:
    """The class of Ray Train that runs a function on every worker, with a backend of the caller's choice.

    The public trainers each import their own framework: TensorflowTrainer loads TensorFlow into the driver.

    Each actor that Ray Train starts before the workers takes 3 to 6 s on a slow core, and 200 MB. This class leaves
    out the one for datasets of Ray Train, which no run of ours uses. In a local Ray, it does without three more:

    * the controller is run by the calling thread;
    * nobody asks an autoscaler for a fixed number of workers, since there is none;
    * no cleaner watches the controller; it would ask the dashboard, which a local Ray lacks.
    """
    from ray.train.v2._internal.execution.scaling_policy import FixedScalingPolicy
    from ray.train.v2.api import data_parallel_trainer as ray_module

    is_local = bool(os.environ.get(_LOCAL_VARIABLE))
    unused: list[type] = [ray_module.DatasetsCallback]
    if is_local:
        unused.append(ray_module.PlacementGroupCleanerCallback)

    class WithoutAutoscaler(FixedScalingPolicy):
        def after_controller_start(self, train_run_context: Any) -> None:
            pass

        def _maybe_send_resource_request(self) -> None:
            pass

    class Trainer(ray_module.DataParallelTrainer):
        def _create_default_callbacks(self) -> list:
            callbacks = super()._create_default_callbacks()
            return [callback for callback in callbacks if not isinstance(callback, tuple(unused))]

        def _initialize_and_run_controller(self, **options: Any) -> Any:
            if not is_local:
                return super()._initialize_and_run_controller(**options)
            if isinstance(options["scaling_policy"], FixedScalingPolicy):
                options["scaling_policy"] = WithoutAutoscaler(options["scaling_policy"].scaling_config)
            return _run_controller(ray_module.TrainController, options)

    return Trainer


def _run_controller(controller_class: Any, options: dict[str, Any]) -> Any:
    """Run Ray Train's controller in this thread; the result of the run. A process trains one run at a time.

    The controller tells its workers which actor it is, so that they can ask it for reports. Ours never ask. A process
    that ends waits for the controller first: it would go on to call Ray, which ends a process that does so after
    `ray.shutdown`, with a code of its own.

    Workers run in processes that Ray has started ahead of time, which takes 5 s on a slow core. Ray would start others
    for workers with variables of their own, but these processes have inherited all variables of this one.
    """
    from ray.runtime_context import RuntimeContext

    context: Any = RuntimeContext
    group: Any = controller_class.worker_group_cls

    class Group(group):
        @staticmethod
        def _get_worker_runtime_env(custom_runtime_env: Any) -> Any:
            return custom_runtime_env

        def _init_train_context_on_workers(self, *arguments: Any) -> None:
            current_actor = context.current_actor
            context.current_actor = None
            try:
                super()._init_train_context_on_workers(*arguments)
            finally:
                context.current_actor = current_actor

    class Controller(controller_class):
        worker_group_cls = Group

    logging.getLogger(_TRAIN_LOGGER).setLevel(logging.CRITICAL)  # It notes what is going on; failures are raised.
    controller = Controller(**options)
    loop, over = asyncio.new_event_loop(), threading.Event()
    run = loop.create_task(controller.run())

    def stop() -> None:
        with suppress(RuntimeError):  # The loop has just closed by itself.
            loop.call_soon_threadsafe(run.cancel)
        over.wait(_LEAVING_SECONDS)

    atexit.register(stop)
    try:
        loop.run_until_complete(run)
    finally:
        atexit.unregister(stop)
        loop.close()
        over.set()
    return controller.get_result()


def before_resize(act: Callable[[], None]) -> Any:
    """A callback of Ray Train that calls `act`, in its controller, before a running set of workers gives way to one
    of another size.
    """
    from ray.train.v2._internal.execution.callback import ControllerCallback
    from ray.train.v2._internal.execution.controller.state import ResizingState

    class BeforeResize(ControllerCallback):
        def after_controller_state_update(self, previous_state: Any, current_state: Any) -> None:
            if isinstance(current_state, ResizingState):
                act()

    return BeforeResize()


def machine_is_to_go() -> bool:
    """In a worker of Ray Train: whether Ray has announced that the machine of some worker is about to end.

    The public `ray.train.get_preemption_info` is a barrier for all ranks, too slow to ask before every call.
    """
    from ray.train.v2._internal.execution.context import get_train_context

    return get_train_context().preemption_context.preemption_info is not None


def population_based_training(change: Callable[[dict[str, Any], Any], dict[str, Any]], **options: Any) -> Any:
    """Ray Tune's population-based training, in which `change(point, trial)` may edit each new point."""
    from ray.tune.schedulers import PopulationBasedTraining

    class Changed(PopulationBasedTraining):
        def _get_new_config(self, trial: Any, trial_to_clone: Any) -> tuple[dict, dict]:
            point, operations = super()._get_new_config(trial, trial_to_clone)
            return change(point, trial), operations

    return Changed(**options)


def allow_actor_options() -> None:
    """Silence the warning that Ray Data will drop its options for actor restarts. It offers no replacement yet."""
    warnings.filterwarnings("ignore", "`ray_remote_args` is deprecated")
