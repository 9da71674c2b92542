"""Train the original project's CNN, or the compact network, on any number of workers.

    python jobs/train_cnn.py --data fer2013.zip --workers 2
    python jobs/train_cnn.py --model compact --data fer2013.zip --epochs 10
    ray job submit --working-dir . -- python jobs/train_cnn.py --data s3://bucket/fer2013 --storage s3://bucket/runs

Without --data it trains on the built-in drawn faces. After an interruption, the same command goes on where the run last
saved its position. It prints the paths of the checkpoint, the history and the curves.
"""

from collections.abc import Sequence

from fer_data.commands import exit_with_code
from jobs.training.command import run_training_job


def main(argv: Sequence[str] | None = None) -> None:
    run_training_job(argv, "train_cnn", __doc__)


if __name__ == "__main__":
    exit_with_code(main)
