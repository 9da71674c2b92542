"""The jobs on a cluster of several nodes, submitted as on a real one; slow, since every node takes seconds to start."""

import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pandas as pd
import pytest

from cluster.ray_internals import LOCAL_VARIABLES
from cluster.rehearsal import HEAD, Rehearsal
from fer_data.errors import UserError
from jobs.gpus import REHEARSED
from jobs.telemetry import TRAINING
from tests.conftest import REPOSITORY
from tests.jobs.evaluation.tiny import tiny_checkpoint
from tests.processes import PATIENCE_SECONDS, assert_all_end, listening_addresses, until

pytestmark = [pytest.mark.cluster, pytest.mark.slow]
RAY = Path(sys.executable).with_name("ray")


@pytest.fixture(scope="module")
def rehearsal(tmp_path_factory) -> Iterator[Rehearsal]:
    said: list[str] = []
    with pytest.MonkeyPatch.context() as environment:
        for name in LOCAL_VARIABLES:
            environment.setenv(name, "0")  # As a local Ray of this process leaves them.
        cluster = Rehearsal.up(tmp_path_factory.mktemp("rehearsal"), nodes=2, cpus=1, say=said.append)
    try:
        nodes = [f"starting node {name}: 1 CPU(s)" for name in (1, 2)]
        assert said == ["starting the head", *nodes, "waiting until jobs can be submitted"]
        yield cluster
    finally:
        processes = [pid for name in cluster.nodes for pid in cluster.processes(name)]
        cluster.down()
        assert_all_end(processes)


def ray(*command: object, cluster: Rehearsal) -> None:
    subprocess.run(
        [str(part) for part in (RAY, *command)],
        env=os.environ | cluster.environment,
        stdout=subprocess.DEVNULL,
        check=True,
        timeout=PATIENCE_SECONDS,
    )


def submit(cluster: Rehearsal, *command: object, id: str | None = None) -> subprocess.Popen:
    options = ("--working-dir", REPOSITORY, *(("--submission-id", id) if id else ()))
    return subprocess.Popen(
        [str(part) for part in (RAY, "job", "submit", *options, "--", sys.executable, *command)],
        env=os.environ | cluster.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process: subprocess.Popen) -> str:
    output, _ = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 0, output
    return output


def nodes_with(cluster: Rehearsal, part_of_command: str) -> set[str]:
    return {
        name
        for name in cluster.nodes
        if any(part_of_command in command for command in cluster.processes(name).values())
    }


def told(cluster: Rehearsal, prefix: str) -> list[str]:
    """The lines about metrics of that name at all nodes' Prometheus endpoints."""
    lines = []
    for port in cluster.metrics.values():
        with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            lines += [line for line in answer.read().decode().splitlines() if line.startswith(prefix)]
    return lines


def test_a_job_has_its_driver_and_its_workers_on_different_nodes_and_tells_its_metrics(rehearsal, drawn_few, tmp_path):
    train = submit(
        *(rehearsal, "jobs/train_resnet.py", "--workers", 2, "--epochs", 3, "--batch-size", 96, "--optimizer", "sgd"),
        *("--data", drawn_few, "--storage", tmp_path, "--name", "resnet"),
    )
    until(lambda: nodes_with(rehearsal, "ray::RayTrainWorker") == {"1", "2"}, train)
    assert nodes_with(rehearsal, "jobs/train_resnet.py --workers") == {HEAD}
    until(lambda: 'run="resnet"' in "".join(told(rehearsal, "ray_fer_validation_accuracy")), train)
    assert {line.partition("{")[0] for line in told(rehearsal, "ray_fer_")} == {f"ray_{name}" for name in TRAINING}
    assert "epoch 3/3" in finish(train)


def test_without_the_token_nobody_submits_a_job_or_reads_the_dashboard(rehearsal, tmp_path):
    stranger = {k: v for k, v in (os.environ | rehearsal.environment).items() if not k.startswith("RAY_AUTH")}
    done = subprocess.run(
        [RAY, "job", "submit", "--", "touch", str(tmp_path / "here")],
        env=stranger | {"HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert done.returncode != 0
    assert "Unauthorized" in done.stderr
    assert not (tmp_path / "here").exists()
    for path in ("/api/jobs/", "/nodes?view=summary", "/api/cluster_status", "/logs/"):
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(rehearsal.environment["RAY_API_SERVER_ADDRESS"] + path, timeout=10)
        assert refused.value.code == 401


def test_nothing_listens_beyond_the_loopback_address(rehearsal):
    addresses = listening_addresses(pid for name in rehearsal.nodes for pid in rehearsal.processes(name))
    assert len(addresses) > 10
    assert not {address for address, _ in addresses if not address.is_loopback}


def test_workers_come_and_go_with_the_nodes_and_the_job_is_stopped(rehearsal, drawn_few, tmp_path):
    """Elastic: begins on what there is, grows with a node, moves from one that ends; `ray job stop` saves it."""
    rehearsal.kill("2")
    run = tmp_path / "elastic"
    process = submit(
        *(rehearsal, "jobs/train_cnn.py", "--model", "compact", "--workers", "1:2", "--epochs", 2000),
        *("--batch-size", 50, "--data", drawn_few, "--storage", tmp_path, "--name", run.name),
        *("--checkpoint-minutes", 60),
        id="elastic",
    )

    def workers() -> list[int]:
        history = run / "history.csv"
        return pd.read_csv(history)["workers"].to_list() if history.exists() else []

    until(lambda: workers()[-1:] == [1], process)
    rehearsal.add("3")
    until(lambda: workers()[-1:] == [2], process)
    rehearsal.preempt("3")
    until(lambda: workers()[-1:] == [1], process)
    rehearsal.kill("3")
    ray("job", "stop", "elastic", cluster=rehearsal)
    output, _ = process.communicate(timeout=PATIENCE_SECONDS)
    assert "a machine of this run is about to end: its workers move" in output
    stands = re.search("^interrupted: saved (in|after) epoch (.*); the same command goes on$", output, re.MULTILINE)
    assert stands, output
    assert (run / "positions").exists() or stands[1] == "after"
    # Each time workers came and went, the epoch went on where it stood.
    assert output.count("resuming in epoch") + output.count("resuming after epoch") == 2, output
    assert "lost" not in output
    epochs = pd.read_csv(run / "history.csv")["epoch"].to_list()
    assert epochs == list(range(1, len(epochs) + 1)), "every epoch once"
    rehearsal.add("2")


def test_a_job_waits_for_machines_that_are_yet_to_come(rehearsal, drawn_few, tmp_path):
    command = ("jobs/train_cnn.py", "--workers", 3, "--epochs", 1, "--data", drawn_few, "--storage", tmp_path)
    refused = submit(rehearsal, *command)
    output, _ = refused.communicate(timeout=PATIENCE_SECONDS)
    assert refused.returncode != 0
    assert "--workers 3 needs 1 CPU for each worker, but the cluster has 3 machines with 2 CPUs" in output
    process = submit(rehearsal, *command, "--wait", 5)
    time.sleep(8)
    rehearsal.add("late")
    output = finish(process)
    assert "waiting up to 5 minutes" in output
    assert "epoch 1/1" in output
    rehearsal.kill("late")


def test_rehearsed_gpus_are_there_after_a_restart_and_jobs_plan_with_them(drawn_few, tmp_path):
    checkpoint = tiny_checkpoint(str(tmp_path / "tiny"))
    cluster = Rehearsal.up(tmp_path / "cluster", nodes=1, cpus=1, gpus=1)
    common = ("jobs/evaluate.py", "--checkpoint", checkpoint, "--data", drawn_few, "--split", "public_test")
    try:
        cluster.add("two", cpus=1, gpus=1)
        cluster.kill(HEAD)
        cluster.restart()
        output = finish(submit(cluster, *common, "--workers", 2, "--device", "gpu", "--out", tmp_path / "report"))
        assert REHEARSED in output
        assert "2 workers of 1 CPU and 1 GPU each" in output
        refused = submit(cluster, *common, "--workers", 3, "--gpus-per-worker", 0.6, "--out", tmp_path / "more")
        output, _ = refused.communicate(timeout=PATIENCE_SECONDS)
        assert refused.returncode != 0
        assert "--workers 3 needs 1 CPU and 0.6 GPU on one machine for each worker" in output
    finally:
        cluster.down()


def test_a_node_that_cannot_start_is_told_of_with_the_reason_and_leaves_the_cluster_as_it_was(rehearsal, monkeypatch):
    monkeypatch.setattr("cluster.rehearsal._ATTEMPTS", 2)
    before = list(rehearsal.nodes)
    with pytest.raises(UserError, match=r"node minus did not start \(.*-1.*\): see .*/minus.log"):
        rehearsal.add("minus", cpus=-1)
    assert list(rehearsal.nodes) == before
    assert "minus" not in rehearsal.cpus


def test_a_dead_node_and_a_taken_or_strange_name_are_told_in_a_line(rehearsal):
    with pytest.raises(UserError, match=f"there is no node called 9: the nodes are {', '.join(rehearsal.nodes)}"):
        rehearsal.kill("9")
    with pytest.raises(UserError, match="there is a node called 1 already"):
        rehearsal.add("1")
    with pytest.raises(UserError, match="may hold letters, digits"):
        rehearsal.add("../x")
