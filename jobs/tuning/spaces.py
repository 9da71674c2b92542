"""What a sweep may change: the built-in search spaces, and space files from users.

Every parameter is an option of the training jobs, under its own name. To extend a space, add a line here or write a
file:

    [learning_rate]            # a number between two others
    low = 1e-4
    high = 1e-2
    log = true                 # equally likely in each decade

    [schedule]                 # one of several
    choices = ["constant", "cosine"]

    [warmup_epochs]            # only if an earlier parameter has one of these values
    low = 0.0
    high = 2.0
    when = { schedule = ["cosine"] }

If `low` and `high` are whole numbers, so are the values, as for batch_size.
"""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, cast

from pydantic import ConfigDict, with_config

from fer_data.errors import UserError
from fer_data.storage import is_remote, one_line, read_file, redacted
from fer_data.validation import validated
from jobs.training.config import TrainConfig

if TYPE_CHECKING:
    import optuna

Value = float | int | str | bool
Parameters = dict[str, Value]
"""The options that one trial changes, by name."""


@with_config(ConfigDict(extra="forbid", strict=True))
@dataclass(frozen=True)
class Range:
    """A number from `low` to `high`, both included; `log`: on a logarithmic scale."""

    low: int | float
    high: int | float
    log: bool = False
    when: dict[str, list[Value]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.low >= self.high:
            raise ValueError(f"the range {self.low:g} to {self.high:g} is empty: low must be below high")
        if self.log and self.low <= 0:
            raise ValueError(f"a logarithmic range must begin above 0, not at {self.low:g}")

    def holds(self, value: Any) -> bool:
        return isinstance(value, int | float) and self.low <= value <= self.high

    def suggest(self, name: str, trial: "optuna.Trial") -> Value:
        if isinstance(self.low, int) and isinstance(self.high, int):
            return trial.suggest_int(name, self.low, self.high, log=self.log)
        return trial.suggest_float(name, self.low, self.high, log=self.log)

    def at(self, place: float) -> Value:
        """The value at `place`, from 0 to below 1, of the range."""
        whole = isinstance(self.low, int) and isinstance(self.high, int)
        low, high = self.low, self.high + whole  # Each whole number gets an equal share.
        value = low * (high / low) ** place if self.log else low + place * (high - low)
        return int(value) if whole else min(float(value), float(self.high))

    def extremes(self) -> Sequence[Value]:
        return self.low, self.high


@with_config(ConfigDict(extra="forbid", strict=True))
@dataclass(frozen=True)
class Choice:
    """One of `choices`."""

    choices: list[Value]
    when: dict[str, list[Value]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.choices) < 2 or len(set(map(repr, self.choices))) < len(self.choices):
            raise ValueError(f"choices must be at least two, all different, not {self.choices}")

    def holds(self, value: Any) -> bool:
        return value in self.choices

    def suggest(self, name: str, trial: "optuna.Trial") -> Value:
        return cast(Value, trial.suggest_categorical(name, self.choices))

    def at(self, place: float) -> Value:
        """The choice at `place`, from 0 to below 1."""
        return self.choices[int(place * len(self.choices))]

    def extremes(self) -> Sequence[Value]:
        return self.choices


Space = dict[str, Range | Choice]

LEARNING_RATE: Space = {
    "learning_rate": Range(1e-4, 1e-2, log=True),
    "schedule": Choice(["constant", "cosine"]),
    "warmup_epochs": Range(0.0, 2.0, when={"schedule": ["cosine"]}),
}
AUGMENTATION: Space = {
    "rotation": Range(0.0, 25.0),
    "shift": Range(0.0, 0.2),
    "zoom": Range(0.0, 0.3),
    "shear": Range(0.0, 15.0),
    "flip": Choice([True, False]),
    "brightness": Range(0.0, 0.3),
    "contrast": Range(0.0, 0.5),
    "gamma": Range(0.0, 1.0),
    "erase_probability": Range(0.0, 0.5),
    "erase_area": Range(0.05, 0.4),
    "mixup": Range(0.0, 0.4),
}
PRESETS: dict[str, Space] = {
    "learning-rate": LEARNING_RATE,
    "augmentation": AUGMENTATION,
    "full": {
        **LEARNING_RATE,
        "optimizer": Choice(["adam", "adamw"]),
        "weight_decay": Range(1e-4, 0.1, log=True, when={"optimizer": ["adamw"]}),
        "batch_size": Choice([64, 128, 256]),
        "label_smoothing": Range(0.0, 0.2),
        "dropout": Range(0.0, 0.6),
        **AUGMENTATION,
    },
}
_FIXED = (
    *("model", "data", "resize", "protocol", "train_fraction", "epochs", "monitor", "select", "patience", "seed"),
    *("freeze", "teacher"),
)
"""Options that decide how trials are compared, and so are the same for the whole sweep."""


def open_space(name_or_file: str, base: TrainConfig) -> Space:
    """The preset of that name, or the space in a TOML file, checked against `base`.

    Raises UserError for unknown parameters, empty ranges, invalid values and conditions that cannot hold.
    """
    if name_or_file in PRESETS:
        space, where = PRESETS[name_or_file], f"--space {name_or_file}"
    else:
        if not is_remote(name_or_file) and not name_or_file.endswith(".toml"):
            raise UserError(f"--space {name_or_file}: give {', '.join(PRESETS)} or a .toml file")
        space, where = _read(name_or_file), redacted(name_or_file)
    check_space(space, base, where)
    return space


def check_space(space: Space, base: TrainConfig, where: str) -> None:
    """Raises UserError, naming `where` and the parameter, unless both ends of every parameter can be trained."""
    if not space:
        raise UserError(f"{where}: no parameters: name at least one option of the training jobs")
    known = [name for name in base.flat() if name not in _FIXED]
    for name, domain in space.items():
        if name not in known:
            reason = "is the same for the whole sweep" if name in _FIXED else "is not an option of the training jobs"
            raise UserError(f"{where}: {name} {reason}: choose from {', '.join(known)}")
        context: Parameters = {}
        for other, values in domain.when.items():
            if other not in list(space)[: list(space).index(name)]:
                raise UserError(f"{where}: {name}: `when` names {other}, which must be a parameter above it")
            if not values or not all(space[other].holds(value) for value in values):
                raise UserError(f"{where}: {name}: `when` requires {other} in {values}, which it never is")
            context[other] = values[0]
        for value in domain.extremes():
            try:
                configured(base, context | {name: value})
            except UserError as mistake:
                raise UserError(f"{where}: {name}: {mistake}") from None


def configured(base: TrainConfig, parameters: Mapping[str, Any]) -> TrainConfig:
    """`base` with the values of `parameters`. Raises UserError for invalid values."""
    values = asdict(base)
    groups = {option: group for group, members in values.items() if isinstance(members, dict) for option in members}
    for name, value in parameters.items():
        (values[groups[name]] if name in groups else values)[name] = value
    optimizer = values["optimizer"]
    if "optimizer" in parameters and optimizer["optimizer"] == "adam" and "weight_decay" not in parameters:
        optimizer["weight_decay"] = 0.0  # adam has no weight decay.
    return TrainConfig.from_dict(values, f"with {_listed(parameters)}")


def suggest(space: Space, trial: "optuna.Trial", fixed: Mapping[str, Value] | None = None) -> Parameters:
    """One point of the space: every parameter whose condition holds, with the values of `fixed` where given."""
    point: Parameters = {}
    for name, domain in space.items():
        if _applies(domain, point):
            point[name] = fixed[name] if fixed and name in fixed else domain.suggest(name, trial)
    return point


def point_at(space: Space, places: Sequence[float]) -> Parameters:
    """The point of the space whose parameters are at `places`, one for each and from 0 to below 1, in their ranges."""
    point: Parameters = {}
    for (name, domain), place in zip(space.items(), places, strict=True):
        if _applies(domain, point):
            point[name] = domain.at(place)
    return point


def defaults(space: Space, base: TrainConfig) -> Parameters | None:
    """The point of `base` in the space; None if it is outside."""
    own, point = base.flat(), Parameters()
    for name, domain in space.items():
        if _applies(domain, point):
            if not domain.holds(own[name]):
                return None
            point[name] = own[name]
    return point


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """The changes between two spaces in their JSON form, in words."""
    changed = []
    for name in {**before, **after}:
        one, other = before.get(name), after.get(name)
        if one is None or other is None:
            changed.append(f"{name} {'added' if one is None else 'removed'}")
        elif one != other:
            keys = [key for key in {**one, **other} if one.get(key) != other.get(key)]
            was, now = (_listed({key: domain.get(key, "none") for key in keys}) for domain in (one, other))
            changed.append(f"{name}: {was} -> {now}")
    return changed


def to_json(space: Space) -> dict[str, Any]:
    """The space as JSON values, for the sweep's folder."""
    return {name: {k: v for k, v in asdict(domain).items() if v != {}} for name, domain in space.items()}


def _applies(domain: Range | Choice, point: Parameters) -> bool:
    return all(point.get(other) in values for other, values in domain.when.items())


def _read(uri: str) -> Space:
    try:
        tables = tomllib.loads(read_file(uri).decode())
    except (ValueError, RecursionError) as error:
        raise UserError(f"{redacted(uri)}: not TOML: {one_line(error)}") from None
    space: Space = {}
    for name, table in tables.items():
        if not isinstance(table, dict):
            raise UserError(f"{redacted(uri)}: {name}: give it as [{name}] with low and high, or choices")
        kind: type[Range] | type[Choice] = Choice if "choices" in table else Range
        space[name] = validated(kind, table, f"{redacted(uri)}: {name}")
    return space


def _listed(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())
