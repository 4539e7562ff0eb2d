"""A state-space model as the linear RNN that its Kalman filter is.

h[t+1] = (A − K[t] C) h[t] + K[t] (y[t] − d[t]) + b,  ŷ[t] = C h[t] + d[t],  with the predictor's gain K[t] = (A P C' + S) F⁻¹ and the
innovation covariance F[t] as its schedule. Source: Anderson & Moore, *Optimal Filtering* (1979), §4.1 and §9.3.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from statewise._core import checks
from statewise._core.errors import UnsupportedError
from statewise._core.outcome import Outcome
from statewise.inference.filtering import filter_status
from statewise.inference.steady import predictor_gain, settle
from statewise.inference.system import System
from statewise.models.linear_rnn import LinearRNN
from statewise.models.state_space import StateSpace
from statewise.sequences.sequences import Sequences

_LONGEST = 20_000
_SINGULAR = 1e-13  # smallest eigenvalue of an innovation correlation matrix


def state_space_to_rnn(model: StateSpace, gain: str = "exact") -> LinearRNN:
    """The linear RNN with the same log-likelihood and forecasts.

    Args:
        model: a state-space model with a known or stationary start.
        gain: 'exact' (the filter's gain at each step until it has settled, then constant: equal from the first step) or 'steady' (the
            settled gain throughout: the difference dies out like ρ(A − K C)ᵗ).

    Raises:
        UnsupportedError: the start is diffuse and the gain exact (the first gains are then infinite); the gain does not settle within 20 000 steps.
        NumericalError: an innovation covariance is singular (`Outcome.NOT_POSITIVE_DEFINITE`).
    """
    gain = checks.Choice(("exact", "steady")).check("gain", gain)
    sys = model.system
    if gain == "steady":
        K, F, _, _ = predictor_gain(sys)
        schedule = K[None], _invertible(F)[None]
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
    steps = settle(sys, sys.P0.copy(), _LONGEST)
    if steps == _LONGEST:
        raise UnsupportedError(
            f"the Kalman gain has not settled after {_LONGEST} steps (a root of A − K C is on the unit circle); convert with gain='steady'"
        )
    P = _covariances(sys, steps + 1)
    F = sys.C @ P @ sys.C.T + sys.R
    F = (F + F.mT) / 2
    size = np.sqrt(np.einsum("tpp->tp", F))
    if not (size > 0).all() or np.linalg.eigvalsh(F / size[:, :, None] / size[:, None, :])[:, 0].min() < _SINGULAR:
        Outcome.NOT_POSITIVE_DEFINITE.check()
    cross = sys.A @ P @ sys.C.T + sys.S
    return np.linalg.solve(F, cross.mT).mT, F


def _covariances(sys: System, count: int) -> np.ndarray:
    """(count, n, n) of the predictions of the first `count` steps of complete data: the filter's own, or where it loses digits, Joseph's form."""
    nothing = Sequences(np.zeros((count, sys.p)), np.array([count]))
    found, status = filter_status(replace(sys, B=sys.B[:, :0], D=sys.D[:, :0]), nothing, True, settle=False)
    if not status.any():
        return found.cov_pred
    P, kept = sys.P0, []
    for _ in range(count):
        kept.append(P)
        F = _invertible(sys.C @ P @ sys.C.T + sys.R)
        K = np.linalg.solve(F, (sys.A @ P @ sys.C.T + sys.S).T).T
        closed = sys.A - K @ sys.C
        P = closed @ P @ closed.T + sys.Q - K @ sys.S.T - sys.S @ K.T + K @ sys.R @ K.T
        P = (P + P.T) / 2
    return np.stack(kept)


def _invertible(F: np.ndarray) -> np.ndarray:
    """F made exactly symmetric; raises `NumericalError` if it is not positive definite."""
    F = (F + F.T) / 2
    size = np.sqrt(np.diag(F))
    if not (size > 0).all() or np.linalg.eigvalsh(F / size[:, None] / size)[0] < _SINGULAR:
        Outcome.NOT_POSITIVE_DEFINITE.check()
    return F
