import numpy as np
import pytest
from scipy.stats import binom, bootstrap
from sklearn.metrics import f1_score

from jobs.evaluation.statistics import (
    PairedCounts,
    holm,
    macro_f1,
    macro_f1_interval,
    mcnemar_exact,
    paired_difference_interval,
    wilson,
)


def confusion_of(labels: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    return np.bincount(labels * 7 + predicted, minlength=49).reshape(7, 7)


def random_pair(rows: int = 400, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    labels = random.integers(0, 7, rows)
    return labels, np.where(random.random(rows) < 0.6, labels, random.integers(0, 7, rows))


def test_wilson_gives_the_textbook_interval():
    # Agresti and Coull 1998: 0 of 10 is 0 to 0.2775.
    assert wilson(0, 10) == pytest.approx((0.0, 0.27753), abs=1e-5)
    assert wilson(1911, 3589) == pytest.approx((0.5161, 0.5487), abs=1e-4)


def test_a_proportion_of_nothing_has_no_interval():
    assert np.isnan(wilson(0, 0)).all()


def test_macro_f1_of_counts_is_scikit_learns():
    labels, predicted = random_pair()
    want = f1_score(labels, predicted, labels=range(7), average="macro", zero_division=0)
    assert macro_f1(confusion_of(labels, predicted)) == pytest.approx(want, abs=1e-12)


def test_macro_f1_interval_is_that_of_scipys_bootstrap_of_the_rows():
    labels, predicted = random_pair()

    def statistic(a, b):
        return f1_score(a, b, labels=range(7), average="macro", zero_division=0)

    rows = bootstrap(
        (labels, predicted), statistic, paired=True, vectorized=False, n_resamples=600, method="percentile", rng=0
    ).confidence_interval
    # Both are draws: two percentiles of 600 differ by some 0.004.
    assert macro_f1_interval(confusion_of(labels, predicted)) == pytest.approx((rows.low, rows.high), abs=0.01)


def test_the_same_counts_give_the_same_interval():
    confusion = confusion_of(*random_pair())
    assert macro_f1_interval(confusion) == macro_f1_interval(confusion)


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
