"""The area under the ROC curve in two passes over the rows, in 4 bytes a row; scikit-learn wants all rows at once.

It is the share of pairs of a row of the class and another row in which the first has the higher probability, ties
counting half (Hanley and McNeil 1982): counted in whole numbers, it is exact.
"""

import numpy as np

from fer_data.emotions import NUM_CLASSES


class ClassAucs:
    """AUC of each class against the rest: `add_positives` for all rows, then `add_negatives` for all rows again."""

    def __init__(self) -> None:
        self._parts: list[list[np.ndarray]] = [[] for _ in range(NUM_CLASSES)]
        self._own: list[np.ndarray] | None = None
        self._negatives = np.zeros(NUM_CLASSES, np.int64)
        self._twice_won = [0] * NUM_CLASSES

    def add_positives(self, labels: np.ndarray, probabilities: np.ndarray) -> None:
        """Rows of labels int [n] of 0 to 6 and probabilities float32 [n, 7]."""
        for c in range(NUM_CLASSES):
            self._parts[c].append(probabilities[labels == c, c].astype(np.float32))

    def add_negatives(self, labels: np.ndarray, probabilities: np.ndarray) -> None:
        """The same rows once more."""
        if self._own is None:
            self._own = []
            while self._parts:  # Class after class, so that hardly more than one is there twice.
                self._own.append(np.concatenate([*self._parts.pop(0), np.empty(0, np.float32)]))
                self._own[-1].sort()
        for c, own in enumerate(self._own):
            others = probabilities[labels != c, c].astype(np.float32)
            self._negatives[c] += len(others)
            below = np.searchsorted(own, others, "left").sum(dtype=np.int64)
            not_above = np.searchsorted(own, others, "right").sum(dtype=np.int64)
            self._twice_won[c] += 2 * len(own) * len(others) - int(below) - int(not_above)

    def areas(self) -> np.ndarray:
        """float64 [7]; NaN for a class that never occurs or alone occurs."""
        areas = np.full(NUM_CLASSES, np.nan)
        for c, own in enumerate(self._own or []):
            if len(own) and self._negatives[c]:
                areas[c] = self._twice_won[c] / (2 * len(own) * int(self._negatives[c]))
        return areas
