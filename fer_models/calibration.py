"""Temperature scaling (Guo et al. 2017, arXiv:1706.04599), kept inside the model: 80 % is to mean 80 %."""

import keras
import numpy as np
from scipy.optimize import minimize_scalar

from fer_models.metrics import log_loss

_EPSILON = 1e-12


def tempered(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Softmax of the logarithms divided by `temperature`: float64 [N, 7]; above 1 is less sure, the class the same."""
    logits = np.log(np.maximum(probabilities.astype(np.float64), _EPSILON)) / temperature
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def fit_temperature(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """The temperature, from 0.1 to 10, with the least log loss on `labels` int [N] and `probabilities` float [N, 7].

    1 when there are no rows.
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
    """Divide the logits of a model that ends in a softmax layer, through that layer's weights.

    Raises ValueError for a model that ends otherwise.
    """
    last = model.layers[-1]
    if not isinstance(last, keras.layers.Dense) or last.activation is not keras.activations.softmax:
        raise ValueError(f"the model ends in {last.name}, not in a dense layer with softmax")
    for variable in last.trainable_variables:
        variable.assign(variable / temperature)
