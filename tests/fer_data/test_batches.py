from dataclasses import dataclass

import numpy as np
import pytest

from fer_data.batches import SHUFFLED_ROW_GROUPS, TrainingBatches, ordered_batches
from fer_data.dataset import open_dataset
from fer_data.dataset_writer import write_dataset
from fer_data.rows import rows_table
from fer_data.splits import split


def numbered_images(count: int, start: int = 0) -> np.ndarray:
    """Images that hold their own number in their first pixels, so that each can be recognised."""
    pixels = np.zeros((count, 48, 48, 1), np.uint8)
    numbers = np.arange(start, start + count, dtype=np.uint32)
    pixels.reshape(count, -1)[:, :4] = numbers.view(np.uint8).reshape(count, 4)
    return pixels


def numbers_of(pixels: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(pixels.reshape(len(pixels), -1)[:, :4]).view(np.uint32)[:, 0]


def numbered_dataset(folder, training: int, validation: int = 10):
    def tables():
        for usage, count in (("training", training), ("public_test", validation)):
            for start in range(0, count, 4096):
                pixels = numbered_images(min(4096, count - start), start)
                ids = [f"{usage}-{i:08d}" for i in range(start, start + len(pixels))]
                labels = (np.arange(start, start + len(pixels)) % 7).astype(np.int8)
                yield rows_table(ids, [usage] * len(ids), labels, pixels)

    write_dataset(tables(), str(folder), "numbered")
    return open_dataset(str(folder))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return numbered_dataset(tmp_path_factory.mktemp("data") / "set", training=5000, validation=1030)


@dataclass(frozen=True)
class Batch:
    pixels: np.ndarray
    labels: np.ndarray


def epoch_of(dataset, epoch, rank=0, world_size=1, seed=0, global_batch=128, steps=7):
    """The batches of an epoch, read in windows of `steps`."""
    training = split(dataset, "training")
    batches = TrainingBatches(dataset, training, global_batch=global_batch, seed=seed, rank=rank, world_size=world_size)
    return batches, [
        Batch(*batch)
        for window in batches.windows(epoch, steps)
        for batch in zip(window.pixels, window.labels, strict=True)
    ]


def test_an_epoch_holds_every_row_once_and_fills_the_last_batch_with_its_first_rows(dataset):
    batches, epoch = epoch_of(dataset, 1)
    numbers = np.concatenate([numbers_of(batch.pixels) for batch in epoch])
    assert len(epoch) == batches.steps_per_epoch == 40
    assert len(numbers) == 40 * 128
    assert set(numbers) == set(range(5000))
    repeated = np.flatnonzero(np.bincount(numbers) == 2)
    assert set(repeated) <= set(numbers_of(epoch[0].pixels))
    assert len(repeated) == 40 * 128 - 5000


def test_labels_travel_with_their_images(dataset):
    for batch in epoch_of(dataset, 1)[1]:
        np.testing.assert_array_equal(batch.labels, numbers_of(batch.pixels) % 7)


def test_the_order_depends_on_seed_and_epoch_alone(dataset):
    first = [numbers_of(batch.pixels).tolist() for batch in epoch_of(dataset, 1)[1]]
    assert first == [numbers_of(batch.pixels).tolist() for batch in epoch_of(dataset, 1)[1]]
    assert first != [numbers_of(batch.pixels).tolist() for batch in epoch_of(dataset, 2)[1]]
    assert first != [numbers_of(batch.pixels).tolist() for batch in epoch_of(dataset, 1, seed=1)[1]]


@pytest.mark.parametrize("world_size", [2, 3, 5])
def test_the_ranks_shares_are_the_global_batches_of_one_rank(dataset, world_size):
    whole = epoch_of(dataset, 3)[1]
    shares = [epoch_of(dataset, 3, rank, world_size)[1] for rank in range(world_size)]
    assert {len(share) for share in shares} == {len(whole)}
    for batch, *parts in zip(whole, *shares, strict=True):
        np.testing.assert_array_equal(batch.pixels, np.concatenate([part.pixels for part in parts]))


def test_a_data_set_larger_than_a_window_is_read_whole_and_never_held_whole(tmp_path, monkeypatch):
    monkeypatch.setattr("fer_data.batches.SHUFFLED_ROW_GROUPS", 3)
    dataset = numbered_dataset(tmp_path / "set", training=12 * 1024 + 5)
    batches = TrainingBatches(dataset, split(dataset, "training"), global_batch=100, seed=0)
    live_groups = [len(live) for _, live in batches._global_batches(1)]
    numbers, held = [], []
    for window in batches.windows(1, 5):
        numbers.append(numbers_of(window.pixels.reshape(-1, 48, 48, 1)))
        held.append(len(batches._loaded))
    assert set(np.concatenate(numbers)) == set(range(12 * 1024 + 5))
    assert max(live_groups) <= 6  # Those shuffled together and, for one batch, what the last ones left over.
    assert max(held) <= 6


def test_a_small_data_set_is_read_once_for_all_epochs(dataset, monkeypatch):
    batches, _ = epoch_of(dataset, 1)
    list(batches.windows(1, 40))
    monkeypatch.setattr("fer_data.batches._read", lambda *where: pytest.fail("read again"))
    assert sum(window.labels.size for window in batches.windows(2, 40)) == 40 * 128


@pytest.mark.parametrize("steps", [1, 7, 40])
def test_windows_hold_the_same_batches_however_many_steps_they_have_and_wherever_they_begin(dataset, steps):
    _, whole = epoch_of(dataset, 2, steps=1)
    batches, _ = epoch_of(dataset, 1)
    for first in (0, 11):
        windows = list(batches.windows(2, steps, first))
        assert [window.first for window in windows] == list(range(first, 40, steps))
        for batch, pixels in zip(whole[first:], np.concatenate([w.pixels for w in windows]), strict=True):
            np.testing.assert_array_equal(pixels, batch.pixels)


def test_fer2013_is_shuffled_as_a_whole():
    assert SHUFFLED_ROW_GROUPS * 1024 >= 28_709


def test_a_batch_larger_than_the_data_set_repeats_it(tmp_path):
    dataset = numbered_dataset(tmp_path / "set", training=10)
    (batch,) = epoch_of(dataset, 1, global_batch=25)[1]
    assert sorted(np.bincount(numbers_of(batch.pixels))) == [2] * 5 + [3] * 5


@pytest.mark.parametrize("world_size", [1, 2, 3, 7])
def test_ordered_shares_hold_every_row_once_in_order(dataset, world_size):
    validation = split(dataset, "validation")
    numbers = [
        numbers_of(pixels)
        for rank in range(world_size)
        for pixels, _ in ordered_batches(dataset, validation, batch_size=100, rank=rank, world_size=world_size)
    ]
    np.testing.assert_array_equal(np.concatenate(numbers), np.arange(1030))


def test_the_notebook_protocol_trains_and_validates_on_disjoint_rows(dataset):
    rows = {}
    for name in ("training", "validation"):
        part = split(dataset, name, "notebook")
        rows[name] = {
            int(n) for pixels, _ in ordered_batches(dataset, part, batch_size=512) for n in numbers_of(pixels)
        }
    assert not rows["training"] & rows["validation"]
    assert rows["training"] | rows["validation"] == set(range(5000))
