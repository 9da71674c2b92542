import fcntl
import os
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator

import pytest

from fer_data.commands import STOPS, stop_checked, stops_delayed
from tests.conftest import REPOSITORY
from tests.processes import until


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Those of pytest, again after the test."""
    before = {number: signal.getsignal(number) for number in STOPS}
    yield
    for number, one in before.items():
        signal.signal(number, one)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_ctrl_c_is_not_lost_in_a_destructor():
    class Press:
        def __del__(self):
            signal.raise_signal(signal.SIGINT)

    with stop_checked() as look:
        look()
        press = Press()
        del press  # Python drops what is raised now.
        with pytest.raises(KeyboardInterrupt):
            look()


def test_ctrl_c_is_raised_at_once_elsewhere_and_a_second_one_ends_the_process():
    with pytest.raises(KeyboardInterrupt), stop_checked():
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_a_signal_is_raised_at_the_end_of_what_must_not_be_left_half_done():
    done = []

    def work() -> None:
        with stops_delayed():
            signal.raise_signal(signal.SIGINT)
            done.append(True)

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_what_sets_handlers_of_its_own_does_not_keep_them():
    before = [signal.getsignal(number) for number in STOPS]
    with stops_delayed():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    assert [signal.getsignal(number) for number in STOPS] == before


def test_handlers_are_those_of_before_when_nothing_was_stopped():
    before = [signal.getsignal(number) for number in STOPS]
    with stop_checked():
        assert [signal.getsignal(number) for number in STOPS] != before
    assert [signal.getsignal(number) for number in STOPS] == before


@pytest.mark.parametrize("number", STOPS)
@pytest.mark.parametrize("times", [1, 2])
def test_a_command_that_is_over_tidies_up_after_a_signal_unless_there_is_a_second(number, times):
    # A terminal that closes may send SIGHUP at any time, and means no harm.
    program = (
        "import atexit, signal, time; from fer_data.commands import exit_with_code\n"
        f"def press():\n for _ in range({times}): signal.raise_signal({number.value}); time.sleep(2 * ({times} - 1))\n"
        "def main():\n"
        " for each in (lambda: print('tidied'), press): atexit.register(each)\n"
        " print('done')\n"
        "exit_with_code(main)"
    )
    over = subprocess.run([sys.executable, "-u", "-c", program], capture_output=True, text=True, check=False)
    expected = (0, "done\ntidied\n") if times == 1 or number == signal.SIGHUP else (-number, "done\n")
    assert (over.returncode, over.stdout, over.stderr) == (*expected, "")


@pytest.mark.parametrize("number", STOPS)
def test_a_signal_while_python_unloads_its_modules_does_not_change_the_code(number):
    program = (
        "import os\nfrom fer_data.commands import exit_with_code\n"
        "class Press:\n"
        f" def __del__(self, kill=os.kill, me=os.getpid()): kill(me, {number.value}); print('unloaded')\n"
        "press = Press()\n"
        "exit_with_code(lambda: print('done'))"
    )
    over = subprocess.run([sys.executable, "-u", "-c", program], capture_output=True, text=True, check=False)
    assert (over.returncode, over.stdout, over.stderr) == (0, "done\nunloaded\n", "")


def test_a_command_goes_on_to_save_when_its_terminal_is_gone():
    program = (
        "import os, sys, time\nfrom fer_data.commands import exit_with_code\n"
        "def main():\n"
        " try:\n"
        "  print('working', flush=True)\n"
        "  time.sleep(60)\n"
        " finally:\n"
        "  print('saving', flush=True)\n"
        "  os.write(int(sys.argv[1]), b'saved')\n"
        "exit_with_code(main)"
    )
    terminal, its_end = os.openpty()
    saved, write = os.pipe()
    command = subprocess.Popen(
        [sys.executable, "-c", program, str(write)],
        **dict.fromkeys(("stdin", "stdout", "stderr"), its_end),
        pass_fds=[write],
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(its_end, termios.TIOCSCTTY, 0),
    )
    os.close(its_end)
    os.close(write)
    assert os.read(terminal, 100).strip() == b"working"
    os.close(terminal)
    assert command.wait(timeout=60) == 129
    assert os.read(saved, 100) == b"saved"
    os.close(saved)


SAVING = """
import sys, time
from pathlib import Path
from fer_data.commands import exit_with_code
from jobs.console import PlainConsole

def main():
    console, folder = PlainConsole(), Path(sys.argv[1])
    try:
        print("working", flush=True)
        time.sleep(600)
    finally:
        console.out("saving")
        (folder / "begun").touch()
        while not (folder / "go").exists():
            time.sleep(0.01)
        (folder / "saved").touch()

exit_with_code(main)
"""


@pytest.fixture
def saving(tmp_path) -> Iterator[subprocess.Popen]:
    """A command that saves when it is stopped: it makes the file begun, and saved once there is a file go."""
    command = subprocess.Popen(
        [sys.executable, "-c", SAVING, tmp_path],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert command.stdout is not None
    assert command.stdout.readline() == "working\n"
    yield command
    command.kill()
    command.wait()
    command.stdout.close()


@pytest.mark.parametrize("reader", ["stays", "ends"])
@pytest.mark.parametrize(
    ("first", "then", "code"),
    [
        ([signal.SIGTERM, signal.SIGTERM], [], 143),  # At once, as `timeout` and `make` send it.
        ([signal.SIGHUP, signal.SIGHUP], [signal.SIGHUP], 129),
        ([signal.SIGINT], [signal.SIGHUP], 130),
        ([signal.SIGTERM], [signal.SIGHUP, signal.SIGHUP], 143),
    ],
)
def test_what_is_no_second_signal_lets_a_command_save(saving, first, then, code, reader, tmp_path):
    """`reader` is that of the output, which the same signal may end, as in `job | tee log`."""
    if reader == "ends":
        saving.stdout.close()
    for number in first:
        saving.send_signal(number)
    until((tmp_path / "begun").exists)
    for number in then:
        saving.send_signal(number)
    (tmp_path / "go").touch()
    assert saving.wait(timeout=60) == code
    assert (tmp_path / "saved").exists()
    if reader == "stays":
        assert saving.stdout.read() == "saving\ninterrupted\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_ends_a_command_that_saves(saving, number, tmp_path):
    saving.send_signal(signal.SIGTERM)
    until((tmp_path / "begun").exists)
    while saving.poll() is None:
        time.sleep(0.5)
        saving.send_signal(number)
    assert saving.returncode == -number
    assert not (tmp_path / "saved").exists()


def test_under_nohup_a_terminal_that_closes_changes_nothing():
    program = (
        "import signal; from fer_data.commands import exit_with_code\n"
        "exit_with_code(lambda: (signal.raise_signal(signal.SIGHUP), print('done')))"
    )
    over = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),
    )
    assert (over.returncode, over.stdout) == (0, "done\n")
