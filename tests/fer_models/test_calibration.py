import keras
import numpy as np
import pytest

from fer_models.calibration import apply_temperature, fit_temperature, tempered
from fer_models.factory import create_model
from fer_models.metric_state import MetricState
from fer_models.metrics import METRICS


def overconfident(rows: int = 20_000, sharpness: float = 2.5) -> tuple[np.ndarray, np.ndarray]:
    """Labels drawn from known probabilities, and those probabilities made `sharpness` times too sure."""
    random = np.random.default_rng(0)
    honest = tempered(random.dirichlet(np.ones(7), rows), 1.0)
    labels = (honest.cumsum(axis=1) > random.random((rows, 1))).argmax(axis=1)
    return labels, tempered(honest, 1 / sharpness)


def calibration_error(labels: np.ndarray, probabilities: np.ndarray) -> float:
    return METRICS["ece"].value(MetricState.of(labels, probabilities))


def test_the_temperature_undoes_what_made_the_probabilities_too_sure():
    labels, probabilities = overconfident(sharpness=2.5)
    temperature = fit_temperature(labels, probabilities)
    assert temperature == pytest.approx(2.5, rel=0.03)
    assert calibration_error(labels, probabilities) > 0.1
    assert calibration_error(labels, tempered(probabilities, temperature)) < 0.01


def test_no_rows_change_nothing():
    assert fit_temperature(np.empty(0, np.int64), np.empty((0, 7))) == 1.0


@pytest.mark.parametrize("name", ["cnn", "compact"])
def test_a_model_with_its_temperature_inside_gives_tempered_probabilities(name):
    keras.utils.set_random_seed(1)
    model = create_model(name)
    pixels = np.random.default_rng(1).integers(0, 256, (5, 48, 48, 1), np.uint8)
    before = model(pixels).numpy()
    apply_temperature(model, 0.4)
    after = model(pixels).numpy()
    np.testing.assert_allclose(after, tempered(before, 0.4), atol=1e-5)
    assert not np.allclose(after, before, atol=1e-3)


def test_a_model_that_ends_otherwise_is_refused():
    pixels = keras.Input((4,))
    with pytest.raises(ValueError, match="not in a dense layer with softmax"):
        apply_temperature(keras.Model(pixels, keras.layers.Dense(7)(pixels)), 2.0)
