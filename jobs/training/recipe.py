"""A recipe: the stages of training that end in one checkpoint, in a TOML file.

Each `[[stage]]` has a `name`, the fields of a training configuration, `teachers`: the names of stages before it whose
best checkpoints teach this one, and `start`: the one whose weights it starts from. What a stage does not set is as in
the default configuration of its `model`.
"""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from fer_data.errors import UserError
from fer_data.storage import join, one_line, read_file, redacted
from jobs.run_options import NAME, NAME_RULE
from jobs.training.checks import resolved
from jobs.training.config import TrainConfig
from jobs.training.defaults import DEFAULTS
from jobs.training.option_groups import DistillationConfig


@dataclass(frozen=True)
class Stage:
    """One run of a recipe. `teachers` and `start` are names of stages; `config` lacks their checkpoints."""

    name: str
    config: TrainConfig
    teachers: tuple[str, ...]
    start: str | None = None

    @property
    def needs(self) -> tuple[str, ...]:
        """The stages that must be finished before this one."""
        return self.teachers + ((self.start,) if self.start else ())

    def configuration(self, folder: str, data: str) -> TrainConfig:
        """What the run trains, given the folder of the recipe's runs and the data set."""
        distillation = self.config.distillation
        taught = tuple(join(folder, teacher, "best") for teacher in self.teachers)
        distillation = replace(distillation, teacher=(*taught, *distillation.teacher))
        backbone = self.config.backbone
        if self.start:
            backbone = replace(backbone, weights=join(folder, self.start, "best"))
        return replace(self.config, data=data, distillation=distillation, backbone=backbone)


def read_recipe(uri: str) -> list[Stage]:
    """The stages of the recipe at `uri`, a path, s3:// or gs:// URI, in order.

    Raises UserError, which names the stage and the field, when it is not valid.
    """
    where = redacted(uri)
    try:
        recipe = tomllib.loads(read_file(uri).decode())
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where}: not TOML: {one_line(error)}") from None
    tables = recipe.pop("stage", None)
    if recipe:
        raise UserError(f"{where}: a recipe has [[stage]] tables and nothing else, not {next(iter(recipe))!r}")
    if not isinstance(tables, list) or not tables or not all(isinstance(table, dict) for table in tables):
        raise UserError(f"{where}: a recipe has one or more [[stage]] tables")
    stages: list[Stage] = []
    for number, table in enumerate(tables, 1):
        stages.append(_stage(table, where, number, {stage.name: stage.config for stage in stages}))
    return stages


def _stage(table: dict[str, Any], where: str, number: int, before: Mapping[str, TrainConfig]) -> Stage:
    """The stage that `table` describes, the `number`-th, which comes after those in `before`."""
    name, teachers, start = table.pop("name", None), table.pop("teachers", []), table.pop("start", None)
    model = table.get("model")
    if not isinstance(name, str) or not re.fullmatch(NAME, name):
        raise UserError(f"{where}: stage {number}: name: {NAME_RULE}")
    where = f"{where}: stage {name}"
    if name in before:
        raise UserError(f"{where}: another stage has this name")
    if not isinstance(model, str) or model not in DEFAULTS:
        raise UserError(f"{where}: model: give one of {', '.join(DEFAULTS)}")
    if not isinstance(teachers, list):
        raise UserError(f"{where}: teachers: give a list of names of stages before it")
    if unknown := [teacher for teacher in teachers if teacher not in before]:
        raise UserError(f"{where}: teachers: {unknown[0]!r} is no stage before this one")
    if "data" in table:
        raise UserError(f"{where}: data: all stages have the data of --data")
    config = TrainConfig.from_dict(_merged(asdict(DEFAULTS[model]), table), where)
    distillation = config.distillation
    if not teachers and not distillation.teacher and distillation != DistillationConfig():
        raise UserError(f"{where}: distillation: it needs teachers")
    if start is not None:
        config = _started(config, start, where, before)
    elif config.backbone.weights == "none" and (config.backbone.start_share or config.backbone.freeze):
        raise UserError(f"{where}: backbone: start_share and freeze need a start or weights")
    return Stage(name, config, tuple(teachers), start)


def _started(config: TrainConfig, start: Any, where: str, before: Mapping[str, TrainConfig]) -> TrainConfig:
    """`config` for a stage that starts from the weights of the stage `start`. Raises UserError if they cannot fit."""
    if not isinstance(start, str) or start not in before:
        raise UserError(f"{where}: start: {start!r} is no stage before this one")
    first = before[start]
    if (first.model, first.width) != (config.model, config.width):
        raise UserError(f"{where}: start: {start} is another network: give both the same model and width")
    if config.backbone.weights != "none":
        raise UserError(f"{where}: backbone: weights: it has a start")
    # Whose checkpoint, which would tell, is not there yet.
    backbone = resolved(first).backbone
    return replace(config, backbone=replace(config.backbone, preprocessing=backbone.preprocessing))


def _merged(values: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`values` with `changes`, of which groups change only the fields that they have."""
    both = dict(values)
    for name, change in changes.items():
        before = values.get(name)
        both[name] = before | change if isinstance(before, dict) and isinstance(change, dict) else change
    return both
