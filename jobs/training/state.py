"""The variables of a run: what training changes, what is saved, and what must be equal on all ranks."""

import hashlib

import keras
import numpy as np

from jobs.training.collectives import Collectives


class TrainingState:
    """The model's weights, the optimizer's variables and the moving average of the weights, by name.

    With `start_share`, also the weights that `model` has now.
    """

    def __init__(self, model: keras.Model, optimizer: keras.Optimizer, *, ema: bool, start_share: float = 0.0) -> None:
        optimizer.build(model.trainable_variables)
        self.model, self.optimizer = model, optimizer
        self.weights = model.weights
        self.averaged = [keras.Variable(v, trainable=False, name="ema") for v in self.weights] if ema else []
        self._start_share = start_share
        self._start = [keras.Variable(v, trainable=False, name="start") for v in self.weights] if start_share else []
        kept = {id(v) for v in self.weights}
        self._seed_states = [v for v in model.variables if id(v) not in kept]
        trained = {id(v) for v in model.trainable_variables}
        # Every rank updates these by itself: the moving statistics of normalisation layers.
        self._statistics = [i for i, v in enumerate(self.weights) if id(v) not in trained]

    def seed_dropout(self, *entropy: int) -> None:
        """Seed dropout from seed, epoch and rank, so that it does not depend on where a run resumed."""
        for i, state in enumerate(self._seed_states):
            state.assign(np.random.SeedSequence([*entropy, i]).generate_state(2) >> 1)

    def own(self) -> dict[str, np.ndarray]:
        """What differs between ranks inside an epoch: dropout's seeds, int64 [k, 2], and the moving statistics of
        normalisation layers, float32 [n].
        """
        values = [v.numpy().ravel() for v in self._own_statistics()]
        seeds = [state.numpy().astype(np.int64) for state in self._seed_states]
        return {
            "dropout": np.stack(seeds) if seeds else np.empty((0, 2), np.int64),
            "statistics": np.concatenate(values) if values else np.empty(0, np.float32),
        }

    def restore_own(self, own: dict[str, np.ndarray]) -> None:
        """Set what `own` returned."""
        for state, seed in zip(self._seed_states, own["dropout"], strict=True):
            state.assign(seed)
        at = 0
        for variable in self._own_statistics():
            size = int(np.prod(variable.shape))
            variable.assign(own["statistics"][at : at + size].reshape(variable.shape))
            at += size

    def synchronise_statistics(self, collectives: Collectives) -> None:
        """Average the moving statistics of normalisation layers over the ranks."""
        collectives.average_variables(self._own_statistics())

    def arrays(self) -> dict[str, np.ndarray]:
        """Copies of all arrays from which training resumes, by name."""
        return {name: variable.numpy() for name, variable in self._named_variables().items()}

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        """Set the variables to what `arrays` returned. Raises ValueError when names or shapes differ."""
        variables = self._named_variables()
        if arrays.keys() != variables.keys():
            raise ValueError(f"the state has other variables: {sorted(arrays.keys() ^ variables.keys())[:3]}")
        for name, variable in variables.items():
            variable.assign(arrays[name])

    def serving_weights(self) -> list[np.ndarray]:
        """The weights to validate and save, in the order of `weights`.

        They are the moving average if there is one, and with `start_share` the mean with the weights of the start.
        """
        trained = [v.numpy() for v in self.averaged or self.weights]
        if not self._start:
            return trained
        # In float64, where a share of what did not change is rounded back to it.
        share = np.float64(self._start_share)
        both = zip(self._start, trained, strict=True)
        return [(share * start.numpy() + (1 - share) * end).astype(end.dtype) for start, end in both]

    def digest(self) -> list[int]:
        """Two 31-bit numbers that differ when any weight does."""
        whole = hashlib.sha256()
        for variable in [*self.weights, *self.averaged]:
            whole.update(variable.numpy().tobytes())
        return [int.from_bytes(whole.digest()[at : at + 4]) >> 1 for at in (0, 4)]

    def _own_statistics(self) -> list[keras.Variable]:
        groups = [self.weights, self.averaged] if self.averaged else [self.weights]
        return [group[i] for group in groups for i in self._statistics]

    def _named_variables(self) -> dict[str, keras.Variable]:
        groups = {"model": self.weights, "optimizer": self.optimizer.variables, "ema": self.averaged}
        groups["start"] = self._start
        return {f"{group}/{i:04d}": v for group, members in groups.items() for i, v in enumerate(members)}
