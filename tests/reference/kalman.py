"""Linear-Gaussian models, slowly. The definition of correct: dense joint Gaussians and a textbook matrix-form filter.

A system is a plain dict of arrays A, C, Q, R, m0, P0 and, where they are not zero, S, b, d, B, D, Pinf, in the letters of
x[t+1] = A x[t] + B u[t] + b + w[t],  y[t] = C x[t] + D u[t] + d + v[t],  Cov(w, v) = [[Q, S], [S', R]],  x[1] ~ N(m0, P0 + κ Pinf), κ → ∞.
One sequence at a time; y (T, p) has NaN where missing, u is (T, k) or None.

Two independent roads: `joint` stacks all states and observations in one Gaussian and conditions by linear algebra; `kalman_filter` is the
recursion with whole innovation vectors (Anderson & Moore 1979, ch. 3–5), which is not the entry-by-entry form that the kernels use.
"""

from __future__ import annotations

import numpy as np


def complete(sys):
    """The system with zeros for what it leaves out."""
    n, p = sys["A"].shape[0], sys["C"].shape[0]
    zeros = {"S": (n, p), "b": (n,), "d": (p,), "B": (n, 0), "D": (p, 0), "Pinf": (n, n)}
    return {name: np.zeros(shape) for name, shape in zeros.items()} | dict(sys)


WORDS = {
    "A": "transition",
    "C": "observation",
    "Q": "state_noise",
    "R": "observation_noise",
    "S": "noise_cross",
    "m0": "initial_mean",
    "P0": "initial_cov",
    "b": "state_intercept",
    "d": "observation_intercept",
    "B": "input_to_state",
    "D": "input_to_observation",
}


def words(sys):
    """The system by its public names, for a start that is known."""
    return {WORDS[letter]: value for letter, value in sys.items() if letter != "Pinf" and value.size}


def random_system(rng, n, p, u=0, cross=True, diffuse=False, radius=0.95):
    """A stable system with every part in it; `diffuse` replaces the known start by one that is unknown altogether."""
    A = rng.standard_normal((n, n))
    A *= radius / np.abs(np.linalg.eigvals(A)).max()
    half = rng.standard_normal((n + p, n + p))
    noise = half @ half.T / (n + p)
    start = rng.standard_normal((n, n))
    sys = {
        "A": A,
        "C": rng.standard_normal((p, n)),
        "Q": noise[:n, :n],
        "R": noise[n:, n:],
        "S": noise[:n, n:] if cross else np.zeros((n, p)),
        "b": rng.standard_normal(n),
        "d": rng.standard_normal(p),
        "B": rng.standard_normal((n, u)),
        "D": rng.standard_normal((p, u)),
        "m0": rng.standard_normal(n),
        "P0": np.zeros((n, n)) if diffuse else start @ start.T / n + 0.1 * np.eye(n),
    }
    return {name: np.ascontiguousarray(part) for name, part in sys.items()} | ({"Pinf": np.eye(n)} if diffuse else {})


# --- the joint Gaussian of everything ---------------------------------------------------------------------------------


def joint(sys, T, u=None):
    """Means and covariances of all states X (T·n,) and observations Y (T·p,), and their responses to x[1].

    Everything is linear in the stacked noise e = (x[1] − m0, w[1], v[1], …, w[T], v[T]), whose covariance is block diagonal.
    """
    s = complete(sys)
    n, p = s["A"].shape[0], s["C"].shape[0]
    size = n + T * (n + p)
    noise = np.zeros((size, size))
    noise[:n, :n] = s["P0"]
    both = np.block([[s["Q"], s["S"]], [s["S"].T, s["R"]]])
    for t in range(T):
        at = n + t * (n + p)
        noise[at : at + n + p, at : at + n + p] = both
    response, mean = np.zeros((n, size)), np.array(s["m0"], dtype=float)
    response[:, :n] = np.eye(n)
    to_x, to_y, mean_x, mean_y = [], [], [], []
    for t in range(T):
        at = n + t * (n + p)
        move, shift = s["b"], s["d"]
        if u is not None:
            move, shift = move + s["B"] @ u[t], shift + s["D"] @ u[t]
        seen = s["C"] @ response
        seen[:, at + n : at + n + p] += np.eye(p)
        to_x.append(response)
        to_y.append(seen)
        mean_x.append(mean)
        mean_y.append(s["C"] @ mean + shift)
        response = s["A"] @ response
        response[:, at : at + n] += np.eye(n)
        mean = s["A"] @ mean + move
    X, Y = np.concatenate(to_x), np.concatenate(to_y)
    return {
        "mean_x": np.concatenate(mean_x),
        "mean_y": np.concatenate(mean_y),
        "xx": X @ noise @ X.T,
        "xy": X @ noise @ Y.T,
        "yy": Y @ noise @ Y.T,
        "start_x": X[:, :n],
        "start_y": Y[:, :n],
    }


def root(matrix):
    """W with W W' = matrix, for a positive semi-definite matrix."""
    values, vectors = np.linalg.eigh(matrix)
    keep = values > 1e-12 * max(values.max(initial=0.0), 1e-300)
    return vectors[:, keep] * np.sqrt(values[keep])


def gaussian_log_density(residual, cov):
    """−½ (m log 2π + log|V| + r'V⁻¹r) by a Cholesky factor."""
    if not len(residual):
        return 0.0
    low = np.linalg.cholesky(cov)
    z = np.linalg.solve(low, residual)
    return -0.5 * (len(residual) * np.log(2 * np.pi) + 2 * np.log(np.diag(low)).sum() + z @ z)


def log_density(sys, y, u=None):
    """log p(y) of the observed entries; with a diffuse start the limit of log p + ½ rank · log κ.

    −(m/2) log 2π − ½ log|V| − ½ log|X'V⁻¹X|₊ − ½ r'(V⁻¹ − V⁻¹X(X'V⁻¹X)⁺X'V⁻¹)r, with V the covariance for a start without its diffuse
    part, X the response to that part and |·|₊ the product of the eigenvalues that are not zero (de Jong 1991; Durbin & Koopman 2012, §7.2.2).
    """
    s = complete(sys)
    world = joint(s, len(y), u)
    seen = ~np.isnan(y.ravel())
    r = y.ravel()[seen] - world["mean_y"][seen]
    V = world["yy"][np.ix_(seen, seen)]
    if not s["Pinf"].any():
        return gaussian_log_density(r, V)
    W = root(s["Pinf"])
    X = world["start_y"][seen] @ W
    # Adding X X' to V changes neither the projection nor, once M = X'V⁻¹X is corrected, the determinant; it keeps V invertible.
    ridge = float(np.abs(V).max()) or 1.0
    V1 = V + ridge * X @ X.T
    low = np.linalg.cholesky(V1)
    basis, sizes, _ = np.linalg.svd(np.linalg.solve(low, X), full_matrices=False)
    keep = sizes > 1e-13 * sizes.max()
    z = np.linalg.solve(low, r)
    along = basis[:, keep].T @ z
    # log|V| + log|M|₊ = log|V1| + log|M1|₊, since |V1| = |V| |I + ridge·M| and M1 = (M⁻¹ + ridge)⁻¹ on the range of X'
    logdet = 2 * np.log(np.diag(low)).sum() + 2 * np.log(sizes[keep]).sum()
    return -0.5 * (len(r) * np.log(2 * np.pi) + logdet + z @ z - along @ along)


def smoothed(sys, y, u=None):
    """Mean (T, n) and covariance (T, n, n) of each state given all of y; generalised least squares for a diffuse start."""
    s = complete(sys)
    T, n = len(y), s["A"].shape[0]
    world = joint(s, T, u)
    seen = ~np.isnan(y.ravel())
    r = y.ravel()[seen] - world["mean_y"][seen]
    W = root(s["Pinf"]) if s["Pinf"].any() else np.zeros((n, 0))
    X, Z = world["start_y"][seen] @ W, world["start_x"] @ W
    ridge = (float(np.abs(world["yy"]).max()) or 1.0) if W.size else 0.0
    V = world["yy"][np.ix_(seen, seen)] + ridge * X @ X.T
    cross = world["xy"][:, seen] + ridge * Z @ X.T
    prior = world["xx"] + ridge * Z @ Z.T
    gain = np.linalg.solve(V, cross.T).T if seen.any() else np.zeros((T * n, 0))
    mean, cov = world["mean_x"] + gain @ r, prior - gain @ cross.T
    if W.size:
        spread = Z - gain @ X
        delta_cov = np.linalg.inv(X.T @ np.linalg.solve(V, X))
        delta = delta_cov @ (X.T @ np.linalg.solve(V, r))
        mean, cov = mean + spread @ delta, cov + spread @ delta_cov @ spread.T
    blocks = np.stack([cov[t * n : (t + 1) * n, t * n : (t + 1) * n] for t in range(T)])
    return mean.reshape(T, n), blocks


def forecast(sys, y, steps, u=None):
    """Mean (steps, p) and covariance (steps·p, steps·p) of the next observations given y; u has T + steps rows or is None."""
    s = complete(sys)
    p = s["C"].shape[0]
    world = joint(s, len(y) + steps, u)
    seen = np.concatenate([~np.isnan(y.ravel()), np.zeros(steps * p, dtype=bool)])
    later = np.arange(len(seen)) >= y.size
    W = root(s["Pinf"]) if s["Pinf"].any() else np.zeros((len(s["A"]), 0))
    X, Z = world["start_y"][seen] @ W, world["start_y"][later] @ W
    ridge = (float(np.abs(world["yy"]).max()) or 1.0) if W.size else 0.0
    V = world["yy"][np.ix_(seen, seen)] + ridge * X @ X.T
    cross = world["yy"][np.ix_(later, seen)] + ridge * Z @ X.T
    r = y.ravel()[~np.isnan(y.ravel())] - world["mean_y"][seen]
    gain = np.linalg.solve(V, cross.T).T if seen.any() else np.zeros((steps * p, 0))
    mean = world["mean_y"][later] + gain @ r
    cov = world["yy"][np.ix_(later, later)] + ridge * Z @ Z.T - gain @ cross.T
    if W.size:
        spread = Z - gain @ X
        delta_cov = np.linalg.inv(X.T @ np.linalg.solve(V, X))
        mean = mean + spread @ delta_cov @ (X.T @ np.linalg.solve(V, r))
        cov = cov + spread @ delta_cov @ spread.T
    return mean.reshape(steps, p), cov


# --- the recursion ----------------------------------------------------------------------------------------------------


def kalman_filter(sys, y, u=None):
    """Predicted, filtered and next moments and the log density of each step, for a start without a diffuse part."""
    s = complete(sys)
    n = s["A"].shape[0]
    m, P = np.array(s["m0"], dtype=float), np.array(s["P0"], dtype=float)
    out = {
        name: [] for name in ("mean_pred", "cov_pred", "mean_filt", "cov_filt", "log_prob", "gain", "innovation_cov")
    }
    for t in range(len(y)):
        move, shift = s["b"], s["d"]
        if u is not None:
            move, shift = move + s["B"] @ u[t], shift + s["D"] @ u[t]
        seen = ~np.isnan(y[t])
        C, S, R = s["C"][seen], s["S"][:, seen], s["R"][np.ix_(seen, seen)]
        v = y[t][seen] - C @ m - shift[seen]
        F = C @ P @ C.T + R
        M = np.linalg.solve(F, C @ P).T if seen.any() else np.zeros((n, 0))
        K = np.linalg.solve(F, (s["A"] @ P @ C.T + S).T).T if seen.any() else np.zeros((n, 0))
        for name, value in (
            ("mean_pred", m),
            ("cov_pred", P),
            ("mean_filt", m + M @ v),
            ("cov_filt", P - M @ C @ P),
            ("log_prob", gaussian_log_density(v, F)),
            ("gain", K),
            ("innovation_cov", F),
        ):
            out[name].append(value)
        m = s["A"] @ m + move + K @ v
        P = s["A"] @ P @ s["A"].T + s["Q"] - K @ F @ K.T
        P = (P + P.T) / 2
    out = {name: np.array(value) if name not in ("gain", "innovation_cov") else value for name, value in out.items()}
    return out | {"mean_next": m, "cov_next": P}


# --- simulation and differences -----------------------------------------------------------------------------------------


def simulate(sys, T, rng, u=None):
    """(T, p) observations drawn step by step."""
    s = complete(sys)
    n, p = s["A"].shape[0], s["C"].shape[0]
    both = root(np.block([[s["Q"], s["S"]], [s["S"].T, s["R"]]]))
    first = root(s["P0"])
    x = s["m0"] + first @ rng.standard_normal(first.shape[1])
    y = np.empty((T, p))
    for t in range(T):
        e = both @ rng.standard_normal(both.shape[1])
        move, shift = s["b"], s["d"]
        if u is not None:
            move, shift = move + s["B"] @ u[t], shift + s["D"] @ u[t]
        y[t] = s["C"] @ x + shift + e[n:]
        x = s["A"] @ x + move + e[:n]
    return y


def draw(seed, lengths, n, p, u, missing, **options):
    """A random system, arrays simulated from its known-start version with a share of entries missing, and their inputs or None."""
    rng = np.random.default_rng(seed)
    sys = random_system(rng, n, p, u, **options)
    known = {**sys, "P0": np.eye(n)}
    known.pop("Pinf", None)
    inputs = [rng.standard_normal((T, u)) if u else None for T in lengths]
    arrays = [simulate(known, T, rng, own) for T, own in zip(lengths, inputs, strict=True)]
    for y in arrays:
        y[rng.random(y.shape) < missing] = np.nan
    return sys, arrays, inputs


def differences(function, point, step=1e-6):
    """Central differences of a scalar function in every entry of an array."""
    gradient = np.empty(point.shape)
    for index in np.ndindex(point.shape):
        up, down = point.copy(), point.copy()
        up[index] += step
        down[index] -= step
        gradient[index] = (function(up) - function(down)) / (2 * step)
    return gradient


# --- ARMA by its own recursion ------------------------------------------------------------------------------------------


def arma_innovations(y, phi, theta):
    """e[t] = y[t] − φ y[t−1] − θ e[t−1] with e and y zero before the start."""
    e, before_y, before_e = np.empty(len(y)), 0.0, 0.0
    for t in range(len(y)):
        e[t] = y[t] - phi * before_y - theta * before_e
        before_y, before_e = y[t], e[t]
    return e


def varma_autocovariances(ar, ma, cov, lags, terms=4000):
    """Γ(0 … lags) of a stationary VARMA from its moving-average weights Ψ: Γ(h) = Σ Ψ[j+h] Σ Ψ[j]'."""
    k = len(cov)
    psi = [np.eye(k)]
    for j in range(1, terms):
        value = ma[j - 1].copy() if j <= len(ma) else np.zeros((k, k))
        for i in range(min(j, len(ar))):
            value = value + ar[i] @ psi[j - 1 - i]
        psi.append(value)
    psi = np.array(psi)
    return [np.einsum("jab,bc,jdc->ad", psi[h:], cov, psi[: terms - h] if h else psi) for h in range(lags + 1)]


def varma_log_density(ar, ma, mean, cov, y):
    """log p(y) of a stationary VARMA from the block-Toeplitz matrix of its autocovariances: no state space at all."""
    T = len(y)
    gamma = varma_autocovariances(ar, ma, cov, T - 1)
    V = np.block([[gamma[i - j] if i >= j else gamma[j - i].T for j in range(T)] for i in range(T)])
    seen = ~np.isnan(y.ravel())
    return gaussian_log_density((y - mean).ravel()[seen], V[np.ix_(seen, seen)])
