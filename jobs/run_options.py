"""The options shared by several jobs. Each is declared, explained and checked here, and nowhere else."""

import re
from dataclasses import dataclass
from typing import Literal

from fer_data.commands import check
from fer_models.reading import ClassOrder, InputRange, Reading
from jobs.training.compilation import Compile

NAME = r"[A-Za-z0-9_-][A-Za-z0-9._-]*"
"""Names of runs and stages match it, since they are names of folders."""
NAME_RULE = "may hold letters, digits, '.', '_' and '-', and begin with no '.'"


@dataclass(frozen=True)
class WorkerOptions:
    """What workers compute on, and how long a job waits for them."""

    device: Literal["auto", "cpu", "gpu"] = "auto"
    """auto: GPUs if the cluster has one for each worker."""
    cpus_per_worker: int | None = None
    """Threads of each worker; by default an equal share of the machine's."""
    wait: float = 0.0
    """Minutes to wait for room on a cluster that starts its machines on demand."""
    stall_timeout: float = 600.0
    """Seconds without progress after which a worker counts as stuck and is started again."""

    def __post_init__(self) -> None:
        cpus = self.cpus_per_worker
        check(cpus is None or cpus >= 1, "--cpus-per-worker must be 1 or more", cpus)
        check(self.wait >= 0, "--wait must be 0 or more", self.wait)
        check(self.stall_timeout > 0, "--stall-timeout must be above 0", self.stall_timeout)


@dataclass(frozen=True)
class ForeignOptions:
    """How to read models that have no card."""

    classes: ClassOrder | None = None
    """Class order of files that do not state it. folder: alphabetical; csv: that of the FER-2013 CSV."""
    class_names: tuple[str, ...] = ()
    """Name of each output of files with as many outputs, such as six, or eight with contempt; ignore: none of ours."""
    input_range: InputRange | None = None
    """What files expect of pixels: 0 to 1, 0 to 255, -1 to 1, BGR less ImageNet's means (Keras's ResNet and VGG), or
    normalised as PyTorch does. By default what the first layers show, or else 0 to 1."""

    def check_names(self) -> None:
        """Raises ValueError for names that cannot be."""
        Reading(self.classes, self.class_names, self.input_range)


@dataclass(frozen=True)
class RunOptions(WorkerOptions):
    """Where training runs and what it is called. Nothing here changes what is computed, except for rounding."""

    compile: Compile = "auto"
    """Compile the training steps with XLA. auto: on GPUs, if the run is long enough to repay half a minute."""
    deterministic: bool = False
    """Compute the same weights bit for bit on GPUs too, at a cost of speed; on CPUs they always are the same."""
    storage: str = "~/fer_runs"
    """Folder of all runs and sweeps: a path that every machine can read, or an s3:// or gs:// URI."""
    name: str | None = None
    """Name of the folder in --storage; by default the model and a digest of the settings and data."""
    overwrite: bool = False
    """Delete the run or sweep of this name and start again."""
    checkpoint_minutes: float = 5.0
    """Save the position inside an epoch this often: what a run that is killed loses at most."""
    max_failures: int = 3
    """How many times in a row to restart from what was saved last when no epoch is finished in between."""

    def __post_init__(self) -> None:
        super().__post_init__()
        minutes = self.checkpoint_minutes
        check(minutes > 0, "--checkpoint-minutes must be above 0", minutes)
        check(self.max_failures >= 0, "--max-failures must be 0 or more", self.max_failures)
        plain = self.name is None or re.fullmatch(NAME, self.name)
        check(bool(plain), f"--name {NAME_RULE}", repr(self.name))
