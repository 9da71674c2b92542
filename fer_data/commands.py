"""How every command begins and ends: a rule for options, one line for a mistake, an exit code for each way to end.

It imports Python's own library alone, because `python -m live` starts with it.
"""

import argparse
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
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


@contextmanager
def ctrl_c_checked() -> Iterator[Callable[[], None]]:
    """Gives a function that raises KeyboardInterrupt after Ctrl-C, for loops that must not miss it.

    Python itself raises it too, but drops it if it happens to run a destructor.
    """
    pressed: list[int] = []

    def interrupt(number: int, _: object) -> None:
        pressed.append(number)
        raise KeyboardInterrupt

    def look() -> None:
        if pressed:
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield look
    finally:
        signal.signal(signal.SIGINT, before)


def exit_with_code(main: Callable[[], object]) -> None:
    """Run `main` and exit: 0 done, 1 failed (with a traceback), 2 a user's mistake (in one line), 130 after Ctrl-C."""
    try:
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
    except KeyboardInterrupt as stop:  # It may say where the command stands.
        print(plain(": ".join(["interrupted", *map(str, stop.args)])), file=sys.stderr)
        sys.exit(130)
