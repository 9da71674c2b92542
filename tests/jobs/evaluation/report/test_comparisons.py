import numpy as np
import pytest
from scipy.stats import binom

from jobs.evaluation.report.comparisons import PairedCounts, holm, mcnemar_exact, paired_difference_interval


def random_pair(rows: int = 400, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    labels = random.integers(0, 7, rows)
    return labels, np.where(random.random(rows) < 0.6, labels, random.integers(0, 7, rows))


def test_mcnemar_is_the_binomial_test_of_the_rows_in_dispute():
    assert mcnemar_exact(3, 12) == pytest.approx(2 * binom.cdf(3, 15, 0.5))
    assert mcnemar_exact(0, 0) == 1
    assert mcnemar_exact(5, 5) == 1


def test_paired_interval_covers_the_true_difference_as_often_as_it_says():
    random = np.random.default_rng(0)
    only_a, only_b, rows = 0.10, 0.14, 300
    draws = random.multinomial(rows, [only_a, only_b, 1 - only_a - only_b], size=2000)
    intervals = np.array([paired_difference_interval(int(a), int(b), rows) for a, b, _ in draws])
    covered = ((intervals[:, 0] <= only_b - only_a) & (only_b - only_a <= intervals[:, 1])).mean()
    assert covered == pytest.approx(0.95, abs=0.015)


def test_holm_gives_the_worked_example():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []
    assert holm([0.9, 0.8]) == [1.0, 1.0]


def test_paired_counts_tell_who_was_right():
    joint = np.zeros((7, 7, 7), np.int64)
    joint[2, 2, 2] = 10  # both
    joint[2, 2, 3] = 4  # only a
    joint[5, 1, 5] = 7  # only b
    joint[0, 1, 1] = 2  # neither
    counts = PairedCounts(joint)
    assert counts.correct() == (10, 4, 7, 2)
    difference, low, high = counts.macro_f1_difference()
    assert low <= difference <= high


def test_a_model_does_not_differ_from_itself():
    labels, predicted = random_pair()
    joint = np.zeros((7, 7, 7), np.int64)
    np.add.at(joint, (labels, predicted, predicted), 1)
    assert PairedCounts(joint).macro_f1_difference() == (0, 0, 0)
