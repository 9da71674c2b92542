"""A sweep as an object, for its driver, board and report."""

from dataclasses import dataclass

from jobs.training.config import TrainConfig
from jobs.tuning.options import SchedulerConfig, SearchOptions
from jobs.tuning.spaces import Space
from jobs.tuning.sweep_folder import SweepFolder


@dataclass(frozen=True)
class Sweep:
    """The search around the configuration `base`, and the folder of the results."""

    folder: SweepFolder
    base: TrainConfig
    space: Space
    search: SearchOptions
    scheduler: SchedulerConfig

    @property
    def budget_seconds(self) -> float | None:
        """How long the sweep may run before it stops, to be resumed later."""
        return self.search.time_budget and self.search.time_budget * 60
