"""A large residual network, to teach the compact one."""

import keras

from fer_models.compact import residual_network

_STAGES = ((96, 3), (192, 3), (320, 2))


def large(dropout: float = 0.3, width: float = 1.0) -> keras.Model:
    """A `residual_network` like `compact`, with fourteen times its parameters and twelve times its multiply-adds."""
    return residual_network("large", stem=48, stages=_STAGES, dropout=dropout, width=width)
