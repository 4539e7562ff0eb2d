"""Our own networks: the replay of their weights gives their own densities and probabilities, and gradients are those of autograd."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from tests.dissection.test_open_gaussian import holed

import statewise as sw
from statewise._core.errors import InputError, UnsupportedError
from statewise.cells import CELLS, layer_parameters
from statewise.dissection.opening import opened

EXACT = 1e-11  # nats, of float64 algebra


def series(dim: int = 2, inputs: bool = True) -> sw.Sequences:
    rng = np.random.default_rng(0)
    lengths = (40, 25, 33)
    return holed(
        sw.Sequences.from_arrays(
            [rng.normal(size=(n, dim)).cumsum(0) for n in lengths],
            inputs=[rng.normal(size=(n, 1)) for n in lengths] if inputs else None,
            times=[np.cumsum(rng.uniform(0.5, 2.0, n)) for n in lengths],
        )
    )


def speaking(model: sw.Recurrent) -> sw.Recurrent:
    """A head that reads the state, whatever training kept."""
    rng = np.random.default_rng(1)
    for name in ("mean_weight", "log_sd_weight", "shape_weight"):
        if name in model.parameters:
            model.parameters[name] += 0.3 * rng.normal(size=model.parameters[name].shape)
    return model


@pytest.mark.parametrize(
    ("cell", "time_aware"), list(itertools.product(("gru", "lstm", "rnn", "linear", "diagonal"), (False, True)))
)
def test_recurrent_replays(cell: str, time_aware: bool):
    seqs = series()
    model = speaking(
        sw.Recurrent(cell=cell, hidden=4, layers=2, time_aware=time_aware).fit(seqs, epochs=1, validation=0.0)
    )
    subject = opened(model, seqs)
    assert subject.replay_error < EXACT
    assert np.any(subject.sites[0].cotangents)


@pytest.mark.parametrize("output", ["student-t", "mixture", "poisson", "negative-binomial", "gaussian-full"])
def test_outputs_replay(output: str):
    counts = sw.Sequences.from_arrays([np.random.default_rng(k).poisson(3.0, (30, 2)).astype(float) for k in range(2)])
    options = {"covariance": "full"} if output == "gaussian-full" else {"output": output}
    model = speaking(sw.Recurrent(cell="gru", hidden=4, **options).fit(counts, epochs=1, validation=0.0))
    assert opened(model, counts).replay_error < 1e-9  # the log-gamma functions of two libraries


def test_recurrent_gradient_by_finite_differences():
    """∂/∂h[t] of −log p(y[t]), by moving h through the head in NumPy."""
    from statewise.inference import recurrent as inference
    from statewise.nn import head

    seqs = series()
    model = speaking(sw.Recurrent(cell="gru", hidden=4).fit(seqs, epochs=1, validation=0.0))
    site, output = opened(model, seqs).sites[0], model._output(2)
    skip = inference.features(model.parameters, seqs, output).skip

    def loss(h: np.ndarray, row: int) -> float:
        law = head.law(model.parameters, h[None], skip[row : row + 1])
        return -inference.row_density(model.parameters, law, seqs.values[row : row + 1], output)

    h = site.system.readout(site.system.states[:, 1:])
    for b, t in ((0, 3), (1, 20), (2, 32)):
        row = int(seqs.offsets[b]) + t
        slope = [(loss(h[b, t] + e, row) - loss(h[b, t] - e, row)) / 2e-6 for e in 1e-6 * np.eye(4)]
        np.testing.assert_allclose(site.cotangents[b, t], slope, atol=1e-7)


def test_decay_is_in_the_jacobian():
    seqs = series()
    model = speaking(sw.Recurrent(cell="gru", hidden=4, time_aware=True).fit(seqs, epochs=1, validation=0.0))
    system = opened(model, seqs).sites[0].system
    own = layer_parameters(model.parameters, 0)
    state, h = system.states[0, 5], 1e-6
    gap = (seqs.times[5] - seqs.times[4]) / model.parameters["time_unit"][0]
    fade = np.exp(-gap * np.exp(-own["log_time_constant_l0"]))

    def step(s: np.ndarray) -> np.ndarray:
        return CELLS["gru"].step(own, system.inputs[0, 5], s * fade)

    slope = np.stack([(step(state + h * e) - step(state - h * e)) / (2 * h) for e in np.eye(4)], axis=1)
    np.testing.assert_allclose(system.jacobian(5)[0], slope, atol=1e-8)


def test_a_silent_head_is_said():
    seqs = series()
    model = sw.Recurrent(cell="gru", hidden=4).fit(seqs, epochs=1, validation=0.0)
    for name in ("mean_weight", "log_sd_weight"):
        model.parameters[name][:] = 0.0
    d = sw.dissect(model, seqs)
    assert d.gradient_flow.status is sw.dissection.Status.REFUSED
    assert any("does not read the state" in note for note in d.subject.notes)


def tagged(per: str = "step") -> sw.Sequences:
    rng = np.random.default_rng(0)
    lengths = [12, 20, 15, 9, 18, 11]
    labels = [list(rng.choice(["a", "b", "c"], n)) for n in lengths] if per == "step" else list("ababba")
    return sw.Sequences.from_arrays([rng.normal(size=(n, 2)) for n in lengths], labels=labels)


@pytest.mark.parametrize(
    ("cell", "both", "layers"), list(itertools.product(("gru", "lstm", "diagonal"), (False, True), (1, 2)))
)
def test_tagger_replays(cell: str, both: bool, layers: int):
    seqs = tagged()
    model = sw.Tagger(cell=cell, hidden=3, bidirectional=both, layers=layers).fit(
        seqs, epochs=3, lr=0.05, validation=0.0
    )
    subject = opened(model, seqs)
    assert subject.replay_error < EXACT
    assert len(subject.sites) == (2 * layers if both else 1)
    assert [site.backward for site in subject.sites].count(True) == (layers if both else 0)


def test_tagger_gradient_is_softmax_less_label():
    seqs = tagged()
    model = sw.Tagger(cell="gru", hidden=3).fit(seqs, epochs=3, lr=0.05, validation=0.0)
    site = opened(model, seqs).sites[0]
    probs = model.predict(seqs).probs
    labels = seqs.labels[:, None] == model.classes
    expected = (probs - labels) @ model.parameters["label_weight"]
    np.testing.assert_allclose(site.cotangents[0, :12], expected[:12], atol=1e-12)


@pytest.mark.parametrize(("both", "pooling"), list(itertools.product((False, True), ("last", "mean"))))
def test_classifier_replays(both: bool, pooling: str):
    seqs = tagged("sequence")
    model = sw.Classifier(cell="gru", hidden=3, bidirectional=both, pooling=pooling).fit(
        seqs, epochs=3, lr=0.05, validation=0.0
    )
    subject = opened(model, seqs)
    assert subject.replay_error < EXACT
    assert all(site.whole for site in subject.sites)
    if pooling == "last":  # only a sequence's last output counts
        assert not subject.sites[0].cotangents[3, :8].any()
        assert subject.sites[0].cotangents[3, 8].any()


def test_unlabelled_sequences_are_judged_by_the_best_guess():
    model = sw.Tagger(cell="gru", hidden=3).fit(tagged(), epochs=2, validation=0.0)
    subject = opened(model, tagged().replace(labels=None))
    assert "best guess" in subject.loss


@pytest.mark.parametrize("start", ["varma", "level", "hmm"])
@pytest.mark.parametrize("classical", ["train", "freeze"])
def test_started_replays(start: str, classical: str):
    seqs = series(inputs=False)
    begin = {"varma": sw.VARMA(p=1), "level": sw.Structural(level=True), "hmm": sw.HMM(states=2)}[start]
    model = sw.Recurrent(cell="gru", hidden=3, start=begin, classical=classical).fit(seqs, epochs=0)
    with torch.no_grad():
        for weight in model.module.readouts:
            weight += 0.2 * torch.randn(weight.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    subject = opened(model, seqs)
    assert subject.replay_error < EXACT
    assert [site.name for site in subject.sites] == ["units", "path"]
    assert all(np.isfinite(site.cotangents).all() and site.cotangents.any() for site in subject.sites)


def test_started_at_its_start_has_the_paths_gradient_first():
    seqs = series(inputs=False)
    varma = sw.VARMA(p=1, q=1).fit(seqs)
    subject = opened(sw.Recurrent(cell="gru", hidden=3, start=varma).fit(seqs, epochs=0), seqs)
    assert [site.name for site in subject.sites] == ["path", "units"]
    np.testing.assert_allclose(
        subject.sites[0].cotangents[0, :39], opened(varma, seqs).sites[0].cotangents[0, :39], atol=1e-10
    )


@pytest.mark.parametrize("to", ["gru", "lstm", "tanh-rnn"])
def test_embedded_networks_replay_and_remember_like_their_model(to: str):
    seqs = sw.Sequences.from_arrays([np.random.default_rng(0).normal(size=(80, 1)).cumsum(0)])
    varma = sw.VARMA(p=1, q=1).fit(seqs)
    d = sw.dissect(sw.convert(varma, to=to), seqs)
    assert d.replay_error < 1e-12
    assert d.lyapunov.value[0] == pytest.approx(sw.dissect(varma, seqs).lyapunov.value[0], abs=0.02)  # O(ε²)


def test_leaky_integrators_and_the_gates_that_they_become():
    x = np.random.default_rng(0).normal(size=300)
    leaky = sw.LeakyIntegrator(tau=[5.0, 20.0], dt=0.5)
    d = sw.dissect(leaky, x)
    np.testing.assert_allclose(d.lyapunov.value, [-1 / 20, -1 / 5], rtol=1e-2)
    assert d.replay_error == 0.0
    for to in ("lstm", "gru"):
        gated = sw.dissect(sw.convert(leaky, to=to), x)
        assert gated.replay_error < 1e-12
        np.testing.assert_allclose(gated.lyapunov.value[:2], [-0.5 / 20, -0.5 / 5], rtol=1e-2)  # per step


def test_solvers():
    """Theory §6: explicit Euler on y' = −2 y is h ← (1 − 2 dt) h; a rotation that contracts has both exponents at its real part."""
    d = sw.dissect(sw.ODE([[-2.0]], method="euler", dt=0.1), 100, initial=[1.0])
    assert d.replay_error == 0.0
    assert d.lyapunov.value[0] == pytest.approx(np.log(0.8) / 0.1, abs=1e-9)
    rnn = sw.convert(sw.ODE([[-0.5, 1.0], [-1.0, -0.5]], method="rk4", dt=0.1), to="rnn")
    np.testing.assert_allclose(sw.dissect(rnn, 200, initial=[1.0, 0.0]).lyapunov.value, -0.5, atol=1e-4)
    with pytest.raises(InputError, match="first state"):
        opened(sw.ODE([[-2.0]]), 100)


@pytest.mark.parametrize("missing", [False, True])
def test_smoothers_replay(missing: bool):
    model = sw.StateSpace.random(states=2, dim=1, seed=0)
    seqs = model.sample(40, 2, seed=1)
    subject = opened(sw.convert(model, to="birnn"), holed(seqs) if missing else seqs)
    assert subject.replay_error < EXACT
    assert [site.backward for site in subject.sites] == [False, True]


def test_smoothers_forget_alike_in_both_directions():
    """Theory §10: local level, q = 1: either direction has the recurrent weight 1 − K = .381966."""
    model = sw.StateSpace([[1.0]], [[1.0]], [[1.0]], [[1.0]], initial_mean=[0.0], initial_cov=[[1.0]])
    subject = opened(sw.convert(model, to="birnn"), np.random.default_rng(0).normal(size=60).cumsum())
    forward, backward = (site.system.jacobian(30)[0, 0, 0] for site in subject.sites)
    assert (forward, backward) == (pytest.approx(0.381966, abs=1e-6), pytest.approx(0.381966, abs=1e-6))


def test_a_model_without_a_state_is_refused():
    with pytest.raises(UnsupportedError, match="no state"):
        opened(sw.Naive().fit(np.arange(10.0)), np.arange(10.0))
