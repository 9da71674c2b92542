"""Search augmentation, learning rate and more for the model's best configuration.

    python jobs/sweep.py --model compact --data fer2013.zip --trials 20 --epochs 9
    python jobs/sweep.py --model cnn --data fer2013.zip --space learning-rate --train-fraction 0.3 --time-budget 60
    ray job submit --working-dir . -- python jobs/sweep.py --model resnet50 --data s3://bucket/fer2013 \\
        --storage s3://bucket/runs --workers-per-trial 2

The first trial is the configuration itself: the model's recipe, --config, and the options below. The same command
again goes on where it was stopped; with more --trials it adds to them. Prints where the best checkpoint, its
configuration and the report are.
"""

import os
from collections.abc import Sequence

from rich.console import Console

from cluster.ray_internals import MANY_WORKERS
from jobs.command_line import exit_with_code, parse
from jobs.training.options import base_config
from jobs.tuning.options import SweepOptions

MODELS = ("compact", "cnn", "resnet50")


def main(argv: Sequence[str] | None = None) -> None:
    default = SweepOptions(train=base_config(argv, MODELS))
    options = parse(SweepOptions, argv, default=default, description=__doc__)
    options.train.distillation.require_teacher()
    # Ray warns of the processes that a trial has beside its workers; none of them computes.
    os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", MANY_WORKERS)
    from jobs.tuning.driver import sweep  # Ray takes seconds to import: after the options are known to be good.

    console = Console()
    result = sweep(options, console)
    for name in ("checkpoint", "config", "report"):
        console.print(f"{name:10} {getattr(result, name)}", highlight=False, soft_wrap=True)


if __name__ == "__main__":
    exit_with_code(main)
