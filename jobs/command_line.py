"""What every job's command line shares: options from a dataclass, one-line errors, exit codes."""

import contextlib
import io
import os
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import tyro

from fer_data.errors import UserError

Options = TypeVar("Options")

_BOX_DRAWING = re.compile(r"[\u2500-\u257f]+")


def parse(
    options: type[Options],
    argv: Sequence[str] | None = None,
    *,
    default: Options | None = None,
    description: str | None = None,
) -> Options:
    """Build `options`, a dataclass, from `argv` (`sys.argv[1:]` when None).

    Nested dataclasses give plain flags without their group's name. Raises
    UserError, in one line, for an option that is unknown, missing or out of
    range; a dataclass states its ranges by raising ValueError or UserError
    from `__post_init__`.
    """
    extra: dict[str, Any] = {} if default is None else {"default": default}
    captured = io.StringIO()
    try:
        with contextlib.redirect_stderr(captured):
            return tyro.cli(
                options,
                args=sys.argv[1:] if argv is None else argv,
                description=description,
                config=(tyro.conf.OmitArgPrefixes,),
                **extra,
            )
    except SystemExit as stop:
        if stop.code:
            raise UserError(_one_line(captured.getvalue())) from None
        raise


def exit_with_code(main: Callable[[], object]) -> None:
    """Run `main` and exit: 0 done, 1 the job failed (with its traceback), 2 a user's mistake, in one line."""
    try:
        main()
    except UserError as mistake:
        print(f"error: {mistake}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:  # Whoever read the output has had enough, as `head` does.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(1)


def _one_line(box: str) -> str:
    """The parser's framed message as a line: without frame, title and help text."""
    body = box.splitlines()[1:]
    text = re.sub(r"\s+", " ", " ".join(_BOX_DRAWING.sub(" ", line) for line in body))
    message = re.split(r"Argument helptext:|For full helptext", text)[0].strip()
    # A dataclass that refuses its values names the option itself.
    message = re.sub(r"^Error parsing [a-z_.]+: ", "", message).removesuffix(".")
    return f"{message}; --help lists the options"
