"""What the driver hands to every rank. Light: only a rank imports the worker, and Keras with it."""

from dataclasses import dataclass
from typing import Any

from fer_data.dataset import PreparedDataset
from jobs.training.config import TrainConfig


@dataclass(frozen=True)
class Task:
    """One run, as a rank sees it.

    `name` is what Ray's dashboard and Prometheus call it; `progress` is the handle of a `ProgressBoard`,
    `stall_timeout` in seconds.
    """

    name: str
    config: TrainConfig
    run_uri: str
    dataset: PreparedDataset
    threads: int
    keep: int
    tensorboard: bool
    stall_timeout: float
    progress: Any


def train_loop_per_worker(loop_config: dict[str, Task]) -> None:
    """Ray Train's entry into each worker process."""
    from jobs.training.worker import run_worker

    run_worker(loop_config["task"])
