"""From tallies to the tables of the report."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from sklearn.metrics import precision_recall_fscore_support

from fer_data.emotions import CLASSES, NUM_CLASSES
from jobs.evaluation import schemas
from jobs.evaluation.analysis import Results
from jobs.evaluation.statistics import (
    PairedCounts,
    holm,
    macro_f1,
    macro_f1_interval,
    mcnemar_exact,
    paired_difference_interval,
    wilson,
)
from jobs.evaluation.tally import BINS, EDGES, Tally, expected_calibration_error

SIGNIFICANT = 0.05
Row = dict[str, Any]
Every = Mapping[str, Mapping[str, Results]]
"""What each checkpoint achieved: by name, then by split."""


def scores(confusion: np.ndarray, average: str | None) -> Any:
    """scikit-learn's precision, recall and F1 (`average` macro or weighted; None: of each class) from counts."""
    labels, predicted = np.divmod(np.arange(NUM_CLASSES**2), NUM_CLASSES)
    return precision_recall_fscore_support(
        labels,
        predicted,
        labels=range(NUM_CLASSES),
        average=average,
        sample_weight=confusion.ravel(),
        zero_division=0,
    )[:3]


def metrics_row(checkpoint: str, split: str, found: Results) -> Row:
    """One row of the metrics table; figures of no rows are NaN."""
    everything, clean = found.everything, found.leak_free
    macro, weighted = (
        (scores(everything.confusion, average) if everything.scored else (np.nan,) * 3)
        for average in ("macro", "weighted")
    )
    low, high = wilson(everything.correct, everything.scored)
    clean_low, clean_high = wilson(clean.correct, clean.scored)
    f1_low, f1_high = macro_f1_interval(everything.confusion)
    areas = found.auc[np.isfinite(found.auc)]
    return {
        "checkpoint": checkpoint,
        "split": split,
        "rows": found.rows,
        "errors": everything.errors,
        "accuracy": _share(everything.correct, everything.scored),
        "accuracy_low": low,
        "accuracy_high": high,
        "top2_accuracy": _share(everything.top2, everything.scored),
        "macro_precision": macro[0],
        "macro_recall": macro[1],
        "macro_f1": macro[2],
        "macro_f1_low": f1_low,
        "macro_f1_high": f1_high,
        "weighted_precision": weighted[0],
        "weighted_recall": weighted[1],
        "weighted_f1": weighted[2],
        "auc": float(areas.mean()) if len(areas) else np.nan,
        "log_loss": _share(everything.log_loss_sum, everything.scored),
        "ece": expected_calibration_error(everything),
        "mean_confidence": _share(everything.confidence_sum, everything.scored),
        "binary_accuracy": _share(everything.binary_agreements, everything.scored * NUM_CLASSES),
        "rows_leak_free": found.rows_leak_free,
        "errors_leak_free": clean.errors,
        "accuracy_leak_free": _share(clean.correct, clean.scored),
        "accuracy_leak_free_low": clean_low,
        "accuracy_leak_free_high": clean_high,
        "macro_f1_leak_free": scores(clean.confusion, "macro")[2] if clean.scored else np.nan,
    }


def metrics_table(every: Every) -> pa.Table:
    return _table(
        [metrics_row(name, split, r) for name, splits in every.items() for split, r in splits.items()], schemas.METRICS
    )


def per_class_table(every: Every) -> pa.Table:
    """One row for each checkpoint, split and class."""
    rows = []
    for name, splits in every.items():
        for split, found in splits.items():
            confusion = found.everything.confusion
            precision, recall, f1 = scores(confusion, None)
            support, predicted, correct = confusion.sum(axis=1), confusion.sum(axis=0), np.diagonal(confusion)
            for c, label in enumerate(CLASSES):
                precision_low, precision_high = wilson(correct[c], predicted[c])
                recall_low, recall_high = wilson(correct[c], support[c])
                rows.append(
                    {
                        "checkpoint": name,
                        "split": split,
                        "class": label,
                        "label": c,
                        "support": support[c],
                        "predicted": predicted[c],
                        "correct": correct[c],
                        "precision": precision[c],
                        "precision_low": precision_low,
                        "precision_high": precision_high,
                        "recall": recall[c],
                        "recall_low": recall_low,
                        "recall_high": recall_high,
                        "f1": f1[c],
                        "auc": found.auc[c],
                    }
                )
    return _table(rows, schemas.PER_CLASS)


def confusion_table(every: Every) -> pa.Table:
    """One row for each checkpoint, split, annotated and predicted class."""
    rows = []
    for name, splits in every.items():
        for split, found in splits.items():
            confusion = found.everything.confusion
            for label, predicted in np.ndindex(confusion.shape):
                rows.append(
                    {
                        "checkpoint": name,
                        "split": split,
                        "label": label,
                        "predicted": predicted,
                        "label_name": CLASSES[label],
                        "predicted_name": CLASSES[predicted],
                        "rows": confusion[label, predicted],
                        "share_of_label": _share(int(confusion[label, predicted]), int(confusion[label].sum())),
                    }
                )
    return _table(rows, schemas.CONFUSION)


def calibration_table(every: Every) -> pa.Table:
    """One row for each checkpoint, split and bin of confidence."""
    rows = []
    for name, splits in every.items():
        for split, found in splits.items():
            rows += [{"checkpoint": name, "split": split, **row} for row in calibration_rows(found.everything)]
    return _table(rows, schemas.CALIBRATION)


def calibration_rows(tally: Tally) -> list[Row]:
    """One row for each bin of confidence, empty ones included."""
    rows = []
    for i in range(BINS):
        count, correct = tally.bin_rows[i], tally.bin_correct[i]
        low, high = wilson(correct, count)
        rows.append(
            {
                "bin": i,
                "confidence_low": EDGES[i],
                "confidence_high": EDGES[i + 1],
                "rows": count,
                "mean_confidence": _share(tally.bin_confidence[i], count),
                "accuracy": _share(correct, count),
                "accuracy_low": low,
                "accuracy_high": high,
            }
        )
    return rows


def comparisons_table(names: Sequence[str], pairs: Mapping[tuple[str, int, int], PairedCounts]) -> pa.Table:
    """One row for each pair of checkpoints and split; p values corrected within the split."""
    rows: list[Row] = []
    for split in dict.fromkeys(key[0] for key in pairs):
        own = [_comparison(split, names[a], names[b], pairs[s, a, b]) for s, a, b in pairs if s == split]
        for row, corrected in zip(own, holm([row["p_value"] for row in own]), strict=True):
            row["p_value_corrected"] = corrected
            winner = "checkpoint_b" if row["only_b_correct"] > row["only_a_correct"] else "checkpoint_a"
            row["better"] = row[winner] if corrected < SIGNIFICANT else None
        rows += own
    return _table(rows, schemas.COMPARISONS)


def _comparison(split: str, a: str, b: str, counts: PairedCounts) -> Row:
    both, only_a, only_b, neither = counts.correct()
    low, high = paired_difference_interval(only_a, only_b, counts.rows)
    f1, f1_low, f1_high = counts.macro_f1_difference()
    return {
        "split": split,
        "checkpoint_a": a,
        "checkpoint_b": b,
        "rows": counts.rows,
        "both_correct": both,
        "only_a_correct": only_a,
        "only_b_correct": only_b,
        "both_wrong": neither,
        "accuracy_a": _share(both + only_a, counts.rows),
        "accuracy_b": _share(both + only_b, counts.rows),
        "difference": _share(only_b - only_a, counts.rows),
        "difference_low": low,
        "difference_high": high,
        "p_value": mcnemar_exact(only_a, only_b),
        "macro_f1_difference": f1,
        "macro_f1_difference_low": f1_low,
        "macro_f1_difference_high": f1_high,
    }


def robustness_table(every: Every, corrupted: Mapping[tuple[str, str, str, int], np.ndarray]) -> pa.Table:
    """The accuracy under each corruption and strength, after that on the images as they are."""
    rows = []
    for name, splits in every.items():
        for split, found in splits.items():
            clean = _share(found.everything.correct, found.everything.scored)
            matrices = {("none", 0): found.everything.confusion}
            matrices |= {key[2:]: m for key, m in corrupted.items() if key[:2] == (name, split)}
            for (corruption, strength), confusion in matrices.items():
                scored, correct = int(confusion.sum()), int(np.trace(confusion))
                low, high = wilson(correct, scored)
                rows.append(
                    {
                        "checkpoint": name,
                        "split": split,
                        "corruption": corruption,
                        "strength": strength,
                        "rows": scored,
                        "accuracy": _share(correct, scored),
                        "accuracy_low": low,
                        "accuracy_high": high,
                        "macro_f1": float(macro_f1(confusion)) if scored else np.nan,
                        "accuracy_kept": _share(_share(correct, scored), clean),
                    }
                )
    return _table(rows, schemas.ROBUSTNESS)


def _share(part: float, whole: float) -> float:
    return float(part / whole) if whole else float("nan")


def _table(rows: Sequence[Row], schema: pa.Schema) -> pa.Table:
    """`rows` as a table; NaN, which no reader should have to tell from a missing value, becomes null."""
    columns = [
        pa.array([row[name] for row in rows], schema.field(name).type, from_pandas=True) for name in schema.names
    ]
    return pa.Table.from_arrays(columns, schema=schema)
