"""What keeps the jobs that bench_gpu measures apart: caches, output, and plain Keras in a process of its own."""

import contextlib
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from jobs.tensorflow_environment import tensorflow_environment
from tests.conftest import REPOSITORY


class XlaCache:
    """Where the jobs' workers keep what XLA compiles: the user's cache, or an empty one for a while.

    Workers have the environment that Ray was started with, so XDG_CACHE_HOME must not change afterwards; where it leads
    to can.
    """

    def __init__(self, folder: Path) -> None:
        self._users = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser().resolve()
        # A process may have begun with the empty one.
        (self._users / "fer_jobs" / "xla").mkdir(parents=True, exist_ok=True, mode=0o700)
        self._folder, self._link = folder, folder / "cache"
        self._link.symlink_to(self._users)
        os.environ["XDG_CACHE_HOME"] = str(self._link)

    @contextlib.contextmanager
    def empty(self) -> Iterator[None]:
        """Nothing is compiled yet inside the block."""
        self._lead_to(Path(tempfile.mkdtemp(prefix="cache-", dir=self._folder)))
        try:
            yield
        finally:
            self._lead_to(self._users)

    def _lead_to(self, place: Path) -> None:
        self._link.unlink()
        self._link.symlink_to(place)


class Seen:
    """When a file appeared; a context manager. Looks for it twenty times a second."""

    def __init__(self, path: Path) -> None:
        self._path, self._stop = path, threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._began = self._at = 0.0

    def __enter__(self) -> "Seen":
        self._began = time.perf_counter()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def after(self) -> float:
        """Seconds from the beginning of the block."""
        return self._at - self._began

    def _look(self) -> None:
        while not self._path.exists() and not self._stop.wait(0.05):
            pass
        self._at = time.perf_counter()


@contextlib.contextmanager
def quiet(log: Path) -> Iterator[None]:
    """What a job prints goes into `log`; its end is shown when the job fails."""
    with log.open("w") as file:
        try:
            with contextlib.redirect_stdout(file), contextlib.redirect_stderr(file):
                yield
        except Exception:
            file.flush()
            sys.stderr.write(log.read_text()[-2000:])
            raise


@contextlib.contextmanager
def plain(what: str, *arguments: str) -> Iterator[Callable[[], float]]:
    """Starts a process of `plain_keras`, which loads its libraries meanwhile; inside, a call lets it measure.

    The call returns the figure; the process has ended then, and is ended at the end of the block in any case.
    """
    command = [sys.executable, "-m", "tests.benchmarks.plain_keras", what, *arguments]
    environment = os.environ | tensorflow_environment()
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            command,
            cwd=REPOSITORY,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )

        def go() -> float:
            output, _ = process.communicate("go\n")
            if process.returncode:
                errors.seek(0)
                raise RuntimeError(f"plain {what}: exit code {process.returncode}\n{errors.read()[-2000:]}")
            return float(output.split()[-1])

        try:
            yield go
        finally:
            process.kill()
            process.wait()
