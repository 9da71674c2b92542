"""TensorFlow's port between ranks on one machine: nobody else can reach it, not for a moment."""

import os
import socket
import subprocess
import sys
import threading
from contextlib import closing

import pytest

from cluster.rehearsal import free_ports
from tests.conftest import REPOSITORY
from tests.jobs.training.test_world_size import tf_config
from tests.processes import address_on_the_network

RANK = """
import sys
from jobs.training.collectives import Collectives
assert Collectives(int(sys.argv[1]), 2).gather_ints([int(sys.argv[1])]).tolist() == [[0], [1]]
"""


@pytest.mark.slow
@pytest.mark.cluster
def test_the_port_never_answers_the_network_while_ranks_start():
    address = address_on_the_network()
    if address is None:
        pytest.skip("this machine has no address on a network")
    ports = free_ports(2)
    over, answers = threading.Event(), []

    def knock() -> None:
        while not over.is_set():
            for port in ports:
                with closing(socket.socket()) as client:
                    client.settimeout(0.05)
                    if client.connect_ex((address, port)) == 0:
                        answers.append(port)

    knocking = threading.Thread(target=knock)
    knocking.start()
    workers = [f"127.0.0.1:{port}" for port in ports]
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", RANK, str(rank)],
            cwd=REPOSITORY,
            env=os.environ | {"PYTHONPATH": str(REPOSITORY), "TF_CONFIG": tf_config(workers, rank)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        for rank in ranks:
            _, errors = rank.communicate(timeout=300)
            assert rank.returncode == 0, errors[-2000:]
    finally:
        over.set()
        knocking.join()
        for rank in ranks:
            rank.kill()
    assert not answers
