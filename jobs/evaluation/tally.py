"""What a pass over predictions adds up: enough for every metric, without holding a row."""

from dataclasses import dataclass, field

import numpy as np

from fer_data.emotions import NUM_CLASSES

BINS = 15
FINE_BINS = 1000
EDGES = np.linspace(0, 1, BINS + 1)


@dataclass
class Tally:
    """Counts and sums over rows that were scored, and how many could not be.

    `confusion` is int64 [7, 7], annotated by predicted. The bins hold confidences (the probability of the
    predicted class) in (low, high], as scikit-learn's calibration_curve has them.
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

    @property
    def scored(self) -> int:
        """Rows that were scored."""
        return int(self.confusion.sum())

    @property
    def correct(self) -> int:
        return int(np.trace(self.confusion))

    def add(self, labels: np.ndarray, probabilities: np.ndarray) -> None:
        """Add rows: labels int [n] of 0 to 6, probabilities float [n, 7]."""
        if not len(labels):
            return
        p = probabilities.astype(np.float64)
        labels = labels.astype(np.int64)
        predicted = p.argmax(axis=1)
        rows = np.arange(len(labels))
        self.confusion += np.bincount(labels * NUM_CLASSES + predicted, minlength=NUM_CLASSES**2).reshape(
            NUM_CLASSES, NUM_CLASSES
        )
        # Clipped, ranked and binned exactly as scikit-learn's log_loss, top_k_accuracy_score and calibration_curve.
        epsilon = np.finfo(np.float64).eps
        self.log_loss_sum += float(-np.log(np.clip(p[rows, labels], epsilon, 1 - epsilon)).sum())
        ranked = np.argsort(p, axis=1, kind="mergesort")[:, ::-1]
        self.top2 += int((ranked[:, :2] == labels[:, None]).any(axis=1).sum())
        self.binary_agreements += int(((p > 0.5) == (np.arange(NUM_CLASSES) == labels[:, None])).sum())

        confidence, right = p[rows, predicted], predicted == labels
        self.confidence_sum += float(confidence.sum())
        bins = np.searchsorted(EDGES[1:-1], confidence)
        self.bin_rows += np.bincount(bins, minlength=BINS)
        self.bin_correct += np.bincount(bins[right], minlength=BINS)
        self.bin_confidence += np.bincount(bins, weights=confidence, minlength=BINS)
        fine = np.minimum((confidence * FINE_BINS).astype(np.int64), FINE_BINS - 1)
        self.fine_rows += np.bincount(fine, minlength=FINE_BINS)
        self.fine_correct += np.bincount(fine[right], minlength=FINE_BINS)


def expected_calibration_error(tally: Tally) -> float:
    """Mean of |accuracy − confidence| over the bins, weighted by their rows (Guo et al. 2017); NaN without rows."""
    if not tally.scored:
        return float("nan")
    return float(np.abs(tally.bin_correct - tally.bin_confidence).sum() / tally.scored)
