"""Each thing of Ray's that `ray_internals` relies on is still there; a failure names the one that has moved."""

import inspect
import os
import warnings
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import pytest
import ray

from cluster import ray_internals
from cluster.connect import start_local
from cluster.ray_internals import forbid_other_clusters

RAY = Path(ray.__file__).parent
CONSTANTS = "ray._private.ray_constants"
TRAINER = "ray.train.v2.api.data_parallel_trainer"
WORKER_GROUP = "ray.train.v2._internal.execution.worker_group.worker_group:WorkerGroup"


def test_a_process_joins_no_ray_that_it_did_not_ask_for(monkeypatch):
    assert not ray.is_initialized()
    monkeypatch.setattr("ray._private.auto_init_hook.enable_auto_connect", True)
    monkeypatch.setattr(ray, "init", lambda **_: pytest.fail("it joined one"))
    forbid_other_clusters()
    with pytest.raises(ray.exceptions.RaySystemError, match="has not been started"):
        ray.put(1)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(
    "name",
    [
        f"{CONSTANTS}:ENABLE_RAY_CLUSTER",
        "ray._private.services:ConsolePopen",
        "ray._private.services:find_bootstrap_address",
        "ray._private.services:get_node_ip_address",
        "ray._private.state:actors",
        *(f"ray._private.node:Node.{name}" for name in ray_internals.UNUSED_SERVICES),
        "ray.scripts.scripts:main",
        f"{TRAINER}:DataParallelTrainer",
        # What Ray Train gives to a backend, jobs/training/backend.py:
        f"{WORKER_GROUP}.execute",
        f"{WORKER_GROUP}.execute_single_async",
        f"{WORKER_GROUP}.__len__",
        # What runs its controller:
        f"{TRAINER}:DataParallelTrainer._initialize_and_run_controller",
        f"{TRAINER}:TrainController.worker_group_cls._init_train_context_on_workers",
        f"{TRAINER}:TrainController.worker_group_cls._get_worker_runtime_env",
        f"{TRAINER}:TrainController.run",
        f"{TRAINER}:TrainController.get_result",
        "ray.runtime_context:RuntimeContext.current_actor",
        "ray.train.v2._internal.execution.scaling_policy:FixedScalingPolicy.after_controller_start",
        "ray.train.v2._internal.execution.scaling_policy:FixedScalingPolicy._maybe_send_resource_request",
        "ray.train.v2._internal.execution.controller.state:ResizingState",
        "ray.train.v2._internal.execution.callback:ControllerCallback.after_controller_state_update",
        "ray.train.v2._internal.execution.context:get_train_context",
        "ray.train.v2._internal.execution.context:TrainContext.__dataclass_fields__",
        "ray.train.v2._internal.execution.preemption:PreemptionContext.preemption_info",
    ],
)
def test_a_name_that_is_used_is_where_it_was(name):
    resolve_name(name)


@pytest.mark.parametrize(
    ("name", "used"),
    [
        (f"{CONSTANTS}:ENABLE_RAY_CLUSTERS_ENV_VAR", ray_internals._LOOPBACK_VARIABLE),
        (f"{CONSTANTS}:RAY_API_SERVER_ADDRESS_ENVIRONMENT_VARIABLE", ray_internals._DASHBOARD_VARIABLE),
        (
            "ray.train.v2._internal.constants:WORKER_HEALTH_CHECK_TIMEOUT_S_ENV_VAR",
            ray_internals.WORKER_HEALTH_VARIABLE,
        ),
        ("ray.train.v2._internal.constants:ENABLE_PREEMPTION_WATCHER_ENV_VAR", ray_internals._WATCHER_VARIABLE),
        ("ray.train.v2._internal.constants:HEALTH_CHECK_INTERVAL_S_ENV_VAR", ray_internals._POLL_VARIABLE),
        (
            "ray.train.v2._internal.constants:ENABLE_CONTROLLER_STRUCTURED_LOGGING_ENV_VAR",
            ray_internals._LOGGING_VARIABLE,
        ),
        ("ray.train:__name__", ray_internals._TRAIN_LOGGER),
        ("ray._private.authentication.authentication_token_setup:logger.name", ray_internals._TOKEN_LOGGER),
    ],
)
def test_a_variable_or_logger_is_called_what_it_was(name, used):
    assert resolve_name(name) == used


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("_private/worker.py", "_node_ip_address"),
        ("_private/services.py", "ray_constants.ENABLE_RAY_CLUSTER"),
        ("scripts/scripts.py", "ray_constants.ENABLE_RAY_CLUSTER"),
        ("scripts/scripts.py", ray_internals.NODE_HAS_STARTED),
        ("_private/node.py", ray_internals.NODE_IS_TOO_SLOW),
        ("core/src/ray/raylet/raylet", ray_internals.MANY_WORKERS),
    ],
)
def test_ray_still_has_the_words_that_are_looked_for_or_patched(file, words):
    assert words.encode() in (RAY / file).read_bytes()


def test_the_trainer_takes_a_backend():
    parameters = inspect.signature(ray_internals.data_parallel_trainer()).parameters
    assert {"train_loop_config", "backend_config", "scaling_config", "run_config"} <= set(parameters)


@pytest.mark.parametrize(("local", "left_out"), [(True, {"Datasets", "PlacementGroupCleaner"}), (False, {"Datasets"})])
def test_the_trainer_starts_no_actor_that_nobody_uses(monkeypatch, local, left_out):
    monkeypatch.setenv(ray_internals._LOCAL_VARIABLE, "1" if local else "")
    trainers = (ray_internals.data_parallel_trainer(), resolve_name(f"{TRAINER}:DataParallelTrainer"))
    ours, rays = ({type(each).__name__ for each in trainer(print)._create_default_callbacks()} for trainer in trainers)
    assert ours == rays - {f"{name}Callback" for name in left_out}
    assert len(rays - ours) == len(left_out)


def test_population_based_training_makes_new_points_in_a_method():
    method: Any = resolve_name("ray.tune.schedulers:PopulationBasedTraining._get_new_config")
    assert list(inspect.signature(method).parameters) == ["self", "trial", "trial_to_clone"]


def test_ray_data_warns_of_actor_options_in_the_words_that_are_silenced():
    warn: Any = resolve_name("ray.data.dataset:_warn_on_ray_remote_args")
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        warn({"max_restarts": 3})
        assert len(told) == 1
        ray_internals.allow_actor_options()
        warn({"max_restarts": 3})
        assert len(told) == 1


@pytest.mark.cluster
def test_ray_tells_in_which_process_an_actor_runs():
    class Process:
        def about(self) -> tuple[str, int]:
            return ray.get_runtime_context().get_actor_id(), os.getpid()

    start_local(num_cpus=1)
    try:
        actor = ray.remote(Process).remote()
        actor_id, pid = ray.get(actor.about.remote())
        assert ray_internals.runs_in(actor_id, pid)
        assert not ray_internals.runs_in(actor_id, pid + 1)
    finally:
        ray.shutdown()


@pytest.mark.cluster
def test_a_local_run_has_no_actors_but_its_workers_and_what_synchronizes_them(tmp_path, monkeypatch, capfd):
    from ray._private import state
    from ray.train import RunConfig, ScalingConfig
    from ray.train.backend import BackendConfig

    for name in ray_internals.LOCAL_VARIABLES:
        monkeypatch.setenv(name, os.environ.get(name, ""))  # What `start_local` sets goes with the test.
    start_local(num_cpus=1)
    try:
        trainer = ray_internals.data_parallel_trainer()(
            lambda config: (tmp_path / "ran").touch(),
            train_loop_config={},
            backend_config=BackendConfig(),
            scaling_config=ScalingConfig(num_workers=1),
            run_config=RunConfig(storage_path=str(tmp_path)),
        )
        trainer.fit()
        started = {actor["ActorClassName"] for actor in state.actors().values()}
    finally:
        ray.shutdown()
    assert (tmp_path / "ran").exists()
    assert started == {"RayTrainWorker", "SynchronizationActor"}
    assert capfd.readouterr().err == ""
