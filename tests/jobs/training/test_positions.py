"""Where a run stands inside an epoch: orders to save it, its place in the run's folder, and resuming from it."""

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from fer_data.errors import UserError
from fer_models.card import Card
from fer_models.checkpoint_files import STATE_FILE, packed, publish_checkpoint
from jobs.training.board import ProgressBoard
from jobs.training.config import TrainConfig
from jobs.training.defaults import DEFAULTS
from jobs.training.option_groups import ScheduleConfig
from jobs.training.run_folder import RunFolder
from tests.conftest import write_drawn_set
from tests.jobs.training.test_world_size import run_ranks

ROW = {"epoch": 1, "validation_loss": 1.0, "validation_loss_unseen": 1.0}


def card(epoch: int, config: TrainConfig) -> Card:
    return Card("cnn", epoch, 1, "float32", "challenge", "data", asdict(config), [ROW | {"epoch": 1}] * epoch)


@pytest.fixture
def folder(tmp_path) -> RunFolder:
    """A run with a checkpoint after epoch 1 and positions after steps 3 and 6 of epoch 2."""
    run, config = RunFolder(str(tmp_path / "run")), DEFAULTS["cnn"]
    run.start(config, "data", overwrite=False)
    publish_checkpoint(run.checkpoint(1), {STATE_FILE: packed({"a": np.zeros(3)})}, card(1, config))
    for step in (1, 3, 6):
        run.save_position(step, card(1, config), {"a": np.full(3, step)})
    return run


def test_all_ranks_get_the_same_order_before_a_call_whenever_they_ask():
    board = ProgressBoard("run", finished=0, minutes=1e-9)
    board.begin()
    assert not board.is_training()
    assert [board.next_call(1, 0, False) for _ in range(3)] == ["on"] * 3  # Nothing to save yet.
    assert board.is_training()
    assert [board.next_call(1, 5, False) for _ in range(3)] == ["save"] * 3
    board = ProgressBoard("run", finished=0, minutes=60)
    assert board.next_call(1, 5, False) == "on"
    assert board.leave()
    assert board.next_call(1, 5, False) == "on"  # What another rank was told.
    assert board.next_call(1, 6, False) == "leave"
    assert board.may_begin(2) is False
    board.stand("in epoch 1")
    assert not board.is_training()
    board.begin()  # Workers that start again meanwhile leave too.
    assert board.next_call(1, 6, False) == "leave"


def test_the_end_of_a_machine_is_an_order_to_all_ranks_until_new_workers_start():
    board = ProgressBoard("run", finished=0, minutes=60)
    assert [board.next_call(1, 5, goes) for goes in (False, True)] == ["on", "on"]
    assert [board.next_call(1, 6, goes) for goes in (False, True)] == ["leave", "leave"]
    assert board.machine_goes()
    board.begin()
    assert board.next_call(1, 6, False) == "on"
    assert not board.machine_goes()
    assert board.rest()
    assert board.next_call(1, 7, False) == "rest"


def test_a_lost_worker_is_told_with_the_place_from_which_the_run_goes_on():
    board = ProgressBoard("run", finished=1, minutes=60)
    board.lose([0, 1], 2)
    board.hold(2, 30)
    board.lose([1], None)
    board.finish_epochs([{"epoch": 2}])
    board.lose([1], None)
    places = [line.partition("on from ")[2] for line in board.take(0)[0] if isinstance(line, str)]
    assert places == ["epoch 2", "epoch 2, after step 30", "epoch 3"]


def test_a_run_resumes_from_the_newest_intact_position_and_removes_those_behind_it(folder):
    assert folder.positions() == [(2, 3), (2, 6)]
    found = folder.latest()
    assert (found.card.epoch, found.step, found.uri) == (1, 6, folder.position(2, 6))
    state = Path(folder.position(2, 6)) / STATE_FILE
    state.write_bytes(state.read_bytes()[:-9])
    warnings = []
    assert folder.latest(warnings.append).step == 3
    assert len(warnings) == 1
    assert warnings[0].startswith("skipped position epoch-0002-step-000006: ")
    Path(folder.position(2, 3), STATE_FILE).unlink()
    assert folder.latest().step == 0


def test_a_run_can_be_given_more_epochs_but_nothing_else(folder, tmp_path):
    config = DEFAULTS["cnn"]
    more = replace(config, epochs=config.epochs + 5)
    assert folder.extended(more) == [f"the run has {more.epochs} epochs now, {config.epochs} before"]
    folder.start(more, "data", overwrite=False)
    assert folder.configuration().epochs == more.epochs
    assert folder.extended(more) == []
    with pytest.raises(UserError, match=r"other settings \(epochs 205 -> 204; seed 0 -> 1\)"):
        folder.start(replace(more, epochs=204, seed=1), "data", overwrite=False)
    assert config.identity("data") == more.identity("data")
    cosine = replace(config, epochs=2, schedule=ScheduleConfig(schedule="cosine"))
    assert cosine.identity("data") != replace(cosine, epochs=3).identity("data")
    folder.start(cosine, "data", overwrite=True)
    assert folder.extended(replace(cosine, epochs=400)) == []  # Nothing is trained yet.
    publish_checkpoint(folder.checkpoint(1), {STATE_FILE: packed({"a": np.zeros(3)})}, card(1, cosine))
    (line,) = folder.extended(replace(cosine, epochs=400))
    assert line.endswith("after epoch 1 the learning rate goes on at 0.001, where it was at 0.0005")


def disturbed(folder: Path, data: str, network: str, *, kills: int, world_size: int) -> None:
    """At most five disturbed runs in a process: TensorFlow keeps the graphs of all, up to a gigabyte of each."""
    script = Path(__file__).with_name("disturbed.py")
    for seed in range(kills, 0, -5):
        part = (folder / str(seed), network, min(5, seed), seed)
        run_ranks(script, world_size, data, *part, timeout=3600)


@pytest.mark.slow
def test_a_run_left_and_killed_inside_epochs_ends_with_the_same_bits(drawn_few, tmp_path):
    # Dropout, mixup, batch norm, moving average, a teacher and a schedule must all resume; statistics are each rank's.
    disturbed(tmp_path, drawn_few, "compact", kills=2, world_size=2)


@pytest.mark.slow
@pytest.mark.parametrize("world_size", [1, 2])
def test_so_does_one_that_repeats_views_with_the_answers_of_its_teachers(world_size, drawn_few, tmp_path):
    disturbed(tmp_path, drawn_few, "compact-views", kills=2, world_size=world_size)


@pytest.mark.soak
@pytest.mark.parametrize(("network", "world_size"), [("cnn", 1), ("cnn", 2), ("compact", 1), ("compact", 2)])
def test_twenty_runs_disturbed_at_random_end_with_the_same_bits(network, world_size, drawn_few, tmp_path):
    disturbed(tmp_path, drawn_few, network, kills=20, world_size=world_size)


@pytest.mark.soak
@pytest.mark.parametrize(("world_size", "kills"), [(1, 20), (2, 6)])
def test_stages_that_thaw_and_micro_batches_resume_inside_an_epoch(world_size, kills, tmp_path):
    data = write_drawn_set(tmp_path / "set", training=24, validation=7)
    disturbed(tmp_path, data, "resnet50", kills=kills, world_size=world_size)
