"""Classification metrics from labels and probabilities; scikit-learn does the arithmetic."""

import numpy as np
from sklearn.metrics import precision_recall_fscore_support, roc_auc_score

from fer_data.emotions import NUM_CLASSES

METRICS = ("loss", "accuracy", "macro_precision", "macro_recall", "macro_f1", "auc")
_EPSILON = 1e-7


def log_loss(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Mean negative log likelihood in nats; probabilities below 1e-7 count as 1e-7, as in Keras."""
    likelihoods = probabilities[np.arange(len(labels)), labels]
    return float(-np.log(np.clip(likelihoods.astype(np.float64), _EPSILON, 1.0)).mean())


def macro_auc(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Area under the ROC curve, one class against the rest, averaged over the classes.

    Classes that never occur, or alone occur, have no curve and are left out;
    NaN when none is left.
    """
    areas = [
        roc_auc_score(labels == c, probabilities[:, c])
        for c in range(NUM_CLASSES)
        if 0 < np.count_nonzero(labels == c) < len(labels)
    ]
    return float(np.mean(areas)) if areas else float("nan")


def summarise(labels: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    """Each of `METRICS` for `labels` int [N] and `probabilities` float [N, 7].

    Macro figures average over the seven classes; a class that never occurs or
    is never predicted contributes 0, as scikit-learn has it. Raises
    ValueError when there are no rows.
    """
    if len(labels) == 0:
        raise ValueError("no rows to compute metrics from")
    predicted = probabilities.argmax(axis=1)
    precision, recall, f1, _ = precision_recall_fscore_support(
        labels, predicted, labels=range(NUM_CLASSES), average="macro", zero_division=0
    )
    return {
        "loss": log_loss(labels, probabilities),
        "accuracy": float((labels == predicted).mean()),
        "macro_precision": float(precision),
        "macro_recall": float(recall),
        "macro_f1": float(f1),
        "auc": macro_auc(labels, probabilities),
    }
