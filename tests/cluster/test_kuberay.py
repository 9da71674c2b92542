"""KubeRay's manifests: known fields, the same cluster four times, and nobody with more rights than they need."""

import copy
import importlib
import itertools
import shlex
from ipaddress import ip_address, ip_network

import pytest

from fer_data.errors import UserError
from tests.cluster.cluster_files import keys, pods, ray_clusters, ray_jobs, resources
from tests.cluster.kuberay_schema import KINDS

RESOURCES = [pytest.param(x, id=f"{path.stem}-{x['kind']}-{x['metadata']['name']}") for path, x in resources()]
PODS = [pytest.param(pod, id=where) for where, pod in pods()]
RAY_CLUSTERS = [pytest.param(spec, id=file) for file, spec in ray_clusters().items()]
RAY_JOBS = [pytest.param(spec, id=file) for file, spec in ray_jobs().items()]


def ray_containers(spec):
    """The containers that run Ray: the head's, then each group's."""
    templates = [spec["headGroupSpec"]["template"], *(group["template"] for group in spec["workerGroupSpecs"])]
    return [template["spec"]["containers"][0] for template in templates]


@pytest.mark.parametrize("resource", RESOURCES)
def test_every_field_is_known(resource):
    version, model = KINDS[resource["kind"]]
    assert resource["apiVersion"] == version
    model.model_validate(resource)
    assert not [key for key in keys(resource) if "_" in key], "Python's names for fields are not Kubernetes'"


@pytest.mark.parametrize("resource", RESOURCES)
def test_everything_is_in_one_namespace(resource):
    metadata = resource["metadata"]
    assert metadata["name" if resource["kind"] == "Namespace" else "namespace"] == "fer-jobs"


@pytest.mark.parametrize("spec", RAY_CLUSTERS)
def test_ray_takes_a_token(spec):
    assert spec["authOptions"] == {"mode": "token"}


def test_ray_clusters_differ_in_what_they_must_alone():
    plain = []
    for file, spec in ray_clusters().items():
        spec = copy.deepcopy(spec)
        instance = file
        labels = [spec["headGroupSpec"]["template"]["metadata"]["labels"]]
        labels += [group["template"]["metadata"]["labels"] for group in spec["workerGroupSpecs"]]
        assert {x["app.kubernetes.io/instance"] for x in labels} == {instance}
        for label in labels:
            label["app.kubernetes.io/instance"] = ""
        spec["workerGroupSpecs"][0]["replicas"] = 0
        assert ("gcsFaultToleranceOptions" in spec) == (file == "cluster")
        spec.pop("gcsFaultToleranceOptions", None)
        plain.append(spec)
    assert len(plain) == 4
    assert all(spec == plain[0] for spec in plain)


@pytest.mark.parametrize("spec", RAY_CLUSTERS)
def test_no_work_runs_on_the_head_and_groups_may_shrink_to_nothing(spec):
    assert spec["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    assert spec["headGroupSpec"]["serviceType"] == "ClusterIP"
    assert spec["enableInTreeAutoscaling"] is True
    for group in spec["workerGroupSpecs"]:
        assert group["minReplicas"] == 0
        assert group["replicas"] <= group["maxReplicas"]


@pytest.mark.parametrize("spec", RAY_CLUSTERS)
def test_gpus_go_with_the_image_that_can_use_them(spec):
    assert any("nvidia.com/gpu" in container["resources"]["limits"] for container in ray_containers(spec))
    for container in ray_containers(spec):
        assert container["image"].endswith("-gpu") == ("nvidia.com/gpu" in container["resources"]["limits"])


@pytest.mark.parametrize("pod", PODS)
def test_no_pod_is_root_or_can_become_it(pod):
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] > 0
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    assert not {"hostNetwork", "hostPID", "hostIPC", "initContainers"} & pod.keys()
    assert not any("hostPath" in volume for volume in pod["volumes"])
    for container in pod["containers"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        }


@pytest.mark.parametrize("pod", PODS)
def test_pods_get_what_they_ask_for_and_can_write_where_they_must(pod):
    for container in pod["containers"]:
        assert container["resources"]["requests"] == container["resources"]["limits"]
        assert {mount["name"] for mount in container["volumeMounts"]} <= {
            volume["name"] for volume in pod["volumes"]
        } | {"data"}
        assert "/tmp" in {mount["mountPath"] for mount in container["volumeMounts"]}


@pytest.mark.parametrize("spec", RAY_CLUSTERS)
def test_ray_has_shared_memory_and_a_home(spec):
    for container in ray_containers(spec):
        assert {mount["mountPath"] for mount in container["volumeMounts"]} == {"/dev/shm", "/tmp", "/home/ray"}


@pytest.mark.parametrize("spec", RAY_CLUSTERS)
def test_of_all_containers_the_autoscaler_alone_may_ask_the_api_server(spec):
    options = spec["autoscalerOptions"]
    assert options["securityContext"] == ray_containers(spec)[0]["securityContext"]
    assert options["resources"]["requests"] == options["resources"]["limits"]
    mounts = {mount["name"]: mount["mountPath"] for mount in options["volumeMounts"]}
    assert mounts["api-token"] == "/var/run/secrets/kubernetes.io/serviceaccount"
    assert mounts.keys() <= {volume["name"] for volume in spec["headGroupSpec"]["template"]["spec"]["volumes"]}
    for container in ray_containers(spec):
        assert "api-token" not in {mount["name"] for mount in container["volumeMounts"]}


@pytest.mark.parametrize("spec", RAY_JOBS)
def test_jobs_end_with_their_cluster_and_are_tried_again(spec):
    assert spec["shutdownAfterJobFinishes"] is True
    assert spec["ttlSecondsAfterFinished"] > 0
    assert spec["backoffLimit"] > 0
    assert spec["submissionMode"] == "K8sJobMode"
    head = spec["rayClusterSpec"]["headGroupSpec"]["template"]
    assert spec["submitterPodTemplate"]["metadata"]["labels"] == head["metadata"]["labels"]


def options_of(module, arguments):
    """What the job's own parser makes of its arguments."""
    if module == "jobs.train_resnet":
        from jobs.training.options import parse_train_options

        return parse_train_options(arguments, "train_resnet", None)
    if module == "jobs.sweep":
        from jobs.tuning.options import parse_sweep_options

        return parse_sweep_options(arguments, None)
    from jobs.command_line import parse
    from jobs.evaluation.options import EvaluateOptions

    return parse(EvaluateOptions, arguments)


def command(spec):
    """An entry point's module and arguments."""
    python, dash_m, module, *arguments = shlex.split(spec["entrypoint"])
    assert (python, dash_m) == ("python", "-m")
    assert callable(importlib.import_module(module).main)
    return module, arguments


@pytest.mark.parametrize("spec", RAY_JOBS)
def test_entry_points_are_commands_that_the_jobs_take(spec):
    module, arguments = command(spec)
    options_of(module, arguments)
    with pytest.raises(UserError, match="--no-such-option"):
        options_of(module, [*arguments, "--no-such-option", "1"])


@pytest.mark.parametrize("spec", RAY_JOBS)
def test_there_is_a_machine_for_every_worker_when_a_job_starts(spec):
    module, arguments = command(spec)
    gpu, _ = spec["rayClusterSpec"]["workerGroupSpecs"]
    wanted = 1 if module == "jobs.sweep" else options_of(module, arguments)
    wanted = getattr(wanted, "run", wanted).workers if wanted != 1 else 1
    assert gpu["replicas"] >= wanted


@pytest.mark.parametrize("spec", RAY_JOBS)
def test_another_attempt_finds_what_the_one_before_it_left(spec):
    _, arguments = command(spec)
    kept = {flag: value for flag, value in itertools.pairwise(arguments) if flag.startswith("--")}
    assert kept["--data"].startswith("s3://")
    assert kept.get("--storage", kept.get("--out")).startswith("s3://")
    assert "--name" in kept or "--out" in kept


def policies():
    return {x["metadata"]["name"]: x["spec"] for _, x in resources() if x["kind"] == "NetworkPolicy"}


def test_pods_hear_their_own_cluster_and_the_operator_alone():
    every = {"app.kubernetes.io/part-of": "fer-jobs"}
    closed = policies()["fer-jobs"]
    assert closed["podSelector"] == {"matchLabels": every}
    assert set(closed["policyTypes"]) == {"Ingress", "Egress"}
    ((rule,), (source,)) = closed["ingress"], closed["ingress"][0]["from"]
    assert rule["ports"] == [{"protocol": "TCP", "port": 8265}]
    assert source["podSelector"]["matchLabels"] == {"app.kubernetes.io/name": "kuberay-operator"}
    for file in ray_clusters():
        itself = {"podSelector": {"matchLabels": every | {"app.kubernetes.io/instance": file}}}
        policy = policies()[f"fer-jobs-{file}"]
        assert policy["podSelector"] == itself["podSelector"]
        assert policy["ingress"] == [{"from": [itself]}]
        assert policy["egress"] == [{"to": [itself]}]


def test_nothing_else_lets_pods_be_heard():
    known = {"fer-jobs", "fer-jobs-redis", *(f"fer-jobs-{file}" for file in ray_clusters())}
    assert {name for name, spec in policies().items() if "Ingress" in spec["policyTypes"]} == known
    assert all("ingress" not in spec for name, spec in policies().items() if name not in known)


def test_machines_identity_and_all_but_the_heads_private_networks_are_out_of_reach():
    reached = {}
    for name, spec in policies().items():
        for rule in spec["egress"]:
            for target in rule["to"]:
                if "ipBlock" in target:
                    ports = {port["port"] for port in rule["ports"]}
                    reached[name] = ports, [ip_network(each) for each in target["ipBlock"]["except"]]
    own = ("10.1.2.3", "172.16.0.1", "192.168.1.1", "100.64.0.1", "169.254.169.254")
    ports, closed = reached.pop("fer-jobs")
    assert ports == {443}
    assert all(any(ip_address(address) in network for network in closed) for address in own)
    assert not any(ip_address("52.216.0.1") in network for network in closed)
    assert reached == {"fer-jobs-autoscaler": ({443, 6443}, [ip_network("169.254.0.0/16")])}


def test_the_heads_memory_is_where_the_cluster_looks_for_it():
    options = ray_clusters()["cluster"]["gcsFaultToleranceOptions"]
    (service,) = (x for _, x in resources() if x["kind"] == "Service")
    (store,) = (x for _, x in resources() if x["kind"] == "StatefulSet")
    port = service["spec"]["ports"][0]["port"]
    assert options["redisAddress"] == f"redis://{service['metadata']['name']}:{port}"
    (container,) = store["spec"]["template"]["spec"]["containers"]
    assert container["env"][0]["valueFrom"] == options["redisPassword"]["valueFrom"]
    labels = store["spec"]["template"]["metadata"]["labels"]
    assert labels == service["spec"]["selector"] == policies()["fer-jobs-redis"]["podSelector"]["matchLabels"]
