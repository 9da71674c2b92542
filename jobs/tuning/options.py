"""The command line of the sweep."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

import tyro

from jobs.training.config import TrainConfig
from jobs.training.run_options import DeviceOptions, check_name


@dataclass(frozen=True)
class SearchOptions:
    """What is searched, and for how long."""

    space: str = "full"
    """learning-rate, augmentation, full, or a .toml file (see jobs/tuning/spaces.py)."""
    trials: int = 20
    """How many configurations to try, the defaults among them."""
    search: Literal["tpe", "random"] = "tpe"
    """How points are chosen: by Optuna's tree-structured Parzen estimator, after nine near the configuration; or at
    random."""
    time_budget: Annotated[float | None, tyro.conf.arg(metavar="MINUTES")] = None
    """Stop after so many minutes; the same command later goes on."""

    def __post_init__(self) -> None:
        if self.trials < 1:
            raise ValueError(f"--trials must be 1 or more (it is {self.trials})")
        if self.time_budget is not None and not self.time_budget > 0:
            raise ValueError(f"--time-budget must be above 0 minutes (it is {self.time_budget:g})")


@dataclass(frozen=True)
class SchedulerConfig:
    """When trials are stopped, or go on from a better one."""

    scheduler: Literal["asha", "pbt", "none"] = "asha"
    """asha: stop the weaker trials, though never the first, at epochs --grace-epochs, times --reduction, and so on.
    pbt: train all trials at once, and let the weaker go on from the better with other values. none: train all to
    their end."""
    grace_epochs: int = 2
    """No trial is stopped before this epoch (asha), or goes on from another more often than every so many (pbt). After
    the first, most of which is warm-up, the order of trials says little."""
    reduction: int = 3
    """About one trial in this many outlives each rung (asha)."""

    def __post_init__(self) -> None:
        if self.grace_epochs < 1:
            raise ValueError(f"--grace-epochs must be 1 or more (it is {self.grace_epochs})")
        if self.reduction < 2:
            raise ValueError(f"--reduction must be 2 or more (it is {self.reduction})")

    def rungs(self, epochs: int) -> list[int]:
        """The epochs at which trials are compared, of runs of `epochs`."""
        rungs, at = [], self.grace_epochs
        while self.scheduler == "asha" and at < epochs:
            rungs.append(at)
            at *= self.reduction
        return rungs


@dataclass(frozen=True)
class WhereOptions(DeviceOptions):
    """Where and under what name a sweep happens."""

    workers_per_trial: int = 1
    """Training processes of each trial; on GPUs, one GPU each."""
    cpus_per_worker: int = 1
    """Threads of each worker. As many trials run at a time as the cluster has room for."""
    wait: float = 0.0
    """Minutes to wait for the cluster to have room for a trial, as one that starts its machines on demand needs."""
    storage: str = "~/fer_runs"
    """Folder of all runs and sweeps: a path that every machine sees, or an s3:// or gs:// URI."""
    name: str | None = None
    """Name of the sweep's folder; by default the model and a digest of what is searched."""
    overwrite: bool = False
    """Discard a sweep of this name and begin again."""
    max_failures: int = 3
    """How many times in a row a trial restarts from its last epoch when a worker dies before it finishes another."""
    stall_timeout: float = 600.0
    """Seconds without a step after which a worker is taken to be stuck and its trial restarts from its last epoch."""

    def __post_init__(self) -> None:
        for name in ("workers_per_trial", "cpus_per_worker"):
            if getattr(self, name) < 1:
                raise ValueError(f"--{name.replace('_', '-')} must be 1 or more (it is {getattr(self, name)})")
        if self.wait < 0:
            raise ValueError(f"--wait must be 0 or more (it is {self.wait})")
        if self.max_failures < 0:
            raise ValueError(f"--max-failures must be 0 or more (it is {self.max_failures})")
        if self.name is not None:
            check_name(self.name)


@dataclass(frozen=True)
class SweepOptions:
    """The options of a sweep: what to search, around which configuration, and where."""

    config: str | None = None
    """A configuration file to search around, such as the config.json of a run; options given beside it win."""
    search: SearchOptions = field(default_factory=SearchOptions)
    scheduler: SchedulerConfig = field(default_factory=SchedulerConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    where: WhereOptions = field(default_factory=WhereOptions)
