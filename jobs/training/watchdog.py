"""End a worker that is stuck, for example in a collective whose other end is gone or on storage that never answers."""

import os
import threading
import time
from collections.abc import Callable

EXIT_CODE = 75  # EX_TEMPFAIL of sysexits.h.


class Watchdog:
    """A context manager that ends this process once `seconds` have passed inside it without a `beat`.

    Nothing gentler works: a thread that waits inside a collective cannot be interrupted. Ray sees the process die and
    restarts all workers from what was saved last. The reason goes to `say` first.
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

    def __exit__(self, *_: object) -> None:
        self._watching = False

    def beat(self) -> None:
        """Report progress, which restarts the clock."""
        self._last = time.monotonic()

    def _watch(self) -> None:
        while True:
            time.sleep(min(1.0, self._seconds / 4))
            if self._watching and time.monotonic() - self._last > self._seconds:
                self._say(f"no step for {self._seconds:g} seconds: the workers restart from what was saved last")
                os._exit(EXIT_CODE)
