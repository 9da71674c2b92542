"""Every metric equals scikit-learn's, on random rows and in edge cases."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve
from sklearn.metrics import (
    accuracy_score,
    f1_score,
    log_loss,
    precision_score,
    recall_score,
    roc_auc_score,
    top_k_accuracy_score,
)

from fer_models.metric_state import MetricState
from fer_models.metrics import HISTORY, METRICS, summarise
from fer_models.roc_auc import ClassAucs

ALL = range(7)


def random_rows(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    return random.integers(0, 7, count), random.dirichlet(np.ones(7), count).astype(np.float32)


def certain(*classes: int) -> np.ndarray:
    return np.eye(7, dtype=np.float32)[list(classes)]


LABELS, PROBABILITIES = random_rows(300, 1)
CASES = {
    "random rows": (LABELS, PROBABILITIES),
    "a class that never occurs": (LABELS % 6, PROBABILITIES),
    "a class that is never predicted": (LABELS, PROBABILITIES * (np.arange(7) != 1)),
    "one class alone": (np.zeros(40, int), random_rows(40)[1]),
    "ties between all classes": (LABELS, np.full((300, 7), 1 / 7, np.float32)),
    "ties between two classes": (LABELS, np.tile(np.float32([0.5, 0, 0, 0.5, 0, 0, 0]), (300, 1))),
    "a single row, right": (np.array([3]), certain(3)),
    "a single row, wrong": (np.array([3]), certain(4)),
    "all wrong and certain": (np.array([0, 1, 2, 3]), certain(1, 2, 3, 4)),
    "all right and certain": (np.arange(7), certain(*ALL)),
}


def metrics_of(labels: np.ndarray, probabilities: np.ndarray, pieces: int = 1) -> dict[str, float]:
    """Every metric, from rows that are added in so many pieces."""
    state, aucs = MetricState(), ClassAucs()
    parts = np.array_split(np.arange(len(labels)), pieces)
    for part in parts:
        state.add(labels[part], probabilities[part])
        aucs.add_positives(labels[part], probabilities[part])
    for part in parts:
        aucs.add_negatives(labels[part], probabilities[part])
    state.auc = aucs.areas()
    return {name: metric.value(state) for name, metric in METRICS.items()}


@pytest.mark.filterwarnings("ignore::UserWarning")  # float32 rows sum to one within 1e-7 only
def expected(labels: np.ndarray, probabilities: np.ndarray) -> dict:
    p = probabilities.astype(np.float64)
    predicted = p.argmax(axis=1)
    one_hot = np.eye(7)[labels]
    options = {"labels": ALL, "zero_division": 0}
    found = {
        "accuracy": accuracy_score(labels, predicted),
        "top2_accuracy": top_k_accuracy_score(labels, p, k=2, labels=ALL),
        "log_loss": log_loss(labels, p, labels=ALL),
        "binary_accuracy": accuracy_score(one_hot.ravel(), (p > 0.5).ravel()),
    }
    for average in ("macro", "weighted"):
        found[f"{average}_precision"] = precision_score(labels, predicted, average=average, **options)
        found[f"{average}_recall"] = recall_score(labels, predicted, average=average, **options)
        found[f"{average}_f1"] = f1_score(labels, predicted, average=average, **options)
    areas = [roc_auc_score(labels == c, p[:, c]) for c in ALL if 0 < (labels == c).sum() < len(labels)]
    return found | {"auc": np.mean(areas) if areas else np.nan}


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", CASES)
def test_every_metric_is_scikit_learns(name):
    labels, probabilities = CASES[name]
    want = expected(labels, probabilities)
    got = metrics_of(labels, probabilities)
    assert {key: got[key] for key in want} == pytest.approx(want, abs=1e-9, nan_ok=True)


@settings(max_examples=40, deadline=None)
@given(rows=st.integers(1, 40), classes=st.integers(1, 7), levels=st.integers(1, 5), seed=st.integers(0, 10_000))
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_coarse_probabilities_of_few_classes_give_scikit_learns_metrics_too(rows, classes, levels, seed):
    random = np.random.default_rng(seed)
    labels = random.integers(0, classes, rows)
    weights = random.integers(0, levels + 1, (rows, 7)) + (np.arange(7) == 2) * 1.0
    probabilities = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    want, got = expected(labels, probabilities), metrics_of(labels, probabilities)
    assert {key: got[key] for key in want} == pytest.approx(want, abs=1e-9, nan_ok=True)


def test_rows_added_in_pieces_count_as_rows_added_at_once():
    whole, pieces = (metrics_of(LABELS, PROBABILITIES, n) for n in (1, 7))
    assert pieces == pytest.approx(whole, abs=1e-12)


def test_calibration_bins_are_scikit_learns_and_the_ece_is_their_mean_gap():
    state = MetricState()
    state.add(LABELS, PROBABILITIES)
    confidence = PROBABILITIES.max(axis=1).astype(np.float64)
    right = PROBABILITIES.argmax(axis=1) == LABELS
    accuracy, mean = calibration_curve(right, confidence, n_bins=15)
    filled = state.bin_rows > 0
    np.testing.assert_allclose(state.bin_correct[filled] / state.bin_rows[filled], accuracy, atol=1e-12)
    np.testing.assert_allclose(state.bin_confidence[filled] / state.bin_rows[filled], mean, atol=1e-12)
    share = state.bin_rows[filled] / len(LABELS)
    assert metrics_of(LABELS, PROBABILITIES)["ece"] == pytest.approx((share * abs(accuracy - mean)).sum(), abs=1e-12)


def test_without_rows_every_figure_is_missing():
    row = metrics_of(np.empty(0, int), np.empty((0, 7), np.float32))
    assert row["rows"] == row["errors"] == 0
    assert all(np.isnan(value) for name, value in row.items() if isinstance(value, float))


@settings(max_examples=40, deadline=None)
@given(rows=st.integers(1, 30), classes=st.integers(1, 7), seed=st.integers(0, 10_000))
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_the_training_history_has_the_same_metrics(rows, classes, seed):
    labels, probabilities = random_rows(rows, seed)
    history, want = summarise(labels % classes, probabilities), expected(labels % classes, probabilities)
    assert tuple(history) == ("loss", "accuracy", "macro_precision", "macro_recall", "macro_f1", "auc")
    assert {n: np.nan if v is None else v for n, v in history.items()} == pytest.approx(
        {column: want[name] for column, name in HISTORY.items()}, abs=1e-9, nan_ok=True
    )


def test_a_class_that_never_occurs_counts_as_zero_in_macro_metrics():
    labels = np.array([0, 1])
    metrics = summarise(labels, certain(0, 1))
    assert metrics["accuracy"] == 1
    assert metrics["macro_f1"] == pytest.approx(2 / 7)
    assert metrics["auc"] == 1


def test_a_certain_mistake_costs_a_finite_loss():
    assert summarise(np.array([0]), certain(1))["loss"] == pytest.approx(-np.log(2.0**-52))


def test_a_history_of_no_rows_is_an_error():
    with pytest.raises(ValueError, match="no rows"):
        summarise(np.empty(0, int), np.empty((0, 7)))
