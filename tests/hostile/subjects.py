"""Every kind of model in the registry, made and fitted in a moment: whom the hostile inputs are thrown at."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from tests.contract.cases import CASES, data

import statewise as sw
from statewise.models.registry import MODELS


def labelled(per: str = "step", count: int = 8, seed: int = 0) -> sw.Sequences:
    """Two levels, and which of them a step, or the sequence's last step, is at."""
    rng = np.random.default_rng(seed)
    hidden = [rng.integers(0, 2, size=int(rng.integers(4, 12))) for _ in range(count)]
    for k, each in enumerate(hidden):
        each[-1] = k % 2
    labels = [np.array(["low", "high"])[each] for each in hidden]
    return sw.Sequences.from_arrays(
        [3.0 * each + 0.3 * rng.normal(size=len(each)) for each in hidden],
        labels=labels if per == "step" else [each[-1] for each in labels],
    )


def _system(dim: int = 1) -> sw.StateSpace:
    return sw.StateSpace.random(states=2, dim=dim, seed=3)


def _drift(x: np.ndarray) -> np.ndarray:
    return -0.5 * x


FITTED: dict[str, Callable[[], Any]] = {
    case.name: lambda case=case: case.make().fit(data(case.dim), **case.fit_options) for case in CASES
} | {
    "state-space": _system,
    "state-space-2": lambda: _system(2),
    "state-space-diffuse": lambda: sw.StateSpace([[1.0]], [[1.0]], [[1.0]], [[2.0]], initial="diffuse"),
    "linear-rnn": lambda: sw.convert(_system(), to="rnn"),
    "linear-rnn-steady": lambda: sw.convert(_system(), to="rnn", gain="steady"),
    "linear-birnn": lambda: sw.convert(_system(), to="birnn"),
    "softmax-rnn": lambda: sw.convert(fitted("hmm"), to="rnn"),
    "softmax-birnn": lambda: sw.convert(fitted("hmm"), to="birnn"),
    "leaky-integrator": lambda: sw.LeakyIntegrator(tau=5.0),
    "lstm-network": lambda: sw.convert(sw.LeakyIntegrator(tau=5.0), to="lstm"),
    "gru-network": lambda: sw.convert(sw.LeakyIntegrator(tau=5.0), to="gru"),
    "embedded-rnn": lambda: sw.convert(sw.convert(_system(), to="rnn", gain="steady"), to="tanh-rnn"),
    "ode": lambda: sw.ODE([[-0.5]], dt=0.1),
    "ode-rnn": lambda: sw.convert(sw.ODE([[-0.5]], method="euler", dt=0.1), to="rnn"),
    "started-recurrent": lambda: sw.Recurrent(hidden=4, start=sw.VARMA(p=1)).fit(data(1), epochs=2),
    "tagger": lambda: sw.Tagger(hidden=4).fit(labelled(), epochs=3),
    "tagger-both-ways": lambda: sw.Tagger(hidden=4, bidirectional=True).fit(labelled(), epochs=3),
    "classifier": lambda: sw.Classifier(hidden=4).fit(labelled("sequence"), epochs=3),
    "hmm-poisson": lambda: sw.HMM(states=2, emission="poisson").fit(np.arange(60.0) % 7, restarts=1),
    "hmm-symbols": lambda: sw.HMM(states=2, emission="categorical").fit(np.arange(60.0) % 3, restarts=1),
}

# Those that can be fitted, unfitted, with options for a quick fit.
UNFITTED: dict[str, tuple[Callable[[], Any], dict[str, Any]]] = {
    case.name: (case.make, case.fit_options) for case in CASES
} | {
    "state-space-em": (lambda: _system(), {"max_iter": 5}),
    "state-space-mle": (lambda: _system(), {"method": "mle", "max_iter": 5}),
    "hmm-poisson": (lambda: sw.HMM(states=2, emission="poisson"), {"max_iter": 10, "restarts": 1}),
    "hmm-symbols": (lambda: sw.HMM(states=2, emission="categorical"), {"max_iter": 10, "restarts": 1}),
    "hmm-gradient": (lambda: sw.HMM(states=2), {"method": "gradient", "max_iter": 10, "restarts": 1}),
    "gru-counts": (lambda: sw.Recurrent(hidden=4, output="negative-binomial"), {"epochs": 2}),
    "gru-symbols": (lambda: sw.Recurrent(hidden=4, output="categorical"), {"epochs": 2}),
    "started-recurrent": (lambda: sw.Recurrent(hidden=4, start=sw.VARMA(p=1)), {"epochs": 2}),
    "tagger": (lambda: sw.Tagger(hidden=4), {"epochs": 2}),
    "classifier": (lambda: sw.Classifier(hidden=4), {"epochs": 2}),
}


@cache
def fitted(name: str) -> Any:
    """The subject, made once for all cases that only read it."""
    return FITTED[name]()


def kinds() -> set[str]:
    """The kinds in the registry that are among the fitted subjects."""
    return {fitted(name).kind for name in FITTED} & set(MODELS)
