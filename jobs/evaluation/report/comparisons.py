"""Is one checkpoint better than another? Tests and intervals for two sets of predictions of the same images."""

from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest, norm

from fer_data.emotions import NUM_CLASSES
from fer_models.intervals import CONFIDENCE, NONE, macro_f1_of, percentiles, resampled


def mcnemar_exact(only_a: int, only_b: int) -> float:
    """Two-sided p value of equal accuracy, from the numbers of rows that only a and only b got right; 1 without any."""
    return float(binomtest(only_a, only_a + only_b, 0.5).pvalue) if only_a + only_b else 1.0


def paired_difference_interval(only_a: int, only_b: int, rows: int, *, comparisons: int = 1) -> tuple[float, float]:
    """95 % interval of the accuracy of b minus that of a on the same `rows`; NONE without rows.

    `only_a` and `only_b` are the numbers of rows that only a and only b got right. The adjusted Wald interval of Bonett
    and Price 2012 (J. Educ. Behav. Stat. 37). With several `comparisons`, all hold at once in 95 % (Bonferroni).
    """
    if not rows:
        return NONE
    a, b = (only_a + 1) / (rows + 2), (only_b + 1) / (rows + 2)
    reach = float(norm.isf((1 - CONFIDENCE) / 2 / comparisons)) * ((a + b - (b - a) ** 2) / (rows + 2)) ** 0.5
    return max(-1.0, b - a - reach), min(1.0, b - a + reach)


def holm(p_values: list[float]) -> list[float]:
    """The p values corrected for their number (Holm 1979), in the order given."""
    order = np.argsort(p_values, kind="stable")
    corrected, highest = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[i]))
        corrected[i] = highest
    return corrected


@dataclass(frozen=True)
class PairedCounts:
    """Counts of rows by annotated class, class that a predicts and class that b predicts: int64 [7, 7, 7]."""

    joint: np.ndarray

    @property
    def rows(self) -> int:
        return int(self.joint.sum())

    def correct(self) -> tuple[int, int, int, int]:
        """Rows that both, only a, only b and neither got right."""
        classes = np.arange(NUM_CLASSES)
        both = int(self.joint[classes, classes, classes].sum())
        a = int(self.joint.sum(axis=2)[classes, classes].sum())
        b = int(self.joint.sum(axis=1)[classes, classes].sum())
        return both, a - both, b - both, self.rows - a - b + both

    def macro_f1_difference(self) -> tuple[float, float, float]:
        """Macro F1 of b minus that of a, and its 95 % interval (paired bootstrap of the rows); NaN without rows."""
        if not self.rows:
            return float("nan"), *NONE
        drawn = resampled(self.joint)
        difference = macro_f1_of(self.joint.sum(axis=1)) - macro_f1_of(self.joint.sum(axis=2))
        return float(difference), *percentiles(macro_f1_of(drawn.sum(axis=2)) - macro_f1_of(drawn.sum(axis=3)))
