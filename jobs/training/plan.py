"""What a run trains on, and how it chooses its best epoch: decided once, before anything starts."""

from dataclasses import dataclass

import numpy as np
from rich.console import Console

from fer_data.dataset import PreparedDataset
from fer_data.splits import Split, share, split
from jobs.data import open_data
from jobs.training.checks import check_votes, resolved
from jobs.training.config import TrainConfig
from jobs.training.selection import decided, unseen_rows
from jobs.training.starting_weights import check_weights


@dataclass(frozen=True)
class Plan:
    """`config` is what the run saves; `unseen` is as in `Task`."""

    config: TrainConfig
    dataset: PreparedDataset
    training: Split
    validation: Split
    unseen: np.ndarray | None

    @property
    def fingerprint(self) -> str:
        return self.dataset.manifest.fingerprint


def plan_run(config: TrainConfig, console: Console) -> Plan:
    """Open the data that `config` names and settle what it leaves open. Raises UserError for bad input."""
    config = resolved(config)
    check_weights(config)
    dataset = open_data(config.data, console, resize=config.resize)
    check_votes(dataset, config.soft_labels)
    training, validation = (split(dataset, name, config.protocol) for name in ("training", "validation"))
    training = share(dataset, training, config.train_fraction)
    unseen = unseen_rows(dataset, training, validation)
    return Plan(decided(config, unseen), dataset, training, validation, unseen)
