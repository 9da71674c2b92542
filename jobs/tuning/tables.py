"""The tables of a sweep: a row per trial, and a row per trial and epoch."""

from collections.abc import Sequence

import pandas as pd

from jobs.training.config import TrainConfig
from jobs.training.run_folder import history_frame
from jobs.training.schedule import score, training_seconds
from jobs.tuning.spaces import Space, configured
from jobs.tuning.sweep_folder import Trial


def best_trial(trials: Sequence[Trial], base: TrainConfig) -> Trial | None:
    """The first trial with the best epoch, by the metric that `base` monitors; None before any epoch."""
    scores = [(score(base, row), trial) for trial in trials if (row := trial.best(base))]
    return max(scores, key=lambda pair: pair[0], default=(None, None))[1]


def initial_trial(trials: Sequence[Trial], base: TrainConfig) -> Trial | None:
    """The trial of `base` itself; None if it has gone on from another, as in population-based training."""
    first = trials[0]
    return first if configured(base, first.parameters) == base else None


def trials_table(trials: Sequence[Trial], base: TrainConfig, space: Space) -> pd.DataFrame:
    """A row per trial, in order: its parameters, its end, the metrics of its best epoch, and its cost.

    Parameters that a trial did not change have the value with which it trained.
    """
    rows = []
    for trial in trials:
        trained = configured(base, trial.parameters).flat()
        best = trial.best(base) or {}
        outcome = trial.outcome
        seconds = sum(map(training_seconds, trial.history))
        images = sum(training_seconds(row) * row["images_per_second"] for row in trial.history)
        rows.append(
            {"trial": trial.name}
            | {name: trained[name] for name in space}
            | {"epochs": len(trial.history), "best_epoch": best.get("epoch")}
            | {name: value for name, value in best.items() if name.startswith(("validation_", "training_"))}
            | {
                "stopped": outcome.why if outcome else "not over",
                "error": outcome.error if outcome else None,
                "training_seconds": seconds,
                "images_per_second": images / seconds if seconds else None,
            }
        )
    return pd.DataFrame(rows)


def history_table(trials: Sequence[Trial]) -> pd.DataFrame:
    """A row per trial and epoch, in order: the history of each run."""
    return history_frame([{"trial": trial.name} | row for trial in trials for row in trial.history])
