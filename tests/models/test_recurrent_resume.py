"""Training that can be trusted: exact resume, carried states, batches of similar length, where numbers stopped being finite."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import statewise as sw
from statewise._core.errors import InputError
from statewise.fitting import checkpoint as checkpoints
from statewise.fitting.sgd import Settings
from statewise.models import recurrent_training
from statewise.models.recurrent_training import Chunk, Instructions, Plan, train_network
from statewise.nn.windows import bucketed


def data(seed: int = 0) -> sw.Sequences:
    rng = np.random.default_rng(seed)
    return sw.Sequences.from_arrays([rng.normal(size=length).cumsum() for length in (40, 17, 31, 9)])


def fit(path=None, **more):
    options = {"epochs": 4, "batch": 2, "window": 8, "lr": 0.02} | more
    return sw.Recurrent("lstm", hidden=3).fit(data(), checkpoint=path, **options)


class Interrupted(torch.optim.AdamW):
    """Raises in the step `left`; counts them all."""

    left = 0

    def step(self, *given):
        type(self).left -= 1
        if self.left == 0:
            raise KeyboardInterrupt
        return super().step(*given)


@pytest.mark.parametrize("carry", [False, True])
def test_a_fit_interrupted_at_any_step_ends_as_if_it_had_not_been(carry, tmp_path, monkeypatch):
    """Oracle: the uninterrupted run, to the last bit: parameters, trace, best epoch. Interrupted at every single step in turn."""
    want = fit(carry=carry, epochs=2)
    monkeypatch.setattr(checkpoints, "_INTERVAL_S", 0.0)
    monkeypatch.setattr(torch.optim, "AdamW", Interrupted)
    Interrupted.left = 10**6
    fit(carry=carry, epochs=2)
    steps = 10**6 - Interrupted.left
    assert steps > 8
    for stop in range(1, steps + 1):
        path = tmp_path / f"{stop}.safetensors"
        Interrupted.left = stop
        with pytest.raises(KeyboardInterrupt):
            fit(path, carry=carry, epochs=2)
        Interrupted.left = 10**6
        found = fit(path, carry=carry, epochs=2)
        redone = 10**6 - Interrupted.left
        assert redone == steps - stop + 1, "it went on, and did not begin anew"
        assert all(np.array_equal(found.parameters[k], want.parameters[k]) for k in want.parameters)
        assert np.array_equal(found.fit_result.trace, want.fit_result.trace)
        assert found.fit_result.details == want.fit_result.details


def test_a_finished_checkpoint_gives_the_finished_model(tmp_path):
    first, again = fit(tmp_path / "c"), fit(tmp_path / "c")
    assert all(np.array_equal(first.parameters[k], again.parameters[k]) for k in first.parameters)
    assert again.fit_result.outcome is first.fit_result.outcome


@pytest.mark.parametrize("change", [{"lr": 0.01}, {"epochs": 5}, {"seed": 1}, {"carry": True}, {"window": 9}])
def test_a_checkpoint_of_another_fit_is_refused(change, tmp_path):
    fit(tmp_path / "c")
    with pytest.raises(InputError, match="belongs to a fit with other data, options or settings"):
        fit(tmp_path / "c", **change)
    with pytest.raises(InputError, match="belongs to"):
        sw.Recurrent("lstm", hidden=3).fit(data(1), checkpoint=tmp_path / "c", epochs=4, batch=2, window=8, lr=0.02)


def test_what_is_no_checkpoint_is_refused(tmp_path):
    (tmp_path / "c").write_text("not a checkpoint")
    with pytest.raises(InputError, match="not a checkpoint"):
        fit(tmp_path / "c")
    with pytest.raises(InputError, match="folder"):
        fit(tmp_path)
    with pytest.raises(InputError, match="`seed` is None"):
        fit(tmp_path / "d", seed=None)


# --- carried states ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cell", ["rnn", "lstm"])
def test_chunks_with_a_carried_state_are_the_whole_sequence(cell):
    """Oracle: the network run over the sequences in one piece; float32 within 1e-5."""
    plan = Plan(data(), 0.0, 8)
    options = {"cell": cell, "hidden": 3, "layers": 2}
    problem = recurrent_training._Problem(options, plan, 0)
    with torch.no_grad():
        for parameter in problem.network.head.parameters():
            parameter.normal_(generator=torch.Generator().manual_seed(0))
        which = np.array([0, 2, 3])
        pieces = [problem.chunk(Chunk(which, start)) for start in range(0, 40, 8)]
        mean = torch.cat([output.mean for output, _, _ in pieces], dim=1)
        weight = torch.cat([weight for _, _, weight in pieces], dim=1)
        for lane, i in enumerate(which):
            rows = slice(plan.seqs.offsets[i], plan.seqs.offsets[i + 1])
            whole = problem.network(problem.x[None, rows], problem.skip[None, rows]).mean[0]
            torch.testing.assert_close(mean[lane, : len(whole)], whole, atol=1e-5, rtol=1e-5)
            assert weight[lane].sum() == len(whole)


def test_a_carried_state_reaches_beyond_the_window():
    """A flag at step 0 decides the value at steps 1 … 23; windows of four steps without the state's past cannot know it by then."""
    rng = np.random.default_rng(0)
    flags = rng.integers(0, 2, size=60) * 2.0 - 1
    u = np.zeros((60, 24, 1))
    u[:, 0, 0] = flags
    y = np.where(np.arange(24) % 4 == 3, flags[:, None], 0.0) + 0.1 * rng.normal(size=(60, 24))
    seqs = sw.Sequences(y.reshape(-1, 1), np.full(60, 24), inputs=u.reshape(-1, 1))
    model = sw.Recurrent("gru", hidden=8).fit(seqs, epochs=40, lr=0.02, window=4, carry=True, validation=0.1)
    late = model.log_prob(seqs, per_step=True).reshape(60, 24)[:, 12:].mean()
    assert late > -0.5 * np.log(2 * np.pi * np.e * 0.5) + 0.4, "well above the law without the flag"


# --- batches ------------------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(1, 50), min_size=1, max_size=60), st.integers(1, 9), st.integers(0, 5))
def test_batches_have_every_item_once(lengths, size, seed):
    rng = np.random.default_rng(seed)
    batches = bucketed(np.array(lengths), size, rng.permutation)
    assert sorted(np.concatenate(batches).tolist()) == list(range(len(lengths)))
    assert max(map(len, batches)) <= size


def test_batches_are_of_similar_length():
    """Padding of 1000 geometric lengths in batches of 16: below .3, where random batches waste over a half."""
    lengths = np.random.default_rng(0).geometric(0.02, size=1000)
    waste = lambda batches: 1 - lengths.sum() / sum(len(b) * lengths[b].max() for b in batches)  # noqa: E731  # two uses
    order = np.random.default_rng(1).permutation(1000)
    assert waste(bucketed(lengths, 16, np.random.default_rng(1).permutation)) < 0.3
    assert waste(np.split(order, range(16, 1000, 16))) > 0.5


# --- where it began -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("carry", [False, True])
def test_the_step_where_numbers_stopped_being_finite_is_named(carry):
    """An infinite input planted at step 21 of the third sequence, behind the checks."""
    plan = Plan(data(), 0.0, 8)
    problem = recurrent_training._Problem

    class Planted(problem):
        def __init__(self, *given):
            super().__init__(*given)
            with torch.no_grad():
                self.network.head.mean_weight.fill_(0.1)
                self.x[int(plan.seqs.offsets[2]) + 21] = float("nan")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recurrent_training, "_Problem", Planted)
        options = {"cell": "gru", "hidden": 3, "layers": 1}
        _, done = train_network(options, plan, Settings(3, 0.01, 3), Instructions(4, 0, carry))
    assert done.failure is not None
    assert "the loss became NaN or infinite at epoch 1" in done.failure
    assert "it began at step 21 of sequence 2; lower `lr`" in done.failure


def test_learning_curves():
    model = fit()
    details = model.fit_result.details
    assert len(details["training_trace"]) == 4
    assert details["training_trace"][-1] > details["training_trace"][0]
    labels = [text.get_text() for text in model.fit_result.plot().get_axes()[0].get_legend().get_texts()]
    assert labels == ["validation", "training", "kept"]
