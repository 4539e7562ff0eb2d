"""MinGRU and LRU: the plain twins, torch's conventions, streaming, derivatives, and closed forms of what they remember."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from tests.reference import linear_scan as twin
from tests.reference.cells import diagonal_step
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import statewise as sw
from statewise.nn.diagonal import LRU, MinGRU
from statewise.nn.initialisation import initialise

LAYERS = {"mingru": MinGRU, "lru": LRU}
D, H, T, B = 3, 4, 9, 5
LENGTHS = torch.tensor([9, 4, 1, 7, 9])


def layer(kind: str, **options):
    torch.manual_seed(0)
    return LAYERS[kind](D, H, dtype=torch.float64, **options)


def data(batch_first: bool = False, seed: int = 1) -> torch.Tensor:
    shape = (B, T, D) if batch_first else (T, B, D)
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def start_of(module, seed: int = 2) -> torch.Tensor:
    size = (module.num_layers * (1 + module.bidirectional), B, module.state_size)
    made = torch.Generator().manual_seed(seed)
    return torch.randn(size, dtype=torch.complex128 if isinstance(module, LRU) else torch.float64, generator=made)


def arrays(module) -> dict[str, np.ndarray]:
    return {name: p.detach().numpy() for name, p in module.named_parameters()}


def test_a_min_gru_is_the_twin():
    """Oracle: the equations, one number at a time, to 1e-13."""
    module, x, h0 = layer("mingru"), data(), start_of(layer("mingru"))
    output, end = module(x, h0)
    for b in range(B):
        state = h0[0, b].numpy()
        for t in range(T):
            state = diagonal_step(arrays(module), x[t, b].numpy(), state)
            np.testing.assert_allclose(output[t, b].detach().numpy(), state, atol=1e-13)
        np.testing.assert_allclose(end[0, b].detach().numpy(), state, atol=1e-13)


def test_an_lru_is_the_twin():
    """Oracle: the equations, one number at a time, to 1e-13."""
    module = layer("lru", state_size=6)
    x, s0 = data(), start_of(module)
    output, end = module(x, s0)
    own = {name.removesuffix("_l0"): array for name, array in arrays(module).items()}
    own["input"] = own["input"][:, 0] + 1j * own["input"][:, 1]
    own["output"] = own["output"][..., 0] + 1j * own["output"][..., 1]
    for b in range(B):
        want, last = twin.lru(own, x[:, b].numpy(), s0[0, b].numpy())
        np.testing.assert_allclose(output[:, b].detach().numpy(), want, atol=1e-13)
        np.testing.assert_allclose(end[0, b].detach().numpy(), last, atol=1e-13)


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("options", [{}, {"num_layers": 3}, {"num_layers": 2, "bidirectional": True}])
class TestConventions:
    def test_sequences_side_by_side_are_sequences_alone(self, kind, options):
        """Batch equals loop, ragged equals cut, packed equals ragged, batch first equals time first; to 1e-13."""
        module = layer(kind, **options)
        x, h0 = data(), start_of(module)
        output, end = module(x, h0, LENGTHS)
        assert output.shape == (T, B, H * (1 + module.bidirectional))
        for b, length in enumerate(LENGTHS.tolist()):
            alone, last = module(x[:length, b], h0[:, b])
            torch.testing.assert_close(output[:length, b], alone, atol=1e-13, rtol=0)
            torch.testing.assert_close(end[:, b], last, atol=1e-13, rtol=0)
            assert (output[length:, b] == 0).all()
        turned = layer(kind, batch_first=True, **options)
        turned.load_state_dict(module.state_dict())
        again, last = turned(x.transpose(0, 1), h0, LENGTHS)
        torch.testing.assert_close(again.transpose(0, 1), output, atol=1e-13, rtol=0)
        torch.testing.assert_close(last, end, atol=1e-13, rtol=0)

    @pytest.mark.parametrize("is_sorted", [False, True])
    def test_packed_sequences(self, kind, options, is_sorted):
        """What torch packs comes back in the same packing."""
        module = layer(kind, **options)
        lengths = LENGTHS.sort(descending=True).values if is_sorted else LENGTHS
        packed = pack_padded_sequence(data(), lengths, enforce_sorted=is_sorted)
        found, end = module(packed, start_of(module))
        want, last = module(data(), start_of(module), lengths)
        assert torch.equal(found.batch_sizes, packed.batch_sizes)
        assert (found.sorted_indices is None) == is_sorted
        if not is_sorted:
            assert torch.equal(found.sorted_indices, packed.sorted_indices)
        torch.testing.assert_close(pad_packed_sequence(found)[0], want)
        torch.testing.assert_close(end, last)

    def test_a_stream_is_the_sequence(self, kind, options):
        """Steps one by one, and halves with the state carried, to 1e-13; a bidirectional layer refuses."""
        module = layer(kind, **options)
        x = data()
        if module.bidirectional:
            with pytest.raises(sw.UnsupportedError, match="from its end"):
                module.step(x[0])
            return
        want, end = module(x)
        state, outputs = None, []
        for t in range(T):
            y, state = module.step(x[t], state)
            outputs.append(y)
        torch.testing.assert_close(torch.stack(outputs), want, atol=1e-13, rtol=0)
        torch.testing.assert_close(state, end, atol=1e-13, rtol=0)
        first, middle = module(x[:4])
        second, last = module(x[4:], middle)
        torch.testing.assert_close(torch.cat([first, second]), want, atol=1e-13, rtol=0)
        torch.testing.assert_close(last, end, atol=1e-13, rtol=0)

    def test_gradients(self, kind, options):
        """Oracle: finite differences in the input, the start and every parameter; second ones in the input too."""
        module = layer(kind, **options)
        x, h0 = data()[:4, :2].requires_grad_(), start_of(module)[:, :2].requires_grad_()
        names = list(dict(module.named_parameters()))
        given = [p.detach().clone().requires_grad_() for p in module.parameters()]

        def run(x, h0, *parameters):
            arguments = (x, h0, torch.tensor([4, 2]))
            return torch.func.functional_call(module, dict(zip(names, parameters, strict=True)), arguments)

        assert torch.autograd.gradcheck(run, (x, h0, *given))
        assert torch.autograd.gradgradcheck(lambda x: run(x, h0, *given)[0], (x,))

    def test_padding_may_hold_anything(self, kind, options):
        """NaN beyond the ends reaches no output, no state and no gradient."""
        module, clean, dirty = layer(kind, **options), data(), data()
        for b, length in enumerate(LENGTHS.tolist()):
            dirty[length:, b] = torch.nan
            clean[length:, b] = 0.0
        results = []
        for x in (clean, dirty):
            x.requires_grad_()
            output, end = module(x, None, LENGTHS)
            loss = output.sum() + end.abs().sum()
            results.append((output, end, *torch.autograd.grad(loss, [x, *module.parameters()])))
        for one, other in zip(*results, strict=True):
            assert torch.equal(one, other)


@pytest.mark.parametrize("kind", LAYERS)
def test_single_precision_is_near_double(kind):
    """A hundred roundings of numbers of size 1."""
    module = layer(kind, num_layers=2)
    want, end = module(data())
    found, last = module.float()(data().float())
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), want, atol=1e-5, rtol=0)
    torch.testing.assert_close(last.to(end.dtype), end, atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", LAYERS)
def test_dropout_is_between_layers_and_in_training_only(kind):
    module = layer(kind, num_layers=2, dropout=0.5)
    assert not torch.equal(module(data())[0], module(data())[0])
    assert torch.equal(module.eval()(data())[0], module(data())[0])
    alone = layer(kind, dropout=0.5)
    assert torch.equal(alone(data())[0], alone(data())[0])


@pytest.mark.parametrize("kind", LAYERS)
def test_saved_and_loaded(kind, tmp_path):
    from safetensors.torch import load_file, save_file

    module, other = layer(kind, num_layers=2), layer(kind, num_layers=2)
    other.reset_parameters()
    assert not torch.equal(module(data())[0], other(data())[0])
    save_file(module.state_dict(), tmp_path / "layer.safetensors")
    other.load_state_dict(load_file(tmp_path / "layer.safetensors"))
    assert torch.equal(module(data())[0], other(data())[0])


# --- what they remember -----------------------------------------------------------------------------------------------


def test_a_min_gru_with_its_gate_held_is_a_leaky_average():
    """Closed form: with W_z = 0 and z = σ(b) an input counts (1 − z)^lag z after lag steps."""
    module = layer("mingru", bias=True)
    with torch.no_grad():
        module.weight_ih_l0[:H], module.bias_ih_l0[:H], module.bias_ih_l0[H:] = 0.0, -math.log(99.0), 0.0
    x = torch.zeros(T, 1, D, dtype=torch.float64)
    x[0] = 1.0
    output = module(x)[0][:, 0]
    drive = module.weight_ih_l0[H:].sum(1)
    want = 0.01 * drive * 0.99 ** torch.arange(T, dtype=torch.float64)[:, None]  # σ(−ln 99) = .01: τ = 99.5 steps
    torch.testing.assert_close(output, want, atol=1e-14, rtol=0)


def test_chrono_keeps_in_a_min_gru():
    """z renews there, so its bias is −ln U(1, T − 1): the gate 1 − z has time constants up to 99.499 at T = 100."""
    module = initialise(layer("mingru"), "chrono", horizon=100)
    keep = torch.sigmoid(-module.bias_ih_l0[:H])
    tau = (-1 / torch.log(keep)).detach().numpy()
    assert (tau >= 1.4426).all() and (tau <= 99.4992).all() and tau.max() > 10


def test_eigenvalues_lie_in_the_ring_and_stay_inside_the_circle():
    module = layer("lru", state_size=500, radius=(0.9, 0.999), max_phase=0.3)
    values = module.eigenvalues().detach()
    assert (values.abs() > 0.9).all() and (values.abs() < 0.999).all()
    assert (values.angle() >= 0).all() and (values.angle() <= 0.3).all()
    # Uniform in the ring: |λ|² uniform, with mean (.81 + .998)/2 and standard deviation .188/√12; within four standard errors.
    squared = values.abs() ** 2
    assert abs(squared.mean() - (0.9**2 + 0.999**2) / 2) < 4 * (0.999**2 - 0.9**2) / math.sqrt(12 * 500)
    torch.testing.assert_close(torch.exp(module.gamma_log_l0), torch.sqrt(1 - squared))
    with torch.no_grad():
        module.nu_log_l0.fill_(-40.0)
    assert (module.eigenvalues().abs() <= 1).all()


def test_the_normalised_state_has_the_variance_of_its_input():
    """Closed form: white input of variance v in gives E|s|² = v(1 − |λ|²ᵗ) for e^γ = √(1 − |λ|²); four standard errors over 20 000 draws."""
    module = LRU(1, 1, state_size=1, radius=(0.9, 0.95), batch_first=True, dtype=torch.float64)
    with torch.no_grad():
        module.input_l0[:] = torch.tensor([1.0, 0.0])[None, :, None]
    x = torch.randn(20_000, 200, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    size = module(x)[1].abs() ** 2
    assert abs(size.mean() - 1.0) < 4 * size.std() / math.sqrt(20_000)


def test_the_jacobian_of_an_lru_is_its_eigenvalues():
    """Oracle: torch.autograd, on the state as real and imaginary parts."""
    module = layer("lru")
    x, state = data()[0, :1], start_of(module)[:, :1]

    def after(parts: torch.Tensor) -> torch.Tensor:
        return torch.view_as_real(module.step(x, torch.view_as_complex(parts))[1]).flatten()

    found = torch.autograd.functional.jacobian(after, torch.view_as_real(state)).reshape(2 * H, 2 * H)
    want = torch.zeros(2 * H, 2 * H, dtype=torch.float64)
    for k, value in enumerate(module.eigenvalues().tolist()):
        want[2 * k : 2 * k + 2, 2 * k : 2 * k + 2] = torch.tensor(
            [[value.real, -value.imag], [value.imag, value.real]], dtype=torch.float64
        )
    torch.testing.assert_close(found, want, atol=1e-14, rtol=0)


@pytest.mark.parametrize(
    ("run", "named"),
    [
        (lambda: MinGRU(0, 3), "`input_size` is 0"),
        (lambda: MinGRU(2, 3, dropout=1.5), "`dropout` is 1.5"),
        (lambda: LRU(2, 3, radius=(0.9, 0.9)), "least below most"),
        (lambda: LRU(2, 3, radius=(0.5, 1.5)), "`radius` is 1.5"),
        (lambda: LRU(2, 3).eigenvalues(1), "`layer` is 1"),
        (lambda: LRU(2, 3).eigenvalues(0, reverse=True), "not bidirectional"),
        (lambda: MinGRU(2, 3)(torch.zeros(4, 1, 3)), "pass 2 numbers at a step"),
        (lambda: MinGRU(2, 3)(torch.zeros(4, 1, 2), torch.zeros(1, 2, 3)), "the state has shape"),
        (lambda: MinGRU(2, 3)(torch.zeros(4, 1, 2), lengths=[5]), "from 0 to 4"),
        (lambda: MinGRU(2, 3).step(torch.zeros(2)), "`x` has shape"),
        (lambda: MinGRU(2, 3)(pack_padded_sequence(torch.zeros(4, 1, 2), [4]), lengths=[4]), "its own"),
    ],
)
def test_what_does_not_fit_is_named(run, named):
    with pytest.raises(sw.InputError, match=named):
        run()
