"""95 % confidence intervals."""

import numpy as np

CONFIDENCE = 0.95
_RESAMPLES = 2000
_SEED = 20130731  # Arbitrary but fixed, so that the same rows give the same interval.
NONE = (float("nan"), float("nan"))
"""The interval of no rows."""


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """The interval of a proportion (Wilson 1927); NONE without trials."""
    from scipy.stats import binomtest  # Here: it takes a second, before which no command could refuse its options.

    if not trials:
        return NONE
    interval = binomtest(int(successes), int(trials)).proportion_ci(CONFIDENCE, method="wilson")
    return float(interval.low), float(interval.high)


def resampled(counts: np.ndarray) -> np.ndarray:
    """Bootstraps of the rows behind `counts`, int [...]: int64 [2000, ...].

    Drawing n rows with replacement is drawing their counts from a multinomial distribution.
    """
    rows = int(counts.sum())
    drawn = np.random.default_rng(_SEED).multinomial(rows, counts.ravel() / rows, size=_RESAMPLES)
    return drawn.reshape(-1, *counts.shape)


def percentiles(values: np.ndarray) -> tuple[float, float]:
    """The percentile interval of bootstrapped values, float [n]."""
    low, high = np.quantile(values, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def macro_f1_of(confusions: np.ndarray) -> np.ndarray:
    """Macro F1 of each confusion matrix, int [..., 7, 7] to float64 [...]. scikit-learn takes one matrix at a time."""
    correct = np.diagonal(confusions, axis1=-2, axis2=-1)
    total = confusions.sum(axis=-1) + confusions.sum(axis=-2)
    return (2 * correct / np.maximum(total, 1)).mean(axis=-1)


def macro_f1_interval(confusion: np.ndarray) -> tuple[float, float]:
    """The bootstrap interval of the macro F1 of a confusion matrix, int [7, 7]; NONE without rows."""
    return percentiles(macro_f1_of(resampled(confusion))) if confusion.any() else NONE
