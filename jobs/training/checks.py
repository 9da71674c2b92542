"""Before a run is begun: what its options stand for, and whether they go together with the data and the cluster."""

from dataclasses import replace
from typing import Any

from fer_data.errors import UserError
from fer_data.storage import absolute, redacted
from fer_models.card import Card
from fer_models.checkpoint_files import MODEL_FILE, read_card, read_verified
from fer_models.foreign_files import is_folder
from jobs.training.config import TrainConfig
from jobs.training.schedule import History, why_finished

FIRST_CALL = 3
"""The call from which on `--profile` records: those before it trace, compile, and tell how long a step takes."""


def resolved(config: TrainConfig) -> TrainConfig:
    """Paths made absolute and `auto` replaced by what it stands for: what is saved with the run."""
    backbone = config.backbone
    if backbone.weights == "imagenet":
        from fer_models.base_weights import fetch_imagenet

        fetch_imagenet()  # Once, here: ranks that share a machine would race for the file.
    elif backbone.weights != "none":
        backbone = replace(backbone, weights=absolute(backbone.weights))
    if config.model == "resnet50" and backbone.preprocessing == "auto":
        preprocessing: Any = "imagenet"
        if backbone.weights == "none":
            preprocessing = "divide_by_255"
        elif backbone.weights != "imagenet" and not backbone.weights.endswith(".h5"):
            preprocessing = read_card(backbone.weights).configuration["backbone"]["preprocessing"]
        backbone = replace(backbone, preprocessing=preprocessing)
    distillation = replace(config.distillation, teacher=tuple(map(absolute, config.distillation.teacher)))
    data = None if config.data is None else absolute(config.data)
    return replace(config, data=data, backbone=backbone, distillation=distillation)


def check_sources(config: TrainConfig, fingerprint: str) -> None:
    """Raises UserError when a checkpoint that training begins or learns from may have seen rows that validate here.

    Teachers must come from the same data; weights to begin with may come from
    other data, of which it cannot be known.
    """
    for uri in config.distillation.teacher:
        card = _sound_card(uri)
        if card.data_fingerprint != fingerprint:
            raise UserError(
                f"--teacher {redacted(uri)} was trained on other data, which may hold images that validate here: train "
                "it on the same"
            )
        _check_protocol("--teacher", uri, card, config.protocol)
    weights = config.backbone.weights
    if weights not in ("none", "imagenet") and is_folder(weights):
        card = _sound_card(weights)
        if card.data_fingerprint == fingerprint:
            _check_protocol("--weights", weights, card, config.protocol)


def _sound_card(uri: str) -> Card:
    """The card of a checkpoint whose network is as it was written: before a run is begun, not by its workers."""
    card = read_card(uri)
    read_verified(uri, card, MODEL_FILE)
    return card


def _check_protocol(option: str, uri: str, card: Card, protocol: str) -> None:
    if (card.protocol, protocol) == ("challenge", "notebook"):
        raise UserError(
            f"{option} {redacted(uri)} was trained on images that validate under --protocol notebook: train it "
            "under the same protocol"
        )


def check_shares(config: TrainConfig, workers: int) -> None:
    """Raises UserError when a batch has no image for each of `workers`."""
    if workers > config.batch_size:
        raise UserError(f"--batch-size {config.batch_size} cannot be shared by {workers} workers")


def check_profile(config: TrainConfig, history: History, rows: int) -> None:
    """Raises UserError when a run with `history` and `rows` training rows makes too few calls for a profile."""
    if reason := why_finished(config, history):
        raise UserError(f"--profile: there is nothing to profile: {reason}")
    steps = (config.epochs - len(history)) * -(-rows // config.batch_size)
    if steps < FIRST_CALL:
        raise UserError(
            f"--profile: there is nothing to profile: {steps} steps are left, and the first {FIRST_CALL - 1} are to "
            "warm up; give more --epochs or a smaller --batch-size"
        )
