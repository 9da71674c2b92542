from fer_models.metrics import METRICS
from jobs.evaluation.report import schemas
from tests.jobs.evaluation.report.made_up import made_up


def test_every_metric_has_a_column_and_those_in_subsets_have_another():
    found, every = made_up([0.6])
    (row,) = found["metrics"].to_pylist()
    state = every["a"]["public_test"]
    assert list(row) == ["checkpoint", "split", *METRICS, *(name for name in row if "leak_free" in name)]
    assert row["accuracy"] == METRICS["accuracy"].value(state.everything)
    assert row["rows_leak_free"] == 3309
    assert row["accuracy_leak_free_low"] == METRICS["accuracy_low"].value(state.subsets["leak_free"])


def test_the_columns_that_reports_have_had_from_the_first_are_there():
    assert set(schemas.METRICS.names) >= {
        *("checkpoint", "split", "rows", "errors", "accuracy", "accuracy_low", "accuracy_high", "top2_accuracy"),
        *("macro_precision", "macro_recall", "macro_f1", "macro_f1_low", "macro_f1_high"),
        *("weighted_precision", "weighted_recall", "weighted_f1", "auc", "log_loss", "ece", "mean_confidence"),
        *("binary_accuracy", "rows_leak_free", "errors_leak_free", "accuracy_leak_free", "accuracy_leak_free_low"),
        *("accuracy_leak_free_high", "macro_f1_leak_free"),
    }


def test_calibration_and_confusion_count_every_image():
    found, _ = made_up([0.6, 0.7])
    for name, rows in (("calibration", 2 * 15), ("confusion", 2 * 49)):
        assert found[name].num_rows == rows
        assert sum(found[name].column("rows").to_pylist()) == 2 * 3589
