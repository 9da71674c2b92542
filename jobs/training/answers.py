"""What the teachers say of the views that --views repeats, kept so that they are asked once.

A view is an epoch's images, in its order and with its augmentation. The answers to one are float32 [steps, B, 7], B
being the global batch, so that a run may go on with another number of ranks. They are held in memory and, for later
processes, in a file of the run's folder: a SHA-256, then the numbers.
"""

import hashlib
import json
from dataclasses import asdict, replace

import numpy as np

from fer_data.emotions import NUM_CLASSES
from fer_data.errors import UserError
from fer_data.storage import exists, read_file, write_file
from jobs.training.collectives import Collectives
from jobs.training.config import TrainConfig
from jobs.training.feed import Call
from jobs.training.run_folder import RunFolder

_SHA_BYTES = 32


class Answers:
    """The answers that are known to this rank, whose rows of a global batch are `rows`; read from `folder`.

    All ranks know the answers to the same views.
    """

    def __init__(
        self,
        config: TrainConfig,
        folder: RunFolder,
        collectives: Collectives,
        *,
        rows: slice,
        steps: int,
        data_fingerprint: str,
        epochs_done: int,
    ) -> None:
        self._view, self._views = config.distillation.view, config.distillation.views
        self._folder, self._rows = folder, rows
        self._shape = (steps, config.batch_size, NUM_CLASSES)
        # Population-based training may change the augmentation, and goes on in the same folder.
        what = asdict(replace(config.augmentation, noise=0)) | {"teacher": config.distillation.teacher}
        what |= {"data": data_fingerprint, "fraction": config.train_fraction, "seed": config.seed}
        self._subject = json.dumps(what, sort_keys=True).encode()
        # A view of an epoch that is not done is asked for again: compiled for a GPU, the step with teachers may differ
        # in its last bits from the one that is given the answers.
        found = [self._read(view) for view in range(1, min(self._views, epochs_done) + 1)]
        by_all = collectives.gather_ints([array is not None for array in found]).min(axis=0) if found else []
        self._known = {i + 1: array for i, array in enumerate(found) if array is not None and by_all[i]}

    def known(self, epoch: int) -> bool:
        """Whether the teachers need not be asked in `epoch`."""
        return self._view(epoch) in self._known

    def wanted(self, epoch: int) -> bool:
        """Whether the answers of `epoch` are to be kept, since a later epoch repeats its view."""
        return self._views > 0 and not self.known(epoch)

    def of(self, call: Call) -> np.ndarray | None:
        """This rank's answers for a call of K steps, float32 [K, n, 7]; None if the teachers are to be asked."""
        known = self._known.get(self._view(call.epoch))
        return None if known is None else known[call.first : call.first + call.steps]

    def keep(self, epoch: int, answers: np.ndarray) -> None:
        """Keep what the teachers said in `epoch`, float32 [steps, B, 7], in memory."""
        self._known[self._view(epoch)] = answers[:, self._rows].copy()

    def write(self, epoch: int, answers: np.ndarray) -> None:
        """Write the same into the run's folder; for one rank. Raises UserError when storage refuses."""
        content = answers.tobytes()
        write_file(self._folder.answers(self._view(epoch)), self._sha(content) + content)

    def _read(self, view: int) -> np.ndarray | None:
        """The rank's answers to `view`; None if there are none, they are damaged, or they are about other images."""
        uri = self._folder.answers(view)
        if not exists(uri):
            return None
        try:
            content = read_file(uri, limit=_SHA_BYTES + 4 * int(np.prod(self._shape)))
        except UserError:
            return None
        sha, numbers = content[:_SHA_BYTES], content[_SHA_BYTES:]
        if sha != self._sha(numbers):
            return None
        return np.frombuffer(numbers, np.float32).reshape(self._shape)[:, self._rows].copy()

    def _sha(self, numbers: bytes) -> bytes:
        return hashlib.sha256(self._subject + numbers).digest()
