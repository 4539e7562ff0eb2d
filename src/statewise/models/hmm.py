"""Hidden Markov models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from statewise._core import checks
from statewise._core.errors import InputError, UnsupportedError
from statewise.emissions.base import Emission
from statewise.emissions.gaussian import COVARIANCES
from statewise.fitting.hidden_markov import HiddenMarkov
from statewise.inference.discrete_inputs import InputChain
from statewise.models.hmm_fit import HiddenMarkovFit
from statewise.models.hmm_form import (
    CHAIN,
    PARAMETERS,
    TRANSITIONS,
    Family,
    LogOdds,
    Parameter,
    allowed_transitions,
    family_of,
    given_chain,
    given_parameters,
    judge_together,
)


class HMM(HiddenMarkovFit):
    """s[1] ~ π, P(s[t+1] = j | s[t] = i) = P[i, j], y[t] | s[t] = k ~ emission k.

    Args:
        states: K, from 1.
        emission: family of the observations, with its parameters in brackets: 'gaussian' (means, covariances),
            'gaussian-mixture' (means, covariances, mixture_weights), 'student-t' (locations, scales, dofs), 'poisson'
            (rates), 'negative-binomial' (means, sizes), 'categorical' (probs), 'bernoulli' (probs), 'exponential'
            (scales), 'gamma' (shapes, scales), 'autoregressive' and 'regression' (intercepts, coefficients, covariances,
            lag_fills); or a dict of column and family, such as ``{"calls": "poisson", "length": "gamma"}``, for columns
            that are independent given the state. Equations are in the families' docstrings, `statewise.emissions`.
        covariance: of the normal families: 'diag' (a variance for each column), 'full', 'tied' (one full matrix for all
            states), 'spherical' (one variance for all columns).
        components: M, of 'gaussian-mixture'.
        symbols: number of symbols of 'categorical'; unless given that of the data.
        order: steps that 'autoregressive' (1 unless given) and 'regression' (0) look back.
        transitions: 'full', 'left-to-right' (a state is kept or left for the next one; begins in the first), 'banded' (kept, or
            left for a neighbour), or 'inputs': row i of P[t], from step t to t + 1, is softmax(c[i] + W[i]ᵀ u[t]), u[t] the
            sequence's inputs at step t. Zeros in given `transition_probs` stay zero in all of them.
        stay_prior: strength κ of a prior ∝ Π P[k, k]^κ that holds on to states; 0, for pure maximum likelihood, unless
            asked for.
        transition_ridge: strength λ of a prior ∝ exp(−½ λ Σ W²) on the coefficients of transitions that depend on inputs; 0,
            for pure maximum likelihood, unless asked for.
        fixed: which of 'initial_probs' and 'transition_probs', given too, a fit leaves as they are.
        initial_probs: π, (K,).
        transition_probs: P, (K, K); row i is the law of the next state given state i. With ``transitions="inputs"`` where
            a fit begins, and P where all inputs are zero if `transition_coefficients` are given too.
        transition_intercepts, transition_coefficients: c (K, K), −inf for transitions that cannot be, and W (K, inputs, K), of
            ``transitions="inputs"``. Only differences in a row count; they are kept with zeros for staying, so that W[i, m, j] is
            what a unit of input m adds to the log odds of going from i to j, not staying.
        means: (K, p), or (K,) for one column; of 'gaussian-mixture' (K, M, p).
        covariances: 'diag' (K, p) variances, or (K,) for one column; 'full' (K, p, p); 'tied' (p, p); 'spherical' (K,).
        rates, probs, sizes, shapes, scales, locations, dofs: (K, p), or (K,) for one column; the probs of 'categorical'
            (K, M). For a product of families a dict by column: ``rates={"calls": [1, 5]}``.
        mixture_weights: (K, M).
        intercepts, coefficients, lag_fills: (K, p), (K, regressors, p) and (p,).
        min_variance: no variance falls below this share of the column's; see `fit`.

    A fit estimates what is not given; given parameters are where it begins. Any entry of an observation may be missing: it
    is integrated out (but see `lag_fills` of autoregressions). Inputs enter 'regression', 'autoregressive' and ``transitions="inputs"`` only.

    Attributes once there are parameters: initial_probs, transition_probs (or transition_intercepts and transition_coefficients)
    and the family's, in the shapes above.

    Raises:
        InputError: a shape does not match `states`, probabilities do not sum to 1, a covariance is not positive definite, or
            a parameter does not belong to the family.

    Example:
        >>> model = HMM(states=2, initial_probs=[0.5, 0.5], transition_probs=[[0.9, 0.1], [0.1, 0.9]],
        ...             means=[0.0, 3.0], covariances=[1.0, 1.0])
        >>> model.decode([0.1, -0.2, 3.1, 2.7]).path.tolist()
        [0, 0, 1, 1]
    """

    kind = "hmm"
    options = {
        "states": checks.Integer(1, 10_000),
        "emission": Family(),
        "covariance": checks.Choice(COVARIANCES),
        "components": checks.Integer(1, 1000),
        "symbols": checks.Optional(checks.Integer(1, 1_000_000)),
        "order": checks.Optional(checks.Integer(0, 1000)),
        "transitions": checks.Choice(TRANSITIONS),
        "stay_prior": checks.Real(0.0, 1e12),
        "transition_ridge": checks.Real(0.0, 1e12),
        "fixed": checks.Tuple(checks.Choice(("initial_probs", "transition_probs"))),
        "min_variance": checks.Real(1e-12, 1.0),
        "initial_probs": checks.Optional(Parameter()),
        "transition_probs": checks.Optional(Parameter()),
        "transition_intercepts": checks.Optional(LogOdds(2, may_exclude=True)),
        "transition_coefficients": checks.Optional(LogOdds(3)),
        **{name: checks.Optional(Parameter()) for name in PARAMETERS},
    }

    def __init__(
        self,
        states: int = 2,
        emission: Any = "gaussian",
        covariance: str = "diag",
        initial_probs: Any = None,
        transition_probs: Any = None,
        means: Any = None,
        covariances: Any = None,
        min_variance: float = 1e-6,
        *,
        components: int = 2,
        symbols: int | None = None,
        order: int | None = None,
        transitions: str = "full",
        stay_prior: float = 0.0,
        transition_ridge: float = 0.0,
        fixed: Sequence[str] = (),
        transition_intercepts: Any = None,
        transition_coefficients: Any = None,
        rates: Any = None,
        probs: Any = None,
        sizes: Any = None,
        shapes: Any = None,
        scales: Any = None,
        locations: Any = None,
        dofs: Any = None,
        mixture_weights: Any = None,
        intercepts: Any = None,
        coefficients: Any = None,
        lag_fills: Any = None,
    ) -> None:
        own = ("self", "own", "__class__")
        super().__init__(**{name: value for name, value in locals().items() if name not in own})
        self._model: HiddenMarkov | None = None
        self._training = None
        self._judge_given()

    def _judge_given(self) -> None:
        """Judge the given parameters as far as they go, and take them if they are complete."""
        K = self._options["states"]
        for name, shape in (("initial_probs", (K,)), ("transition_probs", (K, K))):
            if self._options[name] is not None:
                self._options[name] = checks.probabilities(name, self._options[name], shape)
        given = self._given
        shared = ("covariances",) if self._options["covariance"] == "tied" else ()
        for name, value in given.items():
            if len(value) != K and name.rpartition(".")[2] not in (*shared, "lag_fills"):
                raise InputError(f"`{name}` has {len(value)} entries but `states` is {K}; pass one for each state")
            if name == "mixture_weights" or (name == "probs" and self._options["emission"] == "categorical"):
                checks.probabilities(name, value, value.shape)
        judge_together(self._options)
        chain = given_chain(self._options, given)
        if chain is not None and all(name in given for name in self._required):
            self._take(self._assembled(given))

    # --- parameters ---------------------------------------------------------------------------------------------------

    @property
    def _family(self) -> type[Emission]:
        return family_of(self._options["emission"])

    @property
    def _required(self) -> tuple[str, ...]:
        """The emission parameters that a model without a fit cannot do without."""
        return tuple(name for name in self._family.parameter_names if name != "lag_fills")

    @property
    def _emission_options(self) -> dict[str, Any]:
        return {name: self._options[name] for name in self._family.option_names}

    @property
    def _given(self) -> dict[str, np.ndarray]:
        """The parameters that the constructor was given."""
        chain = {name: self._options[name] for name in CHAIN}
        return {name: value for name, value in chain.items() if value is not None} | given_parameters(self._options)

    def _assembled(self, parameters: dict[str, np.ndarray]) -> HiddenMarkov:
        chain = given_chain(self._options, parameters)
        assert chain is not None
        return HiddenMarkov(chain, self._family.given(parameters, self._options["states"], **self._emission_options))

    def _take(self, model: HiddenMarkov) -> None:
        self._model = model
        chain = model.chain
        laws: dict[str, np.ndarray] = {"initial_probs": chain.initial}
        if isinstance(chain, InputChain):
            laws |= {"transition_intercepts": chain.intercepts, "transition_coefficients": chain.coefficients}
        else:
            laws |= {"transition_probs": chain.transition}
        self._parameters = laws | model.emission.parameters

    def _restore(self, parameters: dict[str, np.ndarray], schema: dict[str, Any] | None) -> None:
        super()._restore(parameters, schema)
        self._take(self._assembled(parameters))

    def __getattr__(self, name: str) -> np.ndarray:
        """The family's parameters by name."""
        if name in PARAMETERS or name in CHAIN:
            found = self.parameters
            if name in found:
                return found[name]
            raise AttributeError(
                f"an HMM with emission {self._options['emission']!r} and transitions {self._options['transitions']!r} has no "
                f"`{name}`; it has {', '.join(found)}"
            )
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    @property
    def initial_probs(self) -> np.ndarray:
        """π, (K,)."""
        return self.parameters["initial_probs"]

    @property
    def transition_probs(self) -> np.ndarray:
        """P, (K, K)."""
        if self._options["transitions"] == "inputs":
            raise UnsupportedError(
                "transition_probs depend on the inputs of this HMM; call transition_probs_at(inputs)"
            )
        return self.parameters["transition_probs"]

    def transition_probs_at(self, inputs: Any) -> np.ndarray:
        """(rows, K, K) P[t] at the `inputs` (rows, u), or (rows,) where u is 1, of transitions that depend on them.

        Example:
            >>> model = HMM(states=2, transitions="inputs", initial_probs=[0.5, 0.5], means=[0.0, 1.0], covariances=[1.0, 1.0],
            ...             transition_intercepts=[[0.0, -2.0], [-2.0, 0.0]], transition_coefficients=[[[0.0, 1.0]], [[0.0, 0.0]]])
            >>> model.transition_probs_at([0.0, 2.0])[:, 0].round(3)
            array([[0.881, 0.119],
                   [0.5  , 0.5  ]])
        """
        chain = self._laws[0]
        if not isinstance(chain, InputChain):
            raise UnsupportedError("the transitions of this HMM do not depend on inputs; see transition_probs")
        table = np.asarray(inputs)
        if table.ndim == 1 and chain.n_inputs == 1:
            table = table[:, None]
        return np.exp(chain.log_transition(checks.array("inputs", table, (None, chain.n_inputs))))

    @property
    def n_parameters(self) -> int:
        """K − 1 for π, one less than its allowed transitions for each row of P (times one and the inputs, where it depends on them),
        and the emissions'; nothing for what is fixed."""
        K = self._options["states"]
        fixed, (chain, emission) = self._options["fixed"], self._laws
        starts = 0 if self._options["transitions"] == "left-to-right" or "initial_probs" in fixed else K - 1
        each = 1 + chain.n_inputs if isinstance(chain, InputChain) else 1
        moves = 0 if "transition_probs" in fixed else each * (int(self._allowed.sum()) - K)
        return starts + moves + emission.n_parameters

    @property
    def _allowed(self) -> np.ndarray:
        allowed = allowed_transitions(self._options["transitions"], self._options["states"])
        given, intercepts = self._options["transition_probs"], self._options["transition_intercepts"]
        allowed = allowed if given is None else allowed & (given > 0)
        return allowed if intercepts is None else allowed & (intercepts > -np.inf)

    @property
    def label(self) -> str:
        options = self._options
        changed = {"emission": "gaussian", "covariance": "diag", "transitions": "full"}
        shown = [f"states={options['states']}"]
        shown += [f"{name}={_plain(options[name])!r}" for name, usual in changed.items() if options[name] != usual]
        return ", ".join(shown)


def _plain(option: Any) -> Any:
    """A product of families as the dict that made it."""
    return dict(option) if isinstance(option, tuple) else option
