"""Ray Train's entry into each worker process: sets up what must be ready before TensorFlow is loaded."""

from jobs.training.compilation import set_up_xla
from jobs.training.task import Task


def train_loop_per_worker(loop_config: dict[str, Task]) -> None:
    """One rank of the run."""
    task = loop_config["task"]
    set_up_xla(deterministic=task.deterministic)
    from jobs.training.worker import run_worker  # It imports Keras, which only ranks need.

    run_worker(task)
