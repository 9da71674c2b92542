"""How many images a network takes at a time never shows in what comes out."""

import numpy as np
import pytest

from jobs.evaluation.scoring.batching import Batches
from jobs.evaluation.scoring.networks import Network

PIXELS = np.random.default_rng(0).integers(0, 256, (50, 48, 48, 1), np.uint8)


class Card:
    """A device with memory for `fits` images, which remembers the batches that it was given."""

    def __init__(self, fits: int) -> None:
        self.fits = fits
        self.given: list[int] = []

    def predict(self, pixels: np.ndarray) -> np.ndarray:
        self.given.append(len(pixels))
        if len(pixels) > self.fits:
            raise MemoryError
        return probabilities(pixels)


def probabilities(pixels: np.ndarray) -> np.ndarray:
    scores = pixels.reshape(len(pixels), -1)[:, :7].astype(np.float32) + 1
    return scores / scores.sum(axis=1, keepdims=True)


def test_a_processor_gets_no_more_images_than_there_are():
    card = Card(50)
    result = Batches(Network(card.predict), 32).probabilities(PIXELS, "none")
    assert card.given == [32, 18]
    np.testing.assert_array_equal(result, probabilities(PIXELS))


def test_a_gpu_gets_every_batch_full():
    card = Card(50)
    result = Batches(Network(card.predict, on_gpu=True), 32).probabilities(PIXELS, "none")
    assert card.given == [32, 32]
    np.testing.assert_array_equal(result, probabilities(PIXELS))


def test_a_batch_that_does_not_fit_is_halved_for_good_and_that_is_said_once():
    card = Card(10)
    network = Network(card.predict, on_gpu=True)
    batches = Batches(network, 32)
    result = batches.probabilities(PIXELS, "none")
    batches.probabilities(PIXELS, "none")
    assert card.given == [32, 16] + 2 * [8] * 7
    assert network.warnings == ["32 images do not fit the memory: scored in smaller batches"]
    np.testing.assert_array_equal(result, probabilities(PIXELS))


def test_views_are_averaged_whatever_fits():
    whole = Batches(Network(Card(50).predict), 50).probabilities(PIXELS, "flip")
    halved = Batches(Network(Card(10).predict, on_gpu=True), 32).probabilities(PIXELS, "flip")
    np.testing.assert_array_equal(halved, whole)


def test_a_card_without_room_for_one_image_is_an_error():
    with pytest.raises(MemoryError, match="single image"):
        Batches(Network(Card(0).predict), 4).probabilities(PIXELS, "none")


def test_by_default_a_gpu_gets_more_at_a_time_than_a_processor():
    for on_gpu, given in ((True, [4096]), (False, [256] * 3)):
        card = Card(4096)
        Batches(Network(card.predict, on_gpu=on_gpu), None).probabilities(np.repeat(PIXELS, 16, axis=0)[:768], "none")
        assert card.given == given


def test_tensorflow_that_runs_out_of_memory_asks_for_fewer(monkeypatch, tmp_path):
    """The batch is tried on a real model, whose graph raises what a GPU's allocator does."""
    import keras
    import tensorflow as tf

    from jobs.evaluation.scoring.contenders import contenders_from
    from jobs.evaluation.scoring.networks import Arithmetic, load_network
    from tests.jobs.evaluation.tiny import tiny_checkpoint

    (contender,) = contenders_from([tiny_checkpoint(str(tmp_path / "tiny"))])
    network = load_network(contender, Arithmetic(1, "float32"))
    want = network.predict(PIXELS)
    constant = tf.constant

    def small(value, *rest, **named):
        if isinstance(value, np.ndarray) and value.shape[1:] == (48, 48, 1) and len(value) > 10:
            raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")
        return constant(value, *rest, **named)

    monkeypatch.setattr(tf, "constant", small)
    assert keras.backend.backend() == "tensorflow"
    np.testing.assert_allclose(Batches(network, 40).probabilities(PIXELS, "none"), want, atol=1e-6)
    assert network.warnings == ["40 images do not fit the memory: scored in smaller batches"]
