"""Train the original project's CNN, or the compact network, on any number of workers.

    python jobs/train_cnn.py --data fer2013.zip --workers 2
    python jobs/train_cnn.py --model compact --data fer2013.zip --epochs 10
    ray job submit --working-dir . -- python jobs/train_cnn.py --data s3://bucket/fer2013 --storage s3://bucket/runs

Without --data it trains on the built-in drawn faces. The same command again
resumes after the last finished epoch. Prints where checkpoint, history and
curves are.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console

from jobs.command_line import exit_with_code
from jobs.training.config import TrainConfig
from jobs.training.options import parse_train_options

if TYPE_CHECKING:
    from jobs.training.driver import TrainResult


def main(argv: Sequence[str] | None = None, defaults: TrainConfig | None = None) -> "TrainResult":
    options = parse_train_options(argv, ("cnn", "compact"), __doc__, defaults)
    # Ray takes seconds to import: after the options are known to be good.
    from jobs.training.driver import train

    console = Console()
    result = train(options.train, options.run, console)
    for name in ("checkpoint", "history", "curves"):
        console.print(f"{name:10} {getattr(result, name)}", highlight=False, soft_wrap=True)
    return result


if __name__ == "__main__":
    exit_with_code(main)
