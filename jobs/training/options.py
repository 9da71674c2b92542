"""The command line of the training jobs."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field

from fer_data.errors import UserError
from jobs.command_line import parse
from jobs.training.config import TrainConfig
from jobs.training.recipes import RECIPES
from jobs.training.run_options import RunOptions


@dataclass(frozen=True)
class TrainOptions:
    """The options of a training job: what to train, and where."""

    config: str | None = None
    """A configuration file to start from, such as the config.json of a run; options given beside it win."""
    train: TrainConfig = field(default_factory=TrainConfig)
    run: RunOptions = field(default_factory=RunOptions)


def parse_train_options(
    argv: Sequence[str] | None,
    models: Sequence[str],
    description: str | None,
    defaults: TrainConfig | None = None,
) -> TrainOptions:
    """Options for one of `models`: `--config`, or `defaults`, or the recipe of `--model`, then the command line.

    Without any of these it is the recipe of the first of `models`.

    Raises UserError, in one line, for anything that is wrong with them.
    """
    base = base_config(argv, models, defaults)
    options = parse(TrainOptions, argv, default=TrainOptions(train=base), description=description)
    options.train.distillation.require_teacher()
    return options


def base_config(argv: Sequence[str] | None, models: Sequence[str], defaults: TrainConfig | None = None) -> TrainConfig:
    """What the options of `argv` start from: `--config`, or `defaults`, or the recipe of `--model` or the first model.

    Raises UserError when that is for none of `models`.
    """
    first_look = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    first_look.add_argument("--config")
    first_look.add_argument("--model")
    try:
        known, _ = first_look.parse_known_args(argv)
    except argparse.ArgumentError as error:
        raise UserError(f"{error}; --help lists the options") from None
    base = TrainConfig.read(known.config) if known.config else defaults or RECIPES[models[0]]
    model = known.model or base.model
    if model not in models:
        raise UserError(f"this job trains {' or '.join(models)}, not --model {model}")
    if model != base.model:
        if known.config:
            raise UserError(f"--config {known.config} is for --model {base.model}, not {model}")
        base = RECIPES[model]
    return base
