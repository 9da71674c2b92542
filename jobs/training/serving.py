"""The model as it is served, in float32: validation on unchanged images, and calibration."""

from collections.abc import Callable, Iterator
from typing import Literal

import keras
import numpy as np
import tensorflow as tf

from fer_data.batches import ordered_batches
from fer_data.dataset import PreparedDataset
from fer_data.splits import Split
from fer_models.calibration import apply_temperature, fit_temperature, tempered
from fer_models.metrics import HISTORY, summarise
from jobs.training.collectives import Collectives
from jobs.training.config import UNSEEN_SUFFIX
from jobs.training.feed import device

_BATCH = {"CPU": 256, "GPU": 2_048}
_REMEMBERED_ROWS = 16_384
"""A rank keeps its share of the validation rows in memory if it is not larger (38 MB), and then reads them once."""


class ServingModel:
    """Validated and saved in float32, whatever the precision of training, so that the measured model is saved.

    `unseen` is bool [n] over the rows of `validation` in their order, the same on all ranks; None if it is not known.
    """

    def __init__(
        self,
        model: keras.Model,
        dataset: PreparedDataset,
        validation: Split,
        collectives: Collectives,
        *,
        unseen: np.ndarray | None = None,
    ) -> None:
        self.model = model
        self._weights = model.weights
        self._dataset, self._validation, self._collectives = dataset, validation, collectives
        self._unseen = unseen
        self._batch = _BATCH[device()[:3]]
        self._remembered: list[tuple[np.ndarray, np.ndarray]] | None = None
        self._predict = tf.function(
            lambda pixels: model(pixels, training=False),
            autograph=False,
            input_signature=[tf.TensorSpec((self._batch, 48, 48, 1), tf.uint8)],
        )

    def set_weights(self, weights: list[np.ndarray]) -> None:
        """Copy `weights`, in the order of `model.weights`, into the model."""
        for own, other in zip(self._weights, weights, strict=True):
            own.assign(other)

    def validate(
        self, *, calibrate: Literal["unseen", "all"] | None, beat: Callable[[], None]
    ) -> dict[str, float | None]:
        """Metrics over all validation rows and over the unseen ones; `beat` is called after each batch.

        Each row is scored by one rank. Metrics over the unseen rows are None if it is not known which these are, or if
        there are none. With `calibrate`, a temperature is fitted to these rows, all or unseen, and stored in the model.
        """
        labels, probabilities = [], []
        for pixels, truth in self._shares():
            # All batches have one shape, so that one graph serves them.
            padded = np.pad(pixels, ((0, self._batch - len(pixels)), (0, 0), (0, 0), (0, 0)))
            labels.append(truth)
            probabilities.append(self._predict(padded)[: len(pixels)])
            beat()
        truth, predicted = gathered(
            self._collectives,
            np.concatenate(labels or [np.empty(0, np.int64)]),
            np.concatenate([rows.numpy() for rows in probabilities] or [np.empty((0, 7), np.float32)]),
        )
        temperature = {}
        if calibrate:
            # On images that it remembers a network may be as sure as it is. It is not used for those.
            rows = self._unseen if calibrate == "unseen" else slice(None)
            fitted = fit_temperature(truth[rows], predicted[rows])
            apply_temperature(self.model, fitted)
            predicted = tempered(predicted, fitted)
            temperature = {"validation_temperature": fitted}
        # The rows that were gathered are in the order of the split, and so is the mask.
        unseen = unseen_metrics(truth, predicted, self._unseen)
        return (
            {f"validation_{name}": value for name, value in summarise(truth, predicted).items()}
            | {f"validation_{name}{UNSEEN_SUFFIX}": value for name, value in unseen.items()}
            | temperature
        )

    def _shares(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """This rank's share of the validation rows, a batch at a time: pixels and labels."""
        if self._remembered is not None:
            yield from self._remembered
            return
        remembered: list[tuple[np.ndarray, np.ndarray]] = []
        small = self._validation.num_rows <= _REMEMBERED_ROWS * self._collectives.world_size
        for batch in ordered_batches(
            self._dataset,
            self._validation,
            batch_size=self._batch,
            rank=self._collectives.rank,
            world_size=self._collectives.world_size,
        ):
            if small:
                remembered.append(batch)
            yield batch
        if small:
            self._remembered = remembered


def unseen_metrics(labels: np.ndarray, probabilities: np.ndarray, unseen: np.ndarray | None) -> dict[str, float | None]:
    """Each column of HISTORY over the rows where `unseen`, bool [n], is true; None if it is None or nowhere true.

    `labels` are int [n], `probabilities` float [n, 7].
    """
    if unseen is None or not unseen.any():
        return dict.fromkeys(HISTORY)
    return summarise(labels[unseen], probabilities[unseen])


def gathered(collectives: Collectives, labels: np.ndarray, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The rows of all ranks, the same on each: labels int64 [N] and probabilities float32 [N, 7]."""
    rows = np.concatenate([labels[:, None].astype(np.float32), probabilities], axis=1)
    rows = collectives.gather_rows(rows)
    return rows[:, 0].astype(np.int64), rows[:, 1:]
