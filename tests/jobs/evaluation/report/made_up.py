"""Results of made-up checkpoints, without any scoring."""

from collections.abc import Sequence

import numpy as np

from fer_models.metric_state import MetricState
from jobs.evaluation.report import tables
from jobs.evaluation.report.comparisons import PairedCounts
from jobs.evaluation.report.results import Results

LABELS = np.random.default_rng(0).integers(0, 7, 3589)


def predictions(accuracy: float, seed: int) -> np.ndarray:
    """Probabilities float32 [3589, 7] that are right about as often as `accuracy` says."""
    random = np.random.default_rng(seed)
    said = np.where(random.random(len(LABELS)) < accuracy, LABELS, random.integers(0, 7, len(LABELS)))
    weights = random.dirichlet(np.ones(7), len(LABELS)) + 2 * np.eye(7)[said]
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def made_up(accuracies: Sequence[float], splits: Sequence[str] = ("public_test",)):
    """Tables of the report on checkpoints `a`, `b` … of these accuracies, and the results behind them."""
    probabilities = {chr(ord("a") + i): predictions(accuracy, i) for i, accuracy in enumerate(accuracies)}
    known = LABELS[:3309]
    every = {
        name: {
            split: Results(MetricState.of(LABELS, p), {"leak_free": MetricState.of(known, p[: len(known)])})
            for split in splits
        }
        for name, p in probabilities.items()
    }
    said = [p.argmax(axis=1) for p in probabilities.values()]
    pairs = {}
    for split in splits:
        for b in range(len(said)):
            for a in range(b):
                joint = np.zeros((7, 7, 7), np.int64)
                np.add.at(joint, (LABELS, said[a], said[b]), 1)
                pairs[split, a, b] = PairedCounts(joint)
    found = {
        "metrics": tables.metrics_table(every),
        "per_class": tables.per_class_table(every),
        "confusion": tables.confusion_table(every),
        "calibration": tables.calibration_table(every),
        "comparisons": tables.comparisons_table(list(probabilities), pairs),
    }
    return found, every
