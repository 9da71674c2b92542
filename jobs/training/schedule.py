"""What a run does next, as pure functions of its configuration and its history.

Learning rate, best epoch and early stopping keep no state, so a resumed run decides as an uninterrupted one.
"""

import math
from collections.abc import Sequence
from typing import Any

from jobs.training.config import TrainConfig
from jobs.training.option_groups import ScheduleConfig

History = Sequence[dict[str, Any]]
"""A row per finished epoch, as in history.csv."""


def learning_rate(
    schedule: ScheduleConfig, highest: float, *, epochs: int, progress: float, reductions: int = 0
) -> float:
    """The learning rate after `progress` of `epochs` epochs (fractional within an epoch).

    `reductions` is how often a plateau has lowered it so far.
    """
    if progress < schedule.warmup_epochs:
        return highest * progress / schedule.warmup_epochs
    if schedule.schedule == "cosine":
        done = (progress - schedule.warmup_epochs) / max(epochs - schedule.warmup_epochs, 1e-9)
        share = (1 + math.cos(math.pi * min(done, 1.0))) / 2
        return highest * (schedule.final_fraction + (1 - schedule.final_fraction) * share)
    if schedule.schedule == "plateau":
        return highest * max(schedule.plateau_factor**reductions, schedule.final_fraction)
    return highest


def plateau_reductions(config: TrainConfig, history: History) -> int:
    """How often `plateau_patience` epochs in a row had no better monitored value."""
    reductions, waited, best = 0, 0, -math.inf
    for row in history:
        waited += 1
        if (value := score(config, row)) > best:
            best, waited = value, 0
        elif waited == config.schedule.plateau_patience:
            reductions, waited = reductions + 1, 0
    return reductions


def best_row(config: TrainConfig, history: History) -> dict[str, Any]:
    """The row of the first epoch with the best monitored value. Raises ValueError for an empty history."""
    return max(history, key=lambda row: (score(config, row), -row["epoch"]))


def why_finished(config: TrainConfig, history: History) -> str | None:
    """Why no further epoch is due, or None when one is."""
    if len(history) >= config.epochs:
        return f"all {config.epochs} epochs done"
    if config.patience and history and len(history) - best_row(config, history)["epoch"] >= config.patience:
        return f"no better {config.metric_in_words} for {config.patience} epochs"
    return None


def training_seconds(row: dict[str, Any]) -> float:
    """The seconds of an epoch's steps. Older runs have them as `seconds`, and no others."""
    return row.get("training_seconds") or row["seconds"]


def score(config: TrainConfig, row: dict[str, Any]) -> float:
    """The monitored value of an epoch, negated if lower is better; -inf if it is undefined."""
    value = row[config.metric]
    if value is None or math.isnan(value):
        return -math.inf
    return -value if config.mode == "min" else value
