"""The area under the ROC curve, in two passes over the rows and 4 bytes a row. scikit-learn needs all rows at once.

The area is the share of pairs of a positive and a negative row in which the positive one has the higher probability;
ties count half (Hanley and McNeil 1982). The pairs are counted in integers, so the result is exact.
"""

import numpy as np

from fer_data.emotions import NUM_CLASSES


class ClassAucs:
    """AUC of each class against the rest. Call `add_positives` for all rows, then `add_negatives` for the same rows."""

    def __init__(self) -> None:
        self._parts: list[list[np.ndarray]] = [[] for _ in range(NUM_CLASSES)]
        self._positives: list[np.ndarray] | None = None
        self._negatives = np.zeros(NUM_CLASSES, np.int64)
        self._twice_won = [0] * NUM_CLASSES

    def add_positives(self, labels: np.ndarray, probabilities: np.ndarray) -> None:
        """First pass: labels int [n] of 0 to 6 and probabilities float32 [n, 7]."""
        for c in range(NUM_CLASSES):
            self._parts[c].append(probabilities[labels == c, c].astype(np.float32))

    def add_negatives(self, labels: np.ndarray, probabilities: np.ndarray) -> None:
        """Second pass: the same rows."""
        if self._positives is None:
            self._positives = []
            while self._parts:  # One class at a time, so that only one class is in memory twice.
                self._positives.append(np.concatenate([*self._parts.pop(0), np.empty(0, np.float32)]))
                self._positives[-1].sort()
        for c, positives in enumerate(self._positives):
            negatives = probabilities[labels != c, c].astype(np.float32)
            self._negatives[c] += len(negatives)
            lower = np.searchsorted(positives, negatives, "left").sum(dtype=np.int64)
            lower_or_equal = np.searchsorted(positives, negatives, "right").sum(dtype=np.int64)
            self._twice_won[c] += 2 * len(positives) * len(negatives) - int(lower) - int(lower_or_equal)

    def areas(self) -> np.ndarray:
        """AUC of each class, float64 [7]; NaN for a class without positives or without negatives."""
        areas = np.full(NUM_CLASSES, np.nan)
        for c, positives in enumerate(self._positives or []):
            if len(positives) and self._negatives[c]:
                areas[c] = self._twice_won[c] / (2 * len(positives) * int(self._negatives[c]))
        return areas
