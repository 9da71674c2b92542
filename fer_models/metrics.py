"""Every metric of a classifier, with its column, type, meaning and formula. All tables follow from this list.

`MetricState` holds the counts and sums; scikit-learn and SciPy do the arithmetic.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from fer_data.emotions import CLASSES, NUM_CLASSES
from fer_models.intervals import macro_f1_interval, wilson
from fer_models.metric_state import MetricState, negative_log_likelihoods

Value = Callable[[MetricState], float]
_COUNT, _FRACTION = pa.int64(), pa.float64()


@dataclass(frozen=True)
class Metric:
    """A column of the metrics table: `value` computes it from the state of a checkpoint on a split.

    Reports and plots show a metric under its `title`, in per cent if `percent` is set, and omit it if it has none.
    `in_subsets` metrics also have a column for each subset of the rows, such as the leak-free ones. The interval of
    NAME is in the columns NAME_low and NAME_high.
    """

    name: str
    value: Value
    meaning: str
    title: str = ""
    percent: bool = False
    in_subsets: bool = False
    type: pa.DataType = _FRACTION


def share(part: float, whole: float) -> float:
    """`part` of `whole`, NaN where `whole` is 0."""
    return float(part / whole) if whole else float("nan")


def class_scores(confusion: np.ndarray, average: str | None = None) -> Any:
    """Precision, recall and F1 from a confusion matrix, int [7, 7]: three arrays float64 [7], one value per class.

    `average` macro or weighted gives three numbers instead, NaN without rows. A class that does not occur or is never
    predicted scores 0.
    """
    from sklearn.metrics import precision_recall_fscore_support  # Here, as in intervals.py.

    if not confusion.any():  # scikit-learn refuses to compute from nothing.
        return (float("nan") if average else np.zeros(NUM_CLASSES),) * 3
    labels, predicted = np.divmod(np.arange(NUM_CLASSES**2), NUM_CLASSES)
    options = {"labels": range(NUM_CLASSES), "average": average, "zero_division": 0}
    return precision_recall_fscore_support(labels, predicted, sample_weight=confusion.ravel(), **options)[:3]


def log_loss(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Mean negative log likelihood of labels int [n] under probabilities float [n, 7], in nats."""
    return float(negative_log_likelihoods(labels, probabilities).mean())


def _average(average: str, score: int) -> Value:
    return lambda state: float(class_scores(state.confusion, average)[score])


def _mean_auc(state: MetricState) -> float:
    areas = state.auc[np.isfinite(state.auc)]
    return share(areas.sum(), len(areas))


def _ece(state: MetricState) -> float:
    """Expected calibration error (Guo et al. 2017, arXiv:1706.04599)."""
    return share(np.abs(state.bin_correct - state.bin_confidence).sum(), state.scored)


def _binary_accuracy(state: MetricState) -> float:
    return share(state.binary_agreements, state.scored * NUM_CLASSES)


_LOW, _HIGH = "lower end of its 95 % interval", "upper end of its 95 % interval"
_TOP_1 = "share of images whose most probable class is the annotated one (top-1)"
_TOP_2 = "share of images whose annotated class is among the two most probable ones"
_AUC = "area under the ROC curve, one class against the rest; mean of the classes that occur"
_ECE = "expected calibration error: mean gap between confidence and accuracy over 15 bins of confidence; 0 is best"
_BINARY = (
    "share of the 7 probabilities of each image that agree with its one-hot label at a threshold of 0.5; the original "
    "project published it as accuracy, but probabilities that are all below 0.5 already get 85.7 %"
)
_METRICS = (
    Metric("rows", lambda s: s.rows, "images, including those with errors", in_subsets=True, type=_COUNT),
    Metric("errors", lambda s: s.errors, "images that were not scored, in no metric", in_subsets=True, type=_COUNT),
    Metric("accuracy", lambda s: share(s.correct, s.scored), _TOP_1, "accuracy", percent=True, in_subsets=True),
    Metric("accuracy_low", lambda s: wilson(s.correct, s.scored)[0], f"{_LOW} (Wilson)", in_subsets=True),
    Metric("accuracy_high", lambda s: wilson(s.correct, s.scored)[1], f"{_HIGH} (Wilson)", in_subsets=True),
    Metric("top2_accuracy", lambda s: share(s.top2, s.scored), _TOP_2, "top-2 accuracy", percent=True),
    Metric("macro_precision", _average("macro", 0), "mean precision; 0 for a class never predicted", "macro precision"),
    Metric("macro_recall", _average("macro", 1), "mean recall; 0 for a class that does not occur", "macro recall"),
    Metric("macro_f1", _average("macro", 2), "mean F1 of the seven classes, rare or not", "macro F1", in_subsets=True),
    Metric("macro_f1_low", lambda s: macro_f1_interval(s.confusion)[0], f"{_LOW} (bootstrap over images)"),
    Metric("macro_f1_high", lambda s: macro_f1_interval(s.confusion)[1], f"{_HIGH} (bootstrap over images)"),
    Metric("weighted_precision", _average("weighted", 0), "mean precision of the classes, weighted by their images"),
    Metric("weighted_recall", _average("weighted", 1), "mean recall weighted by images; equals the accuracy"),
    Metric("weighted_f1", _average("weighted", 2), "mean F1 of the classes, weighted by their images"),
    Metric("auc", _mean_auc, _AUC, "AUC"),
    Metric("log_loss", lambda s: share(s.log_loss_sum, s.scored), "mean negative log likelihood, nats", "log loss"),
    Metric("ece", _ece, _ECE, "ECE"),
    Metric("mean_confidence", lambda s: share(s.confidence_sum, s.scored), "mean probability of the predicted class"),
    Metric("binary_accuracy", _binary_accuracy, _BINARY, "binary accuracy", percent=True),
)
METRICS = {metric.name: metric for metric in _METRICS}
"""The metrics by name, in the order of the columns."""
HISTORY = {"loss": "log_loss"} | {n: n for n in ("accuracy", "macro_precision", "macro_recall", "macro_f1", "auc")}
"""The columns of the training history, without training_ or validation_, and the metric in each."""


def summarise(labels: np.ndarray, probabilities: np.ndarray) -> dict[str, float | None]:
    """Each column of HISTORY for `labels` int [n] and `probabilities` float [n, 7]; None where it is undefined.

    Raises ValueError when there are no rows.
    """
    if len(labels) == 0:
        raise ValueError("no rows to compute metrics from")
    state = MetricState.of(labels, probabilities)
    values = {column: METRICS[name].value(state) for column, name in HISTORY.items()}
    return {column: value if np.isfinite(value) else None for column, value in values.items()}


def absent_line(images: str, counts: Sequence[int]) -> str:
    """What to know of macro figures if a class has no images, by the `counts` of the classes; "" if each has some.

    `images` is what they are called, such as "validation image".
    """
    absent = [name for name, count in zip(CLASSES, counts, strict=True) if not count]
    if not absent:
        return ""
    most = 1 - len(absent) / len(CLASSES)
    names = ", ".join(absent)
    return f"no {images} of {names}: such classes count as 0 in macro figures, so macro F1 is at most {most:.3f}"
