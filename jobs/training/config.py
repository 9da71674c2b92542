"""Everything that decides what a training run computes, validated when it is built.

`TrainConfig` defines *what* is trained and is saved with the run. `jobs.run_options.RunOptions` defines *where* it runs
and is not saved: the same configuration gives the same model on any number of workers.
"""

import hashlib
import json
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal

from pydantic import with_config

from fer_data.augment_draws import AugmentationConfig
from fer_data.commands import check
from fer_data.errors import UserError
from fer_data.storage import one_line, read_file, redacted
from fer_data.validation import validated
from fer_models.catalogue import NETWORKS, networks_with
from jobs.training.option_groups import BackboneConfig, DistillationConfig, OptimizerConfig, ScheduleConfig

Precision = Literal["auto", "float32", "mixed_bfloat16", "mixed_float16"]
Monitor = Literal["loss", "accuracy", "macro_f1", "macro_recall", "auc"]
UNSEEN_SUFFIX = "_unseen"
"""Ends the history's columns of metrics over the unseen validation images."""
BEFORE_SELECT = {"select": "all"}
"""What configurations without `select` did: they were saved before there was a choice."""


@with_config(extra="forbid")
@dataclass(frozen=True)
class TrainConfig:
    """One training run: data, model, loss, optimisation, augmentation and choice of the best epoch."""

    model: str = "cnn"
    """The network: cnn, compact or large for train_cnn.py, resnet50 for train_resnet.py."""
    data: str | None = None
    """A prepared data set, or FER-2013 in any published form (path, s3:// or gs://); by default the drawn faces."""
    resize: bool = False
    """Admit raw images of any size, colour and usual kind, as jobs/prepare_data.py does."""
    protocol: Literal["challenge", "notebook"] = "challenge"
    """How rows are split into training and validation."""
    train_fraction: float = 1.0
    """Share of the training rows to train on, equal in every class. An image whose only copies are left out counts as
    unseen."""
    epochs: int = 200
    batch_size: int = 256
    """Images per step, over all workers."""
    micro_batch: int = 0
    """Maximum images that a worker computes at once; gradients of more are accumulated. 0: no limit."""
    precision: Precision = "auto"
    """auto: mixed_bfloat16 if the hardware of every worker has it, mixed_float16 on older GPUs, else float32."""
    dropout: float | None = None
    """Dropout rate in place of the network's own."""
    width: float = 1.0
    """Factor on the filters of compact and large; a wider network can teach the standard one."""
    soft_labels: bool = False
    """Learn the shares of the annotators' votes instead of the label that most chose. The data need votes (FER+)."""
    label_smoothing: float = 0.0
    class_weights: Literal["none", "cube_root", "square_root", "balanced"] = "none"
    """balanced: weigh a class by the inverse of its frequency; square_root and cube_root: by that root of it."""
    ema: float = 0.0
    """Decay per step of a moving average of the weights, which is validated and saved in their place; 0: off."""
    calibrate: bool = False
    """Fit a temperature to the validation rows of --select after each epoch and store it in the model, so that 80 % of
    the images that it classifies with a probability of 80 % are right."""
    monitor: Monitor = "loss"
    """Validation metric that chooses the best epoch."""
    select: Literal["unseen", "all"] = "unseen"
    """Validation images over which --monitor is taken. unseen: those whose photograph no training image shows, since
    the others reward memory; all, where near copies are not known."""
    patience: int = 20
    """Stop after this many epochs without a better monitored value; 0: never."""
    seed: int = 0
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)
    distillation: DistillationConfig = field(default_factory=DistillationConfig)
    backbone: BackboneConfig = field(default_factory=BackboneConfig)

    def __post_init__(self) -> None:
        check(self.model in NETWORKS, f"--model must be one of {', '.join(NETWORKS)}", self.model)
        self._check_options()
        check(self.data is None or self.data.strip() != "", "--data must name a data set", repr(self.data))
        check(0 < self.train_fraction <= 1, "--train-fraction must be above 0 and at most 1", self.train_fraction)
        check(self.epochs >= 1, "--epochs must be 1 or more", self.epochs)
        check(self.batch_size >= 1, "--batch-size must be 1 or more", self.batch_size)
        check(self.micro_batch >= 0, "--micro-batch must be 0 or more", self.micro_batch)
        rate = self.dropout
        check(rate is None or 0 <= rate < 1, "--dropout must be at least 0 and below 1", rate)
        check(0.25 <= self.width <= 8, "--width must be 0.25 to 8", self.width)
        smoothing = self.label_smoothing
        check(0 <= smoothing < 1, "--label-smoothing must be at least 0 and below 1", smoothing)
        check(0 <= self.ema < 1, "--ema must be at least 0 and below 1", self.ema)
        check(self.patience >= 0, "--patience must be 0 or more", self.patience)
        if self.distillation.views and self.augmentation.mixup:
            raise ValueError("--views repeats images, and --mixup makes new ones of them: leave one out")
        check(0 <= self.seed < 2**31, "--seed must be at least 0 and below 2^31", self.seed)

    def _check_options(self) -> None:
        """Raises ValueError for an option that this network does not have."""
        for group in (self, self.backbone):
            for option in fields(group):
                models = networks_with(option.name)
                if models and self.model not in models and getattr(group, option.name) != option.default:
                    name = option.name.replace("_", "-")
                    raise ValueError(f"--{name} is for --model {' or '.join(models)}, not {self.model}")
        if self.backbone.weights == "imagenet" and "preprocessing" not in NETWORKS[self.model].options:
            raise ValueError(f"--weights imagenet is for --model resnet50, not {self.model}: give a checkpoint")
        if self.backbone.start_share and self.model == "resnet50":
            raise ValueError("--start-share is for networks that start with all of their weights, not resnet50")
        self.backbone.check_stages(NETWORKS[self.model].stages)

    def builder_arguments(self) -> dict[str, Any]:
        """The arguments of the network's builder in `fer_models`."""
        values = self.flat()
        return {option: values[option] for option in NETWORKS[self.model].options if values[option] is not None}

    def require_sources(self) -> None:
        """Raises UserError for options that need a teacher or initial weights where there are none.

        Not checked in `__post_init__`, because a configuration file may leave these to the command line.
        """
        self.distillation.require_teacher()
        if self.backbone.start_share and self.backbone.weights == "none":
            raise UserError("--start-share needs --weights: random weights are worth nothing in a mean")
        if self.backbone.freeze and self.backbone.weights == "none":
            raise UserError(
                "--freeze would keep random weights as they are: give --weights to start from trained ones, or leave "
                "--freeze out; --help lists the options"
            )

    @property
    def metric(self) -> str:
        """The column of the history that chooses the best epoch, and the best trial of a sweep."""
        return f"validation_{self.monitor}" + UNSEEN_SUFFIX * (self.select == "unseen")

    @property
    def metric_in_words(self) -> str:
        return f"validation {self.monitor.replace('_', '-')}" + " on unseen images" * (self.select == "unseen")

    @property
    def mode(self) -> str:
        """Whether the `min` or the `max` of `metric` is best."""
        return "min" if self.monitor == "loss" else "max"

    def identity(self, data_fingerprint: str) -> str:
        """Eight hexadecimal digits, equal for runs that compute the same thing from the same data.

        The number of epochs counts only with a cosine schedule: in others it changes nothing but the end.
        """
        values = self.for_names() | {"data_fingerprint": data_fingerprint}
        if self.schedule.schedule != "cosine":
            del values["epochs"]
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:8]

    def for_names(self) -> dict[str, Any]:
        """The options that default names of runs and sweeps depend on."""
        # The path of the data and how they were read are not in it: their fingerprint is.
        values = asdict(replace(self, data=None))
        del values["resize"]
        # So that what was begun before these options keeps its name.
        if not self.soft_labels:
            del values["soft_labels"]
        if not self.augmentation.noise:
            del values["augmentation"]["noise"]
        if not self.distillation.views:
            del values["distillation"]["views"]
        if not self.backbone.start_share:
            del values["backbone"]["start_share"]
        return values

    def flat(self) -> dict[str, Any]:
        """All options by name, without the groups."""
        values: dict[str, Any] = {}
        for name, value in asdict(self).items():
            values |= value if isinstance(value, dict) else {name: value}
        return values

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1) + "\n"

    @classmethod
    def from_dict(cls, values: dict[str, Any], where: str) -> "TrainConfig":
        """Raises UserError, naming `where` and the field, for unknown fields and bad values."""
        return validated(cls, values, redacted(where))

    @classmethod
    def read(cls, uri: str, absent: Mapping[str, Any] | None = None) -> "TrainConfig":
        """The configuration in the JSON file, or .toml file, at `uri`. Raises UserError when it is not valid.

        Fields that the file lacks have the values in `absent`, or else their defaults.
        """
        content = read_file(uri)
        toml = uri.endswith(".toml")
        try:
            values = tomllib.loads(content.decode()) if toml else json.loads(content)
        except (ValueError, RecursionError) as error:
            raise UserError(f"{redacted(uri)}: not {'TOML' if toml else 'JSON'}: {one_line(error)}") from None
        if not isinstance(values, dict):
            raise UserError(f"{redacted(uri)}: not a configuration: give the config.json of a run")
        return cls.from_dict({**(absent or {}), **values}, uri)
