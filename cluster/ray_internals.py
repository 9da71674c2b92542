"""What the project uses of Ray that Ray does not promise to keep: private names, and the wording of its messages.

Each is behind one function or constant of this file, as seen with Ray 2.60. tests/cluster/test_ray_internals.py fails
with the name of what has moved. Ray is imported inside the functions: some must run before it, and command lines do
without it.
"""

import logging
import os
import warnings
from collections.abc import Callable
from typing import Any

NODE_HAS_STARTED = "Ray runtime started"
"""What `ray start` prints once the head knows the node."""
MANY_WORKERS = "worker processes have been started on node"
"""Part of the warning that a node runs more processes than it has CPUs."""
WORKER_HEALTH_VARIABLE = "RAY_TRAIN_WORKER_HEALTH_CHECK_TIMEOUT_S"
"""For how many seconds Ray Train waits for a worker that does not answer."""
_LOOPBACK_VARIABLE = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
_TOKEN_LOGGER = "ray._private.authentication.authentication_token_setup"
_DASHBOARD_VARIABLE = "RAY_API_SERVER_ADDRESS"
_NOBODY = "http://127.0.0.1:1"
"""An address at which nothing listens: a request to it fails at once."""


def bind_to_loopback() -> None:
    """Let a Ray that this process starts bind to 127.0.0.1.

    Ray has no option for it on Linux. On macOS it does so unless a variable is set, which Ray reads when it is
    imported, and every process that it starts reads again.
    """
    os.environ[_LOOPBACK_VARIABLE] = "0"
    from ray._private import ray_constants

    ray_constants.ENABLE_RAY_CLUSTER = False
    # A local Ray requires a token from every client by default, and warns of that each time.
    logging.getLogger(_TOKEN_LOGGER).setLevel(logging.ERROR)


def init_on_loopback(**options: Any) -> None:
    """`ray.init` with `options`: a Ray of this process's own, on the loopback address, without a dashboard."""
    bind_to_loopback()
    import ray

    # At the end of each run Ray Train asks the dashboard whether the controller lives. It would wait 12 s for one to
    # appear, in each trial of a sweep too, if the processes that start here did not inherit an address.
    before = os.environ.get(_DASHBOARD_VARIABLE)
    os.environ[_DASHBOARD_VARIABLE] = _NOBODY
    try:
        ray.init(address="local", include_dashboard=False, _node_ip_address="127.0.0.1", **options)
    finally:
        del os.environ[_DASHBOARD_VARIABLE]
        if before is not None:
            os.environ[_DASHBOARD_VARIABLE] = before


def run_command_line_on_loopback() -> None:
    """Run Ray's command line with the arguments of this process, for nodes that share this machine.

    Ray refuses to join a second node to a head on the loopback address. Its command line alone checks that.
    """
    bind_to_loopback()
    from ray._private import ray_constants, services
    from ray.scripts.scripts import main

    ray_constants.ENABLE_RAY_CLUSTER = True  # In this process alone: those that it starts read the variable.
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
    """
    from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

    return DataParallelTrainer


def population_based_training(change: Callable[[dict[str, Any], Any], dict[str, Any]], **options: Any) -> Any:
    """Ray Tune's population-based training, in which `change(point, trial)` has the last word on a new point."""
    from ray.tune.schedulers import PopulationBasedTraining

    class Changed(PopulationBasedTraining):
        def _get_new_config(self, trial: Any, trial_to_clone: Any) -> tuple[dict, dict]:
            point, operations = super()._get_new_config(trial, trial_to_clone)
            return change(point, trial), operations

    return Changed(**options)


def allow_actor_options() -> None:
    """Silence a warning of Ray Data's: it will drop the options for restarts of actors, and has no others yet."""
    warnings.filterwarnings("ignore", "`ray_remote_args` is deprecated")
