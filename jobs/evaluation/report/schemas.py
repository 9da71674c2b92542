"""The tables of a report: name, type and meaning of each column. The files keep the meanings as field metadata."""

import re

import pyarrow as pa

from fer_models import metrics
from jobs.evaluation.predictions import CHECKPOINT, PREDICTIONS, table_schema


def meaning(field: pa.Field) -> str:
    """The meaning of a column, in words."""
    return field.metadata[b"meaning"].decode()


_TEXT, _COUNT, _FRACTION = pa.string(), pa.int64(), pa.float64()
_SPLIT = ("split", _TEXT, "training, validation, public_test, private_test or test")

SUBSETS = {
    "leak_free": "only images whose pixels do not occur among the training rows",
    "unseen": "only images that are neither exact nor near copies of a training image; null where near copies were "
    "not looked for",
}
"""Parts of a split on which the metrics that are `in_subsets` are computed too."""

KINDS = {
    "unseen": "neither an exact nor a near copy of a training image",
    "exact": "a training image, or its pixels",
    "near": "another picture of a photograph that is in the training images",
    "near, same label": "such an image with the label of its twin in training",
    "near, another label": "such an image with another label than its twin in training",
}
"""The kinds of images by what a network can have seen of them in training, and their meanings."""


def column_in(subset: str, name: str) -> str:
    """The column of metric `name` on `subset`: accuracy_low on leak_free is accuracy_leak_free_low."""
    return re.sub("(_low|_high)?$", rf"_{subset}\1", name, count=1)


METRICS = table_schema(
    CHECKPOINT,
    _SPLIT,
    *((metric.name, metric.type, metric.meaning) for metric in metrics.METRICS.values()),
    *(
        (column_in(subset, metric.name), metric.type, f"{metric.meaning}; {which}")
        for subset, which in SUBSETS.items()
        for metric in metrics.METRICS.values()
        if metric.in_subsets
    ),
)

PER_CLASS = table_schema(
    CHECKPOINT,
    _SPLIT,
    ("class", _TEXT, "the class"),
    ("label", pa.int8(), "its number, 0 to 6"),
    ("support", _COUNT, "images annotated as this class"),
    ("predicted", _COUNT, "images predicted as this class"),
    ("correct", _COUNT, "images annotated and predicted as this class"),
    ("precision", _FRACTION, "correct / predicted; 0 when never predicted"),
    ("precision_low", _FRACTION, "lower end of its 95 % interval (Wilson); null when never predicted"),
    ("precision_high", _FRACTION, "upper end of its 95 % interval (Wilson); null when never predicted"),
    ("recall", _FRACTION, "correct / support; 0 when the class does not occur"),
    ("recall_low", _FRACTION, "lower end of its 95 % interval (Wilson); null when the class does not occur"),
    ("recall_high", _FRACTION, "upper end of its 95 % interval (Wilson); null when the class does not occur"),
    ("f1", _FRACTION, "harmonic mean of precision and recall"),
    ("auc", _FRACTION, "area under the ROC curve of this class against the rest; null when it has none"),
    *(
        (column_in("unseen", name), kind, f"{meant}; {SUBSETS['unseen']}")
        for name, kind, meant in (
            ("support", _COUNT, "images annotated as this class"),
            ("correct", _COUNT, "images annotated and predicted as this class"),
            ("precision", _FRACTION, "correct / predicted; 0 when never predicted"),
            ("recall", _FRACTION, "correct / support; 0 when the class does not occur"),
            ("f1", _FRACTION, "harmonic mean of precision and recall"),
        )
    ),
)

CONFUSION = table_schema(
    CHECKPOINT,
    _SPLIT,
    ("label", pa.int8(), "annotated class, 0 to 6"),
    ("predicted", pa.int8(), "predicted class, 0 to 6"),
    ("label_name", _TEXT, "the annotated class by name"),
    ("predicted_name", _TEXT, "the predicted class by name"),
    ("rows", _COUNT, "images with this annotated and this predicted class"),
    ("share_of_label", _FRACTION, "rows / all images with this annotated class; null when there are none"),
)

CALIBRATION = table_schema(
    CHECKPOINT,
    _SPLIT,
    ("bin", pa.int32(), "index of the bin, 0 to 14"),
    ("confidence_low", _FRACTION, "lower edge of the bin, which it excludes except for 0"),
    ("confidence_high", _FRACTION, "upper edge of the bin, which it includes"),
    ("rows", _COUNT, "images whose confidence (the probability of the predicted class) is in the bin"),
    ("mean_confidence", _FRACTION, "mean confidence in the bin; null without images"),
    ("accuracy", _FRACTION, "accuracy in the bin; null without images"),
    ("accuracy_low", _FRACTION, "lower end of its 95 % interval (Wilson)"),
    ("accuracy_high", _FRACTION, "upper end of its 95 % interval (Wilson)"),
)

COMPARISONS = table_schema(
    _SPLIT,
    ("checkpoint_a", _TEXT, "the checkpoint of the pair that was given first"),
    ("checkpoint_b", _TEXT, "the other checkpoint"),
    ("rows", _COUNT, "images that both scored"),
    ("both_correct", _COUNT, "images that both got right"),
    ("only_a_correct", _COUNT, "images that only a got right"),
    ("only_b_correct", _COUNT, "images that only b got right"),
    ("both_wrong", _COUNT, "images that both got wrong"),
    ("accuracy_a", _FRACTION, "accuracy of a on these images"),
    ("accuracy_b", _FRACTION, "accuracy of b on these images"),
    ("difference", _FRACTION, "accuracy of b minus that of a, -1 to 1"),
    (
        "difference_low",
        _FRACTION,
        "lower end of its 95 % interval for this pair alone (Bonett and Price 2012)",
    ),
    (
        "difference_high",
        _FRACTION,
        "upper end of its 95 % interval for this pair alone (Bonett and Price 2012)",
    ),
    ("p_value", _FRACTION, "McNemar's exact test of equal accuracy, two-sided"),
    ("p_value_corrected", _FRACTION, "the same, corrected for the number of pairs in the split (Holm)"),
    (
        "better",
        _TEXT,
        "the checkpoint with significantly higher accuracy (corrected p < 0.05); null when neither has",
    ),
    ("macro_f1_difference", _FRACTION, "macro F1 of b minus that of a"),
    ("macro_f1_difference_low", _FRACTION, "lower end of its 95 % interval (paired bootstrap over images)"),
    ("macro_f1_difference_high", _FRACTION, "upper end of its 95 % interval (paired bootstrap over images)"),
    *(
        (column_in("unseen", name), kind, f"{meant}; {SUBSETS['unseen']}")
        for name, kind, meant in (
            ("rows", _COUNT, "images that both scored"),
            ("difference", _FRACTION, "accuracy of b minus that of a, -1 to 1"),
            ("difference_low", _FRACTION, "lower end of its 95 % interval for this pair alone"),
            ("difference_high", _FRACTION, "upper end of its 95 % interval for this pair alone"),
            ("p_value", _FRACTION, "McNemar's exact test of equal accuracy, two-sided"),
            ("p_value_corrected", _FRACTION, "the same, corrected for the number of pairs in the split (Holm)"),
            ("better", _TEXT, "the checkpoint with significantly higher accuracy (corrected p < 0.05)"),
        )
    ),
)

COPIES = table_schema(
    CHECKPOINT,
    _SPLIT,
    ("kind", _TEXT, "; ".join(f"{kind}: {meant}" for kind, meant in KINDS.items())),
    ("rows", _COUNT, "images of this kind, including those with errors"),
    ("accuracy", _FRACTION, "accuracy on them; null without any"),
    ("accuracy_low", _FRACTION, "lower end of its 95 % interval (Wilson); null without any"),
    ("accuracy_high", _FRACTION, "upper end of its 95 % interval (Wilson); null without any"),
)

ROBUSTNESS = table_schema(
    CHECKPOINT,
    _SPLIT,
    ("corruption", _TEXT, "the corruption; none for the original images"),
    ("strength", pa.int8(), "1 to 3, 0 for none"),
    ("rows", _COUNT, "images scored"),
    ("accuracy", _FRACTION, "accuracy on the corrupted images"),
    ("accuracy_low", _FRACTION, "lower end of its 95 % interval (Wilson)"),
    ("accuracy_high", _FRACTION, "upper end of its 95 % interval (Wilson)"),
    ("macro_f1", _FRACTION, "macro F1 on the corrupted images"),
    ("accuracy_kept", _FRACTION, "accuracy divided by the accuracy on the original images; null when that is 0"),
)

SUSPECTS = table_schema(
    _SPLIT,
    ("image_id", _TEXT, "the image, as in the data set"),
    ("label", pa.int8(), "annotated class, 0 to 6"),
    ("predicted", pa.int8(), "the other class that every checkpoint predicts"),
    ("label_name", _TEXT, "the annotated class by name"),
    ("predicted_name", _TEXT, "the predicted class by name"),
    ("confidence", _FRACTION, "lowest probability that a checkpoint gives it"),
    ("p_label", _FRACTION, "highest probability that a checkpoint gives the label"),
    (
        "other_labels",
        _TEXT,
        "the classes, by name, as which other images of the same photograph are annotated; null where none is known",
    ),
)

LEADERBOARD = table_schema(
    (
        "rank",
        pa.int32(),
        "1 is best: by accuracy, then macro F1, within a split of one data set; by those on unseen images where they "
        "are known for every checkpoint of the split",
    ),
    ("report", _TEXT, "the folder of the report"),
    CHECKPOINT,
    _SPLIT,
    ("data_fingerprint", _TEXT, "fingerprint of the data set; only reports on the same data are ranked together"),
    ("protocol", _TEXT, "the split protocol"),
    ("tta", _TEXT, "test-time augmentation"),
    ("parameters", _COUNT, "parameters of the model; null when its file does not state them"),
    *((name, METRICS.field(name).type, meaning(METRICS.field(name))) for name in METRICS.names[2:]),
)

TABLES: dict[str, pa.Schema] = {
    "predictions": PREDICTIONS,
    "metrics": METRICS,
    "per_class": PER_CLASS,
    "confusion": CONFUSION,
    "calibration": CALIBRATION,
    "comparisons": COMPARISONS,
    "copies": COPIES,
    "robustness": ROBUSTNESS,
    "suspects": SUSPECTS,
}
