"""Wrong calls of `convert` and of the modules that it makes are refused in words, before a kernel sees them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import statewise as sw
from statewise._core.errors import InputError

Y = np.random.default_rng(0).standard_normal(40)


def hmm() -> sw.HMM:
    return sw.HMM(
        states=2, initial_probs=[0.5, 0.5], transition_probs=[[0.9, 0.1], [0.2, 0.8]], means=[-1.0, 1.0], covariances=[1.0, 1.0]
    )  # fmt: skip


def space() -> sw.StateSpace:
    return sw.StateSpace([[0.8]], [[1.0]], [[1.0]], [[1.0]])


@pytest.mark.parametrize(
    ("model", "to", "options", "message"),
    [
        (space, "rnn", {"foo": 1}, "`foo` is no option of 'state-space' to 'rnn', which takes gain"),
        (hmm, "rnn", {"gain": "exact"}, "`gain` is no option of 'hmm' to 'rnn', which takes no options"),
        (space, "rnn", {"gain": "fast"}, "`gain` is 'fast'"),
        (space, "gru", {"scale": -1.0}, "`scale` is -1.0"),
        (space, "transformer", {}, "`to` is 'transformer'"),
    ],
)
def test_wrong_options_are_named(model, to, options, message):
    kind = TypeError if "no option" in message else InputError
    with pytest.raises(kind, match=message):
        sw.convert(model(), to=to, **options)


@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.parametrize(("model", "to"), [(hmm, "rnn"), (hmm, "birnn"), (space, "rnn")])
def test_modules_refuse_wrong_shapes(model, to, grad):
    module = sw.convert(model(), to=to).module
    with torch.set_grad_enabled(grad):
        for shape in [(1, 5, 3), (5, 1), (1, 0, 1), (0, 4, 1)]:
            with pytest.raises(InputError, match=r"pass \(N, T, 1\)"):
                module(torch.zeros(shape, dtype=torch.float64))
            with pytest.raises(InputError, match=r"pass \(N, T, 1\)"):
                module.log_prob(torch.zeros(shape, dtype=torch.float64))
        with pytest.raises(InputError, match="a row for each of `y`"):
            module(torch.zeros(1, 5, 1, dtype=torch.float64), torch.zeros(1, 4, 1, dtype=torch.float64))


@pytest.mark.parametrize(("model", "to"), [(hmm, "rnn"), (hmm, "birnn"), (space, "rnn")])
def test_float32_runs_on_torch_and_is_near(model, to):
    """A fallback has the same contract: values within 20 float32 roundings of float64's."""
    module = sw.convert(model(), to=to).module
    y = torch.tensor(Y)[None, :, None]
    want, have = module(y), module.float()(y.float())
    want, have = (out[0] if isinstance(out, tuple) else out for out in (want, have))
    torch.testing.assert_close(have.double(), want, rtol=3e-6, atol=3e-6)


def test_fields_and_states_of_an_ode_that_do_not_fit():
    with pytest.raises(InputError, match=r"`start` has shape \(2,\); pass shape \(1\)"):
        sw.ODE([[-1.0]], dt=0.1).solve([1.0, 2.0], 3)
    with pytest.raises(InputError, match=r"`f` gives tensor\(3\..*return a tensor of that shape"):
        sw.ODE(lambda h: h.sum(), dt=0.1).solve([1.0, 2.0], 3)
