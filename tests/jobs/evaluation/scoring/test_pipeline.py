"""Scoring on a Ray of this machine: mistakes that a worker finds, and workers that die again and again."""

import json
import os
import signal
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import pyarrow as pa
import pytest
import ray
from ray.exceptions import RayActorError

from cluster.connect import start_local
from fer_data.dataset import open_dataset
from fer_data.errors import UserError
from jobs.evaluation.scoring import pipeline
from jobs.evaluation.scoring.actor import Scorer, ScoringTask
from jobs.evaluation.scoring.contenders import Contender, contenders_from, trained_on
from jobs.evaluation.scoring.networks import Arithmetic
from jobs.evaluation.scoring.placement import Pool
from jobs.evaluation.scoring.shards import plan_shards, read_shard
from tests.conftest import REPOSITORY, write_drawn_set
from tests.jobs.evaluation.tiny import tiny_checkpoint


@pytest.mark.cluster
def test_data_that_disappear_while_they_are_scored_are_reported_in_one_line(tmp_path):

    dataset = open_dataset(write_drawn_set(tmp_path / "set", training=0, validation=20))
    shards = plan_shards(dataset, ["public_test"], "challenge")
    Path(dataset.uri, shards[0].group.part).unlink()
    contenders = contenders_from([tiny_checkpoint(str(tmp_path / "a"))])
    task = ScoringTask("report", contenders, Arithmetic(1, "float32"), 64, "none", False, 600)
    start_local(num_cpus=2)
    try:
        with pytest.raises(UserError, match=r"part-public_test-00000.parquet is missing") as raised:
            list(pipeline.score(partial(read_shard, dataset), shards, task, Pool(1, 1, 0)))
    finally:
        ray.shutdown()
    assert "\n" not in str(raised.value)


class Mortal(Scorer):
    """Scores as many shards in each life as the file `lives` in the task's folder says, then kills its process."""

    def __call__(self, batch: pa.Table) -> pa.Table:
        folder = Path(self._task.name)
        lives = json.loads((folder / "lives").read_text())
        deaths, scored = len(list(folder.glob("death-*"))), len(list(folder.glob("scored-*")))
        if scored >= sum(lives[: deaths + 1]):
            deadline = time.monotonic() + 60
            while len(list(folder.glob("delivered-*"))) < scored and time.monotonic() < deadline:
                time.sleep(0.05)
            (folder / f"death-{deaths}").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        (folder / f"scored-{scored}").touch()
        return super().__call__(batch)


@pytest.mark.cluster
@pytest.mark.slow
def test_scoring_begins_again_with_what_is_left_as_long_as_it_gets_on(tmp_path, monkeypatch):
    lives = [2, 1, 0]
    (tmp_path / "lives").write_text(json.dumps(lives))
    monkeypatch.setattr(pipeline, "Scorer", Mortal)
    monkeypatch.setattr(pipeline, "MAX_RESTARTS", 0)
    dataset = open_dataset(write_drawn_set(tmp_path / "set", training=0, validation=20))
    (shard,) = plan_shards(dataset, ["public_test"], "challenge")
    shards = [replace(shard, index=index) for index in range(5)]
    contenders = contenders_from([str(REPOSITORY / "fer_models/released/model.tflite")])
    task = ScoringTask(str(tmp_path), contenders, Arithmetic(1, "float32"), 20, "none", False, 600)
    delivered = []

    def deliver() -> None:
        for one in pipeline.score(partial(read_shard, dataset), shards, task, Pool(1, 1, 0)):
            (tmp_path / f"delivered-{one.unit}").touch()
            delivered.append(one.unit)

    start_local(num_cpus=2)
    try:
        with pytest.raises(RayActorError):
            deliver()
    finally:
        ray.shutdown()
    assert sorted(delivered) == sorted(set(delivered))
    assert len(delivered) == sum(lives)
    assert len(list(tmp_path.glob("death-*"))) == 3


def test_images_that_a_checkpoint_was_trained_on_are_known_by_its_protocol():
    challenge, unknown = (Contender("a", "a", "", "keras", "", protocol) for protocol in ("challenge", None))
    assert trained_on(challenge, ["training", "validation"], "challenge") == ["training"]
    assert trained_on(challenge, ["validation", "test"], "notebook") == ["validation"]
    assert trained_on(unknown, ["training"], "challenge") == []
