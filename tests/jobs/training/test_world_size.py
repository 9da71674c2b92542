import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cluster.rehearsal import free_ports
from tests.conftest import REPOSITORY, write_drawn_set

RANK = Path(__file__).with_name("one_rank.py")


def run_ranks(script: Path, world_size: int, *arguments: object, timeout: float = 240) -> None:
    """Run `script` RANK WORLD_SIZE ARGUMENTS for every rank, each a process of its own; all must end well."""
    workers = [f"127.0.0.1:{port}" for port in free_ports(world_size)]
    ranks = [
        subprocess.Popen(
            [sys.executable, *map(str, (script, rank, world_size, *arguments))],
            cwd=REPOSITORY,
            env={"PYTHONPATH": str(REPOSITORY), "TF_CPP_MIN_LOG_LEVEL": "3", "TF_CONFIG": tf_config(workers, rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(world_size)
    ]
    try:
        for process in ranks:
            printed, _ = process.communicate(timeout=timeout)
            assert process.returncode == 0, printed[-4000:]
    finally:
        for process in ranks:
            process.kill()


def train(dataset: str, folder: Path, network: str, world_size: int) -> list[dict[str, np.ndarray]]:
    """The state of every rank of a run of `world_size` ranks."""
    out = folder / f"{network}-{world_size}"
    out.mkdir()
    run_ranks(RANK, world_size, dataset, out, network)
    return [dict(np.load(out / f"rank-{rank}.npz")) for rank in range(world_size)]


def tf_config(workers: list[str], rank: int) -> str:
    return json.dumps({"cluster": {"worker": workers}, "task": {"type": "worker", "index": rank}})


@pytest.fixture(scope="module")
def alone(drawn_set, tmp_path_factory) -> dict[str, np.ndarray]:
    """The state of a rank that trains without others."""
    (state,) = train(drawn_set, tmp_path_factory.mktemp("alone"), "plain", 1)
    return state


@pytest.mark.cluster
def test_the_same_global_batch_gives_the_same_weights_on_one_two_and_three_workers(alone, drawn_set, tmp_path):
    for world_size in (2, 3):
        for rank in train(drawn_set, tmp_path, "plain", world_size):
            assert rank.keys() == alone.keys()
            for name, expected in alone.items():
                np.testing.assert_allclose(rank[name], expected, atol=1e-5, rtol=0, err_msg=name)


@pytest.mark.cluster
def test_compiled_ranks_agree_with_each_other_bit_for_bit_and_with_others_to_rounding(alone, drawn_set, tmp_path):
    first, second = train(drawn_set, tmp_path, "compiled", 2)
    for name, expected in alone.items():
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)
        np.testing.assert_allclose(first[name], expected, atol=1e-5, rtol=0, err_msg=name)


@pytest.mark.cluster
def test_ranks_hold_identical_weights_statistics_and_averages_after_every_epoch(drawn_set, tmp_path):
    first, *others = train(drawn_set, tmp_path, "with_batch_norm", 3)
    assert {name.split("/")[1] for name in first} == {"model", "optimizer", "ema", "loss"}
    for rank in others:
        for name, expected in first.items():
            np.testing.assert_array_equal(rank[name], expected, err_msg=name)


@pytest.mark.cluster
@pytest.mark.soak
def test_resnet50_gets_the_same_weights_on_one_and_two_workers(tmp_path):
    dataset = write_drawn_set(tmp_path / "set", training=24, validation=7)
    (alone,) = train(dataset, tmp_path, "resnet50", 1)
    first, second = train(dataset, tmp_path, "resnet50", 2)
    for name, expected in alone.items():
        # Rounding differs with the share of a batch, and 50 layers of ReLUs amplify it, to some 1e-5 in a few
        # weights. A gradient that were summed wrongly would be off by as much as weights move: 1e-3.
        np.testing.assert_allclose(first[name], expected, atol=1e-4, rtol=0, err_msg=name)
        assert np.abs(first[name] - expected).mean() < 1e-5, name
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)
