"""Ray Train's entry into each worker process: sets up what must stand before TensorFlow is loaded."""

from jobs.training.compilation import set_up_xla
from jobs.training.task import Task


def train_loop_per_worker(loop_config: dict[str, Task]) -> None:
    """One rank of the run."""
    task = loop_config["task"]
    set_up_xla(deterministic=task.deterministic)
    from jobs.training.worker import run_worker  # Only a rank imports it, and Keras with it.

    run_worker(task)
