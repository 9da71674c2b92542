"""A position: where a run stands inside an epoch, as it is saved between two calls of the training loop.

Its arrays are the training state and, under `position/`, what an epoch's checkpoint does not need: the losses and
predictions so far, and what differs between ranks. A run resumes from it on any number of workers. On the same number
it ends with the same weights, bit for bit, as a run that was never interrupted.
"""

from dataclasses import dataclass

import numpy as np

from jobs.training.collectives import Collectives
from jobs.training.state import TrainingState
from jobs.training.tally import EpochTally

_PREFIX = "position/"


@dataclass(frozen=True)
class Position:
    """`step` steps of `epoch`, counted from 1, are done. `arrays` has no state of the model: rank 0 adds it last."""

    epoch: int
    step: int
    arrays: dict[str, np.ndarray]

    @classmethod
    def take(
        cls, epoch: int, tally: EpochTally, seconds: float, state: TrainingState, collectives: Collectives
    ) -> "Position":
        """The position now; every rank must call it. `seconds` is the epoch's time so far."""
        own = state.own()
        ranks = {
            # In parts of 16 bits, since `gather_ints` takes numbers below 2^31.
            "dropout": collectives.gather_ints(own["dropout"].ravel().view(np.uint16).tolist())
            .astype(np.uint16)
            .view(np.int64)
            .reshape(collectives.world_size, -1, 2),
            "statistics": collectives.gather_rows(own["statistics"][None]),
        }
        return cls(epoch, tally.steps, tally.arrays(collectives, seconds) | ranks)

    def with_state(self, state: TrainingState) -> dict[str, np.ndarray]:
        """All arrays to save, with copies of those of `state`."""
        return state.arrays() | {_PREFIX + name: array for name, array in self.arrays.items()}

    @classmethod
    def split(cls, saved: dict[str, np.ndarray], epoch: int) -> tuple["Position", dict[str, np.ndarray]]:
        """The position during `epoch`, and the arrays of the training state, from what `with_state` returned."""
        arrays = {name.removeprefix(_PREFIX): a for name, a in saved.items() if name.startswith(_PREFIX)}
        state = {name: array for name, array in saved.items() if not name.startswith(_PREFIX)}
        return cls(epoch, len(arrays["losses"]), arrays), state

    def restore_own(self, state: TrainingState, collectives: Collectives, seed: int) -> None:
        """Give this rank what was its own. With another number of ranks, statistics are their mean, and seeds new."""
        rank = collectives.rank
        dropout, statistics = self.arrays["dropout"], self.arrays["statistics"]
        if len(dropout) == collectives.world_size:
            state.restore_own({"dropout": dropout[rank], "statistics": statistics[rank]})
            return
        state.seed_dropout(seed, self.epoch, rank, self.step)
        mean = statistics.mean(axis=0, dtype=np.float64).astype(np.float32)
        state.restore_own({"dropout": state.own()["dropout"], "statistics": mean})
