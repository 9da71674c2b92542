"""Nothing that `prepare_data.py --workers` starts answers on this machine's address on the network, from the beginning.

The other jobs are watched while the commands of the README run.
"""

import sys

import pytest

from tests.conftest import REPOSITORY
from tests.fer_data.raw_forms import csv, write
from tests.network import watched
from tests.processes import address_on_the_network, run_to_end


@pytest.mark.slow
@pytest.mark.cluster
def test_preparing_on_workers_does_not_answer_on_the_network_from_its_first_milliseconds(tmp_path):
    address = address_on_the_network()
    if address is None:
        pytest.skip("this machine has no address on a network")
    raw = write(tmp_path / "raw.csv", csv())
    with watched(address) as found:
        command = [sys.executable, "jobs/prepare_data.py", raw, "--workers", "1", "--out", tmp_path / "out"]
        printed = run_to_end(command, REPOSITORY)
    assert not found
    assert "core_worker" not in printed, "what Ray says to itself"
