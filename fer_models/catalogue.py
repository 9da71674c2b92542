"""The networks: name, builder, own options, size, and the job that trains each.

It does not import Keras, so that command lines and `cluster.sizing` can use it. To add a network, write its builder in
a file beside this one, add a line to NETWORKS, and add its default configuration to `jobs.training.defaults`.
"""

from dataclasses import dataclass
from typing import Literal

Head = Literal["published", "pooled"]
Preprocessing = Literal["divide_by_255", "imagenet"]
Stem = Literal["published", "small"]
BACKBONE_STAGES = ("stem", "conv2", "conv3", "conv4", "conv5")
"""The parts of a ResNet-50 below its head, from input to output."""


@dataclass(frozen=True)
class Network:
    """What is known about a network without building it.

    `builder` is its module and function. `options` are the fields of a training configuration that this network accepts
    and others may not; `backbone` is a group of fields. The sizes are those of the default network; `multiply_adds` are
    those of one image's forward pass.
    """

    builder: str
    job: str
    options: tuple[str, ...]
    parameters: int
    trainable_parameters: int
    multiply_adds: int


NETWORKS = {
    "cnn": Network("fer_models.cnn:cnn", "train_cnn", ("dropout",), 489_735, 489_671, 228_547_968),
    "compact": Network("fer_models.compact:compact", "train_cnn", ("dropout", "width"), 408_249, 406_569, 51_585_216),
    "large": Network("fer_models.large:large", "train_cnn", ("dropout", "width"), 5_873_935, 5_866_607, 653_661_888),
    "resnet50": Network(
        "fer_models.resnet50:resnet50", "train_resnet", ("dropout", "backbone"), 23_680_487, 23_627_303, 203_526_368
    ),
}


def networks_with(option: str) -> list[str]:
    """The networks that accept `option`."""
    return [name for name, network in NETWORKS.items() if option in network.options]
