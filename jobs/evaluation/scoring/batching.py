"""Forward passes in batches: large enough to keep the device busy, smaller where the memory is short."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import numpy as np

from fer_data.emotions import NUM_CLASSES
from jobs.evaluation.scoring.networks import Network
from jobs.evaluation.scoring.views import views

CPU_BATCH = 256
GPU_BATCH = 4096
"""Enough images to keep a data-centre GPU busy longer than its kernels take to launch, even in small networks."""


def default_batch(on_gpu: bool) -> int:
    """Images per forward pass unless the user sets it."""
    return GPU_BATCH if on_gpu else CPU_BATCH


class Batches:
    """Runs `network` on `size` images at a time; None means the default of its device.

    On a GPU every batch is padded with zeros to the full size: cuDNN chooses a kernel per size, so the probabilities of
    an image would depend on how many others share its batch. A batch that does not fit the memory halves the size for
    good, and the network's warnings say so.
    """

    def __init__(self, network: Network, size: int | None) -> None:
        self._network, self._size = network, size or default_batch(network.on_gpu)
        self._halved = False

    def probabilities(
        self, pixels: np.ndarray, tta: str, batch: Callable[[], AbstractContextManager] = nullcontext
    ) -> np.ndarray:
        """Probabilities of `pixels`, float32 [n, 7], averaged over the views of `tta`; each batch runs in `batch()`.

        Raises MemoryError when not even one image fits.
        """
        result = np.empty((len(pixels), NUM_CLASSES), np.float32)
        start = 0
        while start < len(pixels):
            rows = slice(start, start + self._size)
            try:
                with batch():
                    seen = [self._predict(view) for view in views(pixels[rows], tta)]
            except MemoryError:
                self._halve()
                continue
            result[rows] = np.mean(seen, axis=0, dtype=np.float64) if len(seen) > 1 else seen[0]
            start = rows.stop
        return result

    def _predict(self, pixels: np.ndarray) -> np.ndarray:
        if not self._network.on_gpu or len(pixels) == self._size:
            return self._network.predict(pixels)
        padded = np.pad(pixels, ((0, self._size - len(pixels)), (0, 0), (0, 0), (0, 0)))
        return self._network.predict(padded)[: len(pixels)]

    def _halve(self) -> None:
        if self._size == 1:
            raise MemoryError("there is no memory for a single image")
        if not self._halved:
            self._network.warnings.append(f"{self._size} images do not fit the memory: scored in smaller batches")
        self._halved, self._size = True, self._size // 2
