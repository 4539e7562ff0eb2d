"""Hidden Markov models against hmmlearn: scores, one EM iteration and best paths."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

import statewise as sw
from benchmarks.workloads import Pair, Workload

_DIM, _SYMBOLS = 4, 20
LAWS = ("diag", "full", "categorical")
STRUCTURES = ("banded", "left-to-right")  # of chains with zeros; their laws are diagonal


def random_parameters(states: int, law: str = "diag", seed: int = 0) -> dict[str, Any]:
    """Sticky chains with overlapping laws."""
    rng = np.random.default_rng(seed)
    transition = 0.9 * np.eye(states) + 0.1 * rng.dirichlet(np.ones(states), size=states)
    chain = {"initial_probs": np.full(states, 1 / states), "transition_probs": transition}
    if law == "categorical":
        return chain | {"probs": rng.dirichlet(np.ones(_SYMBOLS), size=states)}
    means, variances = rng.standard_normal((states, _DIM)), rng.uniform(0.5, 2.0, size=(states, _DIM))
    if law == "diag":
        return chain | {"means": means, "covariances": variances}
    roots = 0.3 * rng.standard_normal((states, _DIM, _DIM))
    dense = roots @ np.swapaxes(roots, 1, 2) + variances[:, :, None] * np.eye(_DIM)
    return chain | {"means": means, "covariances": dense}


def zeros_parameters(states: int, structure: str) -> dict[str, Any]:
    """A chain with zeros: 'banded', left for neighbours alone, or 'left-to-right', left for the next state alone."""
    given = random_parameters(states)
    forward = np.diag(np.full(states - 1, 0.1), 1)
    around = forward + forward.T if structure == "banded" else forward
    transition = around + np.diag(1.0 - around.sum(axis=1))
    initial = given["initial_probs"] if structure == "banded" else np.eye(states)[0]
    return given | {"transition_probs": transition, "initial_probs": initial}


def our_model(law: str, given: dict[str, Any]) -> sw.HMM:
    """The model with these parameters."""
    states = len(given["initial_probs"])
    if law == "categorical":
        return sw.HMM(states=states, emission="categorical", **given)
    return sw.HMM(states=states, covariance="diag" if law in STRUCTURES else law, **given)


def hmmlearn_model(law: str, given: dict[str, Any], implementation: str = "scaling", **options: Any) -> Any:
    """The same model in hmmlearn, without its hidden priors: maximum likelihood."""
    from hmmlearn.hmm import CategoricalHMM, GaussianHMM

    common = {
        "n_components": len(given["initial_probs"]),
        "implementation": implementation,
        "init_params": "",
    } | options
    if law == "categorical":
        peer = CategoricalHMM(n_features=_SYMBOLS, **common)
        peer.emissionprob_ = given["probs"]
    else:
        shape = "diag" if law in STRUCTURES else law
        peer = GaussianHMM(covariance_type=shape, covars_prior=0.0, covars_weight=1.0, min_covar=0.0, **common)
        if law == "full":
            peer.covars_weight = -_DIM  # its prior's exponent, so that none is left: weight − dim − 1 + … cancels
        peer.n_features = _DIM
        peer.means_, peer.covars_ = given["means"], given["covariances"]
    peer.startprob_, peer.transmat_ = given["initial_probs"], given["transition_probs"]
    return peer


def _data(law: str, states: int, steps: int, count: int) -> tuple[dict[str, Any], sw.Sequences, Any, list[int]]:
    structure = law if law in STRUCTURES else None
    given = random_parameters(states, law) if structure is None else zeros_parameters(states, structure)
    seqs = our_model(law, given).sample(length=max(steps // count, 2), count=count, seed=1)
    y = np.ascontiguousarray(seqs.values)
    return given, seqs, y.astype(np.int64) if law == "categorical" else y, seqs.lengths.tolist()


def _score(law: str, states: int, steps: int, count: int = 1) -> Pair:
    given, seqs, y, lengths = _data(law, states, steps, count)
    model, peer = our_model(law, given), hmmlearn_model(law, given)
    return Pair(
        ours=lambda: float(model.log_prob(seqs).sum()),
        peer=lambda: float(peer.score(y, lengths)),
        difference=lambda a, b: abs(a - b) / abs(b),
    )


def _decode(law: str, states: int, steps: int) -> Pair:
    given, seqs, y, lengths = _data(law, states, steps, 1)
    model, peer = our_model(law, given), hmmlearn_model(law, given)
    return Pair(
        ours=lambda: float(model.decode(seqs).log_prob.sum()),
        peer=lambda: float(peer.decode(y, lengths)[0]),
        difference=lambda a, b: abs(a - b) / abs(b),
    )


def _em(law: str, states: int, steps: int, count: int, implementation: str) -> Pair:
    given, seqs, y, lengths = _data(law, states, steps, count)
    name = "probs" if law == "categorical" else "means"

    def ours() -> np.ndarray:
        model = our_model(law, given).fit(seqs, max_iter=1, init="current")
        return np.concatenate([model.parameters[name].ravel(), model.parameters["transition_probs"].ravel()])

    def peer() -> np.ndarray:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = hmmlearn_model(law, given, implementation, n_iter=1).fit(y, lengths)
        found = model.emissionprob_ if law == "categorical" else model.means_
        return np.concatenate([found.ravel(), model.transmat_.ravel()])

    return Pair(ours, peer, lambda a, b: float(np.abs(a - b).max()))


def _workloads(law: str, states: int) -> list[Workload]:
    what = f"{_SYMBOLS} symbols" if law == "categorical" else f"{_DIM} columns, {law}"
    size, tail = f"{states} states, {what}, 100 000 steps", "" if law == "diag" else f"-{law}"
    common: dict[str, Any] = {"steps": 100_000, "quick_steps": 300, "packages": ("hmmlearn",)}
    found = [
        Workload(
            name=f"hmm-{verb}{tail}-{states}",
            what=f"HMM {title}, {size}",
            peer=f"hmmlearn {peer} (scaling)",
            unit="relative",
            tolerance=1e-9,
            build=lambda steps, build=build: build(law, states, steps),
            **common,
        )
        for verb, title, peer, build in (
            ("score", "log-likelihood", "score", _score),
            ("decode", "best path", "decode", _decode),
        )
    ]
    for count, implementation in ((1, "scaling"), (100, "scaling"), (1, "log")):
        extra = ("" if count == 1 else f"-{count}-sequences") + ("" if implementation == "scaling" else "-default")
        found.append(
            Workload(
                name=f"hmm-em{tail}-{states}{extra}",
                what=f"one EM iteration, {size} in {count} sequences",
                peer=f"hmmlearn fit, n_iter=1 ({implementation}, no priors)",
                unit="in parameters and transitions",
                tolerance=1e-8,
                build=lambda steps, count=count, implementation=implementation: _em(
                    law, states, steps, count, implementation
                ),
                **common,
            )
        )
    return found


def _inputs_score(steps: int) -> Pair:
    """Two regimes whose transitions a series drives: the likelihood at given parameters, the first state's law stationary."""
    from statsmodels.tsa.regime_switching.markov_regression import MarkovRegression

    rng = np.random.default_rng(0)
    u = rng.standard_normal(steps)
    odds, slopes = np.array([2.0, -1.5]), np.array([0.8, -0.5])  # of going to regime 0, out of 0 and out of 1
    into_first = 1 / (1 + np.exp(-(odds + slopes * u[0])))
    first = into_first[1] / (1 - into_first[0] + into_first[1])
    model = sw.HMM(
        states=2, transitions="inputs", initial_probs=[first, 1 - first], means=[0.0, 2.0], covariances=[1.0, 4.0],
        transition_intercepts=[[odds[0], 0.0], [odds[1], 0.0]],
        transition_coefficients=[[[slopes[0], 0.0]], [[slopes[1], 0.0]]],
    )  # fmt: skip
    ahead = np.append(u[1:], 0.0)  # theirs moves the transition into its step
    seqs = model.sample(length=steps, seed=1, inputs=ahead)
    peer = MarkovRegression(
        seqs.values[:, 0], 2, exog_tvtp=np.column_stack([np.ones(steps), u]), switching_variance=True
    )
    point = np.concatenate([[odds[0], odds[1], slopes[0], slopes[1]], [0.0, 2.0], [1.0, 4.0]])
    return Pair(
        ours=lambda: float(model.log_prob(seqs).sum()),
        peer=lambda: float(peer.loglike(point)),
        difference=lambda a, b: abs(a - b) / abs(b),
    )


_INPUTS = Workload(
    name="hmm-score-inputs-2",
    what="HMM log-likelihood, 2 states with transitions driven by an input, 10 000 steps",
    peer="statsmodels MarkovRegression.loglike with exog_tvtp",
    unit="relative",
    tolerance=1e-6,
    build=_inputs_score,
    steps=10_000,
    quick_steps=300,
    packages=("statsmodels",),
)


def _with_zeros(structure: str, states: int) -> list[Workload]:
    """A left-to-right chain ends in its last state: a hundred sequences of it, each long enough to get there."""
    count = 1 if structure == "banded" else 100
    what = f"{states} states, {structure}, {_DIM} columns, diag, 100 000 steps" + (
        "" if count == 1 else f" in {count} sequences"
    )
    quick = 600 if structure == "banded" else 60_000  # hmmlearn gives NaN for a state that is never reached
    common: dict[str, Any] = {"steps": 100_000, "quick_steps": quick, "packages": ("hmmlearn",)}
    return [
        Workload(
            name=f"hmm-score-{structure}-{states}",
            what=f"HMM log-likelihood, {what}",
            peer="hmmlearn score (scaling)",
            unit="relative",
            tolerance=1e-9,
            build=lambda steps: _score(structure, states, steps, count),
            **common,
        ),
        Workload(
            name=f"hmm-em-{structure}-{states}",
            what=f"one EM iteration, {what}",
            peer="hmmlearn fit, n_iter=1 (scaling, no priors)",
            unit="in parameters and transitions",
            tolerance=1e-8,
            build=lambda steps: _em(structure, states, steps, count, "scaling"),
            **common,
        ),
    ]


WORKLOADS = [_INPUTS, *(workload for law in LAWS for states in (3, 8, 32) for workload in _workloads(law, states))]
WORKLOADS += [
    workload for structure in STRUCTURES for states in (3, 8, 32) for workload in _with_zeros(structure, states)
]
