"""What a training row is to be learned as.

The target is the row's label or, with --soft-labels, the shares of the annotators' votes for our seven classes. Then,
in this order: mixup blends it with another row's, label smoothing mixes in the uniform distribution, and teachers have
their share of the loss beside it. Weights of classes, metrics and validation go by the label, which most annotators
chose.

On its way to the device, a row's target is one number, its code: the label in the lowest bits, then the votes. So a
code without votes is the label itself.
"""

from typing import Any

import keras
import numpy as np
import pyarrow as pa

from fer_data.emotions import NUM_CLASSES, class_index
from fer_data.rows import VOTED

_LABEL_BITS, _VOTE_BITS = 3, 7
_OURS = np.argsort([class_index(name) for name in VOTED[:NUM_CLASSES]])
"""For each of our classes, its place among VOTED."""
_SHIFTS = [_LABEL_BITS + _VOTE_BITS * c for c in range(NUM_CLASSES)]


def vote_codes(rows: pa.Table) -> np.ndarray:
    """The codes of rows with the columns label and votes: int64 [n]."""
    flat = rows.column("votes").combine_chunks().flatten().to_numpy(zero_copy_only=False)
    votes = flat.reshape(-1, len(VOTED))[:, _OURS].astype(np.int64)
    return rows.column("label").to_numpy().astype(np.int64) | (votes << np.array(_SHIFTS)).sum(axis=1)


def labels_of(codes: Any) -> Any:
    """The labels in `codes`, int64 of any shape, an array or a tensor."""
    return codes & ((1 << _LABEL_BITS) - 1)


def targets_of(codes: Any, soft_labels: bool) -> tuple[Any, Any]:
    """The targets of the tensor `codes`, float32 [n, 7], each of sum 1, and their labels, int64 [n]."""
    if not soft_labels:
        return keras.ops.one_hot(codes, NUM_CLASSES, dtype="float32"), codes
    labels = labels_of(codes)
    most = (1 << _VOTE_BITS) - 1
    votes = keras.ops.stack([keras.ops.right_shift(codes, shift) & most for shift in _SHIFTS], axis=-1)
    votes = keras.ops.cast(votes, "float32")
    total = keras.ops.sum(votes, axis=-1, keepdims=True)
    hard = keras.ops.one_hot(labels, NUM_CLASSES, dtype="float32")
    return keras.ops.where(total > 0, votes / keras.ops.maximum(total, 1), hard), labels
