"""Calls come in order, whatever their size; windows fit the device."""

import threading
from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from fer_data.augment_draws import AugmentationConfig
from fer_data.batches import TrainingBatches
from fer_data.dataset import open_dataset
from fer_data.splits import split
from jobs.training.config import TrainConfig
from jobs.training.feed import Feed, window_rows
from jobs.training.option_groups import DistillationConfig

EPOCHS = 2
CONFIG = TrainConfig(epochs=EPOCHS, batch_size=32, augmentation=AugmentationConfig(rotation=10, noise=0.1))


@pytest.fixture(scope="module")
def batches(drawn_few) -> TrainingBatches:
    dataset = open_dataset(drawn_few)  # 190 rows: six steps of 32.
    return TrainingBatches(dataset, split(dataset, "training"), global_batch=32, seed=0)


def calls(
    batches: TrainingBatches, size: int, window: int = 100, *, begin: tuple[int, int] = (1, 0), views: int = 0
) -> list:
    """What every step is given: epoch, step, pixels, labels, transforms, noise."""
    feed = Feed(replace(CONFIG, distillation=DistillationConfig(views=views)), batches, window)
    feed.resize(size)
    found = []
    epoch, step = begin
    while epoch <= EPOCHS:
        call = feed.next(epoch, step)
        assert call.steps <= size
        pixels = call.window.numpy()[call.row : call.row + 32 * call.steps]
        np.testing.assert_array_equal(call.labels, call.device_labels)
        for i in range(call.steps):
            rows = slice(32 * i, 32 * (i + 1))
            draws = [draw.numpy()[rows] for draw in (call.draws.transforms, call.draws.noise)]
            found.append((epoch, step + i, pixels[rows], call.labels[rows], *draws))
        step += call.steps
        if step == batches.steps_per_epoch:
            epoch, step = epoch + 1, 0
    feed.close()
    return found


def assert_same(one: list, other: list) -> None:
    assert len(one) == len(other)
    for mine, theirs in zip(one, other, strict=True):
        for array, expected in zip(mine, theirs, strict=True):
            np.testing.assert_array_equal(array, expected)


@pytest.mark.parametrize(("size", "window"), [(2, 100), (3, 100), (6, 1000), (4, 20)])
def test_every_step_gets_the_same_whatever_the_sizes_of_calls_and_windows(batches, size, window):
    assert_same(calls(batches, size, window), calls(batches, 1))


def test_with_one_view_an_epoch_repeats_the_one_before_in_everything_but_the_noise(batches):
    steps = calls(batches, 2, views=1)
    half = len(steps) // 2
    for (*_, first_noise), (*_, noise) in zip(steps[:half], steps[half:], strict=True):
        assert (first_noise != noise).any()
    assert_same([step[1:-1] for step in steps[half:]], [step[1:-1] for step in steps[:half]])
    assert_same(steps[:half], calls(batches, 2)[:half])


def test_a_run_may_begin_anywhere_and_the_threads_end(batches):
    before = threading.active_count()
    assert_same(calls(batches, 2, begin=(1, 5)), calls(batches, 1)[5:])
    assert threading.active_count() == before


def test_calls_grow_until_they_take_half_a_second_but_not_beyond_a_window(batches):
    feed = Feed(TrainConfig(epochs=EPOCHS, batch_size=32), batches, 100)
    assert feed.most_steps == 3
    assert [feed.steps_in(seconds) for seconds in (4.0, 0.25, 1e-3, 0.0)] == [1, 2, 3, 3]


def test_a_window_that_does_not_fit_is_taken_smaller_and_that_is_said():
    said: list[str] = []

    def allocate(rows: int) -> None:
        if rows > 2 * 1024:
            raise tf.errors.ResourceExhaustedError(None, None, "OOM")

    assert window_rows(said.append, allocate) == 1024
    assert said == ["windows are reduced from 4,096 to 1,024 rows, so that two fit in the GPU's free memory"]
    said.clear()
    assert window_rows(said.append) == 4096
    assert not said
