"""hmmlearn's models as an HMM: the same chain and the same laws, so the same log-likelihood."""

from __future__ import annotations

from typing import Any

import numpy as np

from statewise._core.errors import UnsupportedError
from statewise.models.hmm import HMM


def hmmlearn_to_hmm(model: Any) -> HMM:
    """The HMM with the log-likelihood of `model.score` (exact), of a GaussianHMM, GMMHMM, CategoricalHMM or PoissonHMM that has parameters.

    Raises:
        UnsupportedError: another model, such as a MultinomialHMM of counts, or one that has not been fitted.
    """
    name = type(model).__name__
    if name not in _LAWS:
        raise UnsupportedError(
            f"`model` is hmmlearn's {name}, which no emission here has; those that convert are {', '.join(_LAWS)}"
        )
    if not hasattr(model, "startprob_") or not hasattr(model, "transmat_"):
        raise UnsupportedError(f"this {name} has no parameters yet; fit it first")
    chain: dict[str, Any] = {"initial_probs": np.array(model.startprob_), "transition_probs": np.array(model.transmat_)}
    return HMM(states=len(chain["initial_probs"]), **chain, **_LAWS[name](model))


def _gaussian(model: Any) -> dict[str, Any]:
    kind, covars = model.covariance_type, np.array(model.covars_)
    if kind == "diag":
        covars = np.einsum("kii->ki", covars)
    elif kind == "spherical":
        covars = covars[:, 0, 0]
    elif kind == "tied":
        covars = covars[0] if covars.ndim == 3 else covars
    return {"covariance": kind, "means": np.array(model.means_), "covariances": covars}


def _mixture(model: Any) -> dict[str, Any]:
    """A covariance that a state's components share, hmmlearn's 'tied', is a full one for each."""
    kind, covars, M = model.covariance_type, np.array(model.covars_), model.n_mix
    if kind == "tied":
        kind, covars = "full", np.repeat(covars[:, None], M, axis=1)
    return {
        "emission": "gaussian-mixture",
        "components": M,
        "covariance": kind,
        "means": np.array(model.means_),
        "covariances": covars,
        "mixture_weights": np.array(model.weights_),
    }


_LAWS = {
    "GaussianHMM": _gaussian,
    "GMMHMM": _mixture,
    "CategoricalHMM": lambda model: {"emission": "categorical", "probs": np.array(model.emissionprob_)},
    "PoissonHMM": lambda model: {"emission": "poisson", "rates": np.array(model.lambdas_)},
}
