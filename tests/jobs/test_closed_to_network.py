"""Nothing that a job starts answers on this machine's address on the network, from its first milliseconds."""

import sys

import pytest

from tests.conftest import REPOSITORY
from tests.fer_data.raw_forms import csv, write
from tests.network import watched
from tests.processes import address_on_the_network, run_to_end


@pytest.mark.slow
@pytest.mark.cluster
def test_no_job_answers_on_the_network_from_its_first_milliseconds(drawn_few, tmp_path):
    address = address_on_the_network()
    if address is None:
        pytest.skip("this machine has no address on a network")
    raw = write(tmp_path / "raw.csv", csv())
    training = ("--model", "compact", "--data", drawn_few, "--epochs", "1", "--batch-size", "50", "--storage", tmp_path)
    best = tmp_path / "run" / "best"
    jobs = {  # A sweep starts Ray and workers as training does, and predictions as evaluation does.
        "train_cnn.py": (*training, "--workers", "2", "--name", "run"),
        "evaluate.py": ("--checkpoint", f"it={best}", "--data", drawn_few, "--split", "public_test"),
        "prepare_data.py": (raw, "--workers", "1"),
    }
    for job, options in jobs.items():
        out = () if "--storage" in options else ("--out", tmp_path / f"{job}.out")
        with watched(address) as found:
            printed = run_to_end([sys.executable, f"jobs/{job}", *options, *out], REPOSITORY)
        assert not found, job
        assert "core_worker" not in printed, "what Ray says to itself"
