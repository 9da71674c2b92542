"""The command line of the sweep."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal

import tyro

from fer_data.commands import check
from fer_models.catalogue import NETWORKS
from jobs.command_line import parse
from jobs.run_options import RunOptions
from jobs.training.config import TrainConfig
from jobs.training.defaults import DEFAULTS
from jobs.training.options import base_config


@dataclass(frozen=True)
class SearchOptions:
    """What is searched, and for how long."""

    space: str = "full"
    """learning-rate, augmentation, full, or a .toml file (see jobs/tuning/spaces.py)."""
    trials: int = 20
    """How many configurations to try, including the given one."""
    search: Literal["tpe", "quasi-random", "random"] = "tpe"
    """How configurations are chosen after the given one. quasi-random: spread evenly over the space. tpe: nine so, then
    Optuna's tree-structured Parzen estimator. None is tried twice."""
    time_budget: Annotated[float | None, tyro.conf.arg(metavar="MINUTES")] = None
    """Stop after this many minutes; the same command continues later."""

    def __post_init__(self) -> None:
        check(self.trials >= 1, "--trials must be 1 or more", self.trials)
        budget = self.time_budget
        check(budget is None or budget > 0, "--time-budget must be above 0 minutes", budget)


@dataclass(frozen=True)
class SchedulerConfig:
    """When trials are stopped, or continue from a better one."""

    scheduler: Literal["asha", "pbt", "none"] = "asha"
    """asha: stop the worse trials, but never the first, at epoch --grace-epochs, and again at every multiple by
    --reduction. pbt: train all trials at once; the worse continue from the better with other values. none: train all to
    the end."""
    grace_epochs: int = 2
    """asha: stop no trial before this epoch. pbt: epochs between two changes of a trial."""
    reduction: int = 3
    """asha: about one trial in this many continues after each comparison."""

    def __post_init__(self) -> None:
        check(self.grace_epochs >= 1, "--grace-epochs must be 1 or more", self.grace_epochs)
        check(self.reduction >= 2, "--reduction must be 2 or more", self.reduction)

    def rungs(self, epochs: int) -> list[int]:
        """The epochs at which trials of `epochs` epochs are compared."""
        rungs, at = [], self.grace_epochs
        while self.scheduler == "asha" and at < epochs:
            rungs.append(at)
            at *= self.reduction
        return rungs


@dataclass(frozen=True)
class SweepRunOptions(RunOptions):
    """Where a sweep happens, its name, and the resources of each trial."""

    workers_per_trial: int = 1
    """Training processes of each trial; on GPUs, one GPU each."""
    cpus_per_worker: int = 1
    """Threads of each worker. As many trials run at once as fit on the cluster."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check(self.workers_per_trial >= 1, "--workers-per-trial must be 1 or more", self.workers_per_trial)


@dataclass(frozen=True)
class SweepOptions:
    """The options of a sweep: what to search, around which configuration, and where."""

    config: str | None = None
    """A configuration file to search around, such as the config.json of a run; options on the command line win."""
    search: SearchOptions = field(default_factory=SearchOptions)
    scheduler: SchedulerConfig = field(default_factory=SchedulerConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    run: SweepRunOptions = field(default_factory=SweepRunOptions)


def parse_sweep_options(argv: Sequence[str] | None, description: str | None) -> SweepOptions:
    """The options in `argv`, starting from `--config`, or the default of `--model`, by default of `compact`.

    Raises UserError, in one line, for a wrong option or configuration.
    """
    base = base_config(argv, list(NETWORKS), DEFAULTS["compact"])
    options = parse(SweepOptions, argv, default=SweepOptions(train=base), description=description)
    options.train.require_sources()
    return options
