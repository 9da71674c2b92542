"""What a step does to the weights: accumulation, frozen stages, stage rates."""

from dataclasses import replace

import keras
import numpy as np
import pytest

from fer_data.augment import with_noise
from fer_data.augment_draws import NO_AUGMENTATION, draw
from fer_models.catalogue import NETWORKS
from fer_models.factory import create_model
from fer_models.stages import stages
from jobs.training.config import TrainConfig
from jobs.training.layers import for_training
from jobs.training.option_groups import BackboneConfig, DistillationConfig, OptimizerConfig
from jobs.training.rank import class_weights
from jobs.training.state import TrainingState
from jobs.training.step import create_optimizer
from tests.jobs.training.loops import Loop

BASE = TrainConfig(
    batch_size=6,
    precision="float32",
    optimizer=OptimizerConfig(optimizer="sgd", learning_rate=0.1, momentum=0.0),
    augmentation=NO_AUGMENTATION,
)
RESNET = replace(BASE, model="resnet50")
NOISE = np.random.default_rng(0).integers(0, 256, (6, 48, 48, 1), np.uint8)


def train(config: TrainConfig, model: keras.Model, *teachers: keras.Model) -> float:
    """One step on six images of noise; returns its loss."""
    loop = Loop(config, model, teachers)
    loop.start_epoch(1)
    return one_step(loop)


def one_step(loop: Loop, epoch: int = 1) -> float:
    (loss,) = loop.run(NOISE[None], np.arange(6)[None], epoch=epoch)
    return loss


def small_model(precision: str = "float32", seed: int = 0) -> keras.Model:
    keras.utils.set_random_seed(seed)
    layers = [
        keras.layers.Rescaling(1 / 255),
        keras.layers.Conv2D(4, 5, strides=4, dtype=precision),
        keras.layers.Flatten(),
        keras.layers.Dense(7, "softmax", dtype="float32"),
    ]
    return keras.Sequential([keras.Input((48, 48, 1), dtype="uint8"), *layers])


def moved(before: list[np.ndarray], layer: keras.layers.Layer) -> bool:
    return any((old != new).any() for old, new in zip(before, layer.get_weights(), strict=True))


@pytest.fixture(scope="module")
def shared_resnet() -> keras.Model:
    return create_model("resnet50", dropout=0.0, head="pooled")


@pytest.fixture
def resnet(shared_resnet) -> keras.Model:
    for layer in shared_resnet.layers:
        layer.trainable = True
    return shared_resnet


@pytest.mark.parametrize("micro_batch", [1, 4, 6, 100])
def test_accumulated_gradients_are_those_of_the_whole_batch(micro_batch):
    whole, parts = small_model(), small_model()
    config = replace(BASE, micro_batch=micro_batch)
    losses = train(BASE, whole), train(config, parts)
    assert losses[0] == pytest.approx(losses[1], abs=1e-6)
    for one, other in zip(whole.get_weights(), parts.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_moves_the_weights_where_float32_does(precision):
    exact, mixed = small_model(), small_model(precision)
    start = exact.get_weights()
    config = replace(BASE, precision=precision)
    losses = train(BASE, exact), train(config, mixed)
    assert losses[0] == pytest.approx(losses[1], abs=0.02)
    for old, one, other in zip(start, exact.get_weights(), mixed.get_weights(), strict=True):
        assert one.dtype == other.dtype == np.float32
        # Eight bits of six images' gradient: an error of some 0.2, where a forgotten loss scale makes thousands.
        assert np.linalg.norm(other - one) < 0.4 * np.linalg.norm(one - old)


def test_who_learns_from_teachers_alone_stays_where_they_agree_with_it():
    student = small_model()
    before = student.get_weights()
    config = replace(BASE, distillation=DistillationConfig(("itself",), distillation=1.0, temperature=3.0))
    train(config, student, small_model(), small_model())
    for old, new in zip(before, student.get_weights(), strict=True):
        np.testing.assert_allclose(old, new, atol=1e-6)


@pytest.mark.parametrize("noise", [0, 0.5])
def test_the_loss_is_shared_between_labels_and_the_teachers_mean_for_the_image_without_noise(noise):
    student, teachers = small_model(), [small_model(seed=1), small_model(seed=2)]
    distillation = DistillationConfig(("a", "b"), distillation=0.25, temperature=2.0)
    augmentation = replace(NO_AUGMENTATION, noise=noise)
    config = replace(BASE, distillation=distillation, augmentation=augmentation, label_smoothing=0.1, micro_batch=4)
    draws = draw(augmentation, seed=config.seed, epoch=1, steps=[0], global_batch=6, rows=slice(0, 6))
    seen = np.asarray(with_noise(NOISE, draws.noise))
    assert (seen != NOISE).any() == (noise > 0)
    own = student.predict(seen, verbose=0).astype(np.float64)
    theirs = np.mean([teacher.predict(NOISE, verbose=0) for teacher in teachers], axis=0).astype(np.float64)

    def soft(p: np.ndarray) -> np.ndarray:
        return np.sqrt(p) / np.sqrt(p).sum(axis=1, keepdims=True)

    hard = -((np.eye(7)[:6] * 0.9 + 0.1 / 7) * np.log(own)).sum(axis=1)
    distilled = -(soft(theirs) * np.log(soft(own))).sum(axis=1)
    expected = (0.75 * hard + 0.25 * 4 * distilled).mean()
    assert train(config, student, *teachers) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("ema", [False, True])
def test_what_is_served_is_the_mean_of_the_start_and_of_what_was_trained(ema):
    def state(seed: int) -> TrainingState:
        model = small_model(seed=seed)
        return TrainingState(model, create_optimizer(BASE.optimizer, BASE.precision), ema=ema, start_share=0.25)

    trained, later = state(0), state(7)
    start = trained.model.get_weights()
    for variable in trained.averaged or trained.weights:
        variable.assign(2 - 3 * variable)
    for old, served in zip(start, trained.serving_weights(), strict=True):
        np.testing.assert_allclose(served, 0.25 * old + 0.75 * (2 - 3 * old), rtol=1e-6)
        assert served.dtype == np.float32
    later.restore(trained.arrays())
    for one, other in zip(trained.serving_weights(), later.serving_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_gradient_is_clipped_to_its_global_norm():
    before, after = small_model().get_weights(), small_model()
    config = replace(BASE, optimizer=replace(BASE.optimizer, clip_norm=1e-3))
    train(config, after)
    change = np.sqrt(sum(((a - b) ** 2).sum() for a, b in zip(after.get_weights(), before, strict=True)))
    assert change == pytest.approx(0.1 * 1e-3, rel=1e-3)


@pytest.mark.slow
def test_frozen_stages_stay_until_they_thaw(resnet):
    config = replace(RESNET, backbone=BackboneConfig(freeze=("stem", "conv2=1")))
    loop = Loop(config, resnet)
    by_stage = {name: [layer for layer in layers if layer.weights] for name, layers in stages(resnet).items()}
    for epoch, still in ((1, {"stem", "conv2"}), (2, {"stem"})):
        before = {layer.name: layer.get_weights() for layer in resnet.layers}
        loop.start_epoch(epoch)
        one_step(loop, epoch)
        for stage, layers in by_stage.items():
            assert any(moved(before[layer.name], layer) for layer in layers) == (stage not in still), (epoch, stage)


def test_frozen_batch_norms_keep_statistics_and_weights_while_convolutions_train(resnet):
    config = replace(RESNET, backbone=BackboneConfig(batch_norm="frozen"))
    before = {layer.name: layer.get_weights() for layer in resnet.layers}
    train(config, resnet)
    for layer in resnet.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            assert not moved(before[layer.name], layer)
    assert moved(before["conv5_block3_3_conv"], resnet.get_layer("conv5_block3_3_conv"))


@pytest.mark.slow
def test_every_stage_moves_by_its_share_of_the_learning_rate(resnet):
    start = resnet.get_weights()
    changes = []
    for rate in (1.0, 0.5):
        resnet.set_weights(start)
        config = replace(RESNET, backbone=BackboneConfig(stage_rate=rate, batch_norm="frozen"))
        train(config, resnet)
        changes.append([new - old for new, old in zip(resnet.get_weights(), start, strict=True)])
    names = [variable.path for variable in resnet.weights]
    for name, share in (("emotion/kernel", 1), ("conv5_block3_3_conv/kernel", 0.5), ("conv1_conv/kernel", 0.5**5)):
        at = names.index(name)
        np.testing.assert_allclose(changes[1][at], share * changes[0][at], rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(
    ("kind", "ratio"), [("none", 1), ("cube_root", 9 ** (1 / 3)), ("square_root", 3), ("balanced", 9)]
)
def test_rarer_classes_weigh_more_and_a_row_weighs_one_on_average(kind, ratio):
    counts = np.array([90, 10, 0])
    weights = class_weights(kind, counts)
    assert weights[1] / weights[0] == pytest.approx(ratio)
    assert (weights * counts).sum() == pytest.approx(100)
    assert np.isfinite(weights).all()


@pytest.mark.parametrize("name", ["cnn", "compact"])
def test_other_networks_have_stages_to_freeze_and_to_slow_down(name):
    first, second, *_ = NETWORKS[name].stages
    model = for_training(create_model(name, dropout=0.0))
    start = model.get_weights()
    changes = []
    for rate in (1.0, 0.5):
        model.set_weights(start)
        train(replace(BASE, model=name, backbone=BackboneConfig(stage_rate=rate, batch_norm="frozen")), model)
        changes.append([new - old for new, old in zip(model.get_weights(), start, strict=True)])
    names = [variable.path for variable in model.weights]
    lowest = next(layer for layer in stages(model)[first] if layer.weights)
    for path, share in (("emotion/kernel", 1), (f"{lowest.name}/kernel", 0.5 ** len(NETWORKS[name].stages))):
        at = names.index(path)
        assert np.abs(changes[0][at]).max() > 0
        np.testing.assert_allclose(changes[1][at], share * changes[0][at], rtol=0.05, atol=1e-6)
    model.set_weights(start)  # At this rate the step before has put some filters of cnn to sleep.
    before = {layer.name: layer.get_weights() for layer in model.layers}
    train(replace(BASE, model=name, backbone=BackboneConfig(freeze=(first, f"{second}=1"))), model)
    for stage, layers in stages(model).items():
        still = not any(moved(before[layer.name], layer) for layer in layers if layer.weights)
        assert still == (stage in (first, second)), stage
