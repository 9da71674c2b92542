"""Which stages of a network are trained, from when, and how fast."""

import keras

from fer_models.catalogue import NETWORKS
from fer_models.stages import HEAD, stages
from jobs.training.config import TrainConfig
from jobs.training.option_groups import BackboneConfig


class StageSchedule:
    """Freezes and unfreezes the stages of a network as configured.

    A frozen stage gets no gradient and no update, and its batch norms use their moving statistics.
    """

    def __init__(self, config: TrainConfig, model: keras.Model) -> None:
        self._config = config.backbone
        self._below_head = NETWORKS[config.model].stages
        self._stages = {} if self._config == BackboneConfig() else stages(model)
        self._frozen: frozenset[str] = frozenset()
        if self._stages and self._config.batch_norm == "frozen":
            for stage in self._below_head:
                for layer in self._stages[stage]:
                    layer.trainable = not isinstance(layer, keras.layers.BatchNormalization)

    def start_epoch(self, epoch: int) -> bool:
        """Freeze and unfreeze stages for `epoch` (from 1). Returns whether the trained variables change."""
        frozen = frozenset(stage for stage, epochs in self._config.frozen_epochs().items() if epoch <= epochs)
        if frozen == self._frozen:
            return False
        for stage in frozen ^ self._frozen:
            for layer in self._stages[stage]:
                norm = isinstance(layer, keras.layers.BatchNormalization)
                layer.trainable = stage not in frozen and not (norm and self._config.batch_norm == "frozen")
        self._frozen = frozen
        return True

    def rate_factors(self, variables: list[keras.Variable]) -> list[float]:
        """Each variable's share of the learning rate: 1 in the head, times `stage_rate` for every stage below."""
        depth = {HEAD: 0} | {stage: i for i, stage in enumerate(reversed(self._below_head), start=1)}
        factors = {
            id(v): self._config.stage_rate ** depth[stage]
            for stage, layers in self._stages.items()
            for layer in layers
            for v in layer.variables
        }
        return [factors.get(id(v), 1.0) for v in variables]
