"""What a process says that it has needed."""

import subprocess
import sys

import numpy as np

from tests.conftest import REPOSITORY


def test_a_process_does_not_count_the_memory_of_the_one_that_started_it():
    large = np.ones(400 * 2**20, np.uint8)
    code = "import numpy; from jobs.memory import peak_mib; numpy.ones(50 * 2**20, numpy.uint8); print(peak_mib())"
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert large.all()
    assert 50 < float(done.stdout) < 200
