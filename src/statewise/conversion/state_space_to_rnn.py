"""A state-space model as the linear RNN that its Kalman filter is.

h[t+1] = (A − K[t] C) h[t] + K[t] (y[t] − d[t]) + b,  ŷ[t] = C h[t] + d[t],  with the predictor's gain K[t] = (A P C' + S) F⁻¹ and the
innovation covariance F[t] as its schedule. Source: Anderson & Moore, *Optimal Filtering* (1979), §4.1 and §9.3.
"""

from __future__ import annotations

import numpy as np

from statewise._core import checks
from statewise._core.errors import UnsupportedError
from statewise.inference.linear_gaussian import System, predictor_gain
from statewise.models.linear_rnn import LinearRNN
from statewise.models.state_space import StateSpace

_LONGEST = 20_000
_SETTLED = 1e-16


def state_space_to_rnn(model: StateSpace, gain: str = "exact") -> LinearRNN:
    """The linear RNN with the same log-likelihood and forecasts.

    Args:
        model: a state-space model with a known or stationary start.
        gain: 'exact' (the filter's gain at each step until it has settled, then constant: equal from the first step) or 'steady' (the
            settled gain throughout: the difference dies out like ρ(A − K C)ᵗ).

    Raises:
        UnsupportedError: the start is diffuse and the gain exact (the first gains are then infinite); the gain does not settle within 20 000 steps.
    """
    gain = checks.Choice(("exact", "steady")).check("gain", gain)
    sys = model.system
    if gain == "steady":
        K, F, _, _ = predictor_gain(sys)
        schedule = K[None], F[None]
    else:
        schedule = gain_schedule(sys)
    return LinearRNN.from_schedule(sys, *schedule, schema=model._schema)


def gain_schedule(sys: System) -> tuple[np.ndarray, np.ndarray]:
    """Gains (L, n, p) and innovation covariances (L, p, p) of complete data, until the covariance stops changing."""
    if sys.Pinf.any():
        raise UnsupportedError(
            "this model has a diffuse start, whose first gains are infinite, so there is no exact linear RNN; convert with gain='steady', or give "
            "the model a known start"
        )
    P = sys.P0
    gains, covariances = [], []
    quiet = 0
    for _ in range(_LONGEST):
        F = sys.C @ P @ sys.C.T + sys.R
        K = np.linalg.solve(F, (sys.A @ P @ sys.C.T + sys.S).T).T
        gains.append(K)
        covariances.append((F + F.T) / 2)
        closed = sys.A - K @ sys.C
        following = closed @ P @ closed.T + sys.Q - K @ sys.S.T - sys.S @ K.T + K @ sys.R @ K.T
        following = (following + following.T) / 2
        change = np.abs(following - P).max()
        quiet = quiet + 1 if change <= _SETTLED * max(float(np.abs(P).max()), float(np.abs(F).max())) else 0
        if quiet == 2 or not sys.n:
            return np.stack(gains), np.stack(covariances)
        P = following
    raise UnsupportedError(
        f"the Kalman gain has not settled after {_LONGEST} steps (a root of A − K C is on the unit circle); convert with gain='steady'"
    )
