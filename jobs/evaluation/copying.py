"""Mark the images whose photograph a network may have been trained on: the columns `copy` and `correlation`."""

import numpy as np
import pyarrow as pa

from fer_data.dataset import PreparedDataset
from fer_data.emotions import NUM_CLASSES
from fer_data.seen import EXACT, NEAR, UNSEEN, Seen
from fer_data.splits import Split, split
from jobs.evaluation.predictions import PREDICTIONS
from jobs.evaluation.scoring.shards import Shard

WORDS = {UNSEEN: "", NEAR: "near", EXACT: "exact"}
"""What the column `copy` says."""


def training_split(dataset: PreparedDataset, protocol: str) -> Split:
    """The rows that `protocol` trains on; an empty split where the data set has no training rows."""
    if dataset.manifest.rows("training"):
        return split(dataset, "training", protocol)
    return Split("training", protocol, (), np.zeros(NUM_CLASSES, np.int64))


class CopyMarker:
    """Compares images with those that `protocol` trains on. Keeps what `Seen` keeps."""

    def __init__(self, dataset: PreparedDataset, protocol: str) -> None:
        self._seen = Seen(dataset, training_split(dataset, protocol))

    def marked(self, shard: Shard, scored: pa.Table) -> pa.Table:
        """`scored`, a table of SCORED with the shard's rows once for each checkpoint, as a table of PREDICTIONS."""
        found = self._seen.copying(shard.group, shard.positions)
        # Without the search for near copies, no image is known to be unseen.
        unknown = (found.kind == UNSEEN) & (not self._seen.near_copies_known)
        words = np.array([WORDS[kind] for kind in sorted(WORDS)])[found.kind]
        times = scored.num_rows // shard.rows
        columns = {name: scored.column(name) for name in scored.column_names}
        columns["copy"] = pa.array(np.tile(words, times), pa.string(), mask=np.tile(unknown, times))
        columns["correlation"] = pa.array(
            np.tile(found.correlation, times), pa.float32(), mask=np.tile(found.kind == UNSEEN, times)
        )
        return pa.table([columns[name] for name in PREDICTIONS.names], schema=PREDICTIONS)
