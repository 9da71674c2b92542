"""Evaluation on a cluster with GPUs, rehearsed ones: what it reserves, and that its tables are those of processors."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from fer_data.commands import exit_with_code
from fer_models.checkpoint import load_model
from fer_models.export import to_litert
from jobs.evaluate import main
from jobs.evaluation.predictions import PROBABILITIES
from jobs.gpus import REHEARSED
from tests.gpus import no_real_gpu, ray_with_gpus, taken
from tests.jobs.evaluation.tiny import tiny_checkpoint

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> str:
    return tiny_checkpoint(str(tmp_path_factory.mktemp("checkpoints") / "tiny"))


@pytest.fixture(scope="module")
def two_gpus() -> Iterator[None]:
    with ray_with_gpus(2, cpus=2):
        yield


@pytest.fixture(scope="module")
def on_processors(two_gpus, checkpoint, drawn_set, tmp_path_factory) -> Path:
    """The report that no GPU had a part in: somebody else holds them all."""
    out = tmp_path_factory.mktemp("reports") / "cpu"
    with taken(2):
        evaluate(checkpoint, drawn_set, out, "--device", "cpu")
    return out


def evaluate(checkpoint: str, data: str, out: Path, *options: str) -> None:
    common = ("--checkpoint", checkpoint, "--data", data, "--split", "public_test", "training")
    main([*common, "--out", str(out), *options])


def scoring(report: Path) -> dict:
    return json.loads((report / "run.json").read_text())["scoring"]


def tables(report: Path) -> dict[str, bytes]:
    return {path.relative_to(report).as_posix(): path.read_bytes() for path in report.rglob("*.parquet")}


def refused(capsys, *arguments: str) -> str:
    """The one line that a job ends with because of the user's mistake."""
    with pytest.raises(SystemExit) as stop:
        exit_with_code(lambda: main(arguments))
    told = capsys.readouterr().err
    assert stop.value.code == 2, told
    assert "Traceback" not in told
    (line,) = [line for line in told.splitlines() if line.startswith("error: ")]
    return line


def test_device_cpu_reserves_no_gpu_and_says_nothing_of_any(on_processors):
    assert scoring(on_processors)["gpus_per_worker"] == 0


def test_two_workers_take_a_gpu_each_and_say_that_it_is_rehearsed(
    on_processors, checkpoint, drawn_set, tmp_path, capsys
):
    evaluate(checkpoint, drawn_set, tmp_path / "report", "--workers", "2")
    assert scoring(tmp_path / "report")["gpus_per_worker"] == 1
    assert tables(tmp_path / "report") == tables(on_processors)
    assert REHEARSED in capsys.readouterr().out


def test_two_workers_share_the_one_gpu_that_is_free(on_processors, checkpoint, drawn_set, tmp_path):
    with taken(1):
        evaluate(checkpoint, drawn_set, tmp_path / "report", "--workers", "2", "--gpus-per-worker", "0.5")
    assert scoring(tmp_path / "report")["gpus_per_worker"] == 0.5
    assert tables(tmp_path / "report") == tables(on_processors)


def test_too_few_gpus_are_told_in_a_line(two_gpus, checkpoint, drawn_set, tmp_path, capsys):
    common = ("--checkpoint", checkpoint, "--data", drawn_set, "--split", "public_test", "--device", "gpu")
    line = refused(capsys, *common, "--gpus-per-worker", "2", "--workers", "2", "--out", str(tmp_path / "new/report"))
    assert "--workers 2 needs 1 CPU and 2 GPUs on one machine for each worker" in line
    assert "the cluster has 1 machine with 2 CPUs and 2 GPUs in all" in line
    assert not list(tmp_path.iterdir())


def test_files_that_no_gpu_can_compute_reserve_none(two_gpus, checkpoint, drawn_set, tmp_path, capsys):
    model = tmp_path / "tiny.tflite"
    model.write_bytes(to_litert(load_model(checkpoint)[0]))
    arguments = ("--checkpoint", str(model), "--data", drawn_set, "--split", "public_test", "--out")
    assert "tiny.tflite can compute on CPUs only" in refused(
        capsys, *arguments, str(tmp_path / "report"), "--device", "gpu"
    )
    with taken(2):
        main([*arguments, str(tmp_path / "report")])
    assert scoring(tmp_path / "report")["gpus_per_worker"] == 0


def test_shards_that_are_scored_in_one_batch_give_what_they_give_alone(on_processors, checkpoint, drawn_set, tmp_path):
    """As on a GPU, whose batches are larger than shards."""
    evaluate(checkpoint, drawn_set, tmp_path / "report", "--device", "cpu", "--batch-size", "803")
    together, alone = (pq.read_table(report / "predictions") for report in (tmp_path / "report", on_processors))
    assert together.drop(PROBABILITIES) == alone.drop(PROBABILITIES)
    for name in PROBABILITIES:
        np.testing.assert_allclose(together.column(name), alone.column(name), atol=1e-6)


@no_real_gpu
def test_a_gpu_that_tensorflow_does_not_find_ends_the_job_in_a_line(checkpoint, drawn_set, tmp_path, capsys):
    """The last of this module: it takes a Ray of its own."""
    with ray_with_gpus(1, rehearsed=False):
        common = ("--checkpoint", checkpoint, "--data", drawn_set, "--split", "public_test")
        line = refused(capsys, *common, "--out", str(tmp_path / "new/report"))
        assert "TensorFlow finds no GPU on machine 127.0.0.1" in line
        assert "install '.[gpu]' in place of '.[jobs]'" in line
        assert "it has no NVIDIA driver (libcuda.so.1)" in line
        assert "--device cpu" in line
        assert not list(tmp_path.iterdir())
