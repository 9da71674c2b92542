"""Results of made-up checkpoints, without any scoring."""

from collections.abc import Sequence

import numpy as np

from fer_models.metric_state import MetricState
from jobs.evaluation.report import tables
from jobs.evaluation.report.comparisons import PairedCounts
from jobs.evaluation.report.results import Results, Tally
from jobs.evaluation.report.schemas import KINDS

LABELS = np.random.default_rng(0).integers(0, 7, 3589)


def predictions(accuracy: float, seed: int) -> np.ndarray:
    """Probabilities float32 [3589, 7] that are right about as often as `accuracy` says."""
    random = np.random.default_rng(seed)
    said = np.where(random.random(len(LABELS)) < accuracy, LABELS, random.integers(0, 7, len(LABELS)))
    weights = random.dirichlet(np.ones(7), len(LABELS)) + 2 * np.eye(7)[said]
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def made_up(accuracies: Sequence[float], splits: Sequence[str] = ("public_test",), unseen: np.ndarray | None = None):
    """Tables of the report on checkpoints `a`, `b` … of these accuracies, and the results behind them.

    `unseen` says which of LABELS are of unseen images, bool [3589]; None if near copies are not known.
    """
    probabilities = {chr(ord("a") + i): predictions(accuracy, i) for i, accuracy in enumerate(accuracies)}
    known = LABELS[:3309]
    every = {
        name: {
            split: Results(
                MetricState.of(LABELS, p),
                {"leak_free": MetricState.of(known, p[: len(known)])}
                | ({} if unseen is None else {"unseen": MetricState.of(LABELS[unseen], p[unseen])}),
                {} if unseen is None else _copies(unseen, p.argmax(axis=1) == LABELS),
            )
            for split in splits
        }
        for name, p in probabilities.items()
    }
    said = [p.argmax(axis=1) for p in probabilities.values()]
    pairs, on_unseen = {}, {}
    for split in splits:
        for b in range(len(said)):
            for a in range(b):
                pairs[split, a, b] = _counts(said[a], said[b], np.ones(len(LABELS), bool))
                if unseen is not None:
                    on_unseen[split, a, b] = _counts(said[a], said[b], unseen)
    found = {
        "metrics": tables.metrics_table(every),
        "per_class": tables.per_class_table(every),
        "confusion": tables.confusion_table(every),
        "calibration": tables.calibration_table(every),
        "comparisons": tables.comparisons_table(list(probabilities), pairs, on_unseen),
    }
    if unseen is not None:
        found["copies"] = tables.copies_table(every)
    return found, every


def _copies(unseen: np.ndarray, right: np.ndarray) -> dict[str, Tally]:
    """All that is not unseen is a near copy, one half with the label of the twin."""
    half = np.arange(len(unseen)) % 2 == 0
    kinds = dict(zip(KINDS, (unseen, unseen & False, ~unseen, ~unseen & half, ~unseen & ~half), strict=True))
    return {kind: Tally(int(m.sum()), int(m.sum()), int((m & right).sum())) for kind, m in kinds.items()}


def _counts(a: np.ndarray, b: np.ndarray, rows: np.ndarray) -> PairedCounts:
    joint = np.zeros((7, 7, 7), np.int64)
    np.add.at(joint, (LABELS[rows], a[rows], b[rows]), 1)
    return PairedCounts(joint)
