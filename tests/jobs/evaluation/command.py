"""The evaluation as a command."""

import subprocess
import sys

from tests.conftest import REPOSITORY
from tests.processes import PATIENCE_SECONDS


def command(*arguments: str) -> list[str]:
    return [sys.executable, "jobs/evaluate.py", *arguments]


def run(*arguments: str) -> str:
    done = subprocess.run(
        command(*arguments), cwd=REPOSITORY, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
    )
    assert done.returncode == 0, done.stderr
    assert " E " not in done.stderr  # Ray's errors that mean nothing.
    return done.stdout
