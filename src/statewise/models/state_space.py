"""A linear-Gaussian state-space model with given matrices."""

from __future__ import annotations

from typing import Any

import numpy as np

from statewise._core import checks
from statewise._core.errors import InputError
from statewise.inference.system import System, stationary_start
from statewise.models.linear_gaussian import LinearGaussian

_MATRIX = checks.Array(2)
_VECTOR = checks.Array(1)


class StateSpace(LinearGaussian):
    """x[t+1] = A x[t] + B u[t] + b + w[t],  y[t] = C x[t] + D u[t] + d + v[t],  t = 1 … T.

    Args:
        transition: A, (n, n).
        observation: C, (p, n).
        state_noise: Q = Cov(w), (n, n).
        observation_noise: R = Cov(v), (p, p).
        noise_cross: S = Cov(w[t], v[t]), (n, p); zero unless given.
        initial_mean, initial_cov: mean (n,) and covariance (n, n) of x[1] before y[1] is seen.
        initial: 'known' (the two above), 'stationary' (the law that the transition leaves unchanged), or 'diffuse' (no knowledge at all,
            treated exactly; `initial_mean` is then only where `sample` starts). Default: known if `initial_mean` is given, else stationary,
            else, where there is a unit root, diffuse.
        state_intercept, observation_intercept: b (n,), d (p,).
        input_to_state, input_to_observation: B (n, u), D (p, u).

    Raises:
        InputError: a shape does not match, a covariance is not positive semi-definite, or the start asked for does not exist.

    The likelihood with a diffuse start includes −½ log 2π for each observation that settles it (Durbin & Koopman 2012, §7.2.2).

    Example:
        >>> model = StateSpace(transition=[[1.0]], observation=[[1.0]], state_noise=[[1469.178]],
        ...                    observation_noise=[[15098.53]], initial="diffuse")
        >>> float(model.log_prob(sw.datasets.load("nile"))[0])  # doctest: +ELLIPSIS
        -633.4645...
    """

    kind = "state-space"
    options = {
        "transition": _MATRIX,
        "observation": _MATRIX,
        "state_noise": _MATRIX,
        "observation_noise": _MATRIX,
        "noise_cross": checks.Optional(_MATRIX),
        "initial_mean": checks.Optional(_VECTOR),
        "initial_cov": checks.Optional(_MATRIX),
        "initial": checks.Optional(checks.Choice(("known", "stationary", "diffuse"))),
        "state_intercept": checks.Optional(_VECTOR),
        "observation_intercept": checks.Optional(_VECTOR),
        "input_to_state": checks.Optional(_MATRIX),
        "input_to_observation": checks.Optional(_MATRIX),
    }

    def __init__(
        self,
        transition: Any,
        observation: Any,
        state_noise: Any,
        observation_noise: Any,
        noise_cross: Any = None,
        initial_mean: Any = None,
        initial_cov: Any = None,
        initial: str | None = None,
        state_intercept: Any = None,
        observation_intercept: Any = None,
        input_to_state: Any = None,
        input_to_observation: Any = None,
    ) -> None:
        super().__init__(
            transition=transition,
            observation=observation,
            state_noise=state_noise,
            observation_noise=observation_noise,
            noise_cross=noise_cross,
            initial_mean=initial_mean,
            initial_cov=initial_cov,
            initial=initial,
            state_intercept=state_intercept,
            observation_intercept=observation_intercept,
            input_to_state=input_to_state,
            input_to_observation=input_to_observation,
        )
        self._system = _checked_system(self._options)
        self._parameters = {name: value for name, value in self._options.items() if isinstance(value, np.ndarray)}
        p, u = self._system.p, self._system.D.shape[1]
        self._schema = {
            "columns": ["y"] if p == 1 else [f"y{j + 1}" for j in range(p)],
            "input_columns": [f"u{j + 1}" for j in range(u)],
            "season": None,
        }

    @classmethod
    def from_system(cls, system: System) -> StateSpace:
        """The model of an `inference.linear_gaussian.System`, diffuse where that one is."""
        initial = "diffuse" if system.Pinf.any() else "known"
        model = cls(
            system.A, system.C, system.Q, system.R, system.S, system.m0, system.P0, initial,
            system.b, system.d, system.B if system.B.shape[1] else None, system.D if system.D.shape[1] else None,
        )  # fmt: skip
        model._system = system
        return model

    @property
    def label(self) -> str:
        return f"states={self.system.n}, dim={self.system.p}"

    def _build_system(self) -> System:
        return _checked_system(self._options)

    @property
    def n_parameters(self) -> int:
        """0: every matrix is given."""
        return 0


def _checked_system(given: dict[str, Any]) -> System:
    A, C = given["transition"], given["observation"]
    n, p = A.shape[0], C.shape[0]
    if A.shape != (n, n):
        raise InputError(f"`transition` has shape {A.shape}; pass a square matrix")
    if C.shape != (p, n):
        raise InputError(
            f"`observation` has shape {C.shape}; pass shape ({p}, {n}): a column for each of the {n} states"
        )
    Q = checks.covariance("state_noise", given["state_noise"], n)
    R = checks.covariance("observation_noise", given["observation_noise"], p)
    S = _or_zeros("noise_cross", given, (n, p))
    if S.any():
        checks.covariance("noise_cross (joint covariance of w and v)", np.block([[Q, S], [S.T, R]]), n + p)
    b, d = _or_zeros("state_intercept", given, (n,)), _or_zeros("observation_intercept", given, (p,))
    B, D = _input_weights(given, n, p)
    m0, P0, Pinf = _start(given, A, Q, b)
    return System(A, C, Q, R, S, b, d, B, D, m0, P0, Pinf)


def _input_weights(given: dict[str, Any], n: int, p: int) -> tuple[np.ndarray, np.ndarray]:
    B, D = given["input_to_state"], given["input_to_observation"]
    u = B.shape[1] if B is not None else D.shape[1] if D is not None else 0
    return _or_zeros("input_to_state", given, (n, u)), _or_zeros("input_to_observation", given, (p, u))


def _or_zeros(name: str, given: dict[str, Any], shape: tuple[int, ...]) -> np.ndarray:
    value = given[name]
    return np.zeros(shape) if value is None else checks.array(name, value, shape)


def _start(
    given: dict[str, Any], A: np.ndarray, Q: np.ndarray, b: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    n = len(A)
    initial, mean, cov = given["initial"], given["initial_mean"], given["initial_cov"]
    nothing = np.zeros((n, n))
    if initial == "known" or (initial is None and mean is not None):
        if mean is None or cov is None:
            raise InputError(
                "a known start needs both `initial_mean` and `initial_cov`; pass both, or initial='stationary' or 'diffuse'"
            )
        return checks.array("initial_mean", mean, (n,)), checks.covariance("initial_cov", cov, n), nothing
    if initial != "diffuse":
        start = stationary_start(A, Q, b)
        if start is not None:
            return *start, nothing
        if initial == "stationary":
            radius = float(np.abs(np.linalg.eigvals(A)).max())
            raise InputError(
                f"`initial` is 'stationary' but `transition` has spectral radius {radius:.6g}, so there is no stationary law; "
                "pass initial='diffuse' or a known start"
            )
    return np.zeros(n) if mean is None else checks.array("initial_mean", mean, (n,)), nothing, np.eye(n)
