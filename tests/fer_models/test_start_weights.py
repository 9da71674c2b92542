"""Networks start from others of their own shape, whoever wrote them, and from nothing else."""

import keras
import numpy as np
import pytest

from fer_data.emotions import CLASSES, FOLDER_ORDER
from fer_data.errors import UserError
from fer_models.base_weights import load_base_weights
from fer_models.card import Card
from fer_models.checkpoint import save_checkpoint
from fer_models.factory import create_model
from fer_models.foreign import load_any
from tests.conftest import REPOSITORY

FACES = np.random.default_rng(0).integers(0, 256, (3, 48, 48, 1), np.uint8)


def original(seed: int, scale: float = 1.0) -> keras.Model:
    """A network of the original project's shape, as a stranger would build it."""
    keras.utils.set_random_seed(seed)
    layers = [keras.layers.Conv2D(filters, 3, activation="relu") for filters in (32, 64, 128, 32)]
    first = [keras.layers.Rescaling(scale)] if scale != 1 else []
    rest = [keras.layers.Dense(32, activation="relu"), keras.layers.BatchNormalization(), keras.layers.Flatten()]
    last = keras.layers.Dense(7, activation="softmax")
    return keras.Sequential([keras.Input((48, 48, 3)), *first, *layers, *rest, last])


def probabilities(model: keras.Model) -> np.ndarray:
    return np.asarray(model(FACES))


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
def test_what_ships_starts_a_network_of_its_kind_head_included(precision):
    released = str(REPOSITORY / "fer_models/released")
    model = create_model("compact", precision=precision, dropout=0.1)
    load_base_weights(model, released)
    exact = create_model("compact")
    exact.set_weights(model.get_weights())
    np.testing.assert_allclose(probabilities(exact), probabilities(load_any(released)[0]), atol=1e-6)


def test_a_foreign_network_of_the_same_shape_starts_one_in_our_class_order(tmp_path):
    theirs = original(1)
    theirs.save(tmp_path / "theirs.keras")
    model = create_model("cnn")
    load_base_weights(model, str(tmp_path / "theirs.keras"))
    expected = np.asarray(theirs(np.repeat(FACES / np.float32(255), 3, axis=-1)))
    np.testing.assert_allclose(probabilities(model), expected[:, [FOLDER_ORDER.index(c) for c in CLASSES]], atol=1e-5)


def test_the_published_cnn_starts_one_with_its_own_predictions(original_cnn):
    model = create_model("cnn")
    load_base_weights(model, original_cnn)
    np.testing.assert_allclose(probabilities(model), probabilities(load_any(original_cnn)[0]), atol=1e-5)


def test_one_that_computes_something_else_is_refused_and_changes_nothing(tmp_path):
    original(1, scale=0.5).save(tmp_path / "theirs.keras")
    model = create_model("cnn")
    before = model.get_weights()
    with pytest.raises(UserError, match="has the layers of cnn but computes something else") as refusal:
        load_base_weights(model, str(tmp_path / "theirs.keras"))
    assert "\n" not in str(refusal.value)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("cnn", {}, r"another network than cnn: in place of conv1, 3×3×3×32, 32, it has 3×3×1×32"),
        ("compact", {"width": 2.0}, r"in place of stem_conv, 3×3×1×64, it has 3×3×1×32: give .* --model and --width"),
        ("resnet50", {"head": "pooled"}, "is no ResNet-50: give the weights of one"),
    ],
)
def test_another_network_is_refused_with_the_first_difference(name, options, message, tmp_path):
    donor = create_model("compact")
    card = Card("compact", 1, donor.count_params(), "float32", "challenge", "f00d", {}, [])
    save_checkpoint(str(tmp_path / "donor"), donor, card)
    with pytest.raises(UserError, match=message):
        load_base_weights(create_model(name, **options), str(tmp_path / "donor"))
