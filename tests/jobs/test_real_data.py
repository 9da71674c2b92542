"""FER-2013 itself, through a cluster's front door: prepare, submit, see the network learn, and evaluate it."""

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pytest

from cluster.rehearsal import free_ports
from tests.conftest import REPOSITORY
from tests.processes import PATIENCE_SECONDS, assert_all_end, descendants, kill, reachable, until

pytestmark = [pytest.mark.slow, pytest.mark.real_data]
BIN = Path(sys.executable).parent


@contextmanager
def cluster():
    """The address of a Ray head with two CPUs on the loopback address, its token required of every client."""
    gcs, dashboard, agent, client = free_ports(4)
    environment = os.environ | {
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_AUTH_MODE": "token",
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
    }
    subprocess.run([BIN / "ray", "get-auth-token", "--generate"], env=environment, check=True, capture_output=True)
    command = [
        *(BIN / "ray", "start", "--head", "--block", "--num-cpus", "2", "--node-ip-address", "127.0.0.1"),
        # Two heads on a machine must not share any of these.
        *("--dashboard-agent-listen-port", str(agent), "--ray-client-server-port", str(client)),
        *("--port", str(gcs), "--dashboard-host", "127.0.0.1", "--dashboard-port", str(dashboard)),
        *("--disable-usage-stats", "--include-dashboard", "true"),
    ]
    head = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        until(lambda: reachable("127.0.0.1", dashboard), head)
        yield f"http://127.0.0.1:{dashboard}", environment
    finally:
        pids = descendants(head.pid)
        head.send_signal(signal.SIGTERM)
        head.wait(timeout=60)
        kill(pids)
        assert_all_end(pids)


@pytest.fixture(scope="module")
def run(fer2013_zip, tmp_path_factory):
    """Two epochs of compact on two workers and two fifths of the images, submitted as a job: the run's folder."""
    storage = tmp_path_factory.mktemp("runs")
    with cluster() as (address, environment):
        command = [
            *(BIN / "ray", "job", "submit", "--address", address, "--working-dir", ".", "--"),
            *("python", "jobs/train_cnn.py", "--model", "compact", "--data", fer2013_zip, "--epochs", "2"),
            *("--train-fraction", "0.4", "--workers", "2", "--storage", str(storage), "--name", "run"),
        ]
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            done = subprocess.run(
                command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=1800, check=False
            )
            # The dashboard answers before the head can take jobs.
            if "No available agent" not in done.stderr or time.monotonic() > deadline:
                break
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return storage / "run"


def test_compact_learns_fer2013_on_two_workers_through_job_submission(run):
    history = pd.read_csv(run / "history.csv")
    assert history["validation_accuracy"].is_monotonic_increasing
    # 25 % is what always answering "happy" gets.
    assert history["validation_accuracy"].iloc[-1] > 0.30
    assert (history["workers"] == 2).all()


def test_the_original_cnn_and_a_new_one_are_compared_on_the_public_test(run, fer2013_zip, original_cnn, tmp_path):
    command = [
        *(sys.executable, "jobs/evaluate.py", "--checkpoint", f"original={original_cnn}", f"new={run / 'best'}"),
        *("--data", fer2013_zip, "--split", "public_test", "--out", str(tmp_path / "report")),
    ]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=1800, check=False)
    assert done.returncode == 0, done.stderr
    metrics = pd.read_parquet(tmp_path / "report/metrics.parquet").set_index("checkpoint")
    assert metrics.loc["original", "accuracy"] == pytest.approx(0.5325, abs=0.001)
    assert metrics.loc["original", "rows_leak_free"] == 3589 - 280
    validated = pd.read_csv(run / "history.csv")["validation_accuracy"].max()
    assert metrics.loc["new", "accuracy"] == pytest.approx(validated, abs=1e-6)
    (comparison,) = pd.read_parquet(tmp_path / "report/comparisons.parquet").to_dict("records")
    assert comparison["better"] == "original"
    assert comparison["difference_low"] < comparison["difference"] < comparison["difference_high"] < 0
