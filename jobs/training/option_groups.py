"""Groups of a training run's options: optimizer, schedule, teachers and fine-tuning. `TrainConfig` holds one of each.

Augmentation's is in `fer_data.augment_draws`, beside what uses it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import with_config

from fer_data.commands import check
from fer_data.errors import UserError
from fer_models.catalogue import Head, Preprocessing, Stem


@with_config(extra="forbid")
@dataclass(frozen=True)
class OptimizerConfig:
    """How gradients change the weights."""

    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    learning_rate: float = 1e-3
    """Highest learning rate of the schedule."""
    weight_decay: float = 0.0
    """Decoupled weight decay, for adamw and sgd; not applied to biases and norms."""
    momentum: float = 0.9
    """Nesterov momentum, for sgd."""
    clip_norm: float = 0.0
    """Maximum global norm of the gradients; 0 for no limit."""

    def __post_init__(self) -> None:
        check(self.learning_rate > 0, "--learning-rate must be above 0", self.learning_rate)
        check(self.weight_decay >= 0, "--weight-decay must be 0 or more", self.weight_decay)
        decays = self.optimizer != "adam" or self.weight_decay == 0
        check(decays, "--weight-decay needs --optimizer adamw or sgd, not adam", self.weight_decay)
        check(0 <= self.momentum < 1, "--momentum must be at least 0 and below 1", self.momentum)
        check(self.clip_norm >= 0, "--clip-norm must be 0 or more", self.clip_norm)


@with_config(extra="forbid")
@dataclass(frozen=True)
class ScheduleConfig:
    """How the learning rate changes during the run."""

    schedule: Literal["constant", "cosine", "plateau"] = "constant"
    warmup_epochs: float = 0.0
    """Linear warm-up from 0."""
    final_fraction: float = 0.0
    """Final value of cosine and minimum of plateau, as a fraction of the learning rate."""
    plateau_factor: float = 0.5
    """Factor by which plateau lowers the learning rate."""
    plateau_patience: int = 5
    """Epochs without a better monitored value before plateau lowers the learning rate."""

    def __post_init__(self) -> None:
        check(self.warmup_epochs >= 0, "--warmup-epochs must be 0 or more", self.warmup_epochs)
        check(0 <= self.final_fraction <= 1, "--final-fraction must be in 0 to 1", self.final_fraction)
        check(0 < self.plateau_factor < 1, "--plateau-factor must be between 0 and 1", self.plateau_factor)
        check(self.plateau_patience >= 1, "--plateau-patience must be 1 or more", self.plateau_patience)


@with_config(extra="forbid")
@dataclass(frozen=True)
class BackboneConfig:
    """Fine-tuning: where the weights start, and which stages are trained, and how fast."""

    weights: str = "none"
    """Initial weights: none, a checkpoint of the same network, or a foreign .keras or .h5 file of it. For resnet50,
    whose head keeps its own: a checkpoint, imagenet (fetched by Keras), or a .h5 file without top in Keras's format."""
    start_share: float = 0.0
    """Share of the initial weights in their mean with the trained ones, which is validated and saved in place of these:
    what a network learned before is lost less (Wortsman et al. 2022, arXiv:2109.01903)."""
    preprocessing: Preprocessing | Literal["auto"] = "auto"
    """For resnet50. auto: imagenet with ImageNet weights, that of a checkpoint with it, else divide_by_255."""
    input_size: int = 48
    """Side in pixels, 48 to 224, to which resnet50 scales its input."""
    head: Head = "published"
    """For resnet50: the original project's head, or global average pooling."""
    stem: Stem = "published"
    """For resnet50. small: no strides in the stem; images keep their resolution, at 14 times the multiply-adds."""
    freeze: tuple[str, ...] = ()
    """Stages not to train: STAGE for the whole run, STAGE=EPOCHS for its first epochs. compact and large have stem and
    stage1 to stage3, cnn conv1 to conv4, resnet50 stem and conv2 to conv5."""
    batch_norm: Literal["trained", "frozen"] = "trained"
    """frozen: the batch norms of these stages keep their statistics and weights."""
    stage_rate: float = 1.0
    """Learning rate of each stage, as a share of that of the stage above it; the head has the full rate."""

    def __post_init__(self) -> None:
        check(48 <= self.input_size <= 224, "--input-size must be 48 to 224", self.input_size)
        check(0 <= self.start_share < 1, "--start-share must be at least 0 and below 1", self.start_share)
        check(0 < self.stage_rate <= 1, "--stage-rate must be above 0 and at most 1", self.stage_rate)

    def frozen_epochs(self) -> dict[str, float]:
        """For how many epochs each stage stays frozen; infinity for the whole run."""
        frozen = {}
        for entry in self.freeze:
            stage, _, epochs = entry.partition("=")
            frozen[stage] = float(epochs) if epochs else math.inf
        return frozen

    def check_stages(self, known: Sequence[str]) -> None:
        """Raises ValueError for a stage to freeze that is not among `known`."""
        for entry in self.freeze:
            stage, equals, epochs = entry.partition("=")
            sound = stage in known and (not equals or (epochs.isascii() and epochs.isdigit()))
            check(sound, f"--freeze takes {', '.join(known)}, or STAGE=EPOCHS", entry)


@with_config(extra="forbid")
@dataclass(frozen=True)
class DistillationConfig:
    """Learning from trained networks (Hinton et al. 2015, arXiv:1503.02531)."""

    teacher: tuple[str, ...] = ()
    """Checkpoints whose mean probabilities for each augmented image are a target in addition to its label."""
    distillation: float = 0.7
    """Weight of the teachers in the loss; the labels have the rest."""
    temperature: float = 2.0
    """Above 1, the classes to which the teachers give low probabilities count for more."""
    views: int = 0
    """Draw this many augmented views of each image, then repeat them: the teachers compute in the first VIEWS epochs
    only. 0: new views in every epoch."""

    def __post_init__(self) -> None:
        check(0 < self.distillation <= 1, "--distillation must be above 0 and at most 1", self.distillation)
        check(self.temperature > 0, "--temperature must be above 0", self.temperature)
        check(self.views >= 0, "--views must be 0 or more", self.views)

    def view(self, epoch: int) -> int:
        """The epoch whose order and augmentation `epoch` has; both count from 1."""
        return (epoch - 1) % self.views + 1 if self.views else epoch

    def require_teacher(self) -> None:
        """Raises UserError for --distillation, --temperature or --views without a --teacher.

        Not checked in `__post_init__`, because a configuration file may leave the teacher to the command line.
        """
        if not self.teacher and self != DistillationConfig():
            raise UserError("--distillation, --temperature and --views need --teacher; --help lists the options")
