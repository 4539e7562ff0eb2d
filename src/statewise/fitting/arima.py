"""Maximum likelihood of ARIMA models, a column at a time, by BFGS on the exact gradient.

The vector of free parameters holds μ, D, φ and Φ by their partial autocorrelations, θ and Θ as they are (the likelihood is the same where their
roots are reflected, so a unit root is an ordinary maximum), and log σ. Data are to be standardised.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace

import numpy as np

from statewise._core.seed import generator
from statewise.fitting.mle import Maximum, maximise
from statewise.inference import arima as algebra
from statewise.inference.arima import ArimaParameters, Orders
from statewise.inference.smoothing import log_prob_gradient
from statewise.inference.system import with_finite_part
from statewise.inference.varma_objective import VarmaObjective
from statewise.sequences.sequences import Sequences

_LARGEST = 50.0  # of an entry of the point: further out is no model that data could tell from one nearer
_FOLLOWED = 2  # searches that are followed to the end where each takes long: with a season or missing entries
UNIT = 1e-3  # a moving-average root within this of the unit circle is on it


@dataclass(frozen=True)
class Problem:
    """What is estimated: the orders, whether the differences have a mean, the number of inputs."""

    orders: Orders
    mean: bool
    width: int

    @property
    def cuts(self) -> list[int]:
        """Where μ, D, φ, θ, Φ, Θ and log σ end."""
        o = self.orders
        return list(itertools.accumulate([self.mean, self.width, o.p, o.q, o.P, o.Q, 1]))


def unpack(problem: Problem, point: np.ndarray) -> ArimaParameters:
    """The parameters at a vector of free ones."""
    mean, weights, ar, ma, seasonal_ar, seasonal_ma, log_sd = np.split(point, problem.cuts[:-1])
    return ArimaParameters(
        algebra.stationary(ar)[0], ma, algebra.stationary(seasonal_ar)[0], seasonal_ma, float(mean[0]) if problem.mean else 0.0,
        weights, float(np.exp(2.0 * log_sd[0])),
    )  # fmt: skip


def pack(problem: Problem, par: ArimaParameters) -> np.ndarray:
    """The inverse of `unpack`."""
    ar, seasonal_ar = algebra.unconstrained(par.ar), algebra.unconstrained(par.seasonal_ar)
    mean = np.full(int(problem.mean), par.mean)
    return np.concatenate([mean, par.weights, ar, par.ma, seasonal_ar, par.seasonal_ma, [0.5 * np.log(par.var)]])


class ArimaObjective:
    """point -> (log-likelihood, gradient), or None where the parameters are not allowed.

    Complete sequences are differenced: the likelihood of the levels is then that of the differences, up to −½ log 2π for each of the first
    d + s D steps. With missing entries it is that of the levels, by the Kalman filter and its adjoint.
    """

    def __init__(self, problem: Problem, seqs: Sequences) -> None:
        self.problem, self.seqs = problem, seqs
        self.steps = seqs.n_observed
        self.exact: VarmaObjective | None = None
        if not np.isnan(seqs.values).any():
            differences = difference(seqs, problem.orders)
            self.steps = differences.rows
            self.exact = VarmaObjective(differences, (1, *problem.orders.longest, problem.width), "c")

    def __call__(self, point: np.ndarray) -> tuple[float, np.ndarray] | None:
        if not np.abs(point).max() < _LARGEST:
            return None
        par = unpack(self.problem, point)
        found = self._of_levels(par) if self.exact is None else self._of_differences(par)
        if found is None or not np.isfinite(found[0]):
            return None
        value, gar, gma, gmean, gweights, gvar = found
        orders = self.problem.orders
        # The autoregressive polynomials are 1 − Σ φ Lⁱ: both their factors and their product change sign.
        plain_ar, seasonal_ar = algebra.multiply_gradient(gar, -par.ar, -par.seasonal_ar, orders.period)
        plain_ma, seasonal_ma = algebra.multiply_gradient(gma, par.ma, par.seasonal_ma, orders.period)
        _, _, x_ar, _, x_seasonal, _, _ = np.split(point, self.problem.cuts[:-1])
        pieces = [
            gmean[: int(self.problem.mean)], gweights, plain_ar @ algebra.stationary(x_ar)[1], plain_ma,
            seasonal_ar @ algebra.stationary(x_seasonal)[1], seasonal_ma, [2.0 * par.var * gvar],
        ]  # fmt: skip
        return value, np.concatenate(pieces)

    def _of_differences(
        self, par: ArimaParameters
    ) -> tuple[float, np.ndarray, np.ndarray, np.ndarray, np.ndarray, float] | None:
        assert self.exact is not None
        whole = par.expanded(self.problem.orders.period)
        log_sd = 0.5 * np.log(par.var)
        found = self.exact(
            np.concatenate([whole.mean, whole.weights.ravel(), whole.ar.ravel(), whole.ma.ravel(), [log_sd]])
        )
        if found is None:
            return None
        value, g = found
        long_ar, long_ma = self.problem.orders.longest
        gmean, gweights, gar, gma, glog = np.split(g, np.cumsum([1, self.problem.width, long_ar, long_ma]))
        return value, gar, gma, gmean, gweights, float(glog[0]) / (2.0 * par.var)

    def _of_levels(
        self, par: ArimaParameters
    ) -> tuple[float, np.ndarray, np.ndarray, np.ndarray, np.ndarray, float] | None:
        orders = self.problem.orders
        sys = algebra.arima_system(orders, par)
        if sys is None:
            return None
        found = log_prob_gradient(with_finite_part(sys), self.seqs)
        if found is None:
            return None
        rest = algebra.arima_gradient(orders, par, sys, found[1])
        return None if rest is None else (found[0], *rest)


def difference(seqs: Sequences, orders: Orders) -> Sequences:
    """The differences of each sequence and of its inputs, of those that are long enough."""
    if not orders.lost:
        return seqs
    long = [y for y in seqs.arrays() if len(y) > orders.lost]
    inputs = None
    if seqs.inputs is not None:
        parts = np.split(seqs.inputs, seqs.offsets[1:-1])
        inputs = [algebra.differenced(u, orders) for u in parts if len(u) > orders.lost]
    return Sequences.from_arrays([algebra.differenced(y, orders) for y in long], inputs=inputs)


def search(problem: Problem, seqs: Sequences, max_iter: int, tol: float, restarts: int, seed: int | None) -> Maximum:
    """The best maximum from several starts, its moving average invertible."""
    objective = ArimaObjective(problem, seqs)
    starts = [_settled(objective, start) for start in _starts(problem, seqs, restarts, seed)]
    allowed = [start for start in starts if start is not None]
    kept = None if objective.exact is not None and not (problem.orders.P or problem.orders.Q) else _FOLLOWED
    found = maximise(objective, allowed or [np.zeros(problem.cuts[-1])], objective.steps, max_iter, tol, kept=kept)
    if not np.isfinite(found.log_prob):
        return found
    return replace(found, point=pack(problem, algebra.invertible(unpack(problem, found.point))))


def _starts(problem: Problem, seqs: Sequences, restarts: int, seed: int | None) -> list[np.ndarray]:
    """Points from `start_coefficients` of the differences less what the inputs and the mean explain, and random ones about them."""
    orders = problem.orders
    differences = difference(seqs, orders)
    w = differences.values[:, 0]
    seen = ~np.isnan(w)
    X = np.ones((len(w), int(problem.mean)))
    if differences.inputs is not None:
        X = np.hstack([X, differences.inputs])
    outer = np.linalg.lstsq(X[seen], w[seen], rcond=None)[0]
    rest = np.where(seen, w - X @ outer, 0.0)
    candidates = algebra.start_coefficients(np.split(rest, differences.offsets[1:-1]), orders)
    mean = float(outer[0]) if problem.mean else 0.0
    weights = outer[int(problem.mean) :]
    var = float(np.mean(rest[seen] ** 2)) if seen.any() else 1.0
    points = [
        pack(problem, ArimaParameters(ar, ma, seasonal_ar, seasonal_ma, mean, weights, max(var, 1e-6)))
        for ar, ma, seasonal_ar, seasonal_ma in candidates
    ]
    mixed = (orders.p or orders.P) and (orders.q or orders.Q)
    rng = generator(seed)
    for _ in range(restarts if mixed else 0):
        sizes = (orders.p, orders.q, orders.P, orders.Q)
        ar, ma, seasonal_ar, seasonal_ma = (_random_lags(size, rng) for size in sizes)
        points.append(pack(problem, ArimaParameters(ar, -ma, seasonal_ar, -seasonal_ma, mean, weights, max(var, 1e-6))))
    return points


def _random_lags(size: int, rng: np.random.Generator) -> np.ndarray:
    """Coefficients of a random polynomial 1 − Σ c Lⁱ whose largest root has a modulus from .3 to .95.

    Uneven maxima of these likelihoods have roots near the circle that all but cancel: starts are spread up to there.
    """
    if not size:
        return np.zeros(0)
    c = rng.standard_normal(size)
    companion = np.vstack([c, np.eye(size - 1, size)])
    shrink = rng.uniform(0.3, 0.95) / max(float(np.abs(np.linalg.eigvals(companion)).max()), 1e-12)
    return np.asarray(c * shrink ** np.arange(1, size + 1))


def _settled(objective: ArimaObjective, point: np.ndarray) -> np.ndarray | None:
    """The point with the variance that is best for its coefficients: the gradient in log σ is S / σ² − n. None where it is not allowed."""
    found = objective(point)
    if found is None:
        return None
    moved = point.copy()
    steps = objective.steps
    moved[-1] += 0.5 * np.log(max(1.0 + found[1][-1] / steps, 1e-3))
    return moved
