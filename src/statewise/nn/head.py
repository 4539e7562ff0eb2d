"""The head of a recurrent network, in NumPy: what `nn.network.Head` computes in torch.

::

    mean    = W_m h + b_m + W_k k
    log sd  = base + SWING tanh(W_s h / SWING),   base = FLOOR + softplus(b_s − FLOOR)
    shape   = W_q h + b_q

for the hidden state h and the skip features k. `nn.outputs` says what law these numbers stand for; a Gaussian has no shape, a count no sd.
 The skip makes the network a linear autoregression plus a correction. The bounds are
soft: a state can raise or lower the log standard deviation by at most SWING, and its base cannot fall below FLOOR (both in units of
the standardised data), so that a few well-predicted steps cannot make the density collapse.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from statewise.nn.outputs import Law
from statewise.nn.outputs.base import SWING

FLOOR = -8.0
NAMES = ("mean_weight", "mean_bias", "skip_weight", "log_sd_weight", "log_sd_bias")
READERS = ("mean_weight", "log_sd_weight", "shape_weight")  # what reads the hidden state
SHAPE_NAMES = ("shape_weight", "shape_bias")


def gaussian_head(params: Mapping[str, np.ndarray], h: np.ndarray, skip: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and log standard deviation, each (..., p), for hidden states (..., H) and skip features (..., k)."""
    mean = h @ params["mean_weight"].T + params["mean_bias"] + skip @ params["skip_weight"].T
    base = FLOOR + np.logaddexp(0.0, params["log_sd_bias"] - FLOOR)
    return mean, base + SWING * np.tanh(h @ params["log_sd_weight"].T / SWING)


def law(params: Mapping[str, np.ndarray], h: np.ndarray, skip: np.ndarray) -> Law:
    """All that the head says; a shape of size 0 where the parameters have none."""
    mean, log_sd = gaussian_head(params, h, skip)
    if "shape_weight" not in params:
        return Law(mean, log_sd, np.zeros((*h.shape[:-1], 0)))
    return Law(mean, log_sd, h @ params["shape_weight"].T + params["shape_bias"])


def bias_for(log_sd: np.ndarray) -> np.ndarray:
    """The `log_sd_bias` whose base is `log_sd` (or just above FLOOR where that is lower)."""
    above = np.maximum(log_sd - FLOOR, 1e-2)
    return FLOOR + above + np.log(-np.expm1(-above))


def is_trained(name: str) -> bool:
    """Whether a name in a dict of parameters is the network's own, and not a scaling or the like."""
    return name in NAMES + SHAPE_NAMES or name.startswith(
        ("weight_ih_l", "weight_hh_l", "bias_ih_l", "bias_hh_l", "log_time_constant_l")
    )
