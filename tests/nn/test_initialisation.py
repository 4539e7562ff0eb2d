"""Initialisations: what they set against their closed forms, and that they leave the rest alone."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

import statewise as sw
from statewise.nn.initialisation import initialise

LAYERS = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}
H = 6


def layer(kind: str, **options) -> nn.Module:
    return LAYERS[kind](3, H, **options)


def blocks(module: nn.Module, name: str, hidden: int = H) -> list[np.ndarray]:
    return [part.detach().double().numpy() for part in getattr(module, name).split(hidden)]


def time_constant(keep: np.ndarray) -> np.ndarray:
    """τ = −1 / ln σ(b)."""
    return 1 / np.logaddexp(0.0, -keep)


def test_time_constants_of_biases():
    """Closed forms: f = .99 is 99.5 steps, f = .5 is 1.44, b = ln(T − 1) is −1 / ln(1 − 1/T) = 99.499."""
    logit = lambda f: np.log(f / (1 - f))  # noqa: E731  # shorter than a function here
    assert time_constant(logit(0.99)) == pytest.approx(99.499, abs=5e-4)
    assert time_constant(0.0) == pytest.approx(1.4427, abs=5e-5)
    assert time_constant(math.log(99)) == pytest.approx(-1 / math.log(1 - 1 / 100), rel=1e-12)


@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "bidirectional": True}, {"dtype": torch.float64}])
def test_chrono_of_an_lstm(options):
    """b_f = ln U(1, T − 1), b_i = −b_f, in the sum of torch's two biases; time constants from 1.44 to 99.499 at T = 100."""
    module = initialise(layer("lstm", **options), "chrono", horizon=100, seed=1)
    for ending in [name.removeprefix("bias_ih") for name, _ in module.named_parameters() if name.startswith("bias_ih")]:
        i, f, _, _ = (
            a + b for a, b in zip(blocks(module, "bias_ih" + ending), blocks(module, "bias_hh" + ending), strict=True)
        )
        assert (f >= 0).all() and (f <= math.log(99) + 1e-6).all()  # float32
        np.testing.assert_array_equal(i, -f)
        assert (time_constant(f) >= 1.4426).all() and (time_constant(f) <= 99.4992).all()


def test_chrono_is_uniform_in_time():
    """Kolmogorov–Smirnov: exp(b_f) is uniform on (1, T − 1), for a GRU's b_z too, and for its negative in a minGRU's form."""
    for kind, block in (("lstm", 1), ("gru", 1)):
        module = initialise(LAYERS[kind](1, 2000), "chrono", horizon=50, seed=2)
        keep = np.exp(blocks(module, "bias_ih_l0", 2000)[block])
        assert stats.kstest(keep, stats.uniform(1, 48).cdf).pvalue > 0.01
        assert keep.max() > 47.5 and keep.min() < 1.5


def test_chrono_of_a_gru_keeps():
    """At the origin ∂h[t]/∂h[t−1] has z on its diagonal: with W = 0, h[t] = z h[t−1] exactly, z = σ(b_z)."""
    module = layer("gru", dtype=torch.float64)
    for p in module.parameters():
        nn.init.zeros_(p)
    initialise(module, "chrono", horizon=100, seed=3)
    start = torch.ones(1, 1, H, dtype=torch.float64)
    _, end = module(torch.zeros(1, 1, 3, dtype=torch.float64), start)
    tau = -1 / torch.log(end).detach().numpy().ravel()
    np.testing.assert_allclose(tau, time_constant(blocks(module, "bias_ih_l0")[1]), rtol=1e-12)
    assert tau.max() > 10


@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_forget_bias(kind):
    module = initialise(layer(kind), "forget-bias", value=1.5)
    assert (blocks(module, "bias_ih_l0")[1] == 1.5).all()
    assert (blocks(module, "bias_hh_l0")[1] == 0).all()


@pytest.mark.parametrize("kind", LAYERS)
def test_orthogonal_blocks(kind):
    """WᵀW = I for each gate, to float32."""
    module = initialise(layer(kind, num_layers=2, bidirectional=True), "orthogonal", seed=4)
    for name, _ in module.named_parameters():
        if name.startswith("weight_hh"):
            for block in blocks(module, name):
                np.testing.assert_allclose(block.T @ block, np.eye(H), atol=1e-6)


def test_orthogonal_with_a_projection_has_orthonormal_columns():
    module = initialise(layer("lstm", proj_size=2), "orthogonal")
    for block in blocks(module, "weight_hh_l0"):
        np.testing.assert_allclose(block.T @ block, np.eye(2), atol=1e-6)


def test_identity_keeps_what_it_has_seen():
    """An RNN of rectified units that starts as the identity: without input the state stays."""
    module = initialise(layer("rnn", nonlinearity="relu"), "identity")
    start = torch.rand(1, 1, H)
    _, end = module(torch.zeros(40, 1, 3), start)
    assert torch.equal(end, start)
    assert 0 < module.weight_ih_l0.std() < 0.003


@pytest.mark.parametrize("kind", LAYERS)
def test_spectral_radius(kind):
    module = initialise(layer(kind), "spectral", radius=0.7)
    for block in blocks(module, "weight_hh_l0"):
        assert np.abs(np.linalg.eigvals(block)).max() == pytest.approx(0.7, rel=1e-5)


@pytest.mark.parametrize(
    ("name", "kind", "changed"),
    [
        ("orthogonal", "gru", {"weight_hh_l0"}),
        ("spectral", "lstm", {"weight_hh_l0"}),
        ("chrono", "lstm", {"bias_ih_l0", "bias_hh_l0"}),
        ("forget-bias", "gru", {"bias_ih_l0", "bias_hh_l0"}),
        ("identity", "rnn", {"weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"}),
    ],
)
def test_the_rest_stays_and_the_seed_decides(name, kind, changed):
    module = layer(kind)
    before = {key: p.clone() for key, p in module.named_parameters()}
    initialise(module, name, horizon=20, seed=5)
    after = {key: p.clone() for key, p in module.named_parameters()}
    assert {key for key in before if not torch.equal(before[key], after[key])} == changed
    module.load_state_dict(before)
    initialise(module, name, horizon=20, seed=5)
    assert all(torch.equal(p, after[key]) for key, p in module.named_parameters())
    assert all(p.requires_grad for p in module.parameters())


def test_every_layer_inside_a_module_and_single_cells():
    model = nn.ModuleDict({"a": nn.Sequential(nn.Linear(3, 3), nn.LSTMCell(3, H)), "b": nn.GRU(3, H)})
    assert initialise(model, "forget-bias", value=2.0) is model
    assert (model["a"][1].bias_ih[H : 2 * H] == 2).all()
    assert (model["b"].bias_ih_l0[H : 2 * H] == 2).all()


@pytest.mark.parametrize(
    ("make", "name", "options", "error", "named"),
    [
        (lambda: layer("lstm"), "chrno", {}, sw.InputError, "did you mean 'chrono'"),
        (lambda: layer("lstm"), "chrono", {}, sw.InputError, "`horizon` is None"),
        (lambda: layer("lstm"), "chrono", {"horizon": 1}, sw.InputError, "`horizon` is 1"),
        (lambda: layer("lstm"), "spectral", {"radius": 0}, sw.InputError, "`radius` is 0"),
        (lambda: layer("lstm"), "forget-bias", {"value": math.nan}, sw.InputError, "`value` is nan"),
        (lambda: layer("lstm", bias=False), "chrono", {"horizon": 9}, sw.InputError, "bias=True"),
        (lambda: layer("rnn"), "chrono", {"horizon": 9}, sw.UnsupportedError, "an RNN has none"),
        (lambda: layer("gru"), "identity", {}, sw.UnsupportedError, "use 'chrono'"),
        (lambda: layer("lstm", proj_size=2), "spectral", {}, sw.UnsupportedError, "proj_size"),
        (lambda: nn.Linear(3, 3), "orthogonal", {}, sw.InputError, "a Linear without a recurrent layer"),
    ],
)
def test_what_cannot_be_is_named(make, name, options, error, named):
    with pytest.raises(error, match=named):
        initialise(make(), name, **options)


def test_a_zero_matrix_has_no_radius_to_scale():
    module = layer("rnn")
    nn.init.zeros_(module.weight_hh_l0)
    with pytest.raises(sw.InputError, match="spectral radius 0"):
        initialise(module, "spectral")


@pytest.mark.parametrize("kind", LAYERS)
def test_our_layers_are_initialised_as_torchs(kind):
    """The same seed sets the same numbers in statewise.nn's layer."""
    ours, torchs = getattr(sw.nn, kind.upper())(3, H), layer(kind)
    ours.load_state_dict(torchs.state_dict())
    for module in (ours, torchs):
        initialise(module, "orthogonal" if kind == "rnn" else "chrono", horizon=30, seed=6)
    for name, p in torchs.named_parameters():
        assert torch.equal(dict(ours.named_parameters())[name], p)
