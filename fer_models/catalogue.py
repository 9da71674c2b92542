"""The networks: name, builder, own options, size, and the job that trains each.

It does not import Keras, so that command lines and `cluster.sizing` can use it. To add a network, write its builder in
a file beside this one, add a line to NETWORKS, and add its default configuration to `jobs.training.defaults`.
"""

from dataclasses import dataclass
from typing import Literal

Head = Literal["published", "pooled"]
Preprocessing = Literal["divide_by_255", "imagenet"]
Stem = Literal["published", "small"]
_RESIDUAL_STAGES = ("stem", "stage1", "stage2", "stage3")


@dataclass(frozen=True)
class Network:
    """What is known about a network without building it.

    `builder` is its module and function. `options` are the fields of a training configuration that this network accepts
    and others may not. `stages` are its parts below the head, from input to output. The sizes are those of the default
    network; `multiply_adds` are those of one image's forward pass.
    """

    builder: str
    job: str
    options: tuple[str, ...]
    stages: tuple[str, ...]
    parameters: int
    trainable_parameters: int
    multiply_adds: int


NETWORKS = {
    "cnn": Network(
        "fer_models.cnn:cnn",
        "train_cnn",
        ("dropout",),
        ("conv1", "conv2", "conv3", "conv4"),
        parameters=489_735,
        trainable_parameters=489_671,
        multiply_adds=228_547_968,
    ),
    "compact": Network(
        "fer_models.compact:compact",
        "train_cnn",
        ("dropout", "width"),
        _RESIDUAL_STAGES,
        parameters=408_249,
        trainable_parameters=406_569,
        multiply_adds=51_585_216,
    ),
    "large": Network(
        "fer_models.large:large",
        "train_cnn",
        ("dropout", "width"),
        _RESIDUAL_STAGES,
        parameters=5_873_935,
        trainable_parameters=5_866_607,
        multiply_adds=653_661_888,
    ),
    "resnet50": Network(
        "fer_models.resnet50:resnet50",
        "train_resnet",
        ("dropout", "input_size", "head", "preprocessing", "stem"),
        ("stem", "conv2", "conv3", "conv4", "conv5"),
        parameters=23_680_487,
        trainable_parameters=23_627_303,
        multiply_adds=203_526_368,
    ),
}


def networks_with(option: str) -> list[str]:
    """The networks that accept `option`."""
    return [name for name, network in NETWORKS.items() if option in network.options]
