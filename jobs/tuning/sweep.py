"""A sweep as an object: what its driver, its board and its report all need to know of it."""

from dataclasses import dataclass

from jobs.training.config import TrainConfig
from jobs.tuning.options import SchedulerConfig, SearchOptions
from jobs.tuning.search import metric_and_mode
from jobs.tuning.spaces import Space
from jobs.tuning.sweep_folder import SweepFolder


@dataclass(frozen=True)
class Sweep:
    """What is searched around the configuration `base`, how, and the folder of the results."""

    folder: SweepFolder
    base: TrainConfig
    space: Space
    search: SearchOptions
    scheduler: SchedulerConfig

    @property
    def metric(self) -> str:
        """The column of the history by which trials are compared."""
        return metric_and_mode(self.base)[0]

    @property
    def mode(self) -> str:
        """Whether the `min` or the `max` of the metric is best."""
        return metric_and_mode(self.base)[1]

    @property
    def budget_seconds(self) -> float | None:
        """How long this start of the sweep may take."""
        return self.search.time_budget and self.search.time_budget * 60
