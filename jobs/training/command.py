"""The body of every training job: parse options, train, print where the results are."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from jobs.console import PlainConsole
from jobs.training.config import TrainConfig
from jobs.training.options import parse_train_options

if TYPE_CHECKING:
    from jobs.training.driver import TrainResult


def run_training_job(
    argv: Sequence[str] | None, job: str, description: str | None, defaults: TrainConfig | None = None
) -> "TrainResult":
    """Train with the command line `argv` of `job`, such as train_cnn; see `parse_train_options` for `defaults`."""
    options = parse_train_options(argv, job, description, defaults)
    from jobs.training.driver import train  # Ray takes seconds to import, so the options are checked first.

    console = PlainConsole()
    result = train(options.train, options.run, console)
    for name in ("checkpoint", "history", "curves"):
        console.out(f"{name:10} {getattr(result, name)}")
    return result
