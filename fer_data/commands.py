"""How every command begins and ends: a rule for options, one line for a mistake, an exit code for each way to end.

A command is stopped by Ctrl-C, by SIGTERM, from `kill`, Kubernetes or `ray job stop`, and by SIGHUP, when its terminal
closes (except under `nohup`). All mean the same: KeyboardInterrupt is raised, results are kept, and a second signal
ends the process at once, except that `live` always closes its files first. What is no second signal: the same one
within a second, since `timeout` and `make` send it twice; and SIGHUP, since a terminal may close meanwhile.

It imports Python's own library alone, because `python -m live` starts with it.
"""

import _thread
import argparse
import atexit
import ctypes
import os
import signal
import stat
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NoReturn, TypeVar

from fer_data.errors import UserError
from fer_data.text import plain

Options = TypeVar("Options")


class Parser(argparse.ArgumentParser):
    """Python's own parser, except that it raises UserError and that the lines of its description stay as they are."""

    def __init__(self, prog: str | None = None, **more: Any) -> None:
        super().__init__(prog, formatter_class=argparse.RawDescriptionHelpFormatter, **more)

    def error(self, message: str) -> NoReturn:
        raise refusal(message)

    def build(self, options: type[Options], argv: Sequence[str] | None) -> Options:
        """An instance of the dataclass `options` from `argv` (`sys.argv[1:]` when None)."""
        try:
            return options(**vars(self.parse_args(argv)))
        except ValueError as error:
            raise refusal(str(error)) from None


def refusal(message: str) -> UserError:
    """The error for an option that a command refuses with `message`."""
    return UserError(f"{message}; --help lists the options")


def check(holds: bool, rule: str, value: object) -> None:
    """Raises ValueError, which states the rule and the value, unless `holds`."""
    if not holds:
        raise ValueError(f"{rule} (it is {value})")


def counted(number: int, noun: str) -> str:
    """Such as "1 face" and "1,200 faces"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


class Terminated(KeyboardInterrupt):
    """SIGTERM, raised like Ctrl-C."""


class HungUp(KeyboardInterrupt):
    """SIGHUP, raised like Ctrl-C."""


STOPS = {signal.SIGINT: KeyboardInterrupt, signal.SIGTERM: Terminated, signal.SIGHUP: HungUp}
"""The signals that stop a command, and what they raise."""
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:  # As `nohup` sets it.
    del STOPS[signal.SIGHUP]
_REPEATED_SECONDS = 1.0
"""For how long the same signal again is no second one."""
_received: list[int] = []
"""Those that came. Where one arrives while Ray waits, it raises a KeyboardInterrupt of its own, whichever it was."""


def is_stopping() -> bool:
    """Whether a signal has stopped this command."""
    return bool(_received)


@contextmanager
def stops_handled(handler: Callable[[int, object], None]) -> Iterator[None]:
    """Call `handler(number, frame)` for the signals in STOPS. Only the main thread can; elsewhere nothing changes.

    Where the first signal left other handlers, as `stop` does, they stay: while results are saved, a second signal ends
    the process.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number in STOPS}
    try:
        yield
    finally:
        for number, one in before.items():
            if signal.getsignal(number) is handler:
                signal.signal(number, one)


@contextmanager
def stops_kept() -> Iterator[None]:
    """Keep the handlers of STOPS that a command has set. Ray replaces them by some that end in a crash dump."""
    before = {number: signal.getsignal(number) for number in STOPS}
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, one in before.items():
                if callable(one):
                    signal.signal(number, one)


def leave(number: int, _: object) -> None:
    """A handler for a command that is over: the first signal lets it tidy up, the next ends the process.

    Ray takes seconds to end. If it were killed meanwhile, its processes and its folder might stay behind.
    """
    for each in STOPS:
        hung_up = each == signal.SIGHUP
        signal.signal(each, leave_terminal if hung_up else _repeated if each == number else signal.SIG_DFL)
    leave_terminal(number)
    if number != signal.SIGHUP:  # A `threading.Thread` might wait for a lock that the interrupted code holds.
        _thread.start_new_thread(_end_at_the_next, (number,))


def _repeated(number: int, _: object) -> None:
    """A handler for the same signal within a second."""


def _end_at_the_next(number: int) -> None:
    """Let the signal end the process after a while, whatever the main thread does, which alone may set handlers."""
    time.sleep(_REPEATED_SECONDS)
    if signal.getsignal(number) is _repeated:
        ctypes.CDLL(None).signal(number, 0)  # SIG_DFL


def leave_terminal(number: int, _: object = None) -> None:
    """After SIGHUP, print to nowhere instead of to a terminal: writing to one that has closed is an error."""
    if number == signal.SIGHUP:
        for output in (1, 2):
            with suppress(OSError):  # It may have been closed from the start.
                if stat.S_ISCHR(os.fstat(output).st_mode):
                    os.dup2(os.open(os.devnull, os.O_WRONLY), output)


def _ignore_stops() -> None:
    """For the very end. Before Python unloads its modules, for 0.3 s, it sets the handlers that end the process."""
    for each in STOPS:
        signal.signal(each, signal.SIG_IGN)


def stop(number: int, frame: object) -> None:
    """A handler that raises what STOPS says, and lets the next signal end the process."""
    leave(number, frame)
    _received.append(number)
    raise STOPS[signal.Signals(number)]


@contextmanager
def stops_delayed() -> Iterator[None]:
    """Raise what STOPS says at the end of the block, for work that must not be left half done.

    A second signal ends the process at once. Handlers that the block sets do not stay. Only the main thread can delay
    signals; elsewhere nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    received: list[int] = []

    def remember(number: int, frame: object) -> None:
        received.append(number)
        leave(number, frame)

    before = {number: signal.signal(number, remember) for number in STOPS}
    try:
        yield
    finally:
        for number, one in before.items():
            if one is not None:  # A handler that is not Python's.
                signal.signal(number, one)
    if received:
        stop(received[0], None)


@contextmanager
def stop_checked() -> Iterator[Callable[[], None]]:
    """Gives a function that raises what STOPS says after such a signal, for loops that must not miss it.

    Python itself raises it too, but drops it if it happens to run a destructor.
    """
    received: list[int] = []

    def remember(number: int, frame: object) -> None:
        received.append(number)
        stop(number, frame)

    def look() -> None:
        if received:
            raise STOPS[signal.Signals(received[0])]

    with stops_handled(remember):
        yield look


def _say_last(line: str) -> None:
    """Print to stderr. Whoever reads the output may have ended by the same signal, as `tee` does."""
    for output, text in ((sys.stdout, ""), (sys.stderr, f"{line}\n")):
        try:
            output.write(text)
            output.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), output.fileno())


def exit_with_code(main: Callable[[], object]) -> None:
    """Run `main` and exit with a code.

    0 done, 1 failed (with a traceback), 2 a user's mistake (in one line), 129 after SIGHUP, 130 after Ctrl-C, 143 after
    SIGTERM. A signal after the end of `main` changes neither the code nor what is tidied up on exit.
    """
    _received.clear()
    if threading.current_thread() is threading.main_thread():
        for each in STOPS:
            signal.signal(each, leave)  # They come back when `main` is over.
        atexit.register(_ignore_stops)  # It runs last, since Ray is imported later.
    try:
        with stops_handled(stop):
            main()
    except UserError as mistake:
        print(f"error: {mistake}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:  # The reader of the output closed it, as `head` does.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception:  # A bug. Its traceback may quote what must not be printed, as every message may.
        print("\n".join(map(plain, traceback.format_exc().splitlines())), file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt as stopped:  # It may say where the command stands.
        _say_last(plain(": ".join(["interrupted", *map(str, stopped.args)])))
        number = _received[0] if _received else next(n for n, raised in STOPS.items() if type(stopped) is raised)
        sys.exit(128 + number)
