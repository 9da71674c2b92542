"""Is the best trial better than the initial configuration by more than chance? Both score the same images."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import ray

from cluster.connect import WorkerResources
from fer_data.batches import ordered_batches
from fer_data.commands import counted
from fer_data.dataset import PreparedDataset
from fer_data.splits import Split
from jobs.evaluation.report.comparisons import paired_difference_interval
from jobs.ray_parallel import result_of
from jobs.tensorflow_environment import tensorflow_environment
from jobs.tuning.sweep_folder import SweepFolder, Trial

_BATCH = 256


@dataclass(frozen=True)
class Comparison:
    """Two checkpoints on the same `rows` validation images.

    `only_first` is the number of images that only the initial configuration gets right, `only_best` the number that
    only the best trial does, which was chosen among `others` trials and the first.
    """

    rows: int
    only_first: int
    only_best: int
    others: int

    @property
    def difference(self) -> float:
        """The accuracy of the best trial minus that of the initial configuration, -1 to 1."""
        return (self.only_best - self.only_first) / self.rows

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the difference, wider the more trials the best was chosen among (Bonferroni)."""
        return paired_difference_interval(self.only_first, self.only_best, self.rows, comparisons=self.others)

    @property
    def repetitions(self) -> int | None:
        """How many more trials of each of the two would show the difference, if it is real; None if none would.

        An estimate: what the two differ in by chance averages out over trainings with other seeds.
        """
        if self.difference <= 0:
            return None
        low, _ = self.interval
        return max(1, math.ceil(((self.difference - low) / self.difference) ** 2) - 1)

    def to_dict(self) -> dict[str, Any]:
        """For best/comparison.json."""
        low, high = self.interval
        return {
            "images": self.rows,
            "only_initial_right": self.only_first,
            "only_best_right": self.only_best,
            "accuracy_difference": self.difference,
            "accuracy_difference_low": low,
            "accuracy_difference_high": high,
            "chosen_among": self.others + 1,
        }

    def lines(self) -> list[str]:
        """The result in words."""
        low, high = (100 * bound for bound in self.interval)
        side = "above" if self.difference >= 0 else "below"
        line = (
            f"the best trial is {100 * abs(self.difference):.1f} points of accuracy {side} the initial configuration "
            f"on the same {counted(self.rows, 'image')} (95 % interval {low:+.1f} to {high:+.1f}, for the best of "
            f"{counted(self.others + 1, 'trial')}): "
        )
        if low > 0:
            return [line + "more than chance"]
        if self.repetitions is None:
            return [line + "no more than chance"]
        more = counted(2 * self.repetitions, "more trial")
        return [
            line + "that may be chance",
            f"if it is real, some {more} would show it: half of each, with other --seed",
        ]


def compare(
    folder: SweepFolder,
    trials: Sequence[Trial],
    first: Trial | None,
    best: Trial,
    *,
    dataset: PreparedDataset,
    validation: Split,
    unseen: np.ndarray | None,
    resources: WorkerResources,
) -> Comparison | None:
    """Score the checkpoints of `first`, the initial configuration, and of `best` where a worker of a trial would run.

    `unseen`, bool [n], has the rows of `validation` that count; all count if it is None. Returns None when there is no
    `first`, when it is the best, and when it has no checkpoint.
    """
    if first is None or best.name == first.name or not first.history:
        return None
    uris = [folder.run(trial.name).best for trial in (first, best)]
    task: Any = ray.remote(num_cpus=resources.cpus, num_gpus=resources.gpus)(_right)
    job = task.options(runtime_env={"env_vars": tensorflow_environment()}).remote(uris, dataset, validation, resources)
    of_first, of_best = result_of(job)[:, slice(None) if unseen is None else unseen]
    only_first, only_best = int((of_first & ~of_best).sum()), int((of_best & ~of_first).sum())
    return Comparison(len(of_first), only_first, only_best, sum(bool(trial.history) for trial in trials) - 1)


def _right(uris: Sequence[str], dataset: PreparedDataset, validation: Split, resources: WorkerResources) -> np.ndarray:
    """Which rows of `validation` each checkpoint classifies as they are labelled: bool [len(uris), n]."""
    # Here: they take a second to import, before which no trial could begin.
    from jobs.evaluation.scoring.contenders import Contender
    from jobs.evaluation.scoring.networks import Arithmetic, load_network

    arithmetic = Arithmetic(resources.cpus, "saved", gpu=resources.gpus > 0)
    networks = [load_network(Contender(uri, "", uri, "checkpoint", ""), arithmetic) for uri in uris]
    batches = ordered_batches(dataset, validation, batch_size=_BATCH)
    return np.concatenate(
        [
            np.stack([network.predict(pixels).argmax(axis=1) == labels for network in networks])
            for pixels, labels in batches
        ],
        axis=1,
    )
