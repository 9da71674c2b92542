"""Near copies beside the training images that they resemble, for the page."""

from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc

from jobs.evaluation.report.results import Predictions


@dataclass(frozen=True)
class Pair:
    """A near copy and its twin in training: ids, labels and pixels, uint8 [48, 48] each; their correlation, -1 to 1.

    `mirrored`: one is the mirror image of the other.
    """

    image_id: str
    label: int
    pixels: np.ndarray
    twin_id: str
    twin_label: int
    twin_pixels: np.ndarray
    correlation: float
    mirrored: bool


def near_copy_pairs(predictions: Predictions, split: str, count: int) -> list[Pair]:
    """Up to `count` near copies in `split`, from the lowest correlation to the highest and spread evenly between.

    Only those whose partner is a training image: the correlation is that of the two. None where near copies were not
    looked for. Keeps 12 bytes for each near copy while it chooses.
    """
    photographs = predictions.photographs
    if photographs is None:
        return []
    numbers, correlations = [np.empty(0, np.int64)], [np.empty(0, np.float32)]
    for shard, whole in predictions.tables(["copy", "correlation", "error"], split):
        table = whole.slice(0, shard.rows)
        usable = pc.and_(pc.equal(table.column("copy"), "near"), pc.is_null(table.column("error")))
        rows = np.flatnonzero(usable.to_numpy() & shard.members[split])
        own = photographs.numbers(shard)[rows]
        # Where the twin is another image than the partner, the correlation is not that of the pair.
        shown = photographs.twins(own) == photographs.partners(own)
        numbers.append(own[shown])
        correlations.append(table.column("correlation").to_numpy()[rows[shown]])
    every, strength = np.concatenate(numbers), np.concatenate(correlations)
    order = np.lexsort((every, strength))
    chosen = order[np.unique(np.linspace(0, len(order) - 1, min(count, len(order))).round().astype(int))]
    pairs = []
    for number, twin, correlation in zip(
        every[chosen], photographs.twins(every[chosen]), strength[chosen], strict=True
    ):
        (image_id, pixels), (twin_id, twin_pixels) = photographs.image(number), photographs.image(twin)
        label, twin_label = photographs.labels(np.array([number, twin])).tolist()
        mirrored = photographs.mirrored(number)
        pairs.append(Pair(image_id, label, pixels, twin_id, twin_label, twin_pixels, float(correlation), mirrored))
    return pairs
