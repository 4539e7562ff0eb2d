"""torch.nn's layers as statewise's and back. Oracle: torch's own outputs, to 1e-10 in float64 on random layers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import statewise as sw
from statewise._core.errors import UnsupportedError

KINDS = {"rnn": torch.nn.RNN, "gru": torch.nn.GRU, "lstm": torch.nn.LSTM}


def flat(state):
    return state if isinstance(state, tuple) else (state,)


@settings(max_examples=20, deadline=None)
@given(
    st.sampled_from(sorted(KINDS)), st.integers(1, 4), st.integers(1, 6), st.integers(1, 2), st.booleans(), st.booleans(),
    st.booleans(), st.integers(0, 2**31),
)  # fmt: skip
def test_there_and_back(kind, d, H, layers, bias, batch_first, bidirectional, seed):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        theirs = KINDS[kind](d, H, layers, bias=bias, batch_first=batch_first, bidirectional=bidirectional).double()
        x = torch.randn(3, 5, d, dtype=torch.float64)
    ours = sw.convert(theirs, to="layer")
    assert type(ours).__module__.startswith("statewise")
    back = sw.convert(ours, to="torch")
    assert type(back) is KINDS[kind]
    want, want_state = theirs(x)
    for made in (ours, back):
        have, state = made(x)
        torch.testing.assert_close(have, want, rtol=1e-10, atol=1e-10)
        for a, b in zip(flat(state), flat(want_state), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)
    assert sw.convert(theirs, to="layer", verify=np.zeros((4, d)) + 0.3)[1] < 1e-10


def test_weights_are_copied_and_draws_are_not_moved():
    theirs = torch.nn.GRU(2, 3)
    before = torch.get_rng_state()
    ours = sw.convert(theirs, to="layer")
    assert torch.equal(before, torch.get_rng_state())
    ours.weight_hh_l0.data.zero_()
    assert theirs.weight_hh_l0.abs().sum() > 0


def test_what_has_no_twin_is_refused():
    with pytest.raises(UnsupportedError, match=r"accelerate\(module\)"):
        sw.convert(torch.nn.Linear(2, 3), to="layer")
    with pytest.raises(UnsupportedError, match="learn_initial or recurrent_dropout"):
        sw.convert(sw.convert(torch.nn.GRU(2, 3), to="layer").__class__(2, 3, learn_initial=True), to="torch")
