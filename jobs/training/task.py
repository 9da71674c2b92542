"""What the driver hands to every rank. Light: TensorFlow is not imported here."""

from dataclasses import dataclass
from typing import Any

from fer_data.dataset import PreparedDataset
from jobs.training.compilation import Compile
from jobs.training.config import TrainConfig


@dataclass(frozen=True)
class Task:
    """One run, as a rank sees it.

    `name` is what Ray's dashboard and Prometheus call it; `progress` is the handle of a `ProgressBoard`,
    `stall_timeout` in seconds; `profile` is the folder for a profile, if one is asked for.
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
