"""Files for `ray up`: Ray would take them, and what they start is closed."""

import pytest
from ray.autoscaler._private.util import prepare_config, validate_config
from ray.autoscaler.v2.instance_manager.config import AutoscalingConfig

from tests.cluster.cluster_files import LAUNCHER, documents, name

pytestmark = pytest.mark.parametrize("path", LAUNCHER, ids=name)


def read(path):
    (config,) = documents(path)
    return config


def test_ray_takes_the_file(path):
    validate_config(prepare_config(read(path)))


def test_every_machine_gets_an_image_and_the_token(path):
    config = AutoscalingConfig(prepare_config(read(path)), skip_content_hash=True)
    for node_type in config.get_config("available_node_types"):
        docker = config.get_docker_config(node_type)
        assert docker["image"].startswith("fer-jobs:")
        assert "--env RAY_AUTH_MODE=token" in docker["run_options"]
    assert config.get_config("file_mounts") == {"/home/ray/.ray/auth_token": "~/.ray/auth_token"}


def test_containers_have_no_privileges(path):
    options = " ".join(read(path)["docker"]["run_options"])
    assert "--cap-drop=ALL" in options
    assert "--security-opt=no-new-privileges" in options
    assert "--privileged" not in options


def test_the_dashboard_listens_on_loopback_alone(path):
    (start,) = (line for line in read(path)["head_start_ray_commands"] if "ray start" in line)
    assert "--dashboard-host=127.0.0.1" in start.split()
    assert "--num-cpus=0" in start.split()
    assert "--autoscaling-config=~/ray_bootstrap_config.yaml" in start.split()


def test_machines_that_are_paid_for_by_the_hour_scale_from_none(path):
    config = read(path)
    kinds = config.get("available_node_types", {})
    assert bool(kinds) == (config["provider"]["type"] != "local")  # Whose machines are there all the time.
    if kinds:
        head = kinds.pop(config["head_node_type"])
        assert all(kind["min_workers"] == 0 for kind in kinds.values())
        assert any(kind["resources"].get("GPU") for kind in kinds.values())
        assert head["resources"]["CPU"] == 0


def test_gpus_are_handed_to_the_container_with_the_libraries_for_them(path):
    for kind in read(path).get("available_node_types", {}).values():
        docker = kind.get("docker", {})
        assert bool(kind["resources"].get("GPU")) == docker.get("worker_image", "").endswith("-gpu")
        assert bool(kind["resources"].get("GPU")) == ("--gpus all" in docker.get("worker_run_options", []))


def test_machines_are_in_a_network_that_the_user_names(path):
    """Left to itself, Ray opens SSH to everybody."""
    for kind in read(path).get("available_node_types", {}).values():
        machine = kind["node_config"]
        assert machine.get("SecurityGroupIds") or machine["networkInterfaces"][0]["subnetwork"]
