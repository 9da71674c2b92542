"""The tables of a report: columns, types, and what each means, kept in the files as field metadata."""

import pyarrow as pa

from fer_data.emotions import CLASSES


def _schema(*columns: tuple[str, pa.DataType, str]) -> pa.Schema:
    return pa.schema([pa.field(name, kind, metadata={"meaning": meaning}) for name, kind, meaning in columns])


def meaning(field: pa.Field) -> str:
    """What the column means, in words."""
    return field.metadata[b"meaning"].decode()


_TEXT, _COUNT, _FRACTION = pa.string(), pa.int64(), pa.float64()
_WHO = ("checkpoint", _TEXT, "the checkpoint as it was given, or its name; ensemble for the average of all")
_SPLIT = ("split", _TEXT, "training, validation, public_test, private_test or test")

PREDICTIONS = _schema(
    _WHO,
    ("image_id", _TEXT, "the image, as in the data set"),
    ("usage", _TEXT, "the usage of the image in the data set"),
    ("label", pa.int8(), "annotated class, 0 to 6"),
    ("predicted", pa.int8(), "most probable class, 0 to 6; null where there is an error"),
    *((f"p_{name}", pa.float32(), f"probability of {name}, 0 to 1; null where there is an error") for name in CLASSES),
    ("error", _TEXT, "why the row could not be scored; null where it was"),
)

METRICS = _schema(
    _WHO,
    _SPLIT,
    ("rows", _COUNT, "images of the split, those with errors included"),
    ("errors", _COUNT, "images that could not be scored; every metric leaves them out"),
    ("accuracy", _FRACTION, "share of images whose most probable class is the label (top-1), 0 to 1"),
    ("accuracy_low", _FRACTION, "lower end of its 95 % interval (Wilson)"),
    ("accuracy_high", _FRACTION, "upper end of its 95 % interval (Wilson)"),
    ("top2_accuracy", _FRACTION, "share of images whose label is among the two most probable classes"),
    ("macro_precision", _FRACTION, "precision, mean of the seven classes; 0 for a class never predicted"),
    ("macro_recall", _FRACTION, "recall, mean of the seven classes; 0 for a class that never occurs"),
    ("macro_f1", _FRACTION, "F1, mean of the seven classes"),
    ("macro_f1_low", _FRACTION, "lower end of its 95 % interval (bootstrap over images)"),
    ("macro_f1_high", _FRACTION, "upper end of its 95 % interval (bootstrap over images)"),
    ("weighted_precision", _FRACTION, "precision, mean of the classes weighted by their images"),
    ("weighted_recall", _FRACTION, "recall, mean of the classes weighted by their images: the accuracy"),
    ("weighted_f1", _FRACTION, "F1, mean of the classes weighted by their images"),
    ("auc", _FRACTION, "area under the ROC curve, one class against the rest, mean of the classes that occur"),
    ("log_loss", _FRACTION, "mean negative log likelihood of the label, nats"),
    ("ece", _FRACTION, "expected calibration error: mean gap of confidence and accuracy over 15 bins"),
    ("mean_confidence", _FRACTION, "mean probability of the predicted class"),
    ("binary_accuracy", _FRACTION, "agreement with the one-hot matrix at 0.5, over all 7 entries of each row"),
    ("rows_leak_free", _COUNT, "images of the split whose pixels do not occur among the training rows"),
    ("errors_leak_free", _COUNT, "images among these that could not be scored"),
    ("accuracy_leak_free", _FRACTION, "accuracy on these alone"),
    ("accuracy_leak_free_low", _FRACTION, "lower end of its 95 % interval (Wilson)"),
    ("accuracy_leak_free_high", _FRACTION, "upper end of its 95 % interval (Wilson)"),
    ("macro_f1_leak_free", _FRACTION, "macro F1 on these alone"),
)

PER_CLASS = _schema(
    _WHO,
    _SPLIT,
    ("class", _TEXT, "the class"),
    ("label", pa.int8(), "its number, 0 to 6"),
    ("support", _COUNT, "images of this class"),
    ("predicted", _COUNT, "images predicted to be of this class"),
    ("correct", _COUNT, "images of this class predicted to be of it"),
    ("precision", _FRACTION, "correct of predicted, 0 to 1; 0 when never predicted"),
    ("precision_low", _FRACTION, "lower end of its 95 % interval (Wilson); null when never predicted"),
    ("precision_high", _FRACTION, "upper end of its 95 % interval (Wilson); null when never predicted"),
    ("recall", _FRACTION, "correct of support, 0 to 1; 0 when the class does not occur"),
    ("recall_low", _FRACTION, "lower end of its 95 % interval (Wilson); null when the class does not occur"),
    ("recall_high", _FRACTION, "upper end of its 95 % interval (Wilson); null when the class does not occur"),
    ("f1", _FRACTION, "harmonic mean of precision and recall"),
    ("auc", _FRACTION, "area under the ROC curve of this class against the rest; null when it has none"),
)

CONFUSION = _schema(
    _WHO,
    _SPLIT,
    ("label", pa.int8(), "annotated class, 0 to 6"),
    ("predicted", pa.int8(), "predicted class, 0 to 6"),
    ("label_name", _TEXT, "the annotated class by name"),
    ("predicted_name", _TEXT, "the predicted class by name"),
    ("rows", _COUNT, "images so annotated and so predicted"),
    ("share_of_label", _FRACTION, "of the images so annotated, 0 to 1; null when there are none"),
)

CALIBRATION = _schema(
    _WHO,
    _SPLIT,
    ("bin", pa.int32(), "number of the bin, 0 to 14"),
    ("confidence_low", _FRACTION, "the bin holds confidences above this (the first bin: from 0 on)"),
    ("confidence_high", _FRACTION, "and up to this"),
    ("rows", _COUNT, "images whose confidence (the probability of the predicted class) lies in the bin"),
    ("mean_confidence", _FRACTION, "mean confidence of these; null when there are none"),
    ("accuracy", _FRACTION, "accuracy on these; null when there are none"),
    ("accuracy_low", _FRACTION, "lower end of its 95 % interval (Wilson)"),
    ("accuracy_high", _FRACTION, "upper end of its 95 % interval (Wilson)"),
)

COMPARISONS = _schema(
    _SPLIT,
    ("checkpoint_a", _TEXT, "the one of the pair that was given first"),
    ("checkpoint_b", _TEXT, "the other"),
    ("rows", _COUNT, "images that both scored"),
    ("both_correct", _COUNT, "images that both got right"),
    ("only_a_correct", _COUNT, "images that only a got right"),
    ("only_b_correct", _COUNT, "images that only b got right"),
    ("both_wrong", _COUNT, "images that both got wrong"),
    ("accuracy_a", _FRACTION, "accuracy of a on these images"),
    ("accuracy_b", _FRACTION, "accuracy of b on these images"),
    ("difference", _FRACTION, "accuracy of b less that of a, -1 to 1"),
    ("difference_low", _FRACTION, "lower end of its 95 % interval (paired; Bonett and Price 2012)"),
    ("difference_high", _FRACTION, "upper end of its 95 % interval (paired; Bonett and Price 2012)"),
    ("p_value", _FRACTION, "McNemar's exact test of equal accuracy, two-sided"),
    ("p_value_corrected", _FRACTION, "the same, corrected for the number of pairs in the split (Holm)"),
    ("better", _TEXT, "the checkpoint that is better at the corrected 5 % level; null when none is"),
    ("macro_f1_difference", _FRACTION, "macro F1 of b less that of a"),
    ("macro_f1_difference_low", _FRACTION, "lower end of its 95 % interval (paired bootstrap over images)"),
    ("macro_f1_difference_high", _FRACTION, "upper end of its 95 % interval (paired bootstrap over images)"),
)

ROBUSTNESS = _schema(
    _WHO,
    _SPLIT,
    ("corruption", _TEXT, "what was done to the images; none for the images as they are"),
    ("strength", pa.int8(), "1 to 3, 0 for none"),
    ("rows", _COUNT, "images scored"),
    ("accuracy", _FRACTION, "accuracy on the corrupted images"),
    ("accuracy_low", _FRACTION, "lower end of its 95 % interval (Wilson)"),
    ("accuracy_high", _FRACTION, "upper end of its 95 % interval (Wilson)"),
    ("macro_f1", _FRACTION, "macro F1 on the corrupted images"),
    ("accuracy_kept", _FRACTION, "accuracy as a share of that on the images as they are; null when that is 0"),
)

SUSPECTS = _schema(
    _SPLIT,
    ("image_id", _TEXT, "the image, as in the data set"),
    ("label", pa.int8(), "annotated class, 0 to 6"),
    ("predicted", pa.int8(), "the class that every checkpoint says instead"),
    ("confidence", _FRACTION, "least probability that a checkpoint gives it"),
    ("p_label", _FRACTION, "greatest probability that a checkpoint gives the label"),
)

LEADERBOARD = _schema(
    ("rank", pa.int32(), "1 is best: by accuracy, then macro F1, within a split of one data set"),
    ("report", _TEXT, "the folder of the report"),
    _WHO,
    _SPLIT,
    ("data_fingerprint", _TEXT, "the data set's; only equal ones are ranked together"),
    ("protocol", _TEXT, "which rows the split holds"),
    ("tta", _TEXT, "test-time augmentation"),
    ("parameters", _COUNT, "parameters of the model; null when its file does not say"),
    *((name, METRICS.field(name).type, meaning(METRICS.field(name))) for name in METRICS.names[2:]),
)

TABLES: dict[str, pa.Schema] = {
    "predictions": PREDICTIONS,
    "metrics": METRICS,
    "per_class": PER_CLASS,
    "confusion": CONFUSION,
    "calibration": CALIBRATION,
    "comparisons": COMPARISONS,
    "robustness": ROBUSTNESS,
    "suspects": SUSPECTS,
}
