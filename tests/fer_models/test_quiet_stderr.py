import os
import subprocess
import sys

from fer_models.quiet_stderr import without_lines
from tests.conftest import REPOSITORY


def test_lines_that_begin_otherwise_come_through_and_none_is_dropped_after_the_block(capfd):
    with without_lines("INFO: ", "N.TE"):
        os.write(2, b"INFO: created\nERROR: INFO: not created\nNOTED\n")
    os.write(2, b"INFO: later\n")
    assert capfd.readouterr().err == "ERROR: INFO: not created\nINFO: later\n"


def test_a_program_without_a_stderr_runs_all_the_same():
    code = "from fer_models.quiet_stderr import without_lines\nwith without_lines('INFO: '):\n    print('done')"
    command = f'exec {sys.executable} -c "$CODE" 2>&-'
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=REPOSITORY,
        env=os.environ | {"CODE": code},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    assert done.stdout == "done\n"
