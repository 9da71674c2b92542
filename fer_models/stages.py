"""The stages of a network, which fine-tuning freezes and slows down."""

import keras

from fer_models.catalogue import NETWORKS

HEAD = "head"
"""What follows the last stage in the catalogue."""


def stages(model: keras.Model) -> dict[str, list[keras.layers.Layer]]:
    """All layers of one of our networks by stage, from input to output: those in the catalogue, then the head.

    Layers are named after their stages; those before the first are part of it. Raises ValueError when `model` is none
    of the networks, or lacks a stage.
    """
    names = NETWORKS[model.name].stages if model.name in NETWORKS else ()
    if not names:
        raise ValueError(f"{model.name} is none of our networks")
    found: dict[str, list[keras.layers.Layer]] = {stage: [] for stage in (*names, HEAD)}
    current = names[0]
    for layer in model.layers:  # In order of depth, so that the stages follow one another.
        prefix = layer.name.partition("_")[0]
        if prefix in names:
            current = prefix
        elif current == names[-1]:
            current = HEAD
        found[current].append(layer)
    if missing := [stage for stage, layers in found.items() if not layers]:
        raise ValueError(f"it is no {model.name}: it has no stage {missing[0]}")
    return found
