"""The Gaussian output of a recurrent network, in NumPy: what `nn.network.GaussianHead` computes in torch.

::

    mean    = W_m h + b_m + W_k k
    log sd  = base + SWING tanh(W_s h / SWING),   base = FLOOR + softplus(b_s − FLOOR)

for the hidden state h and the skip features k. The skip makes the network a linear autoregression plus a correction. The bounds are
soft: a state can raise or lower the log standard deviation by at most SWING, and its base cannot fall below FLOOR (both in units of
the standardised data), so that a few well-predicted steps cannot make the density collapse.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

FLOOR = -8.0
SWING = 2.0
NAMES = ("mean_weight", "mean_bias", "skip_weight", "log_sd_weight", "log_sd_bias")


def gaussian_head(params: Mapping[str, np.ndarray], h: np.ndarray, skip: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and log standard deviation, each (..., p), for hidden states (..., H) and skip features (..., k)."""
    mean = h @ params["mean_weight"].T + params["mean_bias"] + skip @ params["skip_weight"].T
    base = FLOOR + np.logaddexp(0.0, params["log_sd_bias"] - FLOOR)
    return mean, base + SWING * np.tanh(h @ params["log_sd_weight"].T / SWING)


def bias_for(log_sd: np.ndarray) -> np.ndarray:
    """The `log_sd_bias` whose base is `log_sd` (or just above FLOOR where that is lower)."""
    above = np.maximum(log_sd - FLOOR, 1e-2)
    return FLOOR + above + np.log(-np.expm1(-above))


def is_trained(name: str) -> bool:
    """Whether a name in a dict of parameters is the network's own, and not a scaling or the like."""
    return name in NAMES or name.startswith(("weight_ih_l", "weight_hh_l", "bias_ih_l", "bias_hh_l"))
