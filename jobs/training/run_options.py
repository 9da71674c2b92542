"""Where and under what name a run happens; nothing here changes what it computes, but for rounding."""

import re
from dataclasses import dataclass
from typing import Annotated, Literal

import tyro

from jobs.training.compilation import Compile
from jobs.training.config import check


@dataclass(frozen=True)
class DeviceOptions:
    """What workers compute on, and how."""

    device: Literal["auto", "cpu", "gpu"] = "auto"
    """auto: GPUs when the cluster has enough of them."""
    compile: Compile = "auto"
    """Compile the training steps with XLA. auto: on GPUs, when the run is long enough to pay for the half minute that
    it takes; never on processors."""
    deterministic: bool = False
    """The same weights bit for bit from the same command on GPUs too, at a cost of speed; on processors they always
    are."""


@dataclass(frozen=True)
class RunOptions(DeviceOptions):
    """Where and under what name a run happens; nothing here changes what it computes."""

    workers: Annotated[int | str, tyro.conf.arg(metavar="INT|MIN:MAX")] = 1
    """Training processes; on GPUs, one GPU each. MIN:MAX begins with as many as there is room for, and grows and
    shrinks with the cluster; each change goes back to the last finished epoch."""
    cpus_per_worker: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None
    """Threads of each worker; by default an equal share of the machine's."""
    wait: float = 0.0
    """Minutes to wait for the cluster to have room for the workers, as one that starts its machines on demand needs."""
    storage: str = "~/fer_runs"
    """Folder of all runs: a path that every machine sees, or an s3:// or gs:// URI."""
    name: str | None = None
    """Name of the run's folder; by default the model and a digest of configuration and data."""
    overwrite: bool = False
    """Discard a run of this name and begin again."""
    keep: int = 3
    """How many checkpoints to keep: the best, and the last ones to resume from."""
    max_failures: int = 3
    """How many times in a row to restart from the last checkpoint when a worker dies before it finishes an epoch."""
    stall_timeout: float = 600.0
    """Seconds without a step after which a worker is taken to be stuck and the run restarts from its last epoch."""
    profile: bool = False
    """Write a TensorFlow profile of a few calls of the training loop into the run's folder, for TensorBoard."""
    tensorboard: bool = False
    """Also write TensorBoard logs into the run's folder."""
    mlflow: Annotated[str | None, tyro.conf.arg(metavar="URI")] = None
    """Also log parameters, metrics by epoch and the card to this MLflow: http://HOST:PORT or sqlite:///FILE.db. A
    user's name and password belong in MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD."""

    def __post_init__(self) -> None:
        least, most = self.worker_range
        check(1 <= least <= most, "--workers must be 1 or more, or MIN:MAX such as 1:4", self.workers)
        check(self.wait >= 0, "--wait must be 0 or more", self.wait)
        check(self.stall_timeout > 0, "--stall-timeout must be above 0", self.stall_timeout)
        check(
            self.cpus_per_worker is None or self.cpus_per_worker >= 1,
            "--cpus-per-worker must be 1 or more",
            self.cpus_per_worker,
        )
        check(self.keep >= 2, "--keep must be 2 or more", self.keep)
        check(self.max_failures >= 0, "--max-failures must be 0 or more", self.max_failures)
        if self.name is not None:
            check_name(self.name)
        if self.mlflow is not None and (not _URI.match(self.mlflow) or self.mlflow.startswith("file:")):
            # Not shown: there may be a password in it.
            raise ValueError("--mlflow takes the URI of a server or a database: http://HOST:PORT or sqlite:///FILE.db")

    @property
    def worker_range(self) -> tuple[int, int]:
        """The least and the most workers; equal where the number is fixed, (0, 0) where `workers` is neither form."""
        least, colon, most = str(self.workers).partition(":")
        numbers = [least, most if colon else least]
        if not all(number.isascii() and number.isdigit() for number in numbers):
            return 0, 0
        return int(numbers[0]), int(numbers[1])


def check_name(name: str) -> None:
    """Raises ValueError unless `name` is one plain component of a path."""
    if not name or not set(name) <= _NAME_CHARACTERS or name[0] == ".":
        raise ValueError(f"--name may hold letters, digits, '.', '_' and '-', not {name!r}")


_URI = re.compile(r"[a-z][a-z0-9+.-]*://.")
_NAME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
