"""The command line of the training jobs."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated

import tyro

from fer_data.commands import Parser, check
from fer_data.errors import UserError
from fer_models.catalogue import NETWORKS
from jobs.command_line import parse
from jobs.run_options import RunOptions
from jobs.training.config import TrainConfig
from jobs.training.defaults import DEFAULTS

_URI = re.compile(r"[a-z][a-z0-9+.-]*://.")


@dataclass(frozen=True)
class TrainRunOptions(RunOptions):
    """Where a run happens, its name, its workers, and what it records."""

    workers: Annotated[int | str, tyro.conf.arg(metavar="INT|MIN:MAX")] = 1
    """Training processes; on GPUs, one GPU each. MIN:MAX starts as many as fit, and grows and shrinks with the cluster;
    before each change the run saves its position."""
    keep: int = 3
    """How many of the last checkpoints to keep, beside the best."""
    profile: bool = False
    """Write a TensorFlow profile of a few calls of the training loop into the run's folder, for TensorBoard."""
    tensorboard: bool = False
    """Also write TensorBoard logs into the run's folder."""
    mlflow: Annotated[str | None, tyro.conf.arg(metavar="URI")] = None
    """Also log parameters, metrics by epoch and the card to MLflow at http://HOST:PORT or sqlite:///FILE.db. Give user
    name and password in MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD."""

    def __post_init__(self) -> None:
        super().__post_init__()
        least, most = self.worker_range
        check(1 <= least <= most, "--workers must be 1 or more, or MIN:MAX such as 1:4", self.workers)
        check(self.keep >= 2, "--keep must be 2 or more", self.keep)
        if self.mlflow is not None and (not _URI.match(self.mlflow) or self.mlflow.startswith("file:")):
            # The message omits the value, because it may hold a password.
            raise ValueError("--mlflow must be the URI of a server or database: http://HOST:PORT or sqlite:///FILE.db")

    @property
    def worker_range(self) -> tuple[int, int]:
        """The least and the most workers, equal for a fixed number; (0, 0) when `workers` is malformed."""
        least, colon, most = str(self.workers).partition(":")
        numbers = [least, most if colon else least]
        if not all(number.isascii() and number.isdigit() for number in numbers):
            return 0, 0
        return int(numbers[0]), int(numbers[1])


@dataclass(frozen=True)
class TrainOptions:
    """The options of a training job: what to train, and where."""

    config: str | None = None
    """A configuration file to start from, such as the config.json of a run; options on the command line win."""
    train: TrainConfig = field(default_factory=TrainConfig)
    run: TrainRunOptions = field(default_factory=TrainRunOptions)


def parse_train_options(
    argv: Sequence[str] | None, job: str, description: str | None, defaults: TrainConfig | None = None
) -> TrainOptions:
    """The options in `argv`, starting from `--config`, the default of `--model`, or `defaults`.

    `defaults` are by default those of the first network that `job` trains. Raises UserError, in one line, for a
    wrong option or configuration.
    """
    models = [name for name, network in NETWORKS.items() if network.job == job]
    base = base_config(argv, models, defaults or DEFAULTS[models[0]])
    options = parse(TrainOptions, argv, default=TrainOptions(train=base), description=description)
    options.train.require_sources()
    return options


def base_config(argv: Sequence[str] | None, models: Sequence[str], defaults: TrainConfig) -> TrainConfig:
    """The configuration from which the options in `argv` start: `--config`, the default of `--model`, or `defaults`.

    Raises UserError when it is not for one of `models`.
    """
    first_look = Parser(add_help=False, allow_abbrev=False)
    first_look.add_argument("--config")
    first_look.add_argument("--model")
    known, _ = first_look.parse_known_args(argv)
    base = TrainConfig.read(known.config) if known.config else defaults
    model = known.model or base.model
    if model not in models:
        raise UserError(f"this job trains {' or '.join(models)}, not --model {model}")
    if model != base.model:
        if known.config:
            raise UserError(f"--config {known.config} is for --model {base.model}, not {model}")
        base = DEFAULTS[model]
    return base
