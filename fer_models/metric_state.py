"""Counts and sums over rows, from which every metric is computed without holding the rows in memory."""

from dataclasses import dataclass, field

import numpy as np

from fer_data.emotions import NUM_CLASSES
from fer_models.roc_auc import ClassAucs

BINS = 15
FINE_BINS = 1000
EDGES = np.linspace(0, 1, BINS + 1)
_EPSILON = np.finfo(np.float64).eps


def negative_log_likelihoods(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Negative log likelihood of labels int [n] under probabilities float [n, 7]: float64 [n], in nats.

    Likelihoods are clipped to [2.2e-16, 1 - 2.2e-16] as in scikit-learn, which published figures use. Keras clips at
    1e-7, which makes a confident mistake cheaper.
    """
    likelihoods = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return -np.log(np.clip(likelihoods, _EPSILON, 1 - _EPSILON))


@dataclass
class MetricState:
    """Counts and sums over the rows that were scored, and the number of `errors`, which were not.

    `confusion` is int64 [7, 7], annotated by predicted. Bin i holds the confidences (the probability of the predicted
    class) in (EDGES[i], EDGES[i + 1]], as in scikit-learn's `calibration_curve`. `auc` is the area under the ROC curve
    of each class, float64 [7], NaN until it is set: it takes a second pass over the rows (`ClassAucs`).
    """

    errors: int = 0
    log_loss_sum: float = 0.0
    confidence_sum: float = 0.0
    top2: int = 0
    binary_agreements: int = 0
    confusion: np.ndarray = field(default_factory=lambda: np.zeros((NUM_CLASSES, NUM_CLASSES), np.int64))
    bin_rows: np.ndarray = field(default_factory=lambda: np.zeros(BINS, np.int64))
    bin_correct: np.ndarray = field(default_factory=lambda: np.zeros(BINS, np.int64))
    bin_confidence: np.ndarray = field(default_factory=lambda: np.zeros(BINS))
    fine_rows: np.ndarray = field(default_factory=lambda: np.zeros(FINE_BINS, np.int64))
    fine_correct: np.ndarray = field(default_factory=lambda: np.zeros(FINE_BINS, np.int64))
    auc: np.ndarray = field(default_factory=lambda: np.full(NUM_CLASSES, np.nan))

    @classmethod
    def of(cls, labels: np.ndarray, probabilities: np.ndarray) -> "MetricState":
        """The complete state of rows that are in memory: labels int [n] of 0 to 6, probabilities float [n, 7]."""
        state, aucs = cls(), ClassAucs()
        state.add(labels, probabilities)
        aucs.add_positives(labels, probabilities)
        aucs.add_negatives(labels, probabilities)
        state.auc = aucs.areas()
        return state

    @property
    def scored(self) -> int:
        """Rows that were scored."""
        return int(self.confusion.sum())

    @property
    def rows(self) -> int:
        """All rows, scored or with errors."""
        return self.scored + self.errors

    @property
    def correct(self) -> int:
        """Rows whose most probable class is the label."""
        return int(np.trace(self.confusion))

    def add(self, labels: np.ndarray, probabilities: np.ndarray) -> None:
        """Add rows: labels int [n] of 0 to 6, probabilities float [n, 7]."""
        if not len(labels):
            return
        p = probabilities.astype(np.float64)
        labels = labels.astype(np.int64)
        predicted = p.argmax(axis=1)
        self.confusion += confusion_of(labels, predicted)
        self.log_loss_sum += float(negative_log_likelihoods(labels, p).sum())
        # Ties are ranked as in scikit-learn's top_k_accuracy_score.
        ranked = np.argsort(p, axis=1, kind="mergesort")[:, ::-1]
        self.top2 += int((ranked[:, :2] == labels[:, None]).any(axis=1).sum())
        self.binary_agreements += int(((p > 0.5) == (np.arange(NUM_CLASSES) == labels[:, None])).sum())

        confidence, right = p[np.arange(len(labels)), predicted], predicted == labels
        self.confidence_sum += float(confidence.sum())
        bins = np.searchsorted(EDGES[1:-1], confidence)
        self.bin_rows += np.bincount(bins, minlength=BINS)
        self.bin_correct += np.bincount(bins[right], minlength=BINS)
        self.bin_confidence += np.bincount(bins, weights=confidence, minlength=BINS)
        fine = np.minimum((confidence * FINE_BINS).astype(np.int64), FINE_BINS - 1)
        self.fine_rows += np.bincount(fine, minlength=FINE_BINS)
        self.fine_correct += np.bincount(fine[right], minlength=FINE_BINS)


def confusion_of(labels: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """The confusion matrix of classes int [n] of 0 to 6: int64 [7, 7], annotated by predicted."""
    cells = np.bincount(labels.astype(np.int64) * NUM_CLASSES + predicted, minlength=NUM_CLASSES**2)
    return cells.reshape(NUM_CLASSES, NUM_CLASSES)
