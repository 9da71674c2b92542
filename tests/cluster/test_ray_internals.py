"""Each thing of Ray's that `ray_internals` relies on is still there; a failure names the one that has moved."""

import inspect
import logging
import os
import warnings
from pathlib import Path

import pytest
import ray.data
import ray.scripts.scripts
from ray._private import ray_constants, services, state, worker
from ray._private.authentication import authentication_token_setup
from ray.train.v2._internal import constants as train_constants
from ray.train.v2._internal.execution.worker_group.worker_group import WorkerGroup
from ray.tune.experiment import Trial
from ray.tune.schedulers import PopulationBasedTraining

from cluster import ray_internals
from cluster.connect import start_local

PACKAGE = Path(ray.__file__).parent


def test_ray_init_takes_a_private_node_address():
    assert "_node_ip_address" in inspect.getsource(worker.init)


def test_the_variable_that_keeps_ray_on_loopback_is_read_into_a_constant_of_ray():
    assert ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR == ray_internals._LOOPBACK_VARIABLE
    assert isinstance(ray_constants.ENABLE_RAY_CLUSTER, bool)
    assert "ray_constants.ENABLE_RAY_CLUSTER" in inspect.getsource(services.get_node_ip_address)


def test_the_module_that_warns_of_tokens_logs_by_its_name():
    assert authentication_token_setup.__name__ == ray_internals._TOKEN_LOGGER
    assert isinstance(authentication_token_setup.logger, logging.Logger)


def test_the_command_line_of_ray_is_a_function_and_checks_the_constant():
    assert callable(ray.scripts.scripts.main)
    assert "ray_constants.ENABLE_RAY_CLUSTER" in Path(ray.scripts.scripts.__file__).read_text()


def test_ray_start_prints_that_a_node_has_started():
    assert ray_internals.NODE_HAS_STARTED in Path(ray.scripts.scripts.__file__).read_text()


def test_ray_warns_of_many_workers_in_the_words_that_are_left_out():
    (raylet,) = PACKAGE.glob("core/src/ray/raylet/raylet")
    assert ray_internals.MANY_WORKERS.encode() in raylet.read_bytes()


def test_the_trainer_takes_a_backend():
    parameters = inspect.signature(ray_internals.data_parallel_trainer()).parameters
    needed = {"train_loop_config", "backend_config", "scaling_config", "run_config"}
    assert needed <= set(parameters)


def test_ray_train_reads_its_patience_with_workers_from_a_variable():
    assert ray_internals.WORKER_HEALTH_VARIABLE in vars(train_constants).values()


def test_ray_train_asks_the_dashboard_at_the_address_in_a_variable():
    assert ray_constants.RAY_API_SERVER_ADDRESS_ENVIRONMENT_VARIABLE == ray_internals._DASHBOARD_VARIABLE


def test_a_backend_is_given_a_worker_group_that_runs_functions():
    for name in ("execute", "execute_single_async", "__len__"):
        assert hasattr(WorkerGroup, name), name


def test_a_failed_trial_of_tune_has_files_with_its_error():
    for name in ("pickled_error_file", "error_file"):
        assert hasattr(Trial, name), name


def test_population_based_training_makes_new_points_in_a_method():
    method = PopulationBasedTraining._get_new_config
    assert list(inspect.signature(method).parameters) == ["self", "trial", "trial_to_clone"]


def test_ray_data_warns_of_actor_options_in_the_words_that_are_silenced():
    from ray.data.dataset import _warn_on_ray_remote_args

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        _warn_on_ray_remote_args({"max_restarts": 3})
        assert len(told) == 1
        ray_internals.allow_actor_options()
        _warn_on_ray_remote_args({"max_restarts": 3})
        assert len(told) == 1


@pytest.mark.cluster
def test_ray_tells_in_which_process_an_actor_runs():
    class Process:
        def about(self) -> tuple[str, int]:
            return ray.get_runtime_context().get_actor_id(), os.getpid()

    assert callable(state.actors)
    start_local(num_cpus=1)
    try:
        actor = ray.remote(Process).remote()
        actor_id, pid = ray.get(actor.about.remote())
        assert ray_internals.runs_in(actor_id, pid)
        assert not ray_internals.runs_in(actor_id, pid + 1)
    finally:
        ray.shutdown()
