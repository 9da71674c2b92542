"""What a row is learned as: its label, or the shares of its votes."""

from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf

from fer_data.batches import TrainingBatches
from fer_data.dataset import open_dataset
from fer_data.dataset_writer import write_dataset
from fer_data.emotions import CLASSES, class_index
from fer_data.errors import UserError
from fer_data.rows import VOTED, rows_table
from fer_data.splits import split
from jobs.training.checks import check_votes
from jobs.training.config import TrainConfig
from jobs.training.option_groups import DistillationConfig
from jobs.training.targets import labels_of, targets_of, vote_codes
from tests.fer_data.raw_forms import faces
from tests.jobs.training.loops import Loop
from tests.jobs.training.test_loop import EVERYTHING, small_network

RANDOM = np.random.default_rng(0)
COUNT = 40
VOTES = RANDOM.integers(0, 11, (COUNT, len(VOTED))).astype(np.int8)
VOTES[0] = 0
VOTES[1] = 127
OURS = [class_index(name) for name in VOTED[:7]]
SHARES = np.zeros((COUNT, 7))
SHARES[:, OURS] = VOTES[:, :7] / np.maximum(VOTES[:, :7].sum(axis=1, keepdims=True), 1)
LABELS = SHARES.argmax(axis=1)
SHARES[0] = np.eye(7)[LABELS[0]]


def rows():
    return rows_table([str(i) for i in range(COUNT)], "training", LABELS, faces(COUNT), VOTES)


def test_shares_of_votes_come_through_a_code_in_our_order():
    assert [CLASSES[c] for c in OURS] == ["neutral", "happy", "surprise", "sad", "angry", "disgust", "fear"]
    table = rows()
    codes = vote_codes(table)
    np.testing.assert_array_equal(labels_of(codes), LABELS)
    targets, labels = targets_of(tf.constant(codes), True)
    np.testing.assert_allclose(targets, SHARES, atol=1e-6)
    np.testing.assert_array_equal(labels, LABELS)
    np.testing.assert_array_equal(vote_codes(table.slice(7, 9)), codes[7:16])


def test_without_votes_a_target_is_the_label():
    targets, labels = targets_of(tf.constant(LABELS), False)
    np.testing.assert_array_equal(targets, np.eye(7)[LABELS])
    np.testing.assert_array_equal(labels, LABELS)


def test_batches_carry_the_codes_of_their_own_rows(tmp_path):
    write_dataset(iter([rows()]), str(tmp_path / "set"), "voted")
    dataset = open_dataset(str(tmp_path / "set"))
    check_votes(dataset, True)
    batches = TrainingBatches(
        dataset,
        split(dataset, "training"),
        global_batch=COUNT,
        seed=0,
        columns=("label", "votes", "pixels"),
        encode=vote_codes,
    )
    (window,) = batches.windows(1, 9)
    by_face = {face.tobytes(): code for face, code in zip(faces(COUNT), vote_codes(rows()), strict=True)}
    for face, code in zip(window.pixels[0], window.labels[0], strict=True):
        assert by_face[face.tobytes()] == code


def test_data_without_votes_are_refused(drawn_few):
    check_votes(open_dataset(drawn_few), False)
    with pytest.raises(UserError, match=r"--soft-labels: .* has no votes of annotators: .* --labels fer2013new\.csv"):
        check_votes(open_dataset(drawn_few), True)


def test_mixup_then_smoothing_then_teachers_apply_to_the_shares():
    """The loss is the same whether the shares come from votes, or stand for labels that are all sure."""
    config = replace(EVERYTHING, batch_size=COUNT, distillation=DistillationConfig(("teacher",)))
    sure = np.zeros_like(VOTES)
    sure[np.arange(COUNT), [OURS.index(label) for label in LABELS]] = 9
    certain = rows_table([str(i) for i in range(COUNT)], "training", LABELS, faces(COUNT), sure)
    pixels = faces(COUNT).reshape(1, COUNT, 48, 48, 1)

    def loss(labels: np.ndarray, soft: bool) -> float:
        keras.utils.set_random_seed(3)
        loop = Loop(replace(config, soft_labels=soft), small_network(), [small_network("teacher")])
        loop.start_epoch(1)
        return loop.run(pixels, labels.reshape(1, COUNT))[0]

    assert loss(vote_codes(certain), True) == loss(LABELS, False)
    assert loss(vote_codes(rows()), True) != loss(LABELS, False)


def test_a_run_with_soft_labels_is_another_run():
    config = TrainConfig()
    assert config.identity("a") != replace(config, soft_labels=True).identity("a")
