"""Intervals and tests. SciPy has the distributions; the sources are given where a formula is ours."""

from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest, norm

from fer_data.emotions import NUM_CLASSES

CONFIDENCE = 0.95
RESAMPLES = 2000
_SEED = 20130731  # Any fixed number: the same rows give the same interval.
_NAN = float("nan")


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """95 % interval of a proportion (Wilson 1927); NaN without trials."""
    if not trials:
        return _NAN, _NAN
    interval = binomtest(int(successes), int(trials)).proportion_ci(CONFIDENCE, method="wilson")
    return float(interval.low), float(interval.high)


def macro_f1(confusion: np.ndarray) -> np.ndarray:
    """Macro F1 of each confusion matrix: int [..., 7, 7] in, float64 [...] out; a class without rows counts 0."""
    correct = np.diagonal(confusion, axis1=-2, axis2=-1)
    total = confusion.sum(axis=-1) + confusion.sum(axis=-2)
    return (2 * correct / np.maximum(total, 1)).mean(axis=-1)


def macro_f1_interval(confusion: np.ndarray) -> tuple[float, float]:
    """95 % percentile interval of the macro F1 over RESAMPLES bootstraps of the rows; NaN without rows.

    Drawing n rows with replacement draws the cells of the confusion matrix from a multinomial.
    """
    rows = int(confusion.sum())
    if not rows:
        return _NAN, _NAN
    drawn = np.random.default_rng(_SEED).multinomial(rows, confusion.ravel() / rows, size=RESAMPLES)
    return _percentiles(macro_f1(drawn.reshape(-1, NUM_CLASSES, NUM_CLASSES)))


def mcnemar_exact(only_a: int, only_b: int) -> float:
    """Two-sided p value that a and b are equally often right, from the rows that only one got right.

    1 when there are none.
    """
    return float(binomtest(only_a, only_a + only_b, 0.5).pvalue) if only_a + only_b else 1.0


def paired_difference_interval(only_a: int, only_b: int, rows: int) -> tuple[float, float]:
    """95 % interval of the accuracy of b less that of a on the same `rows`; NaN without rows.

    The adjusted Wald interval of Bonett and Price 2012 (J. Educ. Behav. Stat. 37).
    """
    if not rows:
        return _NAN, _NAN
    a, b = (only_a + 1) / (rows + 2), (only_b + 1) / (rows + 2)
    reach = float(norm.ppf((1 + CONFIDENCE) / 2)) * ((a + b - (b - a) ** 2) / (rows + 2)) ** 0.5
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
    """How a and b fared on the same rows: int64 [7, 7, 7], annotated by predicted by a by predicted by b."""

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
        """Macro F1 of b less that of a, and its 95 % percentile interval over paired bootstraps; NaN without rows."""
        if not self.rows:
            return _NAN, _NAN, _NAN
        drawn = np.random.default_rng(_SEED).multinomial(self.rows, self.joint.ravel() / self.rows, size=RESAMPLES)
        drawn = drawn.reshape(-1, *self.joint.shape)
        difference = macro_f1(self.joint.sum(axis=1)) - macro_f1(self.joint.sum(axis=2))
        return float(difference), *_percentiles(macro_f1(drawn.sum(axis=2)) - macro_f1(drawn.sum(axis=3)))


def _percentiles(values: np.ndarray) -> tuple[float, float]:
    low, high = np.quantile(values, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)
