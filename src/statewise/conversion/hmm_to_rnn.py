"""A hidden Markov model as the recurrent network with a softmax state that its filter is, as a bidirectional one for its smoother, and back.

z[t] = log(Pᵀ softmax(z[t−1])) + log b(y[t]) is the forward algorithm in the logarithms of the belief; a hidden state of zeros and ones, drawn
from softmax(log Pᵀ s), generates from the model. Source: theory §2; Rabiner, Proc. IEEE 77 (1989), §III.
"""

from __future__ import annotations

from statewise._core.errors import UnsupportedError
from statewise.models.hmm import HMM
from statewise.models.softmax_rnn import SoftmaxBiRNN, SoftmaxRNN


def hmm_to_rnn(model: HMM) -> SoftmaxRNN:
    """The network with the same log-likelihood, beliefs and forecasts (exact).

    Raises:
        UnsupportedError: the emission family has no trainable form.
    """
    return SoftmaxRNN.from_hmm(model)


def hmm_to_birnn(model: HMM) -> SoftmaxBiRNN:
    """The bidirectional network with the same smoothed probabilities (exact).

    Raises:
        UnsupportedError: the emission family has no trainable form.
    """
    return SoftmaxBiRNN.from_hmm(model)


def rnn_to_hmm(model: SoftmaxRNN) -> HMM:
    """The hidden Markov model at the network's present weights (exact).

    Raises:
        UnsupportedError: a weight is NaN or +inf, or all of a state's transitions are ruled out, so that the weights are no model.
    """
    for name, weight in model.module.named_parameters():
        wrong = weight.isnan() | (weight == float("inf"))
        if wrong.any():
            raise UnsupportedError(
                f"the weights {name} are not finite, so the network is no hidden Markov model; train it anew"
            )
    for name in ("initial_logits", "transition_logits"):
        if (getattr(model.module, name).amax(dim=-1) == -float("inf")).any():
            raise UnsupportedError(f"{name} rules out every state, so the network is no hidden Markov model; allow one")
    return model.to_hmm()
