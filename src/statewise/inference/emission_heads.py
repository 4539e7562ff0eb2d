"""Emission laws as torch modules: the log-likelihood of rows in each state, with parameters that can be trained.

A head is made of an `Emission` and leads back to one. Its parameters stand on scales without bounds (logarithms of positive numbers, logits
of shares and chances, Cholesky factors of covariances), so that any step of an optimiser leaves a law. An impossible symbol is a logit of
−inf: its log-likelihood is −inf and its gradient zero, never NaN.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from statewise._core.errors import InputError, UnsupportedError
from statewise.emissions.base import Emission
from statewise.nn.backends import obstacle
from statewise.ops.normal import normal_table

_LOG_2PI = math.log(2 * math.pi)
Parameters = dict[str, Tensor]


class EmissionHead(nn.Module):
    """(N, T, K) log-likelihoods of rows y (N, T, p), NaN where missing, and inputs u (N, T, d).

    Args:
        emission: the laws to begin with; every family but products, for which see `head_of`.
    """

    def __init__(self, emission: Emission) -> None:
        super().__init__()
        if emission.kind not in _TABLES:
            raise UnsupportedError(
                f"emission {emission.kind!r} has no trainable form yet; those that have one are {', '.join(sorted(_TABLES))}"
            )
        self._emission = emission
        self._domains = {name: emission.domain(name) for name in emission.parameter_names}
        for name, value in emission.parameters.items():
            raw = torch.tensor(_RAW[self._domains[name]](np.asarray(value, dtype=np.float64)))
            if self._domains[name] == "fixed":
                self.register_buffer(name, raw)
            else:
                setattr(self, name, nn.Parameter(raw))

    def forward(self, y: Tensor, u: Tensor | None = None) -> Tensor:
        raw = {name: getattr(self, name) for name in self._domains}
        table: Tensor = _TABLES[self._emission.kind](y, u, raw, self._emission, self._domains)
        return table

    @property
    def dim(self) -> int:
        """Columns of a row."""
        return self._emission.dim

    @property
    def look_back(self) -> int:
        """Steps before a row that its law depends on."""
        return self._emission.look_back

    def emission(self) -> Emission:
        """The laws at the present weights."""
        found = {}
        for name, domain in self._domains.items():
            found[name] = _NATURAL[domain](getattr(self, name).detach().numpy())
        return self._emission.replaced(found)


class ProductHead(nn.Module):
    """Columns that are independent given the state, a head each."""

    def __init__(self, emission: Emission) -> None:
        super().__init__()
        self._emission = emission
        heads = [EmissionHead(part) for part in emission.parts]  # type: ignore[attr-defined]  # products have parts
        self.columns = nn.ModuleList(heads)
        self._heads = tuple(heads)  # the same, under their own type

    def forward(self, y: Tensor, u: Tensor | None = None) -> Tensor:
        tables = [head(y[..., d : d + 1], u) for d, head in enumerate(self._heads)]
        return torch.stack(tables).sum(dim=0)

    @property
    def dim(self) -> int:
        """Columns of a row."""
        return self._emission.dim

    @property
    def look_back(self) -> int:
        """Steps before a row that its law depends on."""
        return self._emission.look_back

    def emission(self) -> Emission:
        """The laws at the present weights."""
        names = [name for name, _ in self._emission.families]  # type: ignore[attr-defined]  # products have families
        parts = [(name, head.emission()) for name, head in zip(names, self._heads, strict=True)]
        return self._emission.replaced(
            {f"{name}.{key}": a for name, part in parts for key, a in part.parameters.items()}
        )


def head_of(emission: Emission) -> EmissionHead | ProductHead:
    """The head of any family."""
    return ProductHead(emission) if emission.kind == "product" else EmissionHead(emission)


# --- scales without bounds --------------------------------------------------------------------------------------------


def _log(a: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return np.log(a)


def _tril(a: np.ndarray) -> np.ndarray:
    return np.asarray(np.tril(a) @ np.swapaxes(np.tril(a), -1, -2))


def shares(a: np.ndarray) -> np.ndarray:
    """Softmax over the last axis."""
    weights = np.exp(a - a.max(axis=-1, keepdims=True))
    return np.asarray(weights / weights.sum(axis=-1, keepdims=True))


_RAW: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "plain": np.copy,
    "fixed": np.copy,
    "positive": _log,
    "chance": lambda a: _log(a) - _log(1 - a),
    "shares": _log,
    "covariance": np.linalg.cholesky,
}
_NATURAL: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "plain": np.copy,
    "fixed": np.copy,
    "positive": np.exp,
    "chance": lambda a: np.exp(-np.logaddexp(0.0, -a)),
    "shares": shares,
    "covariance": _tril,
}


# --- columns that are independent given the state -----------------------------------------------------------------------


def _times(count: Tensor, log: Tensor) -> Tensor:
    """count · log, and 0 where the count is 0 whatever the logarithm."""
    return torch.where(count > 0, count, 0.0) * torch.where(count > 0, log, 0.0)


def _poisson(y: Tensor, raw: Parameters) -> Tensor:
    return _times(y, raw["rates"]) - raw["rates"].exp() - torch.lgamma(y + 1)


def _bernoulli(y: Tensor, raw: Parameters) -> Tensor:
    return _times(y, nn.functional.logsigmoid(raw["probs"])) + _times(1 - y, nn.functional.logsigmoid(-raw["probs"]))


def _exponential(y: Tensor, raw: Parameters) -> Tensor:
    return -raw["scales"] - y * torch.exp(-raw["scales"])


def _gamma(y: Tensor, raw: Parameters) -> Tensor:
    shape = raw["shapes"].exp()
    return (shape - 1) * (y.log() - raw["scales"]) - y * torch.exp(-raw["scales"]) - torch.lgamma(shape) - raw["scales"]


def _student_t(y: Tensor, raw: Parameters) -> Tensor:
    z, dof = (y - raw["locations"]) * torch.exp(-raw["scales"]), raw["dofs"].exp()
    constant = torch.lgamma((dof + 1) / 2) - torch.lgamma(dof / 2) - 0.5 * (raw["dofs"] + math.log(math.pi))
    return constant - raw["scales"] - 0.5 * (dof + 1) * torch.log1p(z * z / dof)


def _negative_binomial(y: Tensor, raw: Parameters) -> Tensor:
    size = raw["sizes"].exp()
    # log r/(r + μ) and log μ/(r + μ), from the logarithms
    stay = -nn.functional.softplus(raw["means"] - raw["sizes"])
    ways = torch.lgamma(y + size) - torch.lgamma(size) - torch.lgamma(y + 1)
    return ways + size * stay + _times(y, raw["means"] - raw["sizes"] + stay)


_COLUMNS: dict[str, Callable[[Tensor, Parameters], Tensor]] = {
    "poisson": _poisson,
    "bernoulli": _bernoulli,
    "exponential": _exponential,
    "gamma": _gamma,
    "student-t": _student_t,
    "negative-binomial": _negative_binomial,
}
_HARMLESS = {"exponential": 1.0, "gamma": 1.0}  # what stands for a missing entry while its density is worked out


def _columnwise(y: Tensor, u: Tensor | None, raw: Parameters, emission: Emission, domains: dict[str, str]) -> Tensor:
    seen = ~torch.isnan(y)
    filled = torch.where(seen, y, _HARMLESS.get(emission.kind, 0.0))
    density = _COLUMNS[emission.kind](filled[..., None, :], raw)
    return torch.where(seen[..., None, :], density, 0.0).sum(dim=-1)


# --- symbols and normal laws --------------------------------------------------------------------------------------------


def _categorical(y: Tensor, u: Tensor | None, raw: Parameters, emission: Emission, domains: dict[str, str]) -> Tensor:
    codes, seen = torch.nan_to_num(y[..., 0]).long(), ~torch.isnan(y[..., 0])
    logits = log_shares(raw["probs"])
    if codes.min() < 0 or codes.max() >= logits.shape[1]:
        raise InputError(
            f"the symbols go from {codes.min()} to {codes.max()}; the laws know 0 to {logits.shape[1] - 1}"
        )
    return torch.where(seen[..., None], logits.T[codes], 0.0)


def log_shares(raw: Tensor) -> Tensor:
    """Logits less their log-sum: logarithms of shares; −inf stays −inf, with a gradient of zero."""
    return raw - log_sum_exp(raw)[..., None]


def logarithm(a: Tensor) -> Tensor:
    """log a; −inf where a is 0, with a gradient of zero."""
    positive = a > 0
    return torch.where(positive, torch.log(torch.where(positive, a, 1.0)), -torch.inf)


def log_sum_exp(a: Tensor) -> Tensor:
    """log Σ exp over the last axis; −inf where all are, with gradients of zero there."""
    top = a.detach().amax(dim=-1, keepdim=True)
    top = torch.where(torch.isfinite(top), top, 0.0)
    return logarithm(torch.exp(a - top).sum(dim=-1)) + top[..., 0]


def _normal(y: Tensor, means: Tensor, raw: Tensor, domain: str) -> Tensor:
    """(N, T, K) log densities of rows y (N, T, p), NaN where missing, under the K laws with means (K, p) and these covariances."""
    plain = domain == "positive" and y.dtype == torch.float64 and not y.requires_grad
    if plain and not obstacle([y, means, raw]):
        log_variances = raw[:, None].expand_as(means) if raw.ndim == 1 else raw
        return normal_table(y.reshape(-1, y.shape[-1]), means, log_variances).reshape(*y.shape[:-1], len(means))
    return _normal_residual(y[..., None, :] - means, raw, domain)


def _normal_residual(residual: Tensor, raw: Tensor, domain: str) -> Tensor:
    """(…, K) log densities of residuals (…, K, p), NaN where missing, under covariances of the K laws."""
    if domain == "covariance":
        return _normal_dense(residual, torch.tril(raw))
    log_variance = raw[:, None] if raw.ndim == 1 else raw
    seen = ~torch.isnan(residual)
    z = torch.where(seen, residual, 0.0)
    density = -0.5 * (_LOG_2PI + log_variance + z * z * torch.exp(-log_variance))
    return torch.where(seen, density, 0.0).sum(dim=-1)


def _normal_dense(residual: Tensor, root: Tensor) -> Tensor:
    """With full covariances root rootᵀ (K, p, p) or (p, p): one factorisation for each pattern of observed columns."""
    K, p = residual.shape[-2:]
    flat = residual.reshape(-1, K, p)
    seen = ~torch.isnan(flat[:, 0])
    table = flat.new_zeros(len(flat), K)
    cov = (root @ root.mT).expand(K, p, p)
    for pattern in torch.unique(seen, dim=0):
        own = pattern.nonzero()[:, 0]
        if not len(own):
            continue
        rows = (seen == pattern).all(dim=1).nonzero()[:, 0]
        factor = root.expand(K, p, p) if len(own) == p else torch.linalg.cholesky(cov[:, own][:, :, own])
        z = torch.linalg.solve_triangular(factor, flat[rows][:, :, own].permute(1, 2, 0), upper=False)
        log_det = torch.diagonal(factor, dim1=1, dim2=2).abs().log().sum(dim=1)
        density = -0.5 * (z * z).sum(dim=1).T - log_det - 0.5 * len(own) * _LOG_2PI
        table = table.index_copy(0, rows, density)
    return table.reshape(residual.shape[:-1])


def _gaussian(y: Tensor, u: Tensor | None, raw: Parameters, emission: Emission, domains: dict[str, str]) -> Tensor:
    return _normal(y, raw["means"], raw["covariances"], domains["covariances"])


def _gaussian_mixture(
    y: Tensor, u: Tensor | None, raw: Parameters, emission: Emission, domains: dict[str, str]
) -> Tensor:
    K, M, p = raw["means"].shape
    cov = raw["covariances"]
    table = _normal(y, raw["means"].reshape(K * M, p), cov.reshape(K * M, *cov.shape[2:]), domains["covariances"])
    return log_sum_exp(table.reshape(*table.shape[:-1], K, M) + log_shares(raw["mixture_weights"]))


def _regression(y: Tensor, u: Tensor | None, raw: Parameters, emission: Emission, domains: dict[str, str]) -> Tensor:
    N, T, p = y.shape
    past = torch.where(torch.isnan(y), raw["lag_fills"], y)
    parts = []
    for lag in range(1, emission.look_back + 1):
        before = raw["lag_fills"].expand(N, min(lag, T), p)
        parts.append(torch.cat([before, past[:, : T - min(lag, T)]], dim=1))
    coefficients = raw["coefficients"]
    if coefficients.shape[1] > emission.look_back * p:
        if u is None:
            raise InputError("the laws depend on inputs; pass `u` of shape (N, T, inputs)")
        parts.append(u)
    mean = raw["intercepts"].expand(N, T, *raw["intercepts"].shape)
    if parts:
        mean = mean + torch.einsum("ntm,kmp->ntkp", torch.cat(parts, dim=-1), coefficients)
    return _normal_residual(y[..., None, :] - mean, raw["covariances"], domains["covariances"])


_Table = Callable[[Tensor, Tensor | None, Parameters, Emission, dict[str, str]], Tensor]
_TABLES: dict[str, _Table] = {
    "categorical": _categorical,
    "gaussian": _gaussian,
    "gaussian-mixture": _gaussian_mixture,
    "regression": _regression,
    "autoregressive": _regression,
}
for _kind in _COLUMNS:
    _TABLES[_kind] = _columnwise
