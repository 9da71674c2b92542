"""Search augmentation, learning rate and more for the model's best configuration.

    python jobs/sweep.py --model compact --data fer2013.zip --trials 20 --epochs 9
    python jobs/sweep.py --model cnn --data fer2013.zip --space learning-rate --train-fraction 0.3 --time-budget 60
    ray job submit --working-dir . -- python jobs/sweep.py --model resnet50 --data s3://bucket/fer2013 \\
        --storage s3://bucket/runs --workers-per-trial 2

Trial 0000 is your configuration: the model's defaults, or --config, and the options below. The next trials cover the
space, and those after them are near the best. After an interruption, the same command goes on; with more --trials it
adds trials. It prints the paths of the best checkpoint, its configuration and the report.
"""

import os
from collections.abc import Sequence

from cluster.ray_internals import MANY_WORKERS
from fer_data.commands import exit_with_code
from jobs.console import PlainConsole
from jobs.tuning.options import parse_sweep_options


def main(argv: Sequence[str] | None = None) -> None:
    options = parse_sweep_options(argv, __doc__)
    # Ray warns about the number of processes, but only a trial's workers compute.
    os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", MANY_WORKERS)
    from jobs.tuning.driver import sweep  # Ray takes seconds to import, so the options are checked first.

    console = PlainConsole()
    for name, path in sweep(options, console).items():
        console.out(f"{name:10} {path}")


if __name__ == "__main__":
    exit_with_code(main)
