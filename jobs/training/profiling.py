"""`--profile`: write a TensorFlow profile of a few calls of the training loop, for TensorBoard."""

from collections.abc import Callable

import tensorflow as tf

from jobs.training.checks import FIRST_CALL

CALLS = 3


class Profiler:
    """Profiles CALLS calls into `folder`, starting with the FIRST_CALL-th of this process; None profiles nothing."""

    def __init__(self, folder: str | None, say: Callable[[str], None]) -> None:
        self._folder, self._say = folder, say
        self._calls = 0
        self._running = False

    def before_call(self) -> None:
        self._calls += 1
        if self._folder and self._calls == FIRST_CALL:
            tf.profiler.experimental.start(self._folder)
            self._running = True

    def after_call(self) -> None:
        """Call it when the device has finished a call."""
        if self._running and self._calls >= FIRST_CALL + CALLS - 1:
            self.close()

    def close(self) -> None:
        """End the profile, if it is running, with the calls made so far."""
        if not self._running:
            return
        self._running = False
        tf.profiler.experimental.stop()
        self._say(
            f"profile of {self._calls - FIRST_CALL + 1} calls in {self._folder}: pip install tensorboard "
            f"tensorboard-plugin-profile, then tensorboard --logdir {self._folder}"
        )
