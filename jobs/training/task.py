"""What the driver sends to every rank. TensorFlow is not imported here."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from fer_data.dataset import PreparedDataset
from jobs.training.compilation import Compile
from jobs.training.config import TrainConfig
from jobs.training.selection import decided


@dataclass(frozen=True)
class Task:
    """One run, as a rank sees it.

    `name` is the run's name in Ray's dashboard and Prometheus; `progress` is the handle of a `ProgressBoard`,
    `stall_timeout` is in seconds; `profile` is the folder for a profile, or None. `unseen` is bool [n] over the
    validation rows in the order of their split, or None (see `selection.unseen_rows`). Raises ValueError when `config`
    would choose by unseen rows, but none are known.
    """

    name: str
    config: TrainConfig
    run_uri: str
    dataset: PreparedDataset
    threads: int
    keep: int
    stall_timeout: float
    progress: Any
    compile: Compile = "auto"
    deterministic: bool = False
    profile: str | None = None
    unseen: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.config != decided(self.config, self.unseen):
            raise ValueError(
                "no unseen validation rows are known: use the configuration that selection.decided returns"
            )
