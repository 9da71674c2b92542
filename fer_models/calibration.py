"""Temperature scaling (Guo et al. 2017, arXiv:1706.04599), stored in the model, so that its probabilities are right."""

import keras
import numpy as np
from scipy.optimize import minimize_scalar

from fer_models.metrics import log_loss

_EPSILON = 1e-12


def tempered(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Softmax of the log probabilities divided by `temperature`: float64 [N, 7]. Above 1 lowers the confidence."""
    logits = np.log(np.maximum(probabilities.astype(np.float64), _EPSILON)) / temperature
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def fit_temperature(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """The temperature from 0.1 to 10 with the least log loss on `labels` int [N] and `probabilities` float [N, 7].

    Without rows it is 1.
    """
    if not len(labels):
        return 1.0
    found = minimize_scalar(
        lambda logarithm: log_loss(labels, tempered(probabilities, float(np.exp(logarithm)))),
        bounds=(np.log(0.1), np.log(10)),
        method="bounded",
    )
    return float(np.exp(found.x))


def apply_temperature(model: keras.Model, temperature: float) -> None:
    """Divide the logits of `model` by `temperature`, through the weights of its last layer.

    Raises ValueError when that is not a dense layer with softmax.
    """
    last = model.layers[-1]
    if not isinstance(last, keras.layers.Dense) or last.activation is not keras.activations.softmax:
        raise ValueError(f"the model ends in {last.name}, not in a dense layer with softmax")
    for variable in last.trainable_variables:
        variable.assign(variable / temperature)
