"""A recurrent network with a softmax state that is a hidden Markov model, and its bidirectional twin; made by `convert`."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import torch

from statewise._core import checks
from statewise._core.errors import InputError
from statewise.emissions.base import Emission
from statewise.emissions.gaussian import COVARIANCES
from statewise.fitting.hidden_markov import HiddenMarkov
from statewise.inference import discrete
from statewise.inference.discrete import Chain
from statewise.inference.softmax_rnn import SoftmaxBiRNNModule, SoftmaxRNNModule
from statewise.models.base import Model
from statewise.models.hmm import HMM
from statewise.models.hmm_form import Family, family_of
from statewise.models.hmm_verbs import HiddenMarkovVerbs
from statewise.results.fit import Memory, half_life
from statewise.results.states import DiscreteStates
from statewise.sequences.sequences import Sequences

_LAWS = (
    "states",
    "emission",
    "covariance",
    "components",
    "symbols",
    "order",
)  # options of an HMM that its laws depend on


class _Softmax(Model):
    """A model whose parameters are the present weights of a softmax network."""

    _module_class: type[SoftmaxRNNModule] = SoftmaxRNNModule
    options = {
        "states": checks.Integer(1, 10_000),
        "emission": Family(),
        "covariance": checks.Choice(COVARIANCES),
        "components": checks.Integer(1, 1000),
        "symbols": checks.Optional(checks.Integer(1, 1_000_000)),
        "order": checks.Optional(checks.Integer(0, 1000)),
    }

    def __init__(
        self,
        states: int = 2,
        emission: Any = "gaussian",
        covariance: str = "diag",
        components: int = 2,
        symbols: int | None = None,
        order: int | None = None,
    ) -> None:
        super().__init__(
            states=states,
            emission=emission,
            covariance=covariance,
            components=components,
            symbols=symbols,
            order=order,
        )
        self._module: SoftmaxRNNModule | None = None

    @classmethod
    def from_hmm(cls, model: HMM) -> Self:
        """The network of a hidden Markov model that has parameters."""
        made = cls(**{name: model.get_params()[name] for name in _LAWS})
        chain, emission = model._constant_laws
        made._module = made._module_class(chain, emission)
        made._schema = None if model._schema is None else dict(model._schema)
        made._parameters = made.parameters
        return made

    def to_hmm(self) -> HMM:
        """The hidden Markov model at the present weights."""
        model, chain = self._present(), self.module.chain()
        made = HMM(**self._options, initial_probs=chain.initial, transition_probs=chain.transition)
        made._take(model)
        made._schema = None if self._schema is None else dict(self._schema)
        return made

    def clone(self) -> Self:
        """A copy with weights of its own."""
        copy = type(self)(**self._options)
        if self._module is not None:
            copy._restore(self.parameters, self._schema)
        return copy

    def _present(self) -> HiddenMarkov:
        return HiddenMarkov(self.module.chain(), self.module.emission.emission())

    @property
    def parameters(self) -> dict[str, np.ndarray]:
        """The probabilities and the laws at the present weights."""
        if self._module is None:
            return super().parameters
        chain = self.module.chain()
        own = {"initial_probs": chain.initial, "transition_probs": chain.transition}
        return own | self._present().emission.parameters

    def _restore(self, parameters: dict[str, np.ndarray], schema: dict[str, Any] | None) -> None:
        super()._restore(parameters, schema)
        family = family_of(self._options["emission"])
        laws = {name: self._options[name] for name in family.option_names if name in self._options}
        emission = family.given(parameters, self._options["states"], **laws)
        self._module = self._module_class(Chain(parameters["initial_probs"], parameters["transition_probs"]), emission)

    @property
    def module(self) -> SoftmaxRNNModule:
        """The torch network."""
        if self._module is None:
            raise InputError(f"this {type(self).__name__} has no network; make one with convert(hmm, to=...)")
        return self._module

    @property
    def label(self) -> str:
        return f"states={self._options['states']}, emission={self._options['emission']!r}"

    @property
    def n_parameters(self) -> int:
        """Weights of the network that can move: those of −inf stay."""
        return sum(int(torch.isfinite(weight).sum()) for weight in self.module.parameters())

    def _tensors(self, seqs: Sequences) -> list[tuple[torch.Tensor, torch.Tensor | None]]:
        """(1, T, p) values and (1, T, u) inputs of each sequence."""
        if seqs.dim != self._present().emission.dim:
            raise InputError(
                f"the sequences have {seqs.dim} columns but the network has laws for {self._present().emission.dim}; pass the same columns"
            )
        values = [torch.tensor(y)[None] for y in seqs.arrays()]
        if seqs.inputs is None:
            return [(y, None) for y in values]
        inputs = np.split(seqs.inputs, seqs.offsets[1:-1])
        return [(y, torch.tensor(u)[None]) for y, u in zip(values, inputs, strict=True)]


class SoftmaxRNN(_Softmax, HiddenMarkovVerbs):
    """z[t] = log(Pᵀ softmax(z[t−1])) + log b(y[t]): a hidden Markov model as a recurrent network.

    Made by ``convert(hmm, to="rnn")``. ``.module`` is the torch network: trainable, float64; the verbs always use its present weights, so
    training it changes what they say. ``convert(network, to="hmm")`` leads back at any time.

    Source: theory §2 of the documentation (guide/bridges).
    """

    kind = "softmax-rnn"

    @property
    def _family(self) -> type[Emission]:
        return family_of(self._options["emission"])

    @property
    def _model(self) -> HiddenMarkov | None:  # type: ignore[override]  # the present weights, not a field
        return None if self._module is None else self._present()

    def _log_prob_steps(self, seqs: Sequences) -> np.ndarray:
        with torch.no_grad():
            return np.concatenate([self.module.log_prob(y, u)[0].numpy() for y, u in self._tensors(seqs)])

    def filter(self, data: Any) -> DiscreteStates:
        """P(s[t] = k | y[1 … t]), from the network."""
        seqs = self._receive(data)
        with torch.no_grad():
            probs = np.concatenate([self.module(y, u)[0].numpy() for y, u in self._tensors(seqs)])
        return DiscreteStates(probs, seqs.lengths, seqs.ids, seqs.times)


class SoftmaxBiRNN(_Softmax):
    """The forward–backward algorithm as a bidirectional network; made by ``convert(hmm, to="birnn")``.

    It says what the whole sequence says of each step, so it can smooth, and has no density to score or forecast with.
    """

    kind = "softmax-birnn"
    _module_class = SoftmaxBiRNNModule

    def smooth(self, data: Any) -> DiscreteStates:
        """P(s[t] = k | y[1 … T]), from the network."""
        seqs = self._receive(data)
        with torch.no_grad():
            probs = np.concatenate([self.module(y, u)[0].numpy() for y, u in self._tensors(seqs)])
        return DiscreteStates(probs, seqs.lengths, seqs.ids, seqs.times)

    def memory(self, data: Any = None) -> Memory:
        """|λ₂(P)|: the rate at which either direction forgets while nothing is observed."""
        rate = discrete.mixing_rate(self.module.chain())
        return Memory(half_life(rate), rate, "eigenvalues", half_life(rate))
