"""One rank of a tiny run, without Ray: trains, and writes its weights after each epoch to a file.

python one_rank.py RANK WORLD_SIZE DATASET OUT NETWORK     (TF_CONFIG in the environment)
"""

import sys
from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf

from fer_data.augment_draws import AugmentationConfig
from fer_data.batches import TrainingBatches, ordered_batches
from fer_data.dataset import open_dataset
from fer_data.splits import split
from fer_models.calibration import fit_temperature
from fer_models.factory import create_model
from fer_models.metrics import summarise
from jobs.training.collectives import Collectives
from jobs.training.config import TrainConfig
from jobs.training.option_groups import BackboneConfig, OptimizerConfig
from jobs.training.serving import ServingModel
from tests.jobs.training.loops import Loop

data, out, network = sys.argv[3:]
rank, world_size = int(sys.argv[1]), int(sys.argv[2])
tf.config.threading.set_intra_op_parallelism_threads(1)
tf.config.threading.set_inter_op_parallelism_threads(2)

config = TrainConfig(
    batch_size=60,
    seed=1,
    optimizer=OptimizerConfig(optimizer="sgd", learning_rate=0.05),
    augmentation=AugmentationConfig(rotation=10, erase_probability=0.5, contrast=0.2, noise=0.1),
)
collectives = Collectives(rank, world_size)  # Before anything else touches TensorFlow.
keras.utils.set_random_seed(1)
layers = [keras.Input((48, 48, 1), dtype="uint8"), keras.layers.Rescaling(1 / 255), keras.layers.AveragePooling2D(4)]
if network == "with_batch_norm":
    config = replace(config, ema=0.9)
    layers += [keras.layers.Conv2D(4, 3), keras.layers.BatchNormalization(), keras.layers.Dropout(0.2)]
layers += [keras.layers.Conv2D(8, 3, activation="relu"), keras.layers.Flatten(), keras.layers.Dense(7, "softmax")]

model = keras.Sequential(layers)
if network == "resnet50":
    # Without what is each rank's own: dropout and the statistics of batch norms.
    config = replace(config, model="resnet50", batch_size=12, backbone=BackboneConfig(batch_norm="frozen"))
    model = create_model("resnet50", dropout=0.0, head="pooled")
dataset = open_dataset(data)
batches = TrainingBatches(
    dataset, split(dataset, "training"), global_batch=config.batch_size, seed=1, rank=rank, world_size=world_size
)
loop = Loop(config, model, collectives=collectives, rows=batches.rows, compiled=network == "compiled")
state = {}
for epoch in (1, 2):
    loop.start_epoch(epoch)
    losses = []
    for window in batches.windows(epoch, 4):
        losses += loop.run(window.pixels, window.labels, epoch=epoch, first=window.first, steps_per_call=3)
    loop.state.synchronise_statistics(collectives)
    state |= {f"{epoch}/{name}": array for name, array in loop.state.arrays().items()}
    state |= {f"{epoch}/loss": np.float32(losses[-1])}
    gathered = collectives.gather_rows(np.full((rank + 1, 2), float(rank), np.float32))
    assert gathered[:, 0].tolist() == [float(r) for r in range(world_size) for _ in range(r + 1)]
if network != "resnet50":  # Of which the test has no row to spare.
    validation = split(dataset, "validation")
    unseen = np.arange(validation.num_rows) % 3 == 0
    serving = ServingModel(model, dataset, validation, collectives, unseen=unseen)
    values = serving.validate(calibrate=None, beat=lambda: None)
    # Against the whole split, read by one process: the mask must follow the rows to the ranks and back.
    pixels, labels = map(np.concatenate, zip(*ordered_batches(dataset, validation, batch_size=64), strict=True))
    probabilities = np.asarray(model(pixels, training=False))
    for suffix, rows in (("", np.full(len(labels), True)), ("_unseen", unseen)):
        for name, expected in summarise(labels[rows], probabilities[rows]).items():
            np.testing.assert_allclose(values[f"validation_{name}{suffix}"], expected, atol=1e-5, err_msg=name)
    assert values["validation_loss"] != values["validation_loss_unseen"]
    calibrated = serving.validate(calibrate="unseen", beat=lambda: None)
    expected = fit_temperature(labels[unseen], probabilities[unseen])
    assert calibrated["validation_temperature"] == pytest.approx(expected, rel=1e-3)
np.savez(f"{out}/rank-{rank}.npz", **state)
