"""Nothing that `live --web` starts answers on this machine's address on the network, from its first milliseconds."""

import re
import subprocess
import sys
from contextlib import ExitStack

import pytest

from tests.conftest import REPOSITORY
from tests.live.scenes import walk, write_video
from tests.network import answers, watched
from tests.processes import address_on_the_network, run_to_end, until

LISTENER = "import socket, time; s = socket.create_server(('', 0)); time.sleep({}); s.close()"


def test_live_does_not_answer_on_the_network_from_its_first_milliseconds(tmp_path):
    address = address_on_the_network()
    if address is None:
        pytest.skip("this machine has no address on a network")
    with watched(address) as found:  # One that is open for a moment is noticed.
        run_to_end([sys.executable, "-c", LISTENER.format(0.5)], REPOSITORY)
    assert len(found) == 1

    video = write_video(tmp_path / "walk.mp4", walk(40), rate=2)
    with watched(address) as found, ExitStack() as stack:
        command = [sys.executable, "-m", "live", "--source", video, "--web", "0"]
        live = stack.enter_context(subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True))
        stack.callback(live.kill)
        port = int(re.search(r"127\.0\.0\.1:(\d+)", live.stdout.readline())[1])
        until(lambda: answers("127.0.0.1", port), live)
    assert not found
