"""The tables of a report, from the results of each checkpoint."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from fer_data.emotions import CLASSES
from fer_models.intervals import wilson
from fer_models.metric_state import BINS, EDGES, MetricState
from fer_models.metrics import METRICS, class_scores, share
from jobs.evaluation.report import schemas
from jobs.evaluation.report.comparisons import PairedCounts, holm, mcnemar_exact, paired_difference_interval
from jobs.evaluation.report.results import Results

SIGNIFICANT = 0.05
Row = dict[str, Any]
Every = Mapping[str, Mapping[str, Results]]
"""The results by checkpoint, then by split."""


def _keyed(every: Every) -> Iterator[tuple[Row, Results]]:
    """The first columns of a row for each checkpoint and split, and its results."""
    for checkpoint, splits in every.items():
        for split, results in splits.items():
            yield {"checkpoint": checkpoint, "split": split}, results


def metrics_row(results: Results) -> Row:
    """Each metric on all rows, and on the subsets; NaN without rows, None on a subset that is not known."""
    row: Row = {name: metric.value(results.everything) for name, metric in METRICS.items()}
    for subset in schemas.SUBSETS:
        state = results.subsets.get(subset)
        row |= {
            schemas.column_in(subset, name): None if state is None else metric.value(state)
            for name, metric in METRICS.items()
            if metric.in_subsets
        }
    return row


def metrics_table(every: Every) -> pa.Table:
    """One row for each checkpoint and split."""
    return _table([key | metrics_row(results) for key, results in _keyed(every)], schemas.METRICS)


def per_class_table(every: Every) -> pa.Table:
    """One row for each checkpoint, split and class."""
    rows = []
    for key, results in _keyed(every):
        confusion = results.everything.confusion
        precision, recall, f1 = class_scores(confusion)
        support, predicted, correct = confusion.sum(axis=1), confusion.sum(axis=0), np.diagonal(confusion)
        unseen = _unseen_by_class(results)
        for c, name in enumerate(CLASSES):
            rows.append(
                key
                | {"class": name, "label": c, "support": support[c], "predicted": predicted[c], "correct": correct[c]}
                | {"precision": precision[c], "recall": recall[c], "f1": f1[c], "auc": results.everything.auc[c]}
                | _interval("precision", correct[c], predicted[c])
                | _interval("recall", correct[c], support[c])
                | {schemas.column_in("unseen", name): None if unseen is None else unseen[name][c] for name in _UNSEEN}
            )
    return _table(rows, schemas.PER_CLASS)


_UNSEEN = ("support", "correct", "precision", "recall", "f1")
"""The columns of a class that it also has on unseen images."""


def _unseen_by_class(results: Results) -> dict[str, np.ndarray] | None:
    """Those columns, [7] each; None where near copies were not looked for."""
    if "unseen" not in results.subsets:
        return None
    confusion = results.subsets["unseen"].confusion
    columns = (confusion.sum(axis=1), np.diagonal(confusion), *class_scores(confusion))
    return dict(zip(_UNSEEN, columns, strict=True))


def confusion_table(every: Every) -> pa.Table:
    """One row for each checkpoint, split, annotated and predicted class."""
    rows = []
    for key, results in _keyed(every):
        confusion = results.everything.confusion
        for (label, predicted), count in np.ndenumerate(confusion):
            rows.append(
                key
                | {"label": label, "predicted": predicted, "rows": count}
                | {"label_name": CLASSES[label], "predicted_name": CLASSES[predicted]}
                | {"share_of_label": share(count, confusion[label].sum())}
            )
    return _table(rows, schemas.CONFUSION)


def calibration_table(every: Every) -> pa.Table:
    """One row for each checkpoint, split and bin of confidence."""
    rows = [key | row for key, results in _keyed(every) for row in calibration_rows(results.everything)]
    return _table(rows, schemas.CALIBRATION)


def calibration_rows(state: MetricState) -> list[Row]:
    """One row for each bin of confidence, including empty ones."""
    return [
        {
            "bin": i,
            "confidence_low": EDGES[i],
            "confidence_high": EDGES[i + 1],
            "rows": state.bin_rows[i],
            "mean_confidence": share(state.bin_confidence[i], state.bin_rows[i]),
            "accuracy": share(state.bin_correct[i], state.bin_rows[i]),
            **_interval("accuracy", state.bin_correct[i], state.bin_rows[i]),
        }
        for i in range(BINS)
    ]


Pairs = Mapping[tuple[str, int, int], PairedCounts]
"""Counts by split and the positions of two checkpoints."""


def comparisons_table(names: Sequence[str], pairs: Pairs, unseen: Pairs) -> pa.Table:
    """One row for each split and pair of checkpoints, with p values corrected for the pairs of the split.

    `unseen` has the counts on unseen images, and is empty where near copies were not looked for.
    """
    rows: list[Row] = []
    for split in dict.fromkeys(key[0] for key in pairs):
        keys = [key for key in pairs if key[0] == split]
        own = [_comparison(split, names[key[1]], names[key[2]], pairs[key]) for key in keys]
        _correct(own)
        others: list[Row] = [dict.fromkeys(_UNSEEN_PAIR) for _ in keys]
        if unseen:
            others = [_comparison(split, names[key[1]], names[key[2]], unseen[key]) for key in keys]
            _correct(others)
        for row, other in zip(own, others, strict=True):
            row |= {schemas.column_in("unseen", name): other[name] for name in _UNSEEN_PAIR}
        rows += own
    return _table(rows, schemas.COMPARISONS)


_UNSEEN_PAIR = ("rows", "difference", "difference_low", "difference_high", "p_value", "p_value_corrected", "better")
"""The columns of a pair that it also has on unseen images."""


def _correct(rows: Sequence[Row]) -> None:
    """Add to the comparisons of a split what depends on their number."""
    for row, corrected in zip(rows, holm([row["p_value"] for row in rows]), strict=True):
        row["p_value_corrected"] = corrected
        winner = "checkpoint_b" if row["only_b_correct"] > row["only_a_correct"] else "checkpoint_a"
        row["better"] = row[winner] if corrected < SIGNIFICANT else None


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
        "accuracy_a": share(both + only_a, counts.rows),
        "accuracy_b": share(both + only_b, counts.rows),
        "difference": share(only_b - only_a, counts.rows),
        "difference_low": low,
        "difference_high": high,
        "p_value": mcnemar_exact(only_a, only_b),
        "macro_f1_difference": f1,
        "macro_f1_difference_low": f1_low,
        "macro_f1_difference_high": f1_high,
    }


def copies_table(every: Every) -> pa.Table:
    """One row for each checkpoint, split and kind of image; none where near copies were not looked for."""
    rows = [
        key
        | {"kind": kind, "rows": tally.rows, "accuracy": share(tally.correct, tally.scored)}
        | _interval("accuracy", tally.correct, tally.scored)
        for key, results in _keyed(every)
        for kind, tally in results.copies.items()
    ]
    return _table(rows, schemas.COPIES)


def robustness_table(every: Every, corrupted: Mapping[tuple[str, str, str, int], np.ndarray]) -> pa.Table:
    """One row for the original images and one for each corruption and strength, for each checkpoint and split.

    `corrupted` holds confusion matrices by checkpoint, split, corruption and strength.
    """
    rows = []
    for key, results in _keyed(every):
        matrices = {("none", 0): results.everything.confusion}
        matrices |= {found[2:]: m for found, m in corrupted.items() if found[:2] == (key["checkpoint"], key["split"])}
        original = METRICS["accuracy"].value(results.everything)
        for (corruption, strength), confusion in matrices.items():
            state = MetricState(confusion=confusion)
            figures = {n: METRICS[n].value(state) for n in ("accuracy", "accuracy_low", "accuracy_high", "macro_f1")}
            rows.append(
                key
                | {"corruption": corruption, "strength": strength, "rows": state.scored}
                | figures
                | {"accuracy_kept": share(figures["accuracy"], original)}
            )
    return _table(rows, schemas.ROBUSTNESS)


def _interval(name: str, successes: int, trials: int) -> Row:
    low, high = wilson(successes, trials)
    return {f"{name}_low": low, f"{name}_high": high}


def _table(rows: Sequence[Row], schema: pa.Schema) -> pa.Table:
    """`rows` as a table, with null for NaN: a reader of the file expects one kind of missing value."""
    columns = [
        pa.array([row[name] for row in rows], schema.field(name).type, from_pandas=True) for name in schema.names
    ]
    return pa.Table.from_arrays(columns, schema=schema)
