"""Files for `ray up`: Ray would take them, and what they start is closed."""

import re
from pathlib import Path

import pytest
import ray
from ray.autoscaler._private.util import prepare_config, validate_config
from ray.autoscaler.v2.instance_manager.config import AutoscalingConfig

from tests.cluster.cluster_files import LAUNCHER, documents, name

every_file = pytest.mark.parametrize("path", LAUNCHER, ids=name)


def read(path):
    (config,) = documents(path)
    return config


@every_file
def test_ray_takes_the_file(path):
    validate_config(prepare_config(read(path)))


@every_file
def test_every_machine_gets_an_image_and_the_token(path):
    config = AutoscalingConfig(prepare_config(read(path)), skip_content_hash=True)
    for node_type in config.get_config("available_node_types"):
        docker = config.get_docker_config(node_type)
        assert docker["image"].startswith("fer-jobs:")
        assert "--env RAY_AUTH_MODE=token" in docker["run_options"]
    assert config.get_config("file_mounts") == {"/home/ray/.ray/auth_token": "~/.ray/auth_token"}


@every_file
def test_containers_have_no_privileges(path):
    options = " ".join(read(path)["docker"]["run_options"])
    assert "--cap-drop=ALL" in options
    assert "--security-opt=no-new-privileges" in options
    assert "--privileged" not in options


@every_file
def test_the_dashboard_listens_on_loopback_alone(path):
    (start,) = (line for line in read(path)["head_start_ray_commands"] if "ray start" in line)
    assert "--dashboard-host=127.0.0.1" in start.split()
    assert "--num-cpus=0" in start.split()
    assert "--autoscaling-config=~/ray_bootstrap_config.yaml" in start.split()


@every_file
def test_machines_that_are_paid_for_by_the_hour_scale_from_none(path):
    config = read(path)
    kinds = config.get("available_node_types", {})
    assert bool(kinds) == (config["provider"]["type"] != "local")  # Whose machines are there all the time.
    if kinds:
        head = kinds.pop(config["head_node_type"])
        assert all(kind["min_workers"] == 0 for kind in kinds.values())
        assert any(kind["resources"].get("GPU") for kind in kinds.values())
        assert head["resources"]["CPU"] == 0


@every_file
def test_gpus_are_handed_to_the_container_with_the_libraries_for_them(path):
    for kind in read(path).get("available_node_types", {}).values():
        docker = kind.get("docker", {})
        assert bool(kind["resources"].get("GPU")) == docker.get("worker_image", "").endswith("-gpu")
        assert bool(kind["resources"].get("GPU")) == ("--gpus all" in docker.get("worker_run_options", []))


@every_file
def test_machines_are_in_a_network_that_the_user_names(path):
    """Left to itself, Ray opens SSH to everybody."""
    for kind in read(path).get("available_node_types", {}).values():
        machine = kind["node_config"]
        assert machine.get("SecurityGroupIds") or machine["networkInterfaces"][0]["subnetwork"]


@every_file
def test_machines_have_roles_that_the_user_names_and_workers_have_less_than_the_head(path):
    """Left to itself, Ray gives the head at Google every machine, account and bucket of the project."""
    roles = {}
    for kind, settings in read(path).get("available_node_types", {}).items():
        machine = settings["node_config"]
        (role,) = [each["email"] for each in machine.get("serviceAccounts", [])] or [
            machine["IamInstanceProfile"]["Arn"]
        ]
        roles[kind] = re.split("[/@]", role.rpartition(":")[2].removeprefix("instance-profile/"))[0]
    head = roles.pop("head", "fer-jobs-head")
    assert head == "fer-jobs-head"
    assert set(roles.values()) <= {"fer-jobs-worker"}


def test_at_google_the_heads_role_is_the_files_and_not_the_one_that_ray_makes():
    """What `ray up` does with the role that it made: the head's own settings take its place."""
    source = (Path(ray.__file__).parent / "autoscaler/_private/commands.py").read_text()
    first = source.index('head_node_config = copy.deepcopy(config.get("head_node", {}))')
    assert source.index('head_node_config.update(head_config["node_config"])') > first
