import numpy as np
import pytest

from fer_models.intervals import wilson
from fer_models.metrics import METRICS
from jobs.evaluation.report import schemas
from jobs.evaluation.report.comparisons import mcnemar_exact
from tests.jobs.evaluation.report.made_up import LABELS, made_up, predictions


def test_every_metric_has_a_column_and_those_in_subsets_have_another():
    found, every = made_up([0.6])
    (row,) = found["metrics"].to_pylist()
    state = every["a"]["public_test"]
    in_subsets = [name for name in row if "leak_free" in name or "unseen" in name]
    assert list(row) == ["checkpoint", "split", *METRICS, *in_subsets]
    assert row["accuracy"] == METRICS["accuracy"].value(state.everything)
    assert row["rows_leak_free"] == 3309
    assert row["accuracy_leak_free_low"] == METRICS["accuracy_low"].value(state.subsets["leak_free"])


def test_the_columns_that_reports_have_had_from_the_first_are_there():
    assert set(schemas.METRICS.names) >= {
        *("checkpoint", "split", "rows", "errors", "accuracy", "accuracy_low", "accuracy_high", "top2_accuracy"),
        *("macro_precision", "macro_recall", "macro_f1", "macro_f1_low", "macro_f1_high"),
        *("weighted_precision", "weighted_recall", "weighted_f1", "auc", "log_loss", "ece", "mean_confidence"),
        *("binary_accuracy", "rows_leak_free", "errors_leak_free", "accuracy_leak_free", "accuracy_leak_free_low"),
        *("accuracy_leak_free_high", "macro_f1_leak_free", "rows_unseen", "errors_unseen", "accuracy_unseen"),
        *("accuracy_unseen_low", "accuracy_unseen_high", "macro_f1_unseen"),
    }


def test_calibration_and_confusion_count_every_image():
    found, _ = made_up([0.6, 0.7])
    for name, rows in (("calibration", 2 * 15), ("confusion", 2 * 49)):
        assert found[name].num_rows == rows
        assert sum(found[name].column("rows").to_pylist()) == 2 * 3589


def test_figures_on_unseen_images_are_null_where_near_copies_are_not_known():
    found, _ = made_up([0.6, 0.7])
    for name in ("metrics", "per_class", "comparisons"):
        columns = [column for column in found[name].column_names if "unseen" in column]
        assert columns
        assert all(found[name].column(column).null_count == found[name].num_rows for column in columns)


def test_figures_on_unseen_images_are_those_of_these_images_alone():
    unseen = np.arange(len(LABELS)) % 3 == 0
    found, _ = made_up([0.6, 0.7], unseen=unseen)
    right = np.array([predictions(accuracy, i).argmax(axis=1) == LABELS for i, accuracy in enumerate((0.6, 0.7))])
    for row, own in zip(found["metrics"].to_pylist(), right, strict=True):
        assert row["rows_unseen"] == unseen.sum()
        assert row["accuracy_unseen"] == pytest.approx(own[unseen].mean())
        low, high = wilson(int(own[unseen].sum()), int(unseen.sum()))
        assert (row["accuracy_unseen_low"], row["accuracy_unseen_high"]) == (low, high)
    happy = next(row for row in found["per_class"].to_pylist() if row["class"] == "happy")
    assert happy["support_unseen"] == (LABELS[unseen] == 3).sum()
    assert happy["recall_unseen"] == pytest.approx(right[0][unseen & (LABELS == 3)].mean())
    (pair,) = found["comparisons"].to_pylist()
    only_a, only_b = (int((right[i] & ~right[1 - i] & unseen).sum()) for i in (0, 1))
    assert pair["difference_unseen"] == pytest.approx((only_b - only_a) / unseen.sum())
    assert pair["p_value_unseen"] == mcnemar_exact(only_a, only_b)
    assert pair["difference_unseen_low"] < pair["difference_unseen"] < pair["difference_unseen_high"]
