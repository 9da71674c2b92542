"""`--tensorboard`: log a scalar for each metric and epoch to TensorBoard."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

from fer_data.errors import UserError
from fer_data.storage import is_remote


class TensorboardLog(AbstractContextManager):
    """Writes finished epochs into `RUN/tensorboard` when `enabled`; a context manager.

    Raises UserError when `run_uri` is not local.
    """

    def __init__(self, run_uri: str, *, enabled: bool) -> None:
        if enabled and is_remote(run_uri):
            raise UserError("--tensorboard writes local files: give a local --storage")
        self._folder, self._enabled = f"{run_uri}/tensorboard", enabled
        self._writer: Any = None

    def add(self, row: Mapping[str, Any]) -> None:
        """Add the row of a finished epoch."""
        if not self._enabled:
            return
        if self._writer is None:
            from tensorboardX import SummaryWriter  # A dependency of Ray Tune. It keeps TensorFlow out of the driver.

            self._writer = SummaryWriter(self._folder)
        for name, value in row.items():
            if isinstance(value, float):
                self._writer.add_scalar(name, value, row["epoch"])
        self._writer.flush()

    def __exit__(self, *_: object) -> None:
        if self._writer is not None:
            self._writer.close()
