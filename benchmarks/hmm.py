"""Hidden Markov models against hmmlearn."""

from __future__ import annotations

from typing import Any

import numpy as np

import statewise as sw
from benchmarks.workloads import Pair, Workload

_DIM = 4


def random_parameters(states: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Sticky chains with overlapping Gaussian emissions."""
    rng = np.random.default_rng(seed)
    transition = 0.9 * np.eye(states) + 0.1 * rng.dirichlet(np.ones(states), size=states)
    return {
        "initial_probs": np.full(states, 1 / states),
        "transition_probs": transition,
        "means": rng.standard_normal((states, _DIM)),
        "covariances": rng.uniform(0.5, 2.0, size=(states, _DIM)),
    }


def hmmlearn_model(given: dict[str, np.ndarray], **options: Any) -> Any:
    """The same model in hmmlearn, in its fast implementation and without its hidden priors: maximum likelihood."""
    from hmmlearn.hmm import GaussianHMM

    peer = GaussianHMM(
        n_components=len(given["means"]),
        covariance_type="diag",
        implementation="scaling",
        init_params="",
        covars_prior=0.0,
        covars_weight=1.0,
        min_covar=0.0,
        **options,
    )
    peer.n_features = _DIM
    peer.startprob_, peer.transmat_ = given["initial_probs"], given["transition_probs"]
    peer.means_, peer.covars_ = given["means"], given["covariances"]
    return peer


def _score(states: int, steps: int) -> Pair:
    given = random_parameters(states)
    model = sw.HMM(states=states, covariance="diag", **given)
    seqs = model.sample(length=steps, seed=1)
    peer = hmmlearn_model(given)
    y = np.ascontiguousarray(seqs.values)
    return Pair(
        ours=lambda: float(model.log_prob(seqs)[0]),
        peer=lambda: float(peer.score(y)),
        difference=lambda a, b: abs(a - b) / abs(b),
    )


def _em(states: int, steps: int) -> Pair:
    given = random_parameters(states)
    seqs = sw.HMM(states=states, covariance="diag", **given).sample(length=steps, seed=1)
    y = np.ascontiguousarray(seqs.values)

    def ours() -> np.ndarray:
        model = sw.HMM(states=states, covariance="diag", **given).fit(seqs, max_iter=1, init="current")
        return np.concatenate([model.parameters["means"].ravel(), model.parameters["transition_probs"].ravel()])

    def peer() -> np.ndarray:
        model = hmmlearn_model(given, n_iter=1).fit(y)
        return np.concatenate([model.means_.ravel(), model.transmat_.ravel()])

    return Pair(ours, peer, lambda a, b: float(np.abs(a - b).max()))


def _workloads(states: int) -> list[Workload]:
    size = f"{states} states, {_DIM} columns, diagonal, 100 000 steps"
    common: dict[str, Any] = {"steps": 100_000, "quick_steps": 300, "packages": ("hmmlearn",)}
    return [
        Workload(
            name=f"hmm-score-{states}",
            what=f"HMM log-likelihood, {size}",
            peer="hmmlearn score (scaling)",
            unit="relative",
            tolerance=1e-9,
            build=lambda steps: _score(states, steps),
            **common,
        ),
        Workload(
            name=f"hmm-em-{states}",
            what=f"one EM iteration, {size}",
            peer="hmmlearn fit, n_iter=1 (scaling, no priors)",
            unit="in means and transitions",
            tolerance=1e-8,
            build=lambda steps: _em(states, steps),
            **common,
        ),
    ]


WORKLOADS = [*_workloads(3), *_workloads(8)]
