"""One training step: augment, differentiate, reduce over the ranks, update. It knows tensors only."""

import hashlib
import time
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from fer_data.augment import augment
from fer_data.augment_draws import Draws
from fer_data.emotions import NUM_CLASSES
from fer_models.factory import weights_of
from jobs.training.collectives import Collectives
from jobs.training.config import OptimizerConfig, TrainConfig
from jobs.training.stages import StageSchedule


def create_optimizer(config: OptimizerConfig, precision: str) -> keras.Optimizer:
    """The configured optimizer; its learning rate is set before every step."""
    common = {
        "learning_rate": config.learning_rate,
        "weight_decay": config.weight_decay or None,
        "global_clipnorm": config.clip_norm or None,
    }
    if config.optimizer == "sgd":
        optimizer = keras.optimizers.SGD(momentum=config.momentum, nesterov=config.momentum > 0, **common)
    else:
        kind = keras.optimizers.AdamW if config.optimizer == "adamw" else keras.optimizers.Adam
        if config.optimizer == "adamw" and not config.weight_decay:
            common["weight_decay"] = 0.0  # AdamW's own default is not 0.
        optimizer = kind(**common)
    if config.weight_decay:
        optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return keras.optimizers.LossScaleOptimizer(optimizer) if precision == "mixed_float16" else optimizer


def softened(probabilities: tf.Tensor, temperature: float) -> tf.Tensor:
    """The softmax at `temperature` of the logits that gave `probabilities`, float32 [n, 7]."""
    return keras.ops.softmax(keras.ops.log(keras.ops.clip(probabilities, 1e-7, 1)) / temperature, axis=-1)


class TrainingStep:
    """The variables of the model in training, and the functions that move them by one global batch."""

    def __init__(
        self,
        config: TrainConfig,
        model: keras.Model,
        optimizer: keras.Optimizer,
        collectives: Collectives,
        class_weights: np.ndarray,
        teachers: Sequence[keras.Model] = (),
    ) -> None:
        self._config = config
        self._model = model
        self._optimizer = optimizer
        self._collectives = collectives
        self._class_weights = tf.constant(class_weights, tf.float32)
        self._teachers = teachers
        optimizer.build(model.trainable_variables)
        self.weights = weights_of(model)
        kept = {id(v) for v in self.weights}
        self.seed_states = [v for v in model.variables if id(v) not in kept]
        self.averaged = [keras.Variable(v, trainable=False, name="ema") for v in self.weights] if config.ema else []
        trained = {id(v) for v in model.trainable_variables}
        # What every rank moves by itself: the moving statistics of normalisation layers.
        self._statistics = [i for i, v in enumerate(self.weights) if id(v) not in trained]
        self._stages = StageSchedule(config.backbone, model)
        self._augment = tf.function(self._augmented)
        self._trace()
        self.communication_seconds = 0.0
        """Time spent in, and waiting for, the sum of gradients over the ranks since `start_epoch`."""

    def __call__(
        self, pixels: np.ndarray, labels: np.ndarray, draws: Draws, learning_rate: float, steps_before: int
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Train on this rank's share of a global batch.

        `pixels` uint8 [n, 48, 48, 1], `labels` int64 [n], `draws` n rows;
        `steps_before` counts the run's steps so far. Returns the loss, mean
        over the global batch, float32 scalar, and this rank's probabilities,
        float32 [n, 7].
        """
        # A young average follows closely, so that it does not remember the initial weights.
        decay = min(self._config.ema, (1 + steps_before) / (10 + steps_before))
        self._optimizer.learning_rate = learning_rate
        images, *rest = self._augment(pixels, labels, draws.arrays())
        size = self._config.micro_batch or len(labels)
        parts: list[tf.Tensor] = []
        total: Any = 0.0
        for at in range(0, len(labels), size):
            rows = slice(at, at + size)
            flat, probabilities = self._differentiate(images[rows], *(part[rows] for part in rest))
            total = total + flat if parts else flat
            parts.append(probabilities)
        if self._collectives.world_size > 1:
            total[-1].numpy()  # Wait for this rank's own work, so that what follows is communication alone.
            began = time.perf_counter()
            total = self._reduce(total)
            loss = total[-1].numpy()
            self.communication_seconds += time.perf_counter() - began
        else:
            loss = total[-1]
        self._update(total, tf.constant(decay, tf.float32))
        return loss, parts[0] if len(parts) == 1 else tf.concat(parts, axis=0)

    def start_epoch(self, epoch: int) -> None:
        """Seed dropout from (seed, epoch, rank), so that an epoch is the same wherever a run resumed."""
        for i, state in enumerate(self.seed_states):
            entropy = [self._config.seed, epoch, self._collectives.rank, i]
            state.assign(np.random.SeedSequence(entropy).generate_state(2) >> 1)
        self.communication_seconds = 0.0
        if self._stages.start_epoch(epoch):
            self._trace()

    def synchronise_statistics(self) -> None:
        """Average over the ranks what they do not share: the moving statistics of normalisation layers."""
        self._collectives.average_variables([self.weights[i] for i in self._statistics])
        if self.averaged:
            self._collectives.average_variables([self.averaged[i] for i in self._statistics])

    def state(self) -> dict[str, np.ndarray]:
        """Every array that training goes on from, by name."""
        return {name: variable.numpy() for name, variable in self._named_variables().items()}

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        """Set what `state` returned. Raises ValueError when names or shapes differ."""
        variables = self._named_variables()
        if arrays.keys() != variables.keys():
            raise ValueError(f"the state has other variables: {sorted(arrays.keys() ^ variables.keys())[:3]}")
        for name, variable in variables.items():
            variable.assign(arrays[name])

    def serving_weights(self) -> list[np.ndarray]:
        """The weights to validate and keep, in the order of `weights`: the moving average where there is one."""
        return [variable.numpy() for variable in self.averaged or self.weights]

    def digest(self) -> list[int]:
        """Two 31-bit numbers that differ when any weight does."""
        whole = hashlib.sha256()
        for variable in [*self.weights, *self.averaged]:
            whole.update(variable.numpy().tobytes())
        return [int.from_bytes(whole.digest()[at : at + 4]) >> 1 for at in (0, 4)]

    def _named_variables(self) -> dict[str, keras.Variable]:
        groups = {"model": self.weights, "optimizer": self._optimizer.variables, "ema": self.averaged}
        return {f"{group}/{i:04d}": v for group, members in groups.items() for i, v in enumerate(members)}

    def _trace(self) -> None:
        """Make the graphs for the variables that are trained now; again when a stage thaws."""
        self._active = self._model.trainable_variables
        self._sizes = [int(np.prod(v.shape)) for v in self._active]
        self._rates = self._stages.rate_factors(self._active)
        self._differentiate: Callable = tf.function(self._gradients, reduce_retracing=True)
        self._reduce: Callable = tf.function(self._collectives.sum)
        self._update: Callable = tf.function(self._updated)

    def _augmented(self, pixels: tf.Tensor, labels: tf.Tensor, draws: tuple[tf.Tensor, ...]) -> tuple[tf.Tensor, ...]:
        """Images, targets, weights of the rows and, where there are teachers, what they say of the same images."""
        targets = keras.ops.one_hot(labels, NUM_CLASSES, dtype="float32")
        images, targets = augment(self._config.augmentation, pixels, targets, *draws)
        weights = keras.ops.take(self._class_weights, labels)
        if not self._teachers:
            return images, targets, weights
        # What a teacher sees is what the student sees: the same bytes.
        said = [teacher(images, training=False) for teacher in self._teachers]
        return images, targets, weights, softened(sum(said) / len(said), self._config.distillation.temperature)

    def _gradients(
        self, images: tf.Tensor, targets: tf.Tensor, weights: tf.Tensor, soft_targets: tf.Tensor | None = None
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """All gradients and the loss in one flat tensor, so that one exchange reduces them; and probabilities."""
        with tf.GradientTape() as tape:
            probabilities = self._model(images, training=True)
            losses = keras.losses.categorical_crossentropy(
                targets, probabilities, label_smoothing=self._config.label_smoothing
            )
            if soft_targets is not None:
                share, temperature = self._config.distillation.distillation, self._config.distillation.temperature
                soft = keras.losses.categorical_crossentropy(soft_targets, softened(probabilities, temperature))
                # Gradients of softened probabilities shrink with the square of the temperature.
                losses = (1 - share) * losses + share * temperature**2 * soft
            # Divided by the global batch, so that gradients of all ranks add up to its mean.
            loss = keras.ops.sum(weights * losses) / self._config.batch_size
            scaled = self._optimizer.scale_loss(loss)
        gradients = tape.gradient(scaled, self._active)
        return tf.concat([tf.reshape(g, [-1]) for g in gradients] + [loss[None]], axis=0), probabilities

    def _updated(self, flat: tf.Tensor, ema_decay: tf.Tensor) -> None:
        *parts, _ = tf.split(flat, [*self._sizes, 1])
        gradients = [tf.reshape(part, v.shape) for part, v in zip(parts, self._active, strict=True)]
        before = [v + 0.0 if factor != 1 else None for v, factor in zip(self._active, self._rates, strict=True)]
        self._optimizer.apply(gradients, self._active)
        # A share of the step rather than of the gradient, which Adam would scale away.
        for variable, old, factor in zip(self._active, before, self._rates, strict=True):
            if old is not None:
                variable.assign(old + factor * (variable - old))
        for average, variable in zip(self.averaged, self.weights, strict=False):
            average.assign(average + (1 - ema_decay) * (variable - average))
