"""A state-space smoother as the bidirectional linear RNN that it is: forward filter, backward information filter, merge with a −y skip.

Source: theory §10; Fraser & Potter, IEEE Trans. Automatic Control 14 (1969), 387–390.
"""

from __future__ import annotations

import numpy as np

from statewise._core.errors import UnsupportedError
from statewise.inference.system import System
from statewise.models.linear_birnn import LinearBiRNN
from statewise.models.state_space import StateSpace

_SINGULAR = 1e-12  # smallest eigenvalue of a correlation matrix
_INVERTIBLE = 1e10  # largest condition number


def state_space_to_birnn(model: StateSpace) -> LinearBiRNN:
    """The network with the same smoothed means and covariances, missing entries and both ends included (exact).

    Raises:
        UnsupportedError: the matrices change with the step; observation_noise is singular, so that the −y skip has no weight; or the start
            is diffuse and the transition cannot be undone, or the start has states that are known for certain beside diffuse ones.
    """
    sys = model.system
    if sys.which is not None:
        raise UnsupportedError("the matrices change with the step; only a model with constant matrices converts")
    size = np.sqrt(np.diag(sys.R))
    if not (size > 0).all() or np.linalg.eigvalsh(sys.R / size[:, None] / size)[0] < _SINGULAR:
        raise UnsupportedError(
            "observation_noise is singular, and the weight of the −y skip is C' R⁻¹; use the model's own `smooth`, or give every column noise"
        )
    width = max(sys.B.shape[1], sys.D.shape[1])
    B, D = (M if M.shape[1] else np.zeros((len(M), width)) for M in (sys.B, sys.D))
    weights = {
        "transition": sys.A,
        "observation": sys.C,
        "state_intercept": sys.b,
        "observation_intercept": sys.d,
        "input_to_state": B,
        "input_to_observation": D,
        "noise_root": _root(sys.noise),
        "initial_mean": sys.m0,
        "initial_root": _root(sys.P0),
    }
    return LinearBiRNN.from_weights(weights, _precision(sys) if sys.Pinf.any() else None, model._schema)


def _root(cov: np.ndarray) -> np.ndarray:
    """A square root with as many columns as rows; zero noise keeps a gradient of zero."""
    size = np.sqrt(np.where(np.diag(cov) > 0, np.diag(cov), 1.0))
    values, vectors = np.linalg.eigh(cov / size[:, None] / size)
    return np.asarray(size[:, None] * vectors * np.sqrt(np.maximum(values, 0.0)))


def _precision(sys: System) -> np.ndarray:
    """The precision of a diffuse start: nothing where it is diffuse, P0⁻¹ elsewhere."""
    closed = sys.A - sys.S @ np.linalg.solve(sys.R, sys.C)
    if np.linalg.cond(closed) > _INVERTIBLE:
        raise UnsupportedError(
            "the start is diffuse and the transition (less what the noises share) is singular, so that the forward direction cannot carry "
            "information; give the model a known start"
        )
    values, vectors = np.linalg.eigh(sys.Pinf)
    known = vectors[:, values <= 1e-12 * values[-1]]
    if not known.shape[1]:
        return np.zeros_like(sys.Pinf)
    cov = known.T @ sys.P0 @ known
    if np.linalg.cond(cov) > _INVERTIBLE:
        raise UnsupportedError(
            "beside diffuse states there are some that are known for certain, which a start without information cannot say"
        )
    return np.asarray(known @ np.linalg.inv(cov) @ known.T)
