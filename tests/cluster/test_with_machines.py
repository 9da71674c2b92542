"""A job waits for the machines that the autoscaler starts for it, and lets them go."""

import subprocess
import sys

import pytest

from cluster.connect import WorkerResources
from cluster.with_machines import main, run_with_machines
from fer_data.errors import UserError

GPU_WORKER = WorkerResources(cpus=3, gpus=1)
# A job that takes its time to end.
STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, lambda *_: None)
print("job", flush=True)
end = time.monotonic() + 5
while time.monotonic() < end:
    time.sleep(0.1)
"""
HEAD = {"Alive": True, "Resources": {}}
GPU_MACHINE = {"Alive": True, "Resources": {"CPU": 4.0, "GPU": 1.0}}


class Cloud:
    """A head, and a machine more each time that somebody looks while machines are asked for."""

    def __init__(self, limit=4):
        self.asked, self.there, self.limit = [], 0, limit

    def ask(self, bundles):
        self.asked.append(bundles)

    def machines(self):
        self.there = min(self.there + bool(self.asked[-1]), self.limit)
        return [HEAD, *[GPU_MACHINE] * self.there]


def run(cloud, code, workers=2, seconds=60.0):
    return run_with_machines(
        [sys.executable, "-c", code],
        workers,
        GPU_WORKER,
        seconds=seconds,
        machines=cloud.machines,
        ask=cloud.ask,
        pause=0.001,
    )


def test_the_job_starts_when_there_is_room_for_all_its_workers(tmp_path):
    cloud = Cloud()
    assert run(cloud, f"open({str(tmp_path / 'ran')!r}, 'w')") == 0
    assert (tmp_path / "ran").exists()
    assert cloud.there == 2
    assert cloud.asked[0] == [{"CPU": 3, "GPU": 1}] * 2


@pytest.mark.parametrize("code", ["pass", "raise SystemExit(3)"])
def test_machines_are_let_go_when_the_job_ends(code):
    cloud = Cloud()
    assert run(cloud, code) == (3 if "3" in code else 0)
    assert cloud.asked[-1] == []


def test_machines_that_do_not_come_are_said_and_not_asked_for_any_longer(tmp_path):
    cloud = Cloud(limit=1)
    with pytest.raises(UserError, match="room for 1 of 2 workers"):
        run(cloud, f"open({str(tmp_path / 'ran')!r}, 'w')", seconds=0.01)
    assert not (tmp_path / "ran").exists()
    assert cloud.asked[-1] == []


def test_a_job_that_is_stopped_lets_its_machines_go_at_once():
    """What `ray job stop` does: a signal, seconds of patience, and the end."""
    code = f"""
import signal, sys
from tests.cluster.test_with_machines import Cloud, run
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
cloud = Cloud()
cloud.ask = lambda bundles: (cloud.asked.append(bundles), print(bundles, flush=True))
run(cloud, {STUBBORN!r})
"""
    waiting = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    lines = iter(waiting.stdout.readline, "")
    assert next(line for line in lines if "job" in line)
    waiting.terminate()
    assert next(line for line in lines if "[]" in line)
    waiting.kill()
    waiting.wait()


@pytest.mark.parametrize("argv", [["--workers", "2"], ["--workers", "0", "--", "true"], ["--", "true"]])
def test_a_command_and_its_workers_must_be_given(argv, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(argv)
    assert "error" in capsys.readouterr().err
