"""GPUs that Ray counts and TensorFlow does not find: what a driver hears of them, whatever happens on the machine."""

import os
import time
from collections.abc import Iterator

import pytest
import ray

from cluster.rehearsal import REHEARSED_GPU
from fer_data.errors import UserError
from jobs import gpus
from jobs.gpus import REHEARSED, are_rehearsed, check_gpus, keep_to_reserved_gpus, missing_gpu
from tests.gpus import no_real_gpu, ray_with_gpus, taken


@pytest.fixture(scope="module")
def one_unfound_gpu() -> Iterator[None]:
    with ray_with_gpus(1, rehearsed=False):
        yield


def outcome(function, **reserved):
    """What `function` gives in a process of Ray's that has `reserved`, and the GPUs that CUDA may see there."""

    def call():
        return function(), os.environ.get("CUDA_VISIBLE_DEVICES")

    return ray.get(ray.remote(call).options(**reserved).remote())


def refusal() -> str:
    with pytest.raises(UserError) as raised:
        check_gpus(ray.nodes(), 0.5)
    assert "\n" not in str(raised.value)
    return str(raised.value)


@pytest.mark.cluster
@no_real_gpu
def test_the_machine_the_fault_and_the_mend_are_named(one_unfound_gpu):
    line = refusal()
    assert line.startswith(
        "TensorFlow finds no GPU on machine 127.0.0.1: its CUDA libraries are not installed (nvidia-"
    )
    assert "install '.[gpu]' in place of '.[jobs]'; it has no NVIDIA driver (libcuda.so.1)" in line
    assert line.endswith("or use the CPU: --device cpu")


@pytest.mark.cluster
def test_a_process_without_a_gpu_of_rays_lacks_none_and_sees_none(one_unfound_gpu):
    """Ray itself would leave it the sight of them all."""
    assert outcome(missing_gpu, num_gpus=0) == (None, "-1")
    assert outcome(keep_to_reserved_gpus, num_gpus=0.5) == (True, "0")


@pytest.mark.cluster
def test_a_look_that_hangs_fails_or_crashes_is_told_in_a_line(one_unfound_gpu, monkeypatch, tmp_path):
    heard, has_started = tmp_path / "heard", gpus._has_started

    def hears(reference: ray.ObjectRef) -> bool:
        started = has_started(reference)
        heard.touch()
        return started

    class Probe:
        def ready(self) -> None:
            pass

    class Hanging(Probe):
        def missing(self) -> None:
            time.sleep(600)

    class Failing(Probe):
        def missing(self) -> None:
            raise ImportError("libcudart.so.12: cannot open shared object file")

    class Crashing(Probe):
        def missing(self) -> None:
            while not heard.exists():  # Otherwise it may crash before anyone hears that it has started.
                time.sleep(0.01)
            os.abort()

    monkeypatch.setattr(gpus, "_has_started", hears)
    monkeypatch.setattr(gpus, "_LOOK_SECONDS", 2)
    for probe, says in (
        (Hanging, "has not answered for 2 seconds"),
        (Failing, "failed: libcudart.so.12: cannot open"),
        (Crashing, "crashed its process"),
    ):
        monkeypatch.setattr(gpus, "_Probe", probe)
        heard.unlink(missing_ok=True)
        line = refusal()
        assert f"TensorFlow's check for a GPU on machine 127.0.0.1 {says}" in line
        assert "nvidia-smi" in line


@pytest.mark.cluster
def test_a_machine_whose_gpus_are_taken_is_left_to_its_workers(one_unfound_gpu, monkeypatch):
    monkeypatch.setattr(gpus, "_START_SECONDS", 1)
    with taken(1):
        check_gpus(ray.nodes(), 1)


@pytest.mark.cluster
def test_rehearsed_gpus_pass_unseen_and_are_told_of():
    told = []
    with ray_with_gpus(1):
        check_gpus(ray.nodes(), 1, told.append)
        assert outcome(missing_gpu, num_gpus=1) == (None, "-1")
    assert told == [REHEARSED]


def test_a_cluster_without_gpus_or_of_machines_that_are_gone_has_none_to_check():
    check_gpus([{"Alive": True, "Resources": {"CPU": 2.0}}, {"Alive": False, "Resources": {"GPU": 1.0}}], 1)
    assert not are_rehearsed([{"Alive": False, "Resources": {REHEARSED_GPU: 1.0}}])


def test_packages_without_cuda_are_told_from_packages_that_are_missing():
    assert "built without CUDA: install '.[gpu]'" in gpus._faults({"is_cuda_build": False})[0]
