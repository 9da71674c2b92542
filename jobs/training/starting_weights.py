"""Make sure that a run can start from the weights that --weights names, before Ray or a worker starts."""

import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from fer_data.errors import UserError
from fer_data.storage import redacted
from fer_models.catalogue import NETWORKS
from fer_models.checkpoint_files import read_card
from fer_models.foreign_files import is_folder
from jobs.tensorflow_environment import load_keras, quiet, tensorflow_environment
from jobs.training.config import TrainConfig


def check_weights(config: TrainConfig) -> None:
    """Fetch published weights, and raise UserError for weights that do not fit the network of `config`.

    The card of one of our checkpoints tells. Other files are loaded, in a process of its own, since a driver does
    without TensorFlow. Done once, because ranks on one machine would race for a download.
    """
    weights = config.backbone.weights
    if weights == "none":
        return
    if weights == "imagenet":
        from fer_models.base_weights import fetch_imagenet

        fetch_imagenet()
        return
    if is_folder(weights):
        card = read_card(weights)
        if card.model in NETWORKS:
            theirs, ours = _described(card.model, card.configuration.get("width", 1.0)), _described_in(config)
            if theirs != ours:
                raise UserError(f"--weights {redacted(weights)} is of {theirs}, not {ours}")
            return
    with quiet(), ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=_without_gpus) as process:
        process.submit(_try, config).result()


def _described_in(config: TrainConfig) -> str:
    return _described(config.model, config.width)


def _described(model: str, width: float) -> str:
    """A network in words, as options give it; equal words for equal shapes of what `--weights` sets."""
    return f"--model {model}" + (f" --width {width:g}" if "width" in NETWORKS[model].options and width != 1 else "")


def _without_gpus() -> None:
    os.environ |= tensorflow_environment() | {"CUDA_VISIBLE_DEVICES": "-1"}
    load_keras()


def _try(config: TrainConfig) -> None:
    from fer_models.base_weights import load_base_weights
    from fer_models.factory import create_model

    load_base_weights(create_model(config.model, **config.builder_arguments()), config.backbone.weights)
