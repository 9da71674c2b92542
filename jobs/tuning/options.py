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
from jobs.training.options import base_config
from jobs.training.recipes import RECIPES


@dataclass(frozen=True)
class SearchOptions:
    """What is searched, and for how long."""

    space: str = "full"
    """learning-rate, augmentation, full, or a .toml file (see jobs/tuning/spaces.py)."""
    trials: int = 20
    """How many configurations to try, the defaults among them."""
    search: Literal["tpe", "random"] = "tpe"
    """How points are chosen. tpe: nine near the configuration, then by Optuna's tree-structured Parzen estimator."""
    time_budget: Annotated[float | None, tyro.conf.arg(metavar="MINUTES")] = None
    """Stop after this many minutes; the same command later goes on."""

    def __post_init__(self) -> None:
        check(self.trials >= 1, "--trials must be 1 or more", self.trials)
        budget = self.time_budget
        check(budget is None or budget > 0, "--time-budget must be above 0 minutes", budget)


@dataclass(frozen=True)
class SchedulerConfig:
    """When trials are stopped, or go on from a better one."""

    scheduler: Literal["asha", "pbt", "none"] = "asha"
    """asha: stop the weaker trials, though never the first, at epochs --grace-epochs, times --reduction, and so on.
    pbt: train all trials at once, and let the weaker go on from the better with other values. none: train all to
    their end."""
    grace_epochs: int = 2
    """asha: stop no trial before this epoch. pbt: let a trial go on from another at most once in this many epochs."""
    reduction: int = 3
    """asha: about one trial in this many goes on at each comparison."""

    def __post_init__(self) -> None:
        check(self.grace_epochs >= 1, "--grace-epochs must be 1 or more", self.grace_epochs)
        check(self.reduction >= 2, "--reduction must be 2 or more", self.reduction)

    def rungs(self, epochs: int) -> list[int]:
        """The epochs at which trials are compared, of runs of `epochs`."""
        rungs, at = [], self.grace_epochs
        while self.scheduler == "asha" and at < epochs:
            rungs.append(at)
            at *= self.reduction
        return rungs


@dataclass(frozen=True)
class SweepRunOptions(RunOptions):
    """Where and under what name a sweep happens, and what each trial gets."""

    workers_per_trial: int = 1
    """Training processes of each trial; on GPUs, one GPU each."""
    cpus_per_worker: int = 1
    """Threads of each worker. As many trials run at a time as the cluster has room for."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check(self.workers_per_trial >= 1, "--workers-per-trial must be 1 or more", self.workers_per_trial)


@dataclass(frozen=True)
class SweepOptions:
    """The options of a sweep: what to search, around which configuration, and where."""

    config: str | None = None
    """A configuration file to search around, such as the config.json of a run; options given beside it win."""
    search: SearchOptions = field(default_factory=SearchOptions)
    scheduler: SchedulerConfig = field(default_factory=SchedulerConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    run: SweepRunOptions = field(default_factory=SweepRunOptions)


def parse_sweep_options(argv: Sequence[str] | None, description: str | None) -> SweepOptions:
    """The options in `argv`, around `--config`, or the recipe of `--model`, or that of `compact`.

    Raises UserError, in one line, for an option or a configuration that is wrong.
    """
    base = base_config(argv, list(NETWORKS), RECIPES["compact"])
    options = parse(SweepOptions, argv, default=SweepOptions(train=base), description=description)
    options.train.distillation.require_teacher()
    return options
