"""Many steps in a call give what as many calls give, bit for bit; compiled, the same to rounding."""

from collections.abc import Callable
from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf

from fer_data.augment_draws import AugmentationConfig
from fer_models.factory import create_model
from jobs.training.compilation import user_mistake
from jobs.training.config import TrainConfig
from jobs.training.layers import for_training
from jobs.training.option_groups import BackboneConfig, DistillationConfig, OptimizerConfig
from tests.jobs.training.loops import Loop

STEPS, BATCH = 33, 4
RANDOM = np.random.default_rng(0)
PIXELS = RANDOM.integers(0, 256, (STEPS, BATCH, 48, 48, 1), np.uint8)
LABELS = RANDOM.integers(0, 7, (STEPS, BATCH))
EVERYTHING = TrainConfig(
    model="compact",
    batch_size=BATCH,
    precision="float32",
    dropout=0.3,
    label_smoothing=0.1,
    ema=0.9,
    optimizer=OptimizerConfig(optimizer="adamw", learning_rate=1e-3, weight_decay=0.01, clip_norm=1.0),
    augmentation=AugmentationConfig(rotation=12, contrast=0.2, gamma=0.2, erase_probability=0.5, mixup=0.2, noise=0.1),
)


def small_network(name: str = "small", precision: str = "float32") -> keras.Model:
    """With batch norm and dropout, and quick to trace."""
    layers = [
        keras.layers.Rescaling(1 / 255),
        keras.layers.Conv2D(8, 3, strides=3, dtype=precision),
        keras.layers.BatchNormalization(dtype=precision),
        keras.layers.ReLU(dtype=precision),
        keras.layers.Dropout(0.3, dtype=precision),
        keras.layers.Flatten(),
        keras.layers.Dense(7, "softmax", dtype="float32"),
    ]
    return for_training(keras.Sequential([keras.Input((48, 48, 1), dtype="uint8"), *layers], name=name))


def trained(
    config: TrainConfig, build: Callable[[], keras.Model], steps_per_call: int, *, steps: int = STEPS, **options: object
) -> tuple[dict[str, np.ndarray], list[float]]:
    """The state after `steps` steps, and their losses."""
    keras.utils.set_random_seed(3)
    teachers = [small_network("teacher")] if config.distillation.teacher else []
    loop = Loop(config, build(), teachers, most_steps=STEPS, **options)
    if config.precision == "mixed_float16":
        # The first scale, 2^15, makes some gradients infinite, though not where XLA computes in float32 in between.
        loop.state.optimizer.dynamic_scale.assign(1024.0)
    loop.start_epoch(1)
    losses = loop.run(PIXELS[:steps], LABELS[:steps], steps_per_call=steps_per_call)
    return loop.state.arrays(), losses


def assert_same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> None:
    assert one.keys() == other.keys()
    for name, array in one.items():
        np.testing.assert_array_equal(other[name], array, err_msg=name)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"distillation": DistillationConfig(("teacher",))},
        {"micro_batch": 3},
        {"optimizer": OptimizerConfig(optimizer="sgd", learning_rate=0.01), "ema": 0.0},
        {"precision": "mixed_float16", "micro_batch": 2},
        {"precision": "mixed_bfloat16"},
    ],
    ids=["everything", "teacher", "micro-batch", "sgd", "float16", "bfloat16"],
)
def test_how_many_steps_a_call_makes_does_not_change_a_bit(changes):
    config = replace(EVERYTHING, **changes)
    state, losses = trained(config, lambda: small_network(precision=config.precision), 1)
    for steps_per_call in (7, 32):
        other, others = trained(config, lambda: small_network(precision=config.precision), steps_per_call)
        assert others == losses
        assert_same(state, other)


@pytest.mark.parametrize("micro_batch", [0, 3])
def test_answers_that_are_given_train_as_asking_the_teachers_does(micro_batch):
    config = replace(EVERYTHING, distillation=DistillationConfig(("teacher",)), micro_batch=micro_batch)

    def one(answers: np.ndarray | None) -> tuple[Loop, list[float]]:
        keras.utils.set_random_seed(3)
        loop = Loop(config, small_network(), [small_network("teacher")], most_steps=STEPS)
        loop.start_epoch(1, asks=answers is None)
        return loop, loop.run(PIXELS, LABELS, answers=answers)

    asked, losses = one(None)
    assert asked.answers.std(axis=(0, 1)).min() > 0
    given, others = one(asked.answers)
    assert others == losses
    assert_same(asked.state.arrays(), given.state.arrays())
    np.testing.assert_array_equal(given.answers, asked.answers)
    _, wrong = one(asked.answers[::-1].copy())
    assert wrong != losses


@pytest.mark.parametrize("name", ["cnn", "compact"])
def test_the_networks_too_are_trained_alike_by_calls_of_any_size(name):
    def build() -> keras.Model:
        return for_training(create_model(name, dropout=0.3))

    config = replace(EVERYTHING, model=name)
    one, several = (trained(config, build, steps_per_call, steps=7) for steps_per_call in (1, 7))
    assert several[1] == one[1]
    assert_same(one[0], several[0])


@pytest.mark.soak
def test_resnet50_is_trained_alike_by_calls_of_any_size_in_micro_batches_with_frozen_stages_and_stage_rates():
    backbone = BackboneConfig(freeze=("stem", "conv2"), stage_rate=0.5)
    config = replace(EVERYTHING, model="resnet50", backbone=backbone, micro_batch=3, ema=0.0)

    def build() -> keras.Model:
        return for_training(create_model("resnet50", head="pooled"))

    one, several = (trained(config, build, steps_per_call, steps=3) for steps_per_call in (1, 3))
    assert several[1] == one[1]
    assert_same(one[0], several[0])


@pytest.mark.parametrize(
    "changes",
    [{}, {"distillation": DistillationConfig(("teacher",))}, {"micro_batch": 3, "precision": "mixed_float16"}],
    ids=["everything", "teacher", "float16 in micro-batches"],
)
def test_compiled_and_not_compiled_agree_to_rounding_and_calls_of_any_size_to_the_bit(changes):
    config = replace(EVERYTHING, **changes)
    steps = 5

    def build() -> keras.Model:
        return small_network(precision=config.precision)

    _, plain = trained(config, build, 2, steps=steps)
    state, compiled = trained(config, build, 2, steps=steps, compiled=True)
    other, others = trained(config, build, 5, steps=steps, compiled=True)
    # Half floats have eleven bits.
    np.testing.assert_allclose(compiled, plain, atol=0.02 if config.precision == "mixed_float16" else 2e-3)
    assert others == compiled
    assert_same(state, other)


def test_an_operation_that_xla_lacks_is_named():
    class Warped(keras.layers.Layer):
        def call(self, images: tf.Tensor) -> tf.Tensor:
            transforms = tf.constant([[1.0, 0, 0, 0, 1, 0, 0, 0]])
            return tf.raw_ops.ImageProjectiveTransformV3(
                images=tf.cast(images, tf.float32),
                transforms=transforms,
                output_shape=[48, 48],
                fill_value=0.0,
                interpolation="BILINEAR",
            )

    layers = [Warped(), keras.layers.Flatten(), keras.layers.Dense(7, "softmax")]
    model = keras.Sequential([keras.Input((48, 48, 1), dtype="uint8"), *layers])
    with pytest.raises(tf.errors.OpError) as raised:
        trained(EVERYTHING, lambda: model, 2, steps=2, compiled=True)
    mistake = user_mistake(raised.value, compiled=True)
    assert "XLA cannot compile ImageProjectiveTransformV3: give --compile off" in str(mistake)
    assert "\n" not in str(mistake)


def test_too_little_memory_is_said_with_what_to_lower():
    error = tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor with shape[4096,64,48,48]")
    assert "lower --batch-size, --micro-batch or --input-size" in str(user_mistake(error, compiled=False))
    assert user_mistake(tf.errors.InternalError(None, None, "a bug"), compiled=True) is None
