"""Ray Train's entry into each worker process: sets up what must be ready before TensorFlow is loaded."""

from jobs.tensorflow_environment import load_keras
from jobs.training.compilation import set_up_xla
from jobs.training.task import Task


def train_loop_per_worker(loop_config: dict[str, Task]) -> None:
    """One rank of the run."""
    task = loop_config["task"]
    set_up_xla(deterministic=task.deterministic)
    load_keras()  # Only ranks need it.
    from jobs.training.worker import run_worker

    run_worker(task)
