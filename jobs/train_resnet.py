"""Fine-tune a ResNet-50, or train it from scratch, on any number of workers.

    python jobs/train_resnet.py --data fer2013.zip --workers 2 --weights imagenet --head pooled --input-size 96 \\
        --freeze stem conv2 conv3=5 --stage-rate 0.5 --learning-rate 3e-4
    ray job submit --working-dir . -- python jobs/train_resnet.py --data s3://bucket/fer2013 --storage s3://bucket/runs

Without options it trains from scratch, as the original project did. After an interruption, the same command goes on
where the run last saved its position. It prints the paths of the checkpoint, the history and the curves.
"""

from collections.abc import Sequence

from fer_data.commands import exit_with_code
from jobs.training.command import run_training_job


def main(argv: Sequence[str] | None = None) -> None:
    run_training_job(argv, "train_resnet", __doc__)


if __name__ == "__main__":
    exit_with_code(main)
