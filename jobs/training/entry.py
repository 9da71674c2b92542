"""Ray Train's entry into each worker process: sets up what must be ready before TensorFlow is loaded."""

import os
from typing import Any

from jobs.tensorflow_environment import load_keras
from jobs.training.compilation import set_up_xla


def train_loop_per_worker(loop_config: dict[str, Any]) -> None:
    """One rank of the run: its `task`, a `Task`, and the driver's `environment` for TensorFlow."""
    task = loop_config["task"]
    os.environ |= loop_config["environment"]
    set_up_xla(deterministic=task.deterministic)
    load_keras()  # Only ranks need it.
    from jobs.training.worker import run_worker

    run_worker(task)
