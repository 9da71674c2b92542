import numpy as np
import pytest
from scipy.stats import bootstrap
from sklearn.metrics import f1_score

from fer_models.intervals import macro_f1_interval, macro_f1_of, wilson
from fer_models.metric_state import confusion_of


def random_pair(rows: int = 400, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    labels = random.integers(0, 7, rows)
    return labels, np.where(random.random(rows) < 0.6, labels, random.integers(0, 7, rows))


def test_wilson_gives_the_textbook_interval():
    # Agresti and Coull 1998: 0 of 10 is 0 to 0.2775.
    assert wilson(0, 10) == pytest.approx((0.0, 0.27753), abs=1e-5)
    assert wilson(1911, 3589) == pytest.approx((0.5161, 0.5487), abs=1e-4)


def test_nothing_has_no_interval():
    assert np.isnan(wilson(0, 0)).all()
    assert np.isnan(macro_f1_interval(np.zeros((7, 7), np.int64))).all()


def test_macro_f1_of_many_matrices_is_scikit_learns_of_each():
    pairs = [random_pair(seed=seed) for seed in range(3)]
    want = [f1_score(*pair, labels=range(7), average="macro", zero_division=0) for pair in pairs]
    assert macro_f1_of(np.stack([confusion_of(*pair) for pair in pairs])) == pytest.approx(want, abs=1e-12)


def test_macro_f1_interval_is_that_of_scipys_bootstrap_of_the_rows():
    labels, predicted = random_pair()

    def statistic(a, b):
        return f1_score(a, b, labels=range(7), average="macro", zero_division=0)

    rows = bootstrap(
        (labels, predicted), statistic, paired=True, vectorized=False, n_resamples=600, method="percentile", rng=0
    ).confidence_interval
    # Both are random: percentiles of 600 resamples vary by about 0.004.
    assert macro_f1_interval(confusion_of(labels, predicted)) == pytest.approx((rows.low, rows.high), abs=0.01)


def test_the_same_counts_give_the_same_interval():
    confusion = confusion_of(*random_pair())
    assert macro_f1_interval(confusion) == macro_f1_interval(confusion)
