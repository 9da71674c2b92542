import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score, log_loss, precision_score, recall_score, roc_auc_score

from fer_models.metrics import METRICS, summarise


def random_case(rows: int, seed: int):
    random = np.random.default_rng(seed)
    return random.integers(0, 7, rows), random.dirichlet(np.ones(7), rows)


def test_metrics_equal_scikit_learns():
    labels, probabilities = random_case(500, 0)
    predicted = probabilities.argmax(axis=1)
    expected = {
        "loss": log_loss(labels, probabilities, labels=range(7)),
        "accuracy": accuracy_score(labels, predicted),
        "macro_precision": precision_score(labels, predicted, average="macro"),
        "macro_recall": recall_score(labels, predicted, average="macro"),
        "macro_f1": f1_score(labels, predicted, average="macro"),
        "auc": roc_auc_score(labels, probabilities, multi_class="ovr", average="macro"),
    }
    assert summarise(labels, probabilities) == pytest.approx(expected, abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(rows=st.integers(1, 30), classes=st.integers(1, 7), seed=st.integers(0, 10_000))
def test_metrics_stay_in_range_whatever_classes_occur(rows, classes, seed):
    labels, probabilities = random_case(rows, seed)
    metrics = summarise(labels % classes, probabilities)
    assert tuple(metrics) == METRICS
    assert all(0 <= metrics[name] <= 1 for name in METRICS[1:-1])
    if len(np.unique(labels % classes)) == 1:
        assert np.isnan(metrics["auc"])
    else:
        assert 0 <= metrics["auc"] <= 1


def test_a_class_that_never_occurs_counts_as_zero_in_macro_figures():
    labels = np.array([0, 1])
    metrics = summarise(labels, np.eye(7)[labels])
    assert metrics["accuracy"] == 1
    assert metrics["macro_f1"] == pytest.approx(2 / 7)
    assert metrics["auc"] == 1


def test_a_certain_mistake_costs_a_finite_loss():
    assert summarise(np.array([0]), np.eye(7)[[1]])["loss"] == pytest.approx(-np.log(1e-7))


def test_no_rows_is_an_error():
    with pytest.raises(ValueError, match="no rows"):
        summarise(np.empty(0, int), np.empty((0, 7)))
