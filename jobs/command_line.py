"""A job's command line, which tyro generates from a dataclass."""

import dataclasses
import inspect
import re
import types
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from typing import Any, TypeVar, Union, get_args

import tyro
from tyro import _errors as events  # Private, but the only form in which tyro gives errors as data; seen in 1.0.17.
from tyro import _strings as texts
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

from fer_data.commands import refusal

Options = TypeVar("Options")
_REGISTRY = ConstructorRegistry()
_joined = texts.remove_single_line_breaks


def parse(
    options: type[Options],
    argv: Sequence[str] | None = None,
    *,
    default: Options | None = None,
    description: str | None = None,
) -> Options:
    """Build `options`, a dataclass, from `argv` (`sys.argv[1:]` when None).

    Nested dataclasses give plain flags without their group's name. Raises UserError, in one line, for an option that is
    unknown, missing or out of range. A dataclass checks its ranges by raising ValueError from `__post_init__`.
    """
    extra: dict[str, Any] = {} if default is None else {"default": default}

    def refuse(event: events.ParseErrorEvent) -> None:
        if message := _message(event, list(_flags(options))):
            raise refusal(message)

    with events.on_parse_error(refuse):
        return tyro.cli(
            options,
            args=argv,
            description=description,
            config=(tyro.conf.OmitArgPrefixes,),
            registry=_REGISTRY,
            **extra,
        )


def _without_line_breaks(helptext: str) -> str:
    """tyro itself joins no line that is indented, as those of our fields are, or that begins with a digit."""
    return _joined(re.sub(r"(?<=\S)\n(?=\S)", " ", inspect.cleandoc(helptext)))


texts.remove_single_line_breaks = _without_line_breaks


def _message(event: events.ParseErrorEvent, flags: list[str]) -> str | None:
    """tyro's error in the wording of argparse; None for an event that no option here can cause."""
    match event:
        case events.UnrecognizedArgs(tokens=tokens):
            unknown = [token for token in tokens if token.startswith("--")]
            if len(unknown) < 2:
                return f"unrecognized arguments: {' '.join(tokens)}{_near(tokens[0], flags)}"
            return "unrecognized arguments: " + ", ".join(token + _near(token, flags) for token in unknown)
        case events.InvalidChoice(argument=argument, value=value, choices=choices):
            listed = ", ".join(map(repr, choices))
            return f"argument {argument.display_name()}: invalid choice: {value!r} (choose from {listed})"
        case events.BadValue(argument=argument):
            return f"argument {argument.display_name()}: expected one argument"
        case events.MissingArgs(missing_arguments=missing):
            names = ", ".join(each.arg.display_name() for each in missing)
            return f"the following arguments are required: {names}"
        case events.InstantiationFailure(message=message, argument=argument):
            if unreadable := re.fullmatch(r"Could not find valid parse for arguments: \[(.*)\]", message):
                message = f"invalid values: {unreadable[1]}"
            # A dataclass that refuses its values names the option itself.
            return f"argument {argument.display_name()}: {message}" if argument else message
    return None


def _near(token: str, flags: list[str]) -> str:
    close = get_close_matches(token.partition("=")[0], flags, 1, 0.8)
    return f" (did you mean {close[0]}?)" if close else ""


def _flags(options: type) -> Iterator[str]:
    """The flags of a dataclass and of the dataclasses inside it."""
    for field in dataclasses.fields(options):
        if isinstance(field.type, type) and dataclasses.is_dataclass(field.type):
            yield from _flags(field.type)
        else:
            yield f"--{field.name.replace('_', '-')}"


@_REGISTRY.primitive_rule
def _optional(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec | None:
    """Show `STR` rather than `{None}|STR` in the help of an option that may be None; the word None still means None."""
    kinds = [kind for kind in get_args(info.type) if kind is not type(None)]
    if info.type_origin not in (Union, types.UnionType) or len(kinds) != 1:
        return None
    spec = ConstructorRegistry.get_primitive_spec(PrimitiveTypeInfo.make(kinds[0], info.markers))
    if not isinstance(spec, PrimitiveConstructorSpec):
        return None
    return dataclasses.replace(
        spec,
        instance_from_str=lambda words: None if words == ["None"] else spec.instance_from_str(words),
        is_instance=lambda value: value is None or spec.is_instance(value),
        str_from_instance=lambda value: ["None"] if value is None else spec.str_from_instance(value),
        choices=spec.choices and (*spec.choices, "None"),
    )
