"""The constructor's options of a hidden Markov model: families, parameters, and the structure of the chain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from statewise._core import checks
from statewise._core.errors import InputError
from statewise.emissions.base import Emission
from statewise.emissions.product import product_of
from statewise.emissions.registry import EMISSIONS
from statewise.inference import discrete
from statewise.inference.discrete import Chain
from statewise.inference.discrete_inputs import InputChain
from statewise.sequences.sequences import Sequences

PARAMETERS = tuple(sorted({name for family in EMISSIONS.values() for name in family.parameter_names}))
CHAIN = ("initial_probs", "transition_probs", "transition_intercepts", "transition_coefficients")
ORDERED = ("left-to-right", "banded")  # structures in which the states' numbers mean something
TRANSITIONS = ("full", "left-to-right", "banded", "inputs")


@dataclass(frozen=True)
class Parameter:
    """A finite array with at most four axes, or one for each column of a product.

    Its shape is judged where the number of states and columns is known.
    """

    def check(self, name: str, value: Any) -> np.ndarray | dict[str, np.ndarray]:
        if isinstance(value, Mapping):
            return {str(column): self._array(f"{name}[{column!r}]", one) for column, one in value.items()}
        return self._array(name, value)

    def _array(self, name: str, value: Any) -> np.ndarray:
        try:
            axes = np.ndim(value)
        except ValueError:  # ragged
            axes = 0
        if not 1 <= axes <= 4:
            raise InputError(f"`{name}` is {checks.shown(value)}; pass one entry for each state")
        return checks.array(name, value, (None,) * axes)

    @property
    def bad(self) -> tuple[Any, ...]:
        return ("text", 1.0, np.full(2, np.nan), np.zeros((1, 1, 1, 1, 1)))


@dataclass(frozen=True)
class Family:
    """The name of a family, or one for each column; the latter as a tuple of (column, name)."""

    def check(self, name: str, value: Any) -> str | tuple[tuple[str, str], ...]:
        rule = checks.Choice(tuple(sorted(EMISSIONS)))
        if isinstance(value, Mapping):
            value = tuple(value.items())
        if isinstance(value, tuple | list):
            if not value or not all(isinstance(pair, tuple | list) and len(pair) == 2 for pair in value):
                raise InputError(
                    f"`{name}` is {checks.shown(value)}; pass a family, or a dict of column and family such as "
                    "{'rate': 'poisson', 'level': 'gaussian'}"
                )
            pairs = tuple((str(column), rule.check(name, kind)) for column, kind in value)
            if len({column for column, _ in pairs}) < len(pairs):
                raise InputError(f"`{name}` names a column twice; name a family once for each")
            return pairs
        return rule.check(name, value)

    @property
    def bad(self) -> tuple[Any, ...]:
        return ("no-such-choice", 3, None, (), {"x": "no-such-choice"}, [("x",)])


def family_of(emission: str | tuple[tuple[str, str], ...]) -> type[Emission]:
    """The class that the option `emission` names."""
    if isinstance(emission, str):
        return EMISSIONS[emission]
    return product_of(tuple((column, EMISSIONS[kind]) for column, kind in emission))


def given_parameters(options: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The emission parameters among the options, by the family's names; every one given must belong to the family."""
    family = family_of(options["emission"])
    found: dict[str, np.ndarray] = {}
    for name in PARAMETERS:
        value = options[name]
        if value is None:
            continue
        if isinstance(value, dict):
            found |= {f"{column}.{name}": one for column, one in value.items()}
        else:
            found[name] = value
    for name in found:
        if name not in family.parameter_names:
            raise InputError(
                f"`{name}` is not a parameter of emission {options['emission']!r}; it has {', '.join(family.parameter_names)}"
            )
    return found


@dataclass(frozen=True)
class LogOdds:
    """Numbers with three or two axes; −inf, where `may_exclude`, for what can never be."""

    axes: int
    may_exclude: bool = False

    def check(self, name: str, value: Any) -> np.ndarray:
        try:
            array = np.asarray(value)
        except ValueError:  # ragged
            array = np.empty(0, dtype=object)
        never = array == -np.inf if self.may_exclude and array.dtype.kind == "f" else np.zeros(array.shape, dtype=bool)
        finite = np.where(never, 0.0, array) if never.any() else value
        return np.asarray(np.where(never, -np.inf, checks.array(name, finite, (None,) * self.axes)))

    @property
    def bad(self) -> tuple[Any, ...]:
        return ("text", 1.0, np.full((2,) * self.axes, np.nan), np.full((2,) * self.axes, np.inf))


def given_chain(options: Mapping[str, Any], given: Mapping[str, np.ndarray]) -> Chain | InputChain | None:
    """The chain that the parameters `given` say, all of which must go with `transitions`; None where they do not say all."""
    K, driven = options["states"], options["transitions"] == "inputs"
    for name, shape in (("transition_intercepts", (K, K)), ("transition_coefficients", (K, None, K))):
        if name not in given:
            continue
        if not driven:
            raise InputError(
                f"`{name}` belongs to transitions that depend on inputs; pass transitions='inputs' with it"
            )
        have = given[name].shape
        if have != tuple(size or n for size, n in zip(shape, have, strict=True)):
            raise InputError(f"`{name}` has shape {have}; pass shape ({', '.join(str(n or 'inputs') for n in shape)})")
    if not driven:
        complete = "initial_probs" in given and "transition_probs" in given
        return Chain(given["initial_probs"], given["transition_probs"]) if complete else None
    if "transition_intercepts" in given:
        if "transition_probs" in given:
            raise InputError("`transition_probs` and `transition_intercepts` say the same thing; pass one of them")
        if (given["transition_intercepts"] == -np.inf).all(axis=1).any():
            raise InputError(
                "`transition_intercepts` has a row of −inf, which leads nowhere; leave an entry finite in each"
            )
    if "initial_probs" not in given or "transition_coefficients" not in given:
        return None
    if "transition_intercepts" not in given and "transition_probs" not in given:
        return None
    return input_chain(given["initial_probs"], given.get("transition_probs", np.eye(K)), given, 0)


def input_chain(
    initial: np.ndarray, transition: np.ndarray, given: Mapping[str, np.ndarray], inputs: int
) -> InputChain:
    """The chain with the given intercepts, or those of `transition`, and the given coefficients, or zeros for `inputs` inputs."""
    K = len(initial)
    intercepts = given.get("transition_intercepts", discrete.log(transition))
    return InputChain(initial, intercepts, given.get("transition_coefficients", np.zeros((K, inputs, K))))


def judge_together(options: Mapping[str, Any]) -> None:
    """Refuse options that do not go together."""
    driven = options["transitions"] == "inputs"
    if options["stay_prior"] and driven:
        raise InputError(
            "`stay_prior` has no place where transitions depend on inputs; pass `transition_ridge`, or leave it out"
        )
    if options["transition_ridge"] and not driven:
        raise InputError(
            "`transition_ridge` is a prior for transitions that depend on inputs; pass transitions='inputs' with it"
        )
    for name in options["fixed"]:
        if options[name] is None:
            raise InputError(f"`fixed` names '{name}', which is not given; pass `{name}` too")
        if name == "transition_probs" and driven:
            raise InputError(
                "`fixed` names 'transition_probs', which depend on inputs; fix them with transitions='full', or leave them free"
            )


def known_labels(given: Any, seqs: Sequences, states: int) -> np.ndarray | None:
    """(rows,) known states as whole numbers, −1 where not known."""
    if given is None:
        return None
    try:
        each = [np.atleast_1d(np.asarray(one, dtype=np.float64)) for one in given]
        packed = np.concatenate(each)
    except (TypeError, ValueError, OverflowError):
        raise InputError(
            f"`known_states` is {checks.shown(given)}; pass one number a step, and −1 where not known"
        ) from None
    lengths = [len(one) for one in each]
    if lengths != [1] * seqs.rows and lengths != seqs.lengths.tolist():
        raise InputError(
            f"`known_states` has parts of lengths {lengths[:5]}; pass one number a step, in the lengths "
            f"{seqs.lengths.tolist()[:5]} of the sequences"
        )
    packed = np.where(np.isnan(packed), -1.0, packed)
    wrong = (packed != np.floor(packed)) | (packed < -1) | (packed >= states)
    if wrong.any():
        raise InputError(
            f"`known_states` has the entry {packed[wrong][0]:g}; pass states from 0 to {states - 1}, and −1 where not known"
        )
    return packed.astype(np.int64)


def allowed_transitions(transitions: str, states: int) -> np.ndarray:
    """(K, K) which transitions a structure has: all; to the same and the next state; to the same and both neighbours."""
    step = np.arange(states) - np.arange(states)[:, None]
    if transitions == "left-to-right":
        return np.asarray((step == 0) | (step == 1))
    return np.asarray(np.abs(step) <= 1) if transitions == "banded" else np.ones((states, states), dtype=bool)
