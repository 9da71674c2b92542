"""Who gets what of a cluster: what is planned must be there, on one machine for each worker."""

import pytest

from fer_data.errors import UserError
from jobs.evaluation.options import EvaluateOptions
from jobs.evaluation.scoring.placement import place
from tests.cluster.test_connect import nodes


def plan(cluster, workers=1, **options) -> tuple[int, float]:
    """The CPUs and GPUs of each worker."""
    pool = place(cluster, EvaluateOptions(checkpoint=("a",), out="b", workers=workers, **options))
    assert pool.workers == workers
    return pool.cpus, pool.gpus


def test_every_worker_gets_a_gpu_where_there_are_enough():
    assert plan(nodes((8, 2)), 2) == (4, 1)
    assert plan(nodes((8, 2))) == (8, 1)
    assert plan(nodes((8, 2)), gpus_per_worker=2) == (8, 2)


def test_workers_share_gpus_in_equal_parts_of_one():
    assert plan(nodes((8, 1)), 2) == (4, 0.5)
    assert plan(nodes((8, 2)), 3) == (2, 0.5), "two thirds fit twice on two GPUs, not three times"
    assert plan(nodes((4, 1), (4, 1)), 3) == (2, 0.5)


def test_thirds_are_not_more_than_a_whole():
    assert plan(nodes((3, 1)), 3) == (1, 0.3333)
    assert plan(nodes((7, 1)), 7) == (1, 0.1428)


def test_cpus_and_gpus_are_on_one_machine():
    assert plan(nodes((32, 0), (4, 1)), 2) == (2, 0.5), "the large machine has no GPU to go with its CPUs"
    with pytest.raises(UserError, match=r"on one machine for each worker.*2 machines with 33 CPUs and 1 GPU"):
        plan(nodes((32, 0), (1, 1)), 2)


@pytest.mark.parametrize(
    ("cluster", "workers", "each"), [(((4, 1), (4, 1)), 3, 0.6), (((8, 2),), 3, 0.6), (((8, 1), (8, 1)), 1, 2)]
)
def test_a_share_that_no_single_gpu_or_machine_has_left_is_refused(cluster, workers, each):
    with pytest.raises(UserError, match=rf"--workers {workers} needs 1 CPU and {each} GPU") as raised:
        plan(nodes(*cluster), workers, gpus_per_worker=each)
    assert "\n" not in str(raised.value)


def test_processors_are_shared_where_no_gpu_is_wanted_or_there():
    assert plan(nodes((8, 2)), 2, device="cpu") == (4, 0)
    assert plan(nodes((8, 0)), 2) == (4, 0)
    with pytest.raises(UserError, match="--device gpu: the cluster has no GPU"):
        plan(nodes((8, 0)), device="gpu")


def test_a_machine_that_is_gone_has_no_gpu():
    assert plan(nodes((8, 1), alive=False) + nodes((4, 0))) == (4, 0)


@pytest.mark.parametrize("option", ["workers", "batch_size", "cpus_per_worker"])
def test_counts_of_nothing_are_refused(option):
    with pytest.raises(ValueError, match="must be 1 or more"):
        EvaluateOptions(checkpoint=("a",), out="b", **{option: 0})
