"""Before a run begins: what its options stand for, and whether they fit each other, the data and the cluster."""

from dataclasses import replace

from fer_data.errors import UserError
from fer_data.storage import absolute, redacted
from fer_models.card import Card
from fer_models.catalogue import NETWORKS, Preprocessing
from fer_models.checkpoint_files import MODEL_FILE, read_card, read_verified
from fer_models.foreign_files import is_folder
from jobs.training.config import TrainConfig
from jobs.training.schedule import History, why_finished

FIRST_CALL = 3
"""The call from which on `--profile` records: those before it trace, compile, and tell how long a step takes."""


def absolute_paths(config: TrainConfig) -> TrainConfig:
    """`config` with every local path made absolute."""
    backbone, weights = config.backbone, config.backbone.weights
    if weights not in ("none", "imagenet"):
        backbone = replace(backbone, weights=absolute(weights))
    distillation = replace(config.distillation, teacher=tuple(map(absolute, config.distillation.teacher)))
    data = None if config.data is None else absolute(config.data)
    return replace(config, data=data, backbone=backbone, distillation=distillation)


def resolved(config: TrainConfig) -> TrainConfig:
    """`config` with absolute paths and `auto` preprocessing decided: what a run saves, and what its ranks build.

    Nothing else decides it. Raises UserError when the weights are a checkpoint that cannot be read.
    """
    config = absolute_paths(config)
    backbone = config.backbone
    if "backbone" in NETWORKS[config.model].options and backbone.preprocessing == "auto":
        backbone = replace(backbone, preprocessing=_preprocessing_of(backbone.weights))
    return replace(config, backbone=backbone)


def _preprocessing_of(weights: str) -> Preprocessing:
    """What a backbone with these weights was trained on."""
    if weights == "imagenet" or weights.endswith(".h5"):
        return "imagenet"
    if weights == "none":
        return "divide_by_255"
    theirs = read_card(weights).configuration.get("backbone", {}).get("preprocessing")
    # Of another kind of network the card says nothing; its weights are refused when they are loaded.
    return "imagenet" if theirs == "imagenet" else "divide_by_255"


def fetch_weights(config: TrainConfig) -> None:
    """Fetch the published weights that a run starts from, once: ranks that share a machine would race for the file."""
    if config.backbone.weights == "imagenet":
        from fer_models.base_weights import fetch_imagenet

        fetch_imagenet()


def check_sources(config: TrainConfig, fingerprint: str) -> None:
    """Raises UserError when a checkpoint that training begins or learns from may have seen rows that validate here.

    Teachers must come from the same data; weights to begin with may come from other data, of which it cannot be known.
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
