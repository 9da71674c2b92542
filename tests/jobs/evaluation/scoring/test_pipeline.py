"""Scoring on a Ray in this process: mistakes that come to light on a worker, and what must not be imported here."""

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from fer_data.dataset import open_dataset
from fer_data.errors import UserError
from jobs.evaluation.scoring.actor import ScoringTask
from jobs.evaluation.scoring.contenders import Contender, contenders_from, trained_on
from jobs.evaluation.scoring.networks import Arithmetic
from jobs.evaluation.scoring.shards import plan_shards
from tests.conftest import write_drawn_set
from tests.jobs.evaluation.tiny import tiny_checkpoint


@pytest.mark.cluster
def test_data_that_disappear_while_they_are_scored_are_told_in_a_line(tmp_path):
    import ray

    from cluster.connect import connect
    from jobs.evaluation.scoring.pipeline import score
    from jobs.evaluation.scoring.placement import Pool

    dataset = open_dataset(write_drawn_set(tmp_path / "set", training=0, validation=20))
    shards = plan_shards(dataset, ["public_test"], "challenge")
    Path(dataset.uri, shards[0].group.part).unlink()
    contenders = contenders_from([tiny_checkpoint(str(tmp_path / "a"))])
    task = ScoringTask("report", contenders, Arithmetic(1, "float32"), 64, "none", False, 600)
    connect()
    try:
        with pytest.raises(UserError, match=r"part-public_test-00000.parquet is missing") as raised:
            list(score(dataset, shards, task, Pool(1, 1, 0)))
    finally:
        ray.shutdown()
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("lives", [[2, 1, 2], [2, 0]])
def test_scoring_begins_again_with_what_is_left_as_long_as_it_gets_on(tmp_path, monkeypatch, lives):
    """`lives`: how many shards are scored before all actors are gone, each time."""
    from ray.exceptions import ActorDiedError

    from jobs.evaluation.scoring import pipeline
    from jobs.evaluation.scoring.actor import About
    from jobs.evaluation.scoring.placement import Pool

    dataset = open_dataset(write_drawn_set(tmp_path / "set", training=0, validation=20))
    (shard,) = plan_shards(dataset, ["public_test"], "challenge")
    shards = [replace(shard, index=index) for index in range(5)]
    passes = []

    def stream(dataset, remaining, *rest):
        passes.append([shard.index for shard in remaining])
        for shard in remaining[: lives[len(passes) - 1]]:
            yield pipeline.Scored(shard.index, pa.table({"row": range(shard.rows)}), pa.table({}), About({}, {}))
        if len(remaining) > lives[len(passes) - 1]:
            raise ActorDiedError

    monkeypatch.setattr(pipeline, "_stream", stream)
    contenders = contenders_from([tiny_checkpoint(str(tmp_path / "a"))])
    task = ScoringTask("report", contenders, Arithmetic(1, "float32"), 64, "none", False, 600)
    scored = pipeline.score(dataset, shards, task, Pool(1, 1, 0))
    if 0 in lives:
        with pytest.raises(ActorDiedError):
            list(scored)
        assert passes == [[0, 1, 2, 3, 4], [2, 3, 4]]
    else:
        assert [one.shard for one in scored] == [0, 1, 2, 3, 4]
        assert passes == [[0, 1, 2, 3, 4], [2, 3, 4], [3, 4]]


def test_images_that_a_checkpoint_was_trained_on_are_known_by_its_protocol():
    challenge, unknown = (Contender("a", "a", "", "keras", "", protocol) for protocol in ("challenge", None))
    assert trained_on(challenge, ["training", "validation"], "challenge") == ["training"]
    assert trained_on(challenge, ["validation", "test"], "notebook") == ["validation"]
    assert trained_on(unknown, ["training"], "challenge") == []
