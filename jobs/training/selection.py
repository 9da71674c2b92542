"""Which validation images a run has not seen, and whether it chooses its best epoch by them."""

from dataclasses import replace

import numpy as np

from fer_data.dataset import PreparedDataset
from fer_data.seen import UNSEEN, Seen
from fer_data.splits import Split
from jobs.training.config import TrainConfig


def unseen_rows(dataset: PreparedDataset, training: Split, validation: Split) -> np.ndarray | None:
    """Whether each image of `validation` shows a photograph that no image of `training` shows.

    bool [n], in the order of the split; None if near copies are not known. `training` has the rows that the run trains
    on, after --train-fraction: an image whose only copies were left out is unseen. Labels play no part.
    """
    if not dataset.manifest.near_copies:
        return None
    return Seen(dataset, training).copying_of_split(validation).kind == UNSEEN


def seen_line(unseen: np.ndarray | None) -> list[str]:
    """What people ought to know of a validation split of which some images are not `unseen`; nothing of others."""
    if unseen is None or unseen.all():
        return []
    seen = f"{1 - unseen.mean():.0%} of the validation images show a photograph that is also trained on"
    return [f"{seen}; {unseen.sum():,} are unseen"]


def decided(config: TrainConfig, unseen: np.ndarray | None) -> TrainConfig:
    """`config` with the `select` that a run follows: all, unless a validation image is known to be `unseen`.

    `unseen` is what `unseen_rows` returns. The result is what a run saves, so that its card tells how it chose.
    """
    if unseen is None or not unseen.any():
        return replace(config, select="all")
    return config
