"""Resolve a run's options before it begins, and check them against each other, the data and the cluster."""

from dataclasses import replace

from fer_data.dataset import PreparedDataset
from fer_data.emotions import CLASSES
from fer_data.errors import UserError
from fer_data.splits import Split
from fer_data.storage import absolute, exists, redacted
from fer_models.card import Card
from fer_models.catalogue import NETWORKS, Preprocessing
from fer_models.checkpoint_files import MODEL_FILE, read_card, read_verified
from fer_models.foreign_files import is_folder
from fer_models.metrics import absent_line
from jobs.training.config import TrainConfig
from jobs.training.schedule import History, why_finished

FIRST_CALL = 3
"""The first call that `--profile` records. Earlier calls trace, compile and measure the time of a step."""


def missing_lines(training: Split, validation: Split) -> list[str]:
    """What to know if there are classes of which one of the splits has no image; else nothing."""
    missing = [label for label, count in zip(CLASSES, training.class_counts, strict=True) if not count]
    lines = [f"warning: no training image of {', '.join(missing)}: the network cannot learn it"] if missing else []
    if absent := absent_line("validation image", validation.class_counts.tolist()):
        lines.append(absent)
    return lines


def check_votes(dataset: PreparedDataset, soft_labels: bool) -> None:
    """Raises UserError for --soft-labels with a data set that has no votes."""
    if soft_labels and "votes" not in dataset.columns:
        raise UserError(
            f"--soft-labels: {dataset.manifest.source} has no votes of annotators: leave it out, or prepare FER-2013's "
            "CSV with prepare_data.py --labels fer2013new.csv"
        )


def absolute_paths(config: TrainConfig) -> TrainConfig:
    """`config` with every local path made absolute."""
    backbone, weights = config.backbone, config.backbone.weights
    if weights not in ("none", "imagenet"):
        backbone = replace(backbone, weights=absolute(weights))
    distillation = replace(config.distillation, teacher=tuple(map(absolute, config.distillation.teacher)))
    data = None if config.data is None else absolute(config.data)
    return replace(config, data=data, backbone=backbone, distillation=distillation)


def resolved(config: TrainConfig) -> TrainConfig:
    """`config` with absolute paths and without `auto` preprocessing: what a run saves and its ranks build.

    `auto` is resolved only here. Raises UserError when the weights are a checkpoint that cannot be read.
    """
    config = absolute_paths(config)
    backbone = config.backbone
    if "preprocessing" in NETWORKS[config.model].options and backbone.preprocessing == "auto":
        backbone = replace(backbone, preprocessing=_preprocessing_of(backbone.weights))
    return replace(config, backbone=backbone)


def _preprocessing_of(weights: str) -> Preprocessing:
    """The preprocessing with which a backbone of these weights was trained."""
    if weights == "imagenet" or weights.endswith(".h5"):
        return "imagenet"
    if weights == "none":
        return "divide_by_255"
    if not exists(weights):
        raise UserError(
            f"--weights {redacted(weights)} does not exist: give imagenet, a checkpoint's folder or a .h5 file"
        )
    theirs = read_card(weights).configuration.get("backbone", {}).get("preprocessing")
    # The card of another network names none; its weights are refused when they are loaded.
    return "imagenet" if theirs == "imagenet" else "divide_by_255"


def check_sources(config: TrainConfig, fingerprint: str) -> None:
    """Raises UserError when the initial weights or a teacher may have been trained on validation rows of this run.

    Teachers must come from the same data. Initial weights may come from other data, whose rows cannot be compared.
    """
    for uri in config.distillation.teacher:
        card = _sound_card(uri)
        if card.data_fingerprint != fingerprint:
            raise UserError(
                f"--teacher {redacted(uri)} was trained on other data, which may hold validation images of this run: "
                "train it on the same data"
            )
        _check_protocol("--teacher", uri, card, config.protocol)
    weights = config.backbone.weights
    if weights not in ("none", "imagenet") and is_folder(weights):
        card = _sound_card(weights)
        if card.data_fingerprint == fingerprint:
            _check_protocol("--weights", weights, card, config.protocol)


def _sound_card(uri: str) -> Card:
    """The card of a checkpoint, after checking that its model file is intact, so that no worker finds damage later."""
    card = read_card(uri)
    read_verified(uri, card, MODEL_FILE)
    return card


def _check_protocol(option: str, uri: str, card: Card, protocol: str) -> None:
    if (card.protocol, protocol) == ("challenge", "notebook"):
        raise UserError(
            f"{option} {redacted(uri)} was trained on validation images of --protocol notebook: train it under the "
            "same protocol"
        )


def check_shares(config: TrainConfig, workers: int) -> None:
    """Raises UserError when a batch has fewer images than there are `workers`."""
    if workers > config.batch_size:
        raise UserError(f"--batch-size {config.batch_size} is too small for {workers} workers: give at least {workers}")


def check_profile(config: TrainConfig, history: History, rows: int) -> None:
    """Raises UserError when a run with `history` and `rows` training rows makes too few calls for a profile."""
    if reason := why_finished(config, history):
        raise UserError(f"--profile: there is nothing to profile: {reason}")
    steps = (config.epochs - len(history)) * -(-rows // config.batch_size)
    if steps < FIRST_CALL:
        raise UserError(
            f"--profile: there is nothing to profile: {steps} steps are left, and the first {FIRST_CALL - 1} are "
            "warm-up; give more --epochs or a smaller --batch-size"
        )
