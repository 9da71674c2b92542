import errno
import os
import re
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import ray

from cluster.connect import WorkerResources, connect, start_local, worker_resources
from cluster.ray_internals import NODE_IS_TOO_SLOW
from fer_data.errors import UserError
from tests.conftest import REPOSITORY


def nodes(*sizes, alive=True):
    return [{"Alive": alive, "Resources": {"CPU": float(cpus), "GPU": float(gpus)}} for cpus, gpus in sizes]


def place(cluster, workers, device="auto", cpus=None):
    return worker_resources(cluster, workers=workers, device=device, cpus_per_worker=cpus)


def test_workers_share_a_machines_processors():
    assert place(nodes((8, 0)), 1) == WorkerResources(8, 0)
    assert place(nodes((8, 0)), 3) == WorkerResources(2, 0)


def test_every_worker_must_fit_on_one_machine():
    assert place(nodes((4, 0), (2, 0)), 3) == WorkerResources(2, 0)
    assert place(nodes((3, 0), (3, 0)), 3) == WorkerResources(1, 0)


def test_gpus_are_used_when_there_is_one_for_every_worker():
    assert place(nodes((8, 2)), 2) == WorkerResources(4, 1)
    assert place(nodes((8, 2)), 3) == WorkerResources(2, 0)
    assert place(nodes((8, 2)), 2, device="cpu") == WorkerResources(4, 0)


@pytest.mark.parametrize(
    ("workers", "device", "cpus"), [(3, "auto", None), (1, "gpu", None), (2, "cpu", 2), (1, "auto", 3)]
)
def test_too_small_a_cluster_is_said_with_what_it_has(workers, device, cpus):
    with pytest.raises(UserError, match="the cluster has 1 machine with 2 CPUs and 0 GPUs"):
        place(nodes((2, 0)), workers, device, cpus)


def test_dead_machines_do_not_count():
    with pytest.raises(UserError, match="0 machines"):
        place(nodes((8, 0), alive=False), 1)


def test_auto_joins_what_ray_start_has_started_and_no_ray_of_another_job(monkeypatch):
    from ray._private import services

    asked = []
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    monkeypatch.setattr(services, "find_gcs_addresses", lambda: {"127.0.0.1:1"})  # Another job's.
    monkeypatch.setattr(services, "find_bootstrap_address", lambda _: None)
    monkeypatch.setattr(ray, "init", lambda **_: asked.append(os.environ["RAY_ADDRESS"]))
    with pytest.raises(UserError, match="finds no cluster that `ray start` has started"):
        connect()
    with socket.create_server(("127.0.0.1", 0)) as server:
        started = f"127.0.0.1:{server.getsockname()[1]}"
        monkeypatch.setattr(services, "find_bootstrap_address", lambda _: started)
        connect()
    assert asked == [started]


def test_local_is_a_ray_of_our_own(monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "local")
    monkeypatch.setattr(ray, "init", lambda **_: pytest.fail("it listens beyond the loopback address"))
    started = []
    monkeypatch.setattr("cluster.connect.start_local", lambda: started.append(True))
    connect()
    assert started


def test_what_hinders_ray_elsewhere_is_not_blamed_on_the_home(monkeypatch):
    def no_room(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device", "/elsewhere/gcs_server.out")

    monkeypatch.setattr("cluster.connect.init_on_loopback", no_room)
    with pytest.raises(UserError, match=r"cannot write /elsewhere/gcs_server.out \(No space left on device\)$"):
        start_local()


def test_a_home_in_which_ray_cannot_write_is_named():
    program = (
        "from cluster.connect import connect; from fer_data.commands import exit_with_code; exit_with_code(connect)"
    )
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"} | {"HOME": "/proc"}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    said = r"error: Ray did not start: it cannot write /proc/\.ray \(.+\): let HOME name a folder that can be written\n"
    assert re.fullmatch(said, done.stderr)


def test_a_ray_that_does_not_start_in_time_is_told_in_a_line(monkeypatch):
    def too_slow(*_, **__):
        raise Exception(f"{NODE_IS_TOO_SLOW}. This could happen because …")

    monkeypatch.setattr("cluster.connect.init_on_loopback", too_slow)
    with pytest.raises(UserError, match="Ray did not start within 30 s") as told:
        start_local()
    assert "\n" not in str(told.value)


def test_a_token_that_is_gone_is_told_in_a_line(tmp_path):
    """As after `python -m cluster.rehearse down`, in a shell that still has the cluster's variables."""
    code = "from cluster.connect import connect; from fer_data.commands import exit_with_code; exit_with_code(connect)"
    stale = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(tmp_path / "gone"), "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run([sys.executable, "-c", code], env=os.environ | stale, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith(
        f"error: RAY_AUTH_TOKEN_PATH is set but file cannot be opened or is empty: {tmp_path}"
    )
    assert done.stderr.endswith("if that cluster is gone: unset RAY_AUTH_MODE RAY_AUTH_TOKEN_PATH\n")
    assert done.stderr.count("\n") == 1


def start_ray_in(folder: Path, *, then: str) -> str:
    """What a program prints that starts a Ray of its own, with `folder` for temporary files."""
    program = f"import os, ray, tempfile; from cluster.connect import connect; connect(); {then}"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"TMPDIR": str(folder), "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr


PLACE = "print(ray._private.worker._global_node.get_temp_dir_path())"


def test_ray_starts_where_the_folder_for_temporary_files_has_a_long_name(tmp_path):
    folder = tmp_path / ("x" * 90)
    folder.mkdir()
    place = start_ray_in(folder, then=PLACE).strip()
    assert place.startswith("/tmp/"), place
    assert not Path(place).exists()
    assert not any(folder.iterdir())


def test_a_killed_program_leaves_nothing_that_the_next_one_does_not_remove():
    with tempfile.TemporaryDirectory(prefix="t") as folder:
        inside = "print(ray.get(ray.remote(tempfile.mkdtemp).remote()), flush=True)"
        made = start_ray_in(Path(folder), then=f"{inside}; os.kill(os.getpid(), 9)").strip()
        assert Path(made).is_relative_to(folder), made
        assert Path(made).exists()
        kept = Path(folder, "fer-tmp-12345678")  # Somebody's own.
        kept.mkdir()
        place = start_ray_in(Path(folder), then=PLACE).strip()
        assert Path(place).parent == Path(folder), place
        assert list(Path(folder).iterdir()) == [kept]


def test_a_full_disk_for_temporary_files_is_told_in_a_line(monkeypatch):
    def full(**_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("fer_data.scratch.tempfile.mkdtemp", full)
    with pytest.raises(UserError, match=r"cannot be written to .*No space left on device.*: let TMPDIR name a folder"):
        start_local()
