"""End a worker that is stuck: in a collective whose other end is gone, on storage that never answers."""

import os
import threading
import time
from collections.abc import Callable
from types import TracebackType

EXIT_CODE = 75  # EX_TEMPFAIL of sysexits.h: try again.


class Watchdog:
    """Ends this process once `seconds` have passed without a `beat`, while entered; a context manager.

    Nothing gentler works: a thread that waits inside a collective cannot be interrupted. Ray sees the process die
    and starts all workers again from the last epoch. `say` is told why first.
    """

    def __init__(self, seconds: float, say: Callable[[str], None]) -> None:
        self._seconds, self._say = seconds, say
        self._last = 0.0
        self._watching = False
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def __enter__(self) -> "Watchdog":
        self.beat()
        self._watching = True
        if not self._thread.is_alive():
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._watching = False

    def beat(self) -> None:
        """A step is done."""
        self._last = time.monotonic()

    def _watch(self) -> None:
        while True:
            time.sleep(min(1.0, self._seconds / 4))
            if self._watching and time.monotonic() - self._last > self._seconds:
                self._say(f"no step for {self._seconds:g} seconds: the worker ends, to start again from the last epoch")
                os._exit(EXIT_CODE)
