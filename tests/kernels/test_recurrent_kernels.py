"""The recurrent kernels' building blocks: vector mathematics against NumPy's long doubles, products against NumPy, plain Python against compiled."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from statewise.kernels import _lanes, _vector_math
from statewise.kernels._jit import jit
from statewise.kernels._product import product
from statewise.kernels._weights import weight_gradient


@jit
def each_tanh(x, out):
    for j in range(0, x.shape[1], _lanes.width(x)):
        _lanes.store(out, 0, j, _vector_math.tanh(_lanes.load(x, 0, j)))


@jit
def each_sigmoid(x, out):
    for j in range(0, x.shape[1], _lanes.width(x)):
        _lanes.store(out, 0, j, _vector_math.sigmoid(_lanes.load(x, 0, j)))


@jit
def each_total(x, out):
    for j in range(0, x.shape[1], _lanes.width(x)):
        out[0, j] = _lanes.total(_lanes.load(x, 0, j))


def applied(function, x):
    out = np.full_like(x, np.nan)
    function(x, out)
    return out


def points(dtype):
    """Both tails, the middle, and arguments so small that exp(x) − 1 would lose them."""
    grid = np.concatenate(
        [
            np.linspace(-30, 30, 4096),
            np.linspace(-0.5, 0.5, 2048),
            np.logspace(-30, 0, 1024),
            -np.logspace(-30, 0, 1024),
        ]
    )
    return grid.astype(dtype).reshape(1, -1)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_tanh_and_sigmoid_are_within_two_units(dtype):
    """Relative error, everywhere: rounding of q, of the sum and of the quotient, half a unit each, and a half to spare."""
    x = points(dtype)
    wide = x.astype(np.longdouble)
    for function, exact in ((each_tanh, np.tanh(wide)), (each_sigmoid, 1 / (1 + np.exp(-wide)))):
        error = np.abs(applied(function, x) - exact) / np.where(exact == 0, 1, np.abs(exact))
        assert error.max() < 2 * np.finfo(dtype).eps


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_ends_of_the_range(dtype):
    x = np.resize(np.array([np.inf, -np.inf, np.nan, 0.0, 1e30, -1e30], dtype), 16)[None]
    found = applied(each_tanh, x)[0, :6]
    np.testing.assert_array_equal(found, [1, -1, np.nan, 0, 1, -1])
    low, nan, half = applied(each_sigmoid, x)[0, 1:4]
    assert 0 <= low < 1e-34 and np.isnan(nan) and half == 0.5
    assert applied(each_sigmoid, x)[0, 0] == 1


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("rows", [1, 3, 4, 9])
@pytest.mark.parametrize("blocks", [1, 2, 3, 7, 8, 13])
def test_products(rows, blocks, dtype):
    """Every remainder of rows and columns, nothing written outside. Sums of 11 products: 11 ε of their size."""
    rng = np.random.default_rng(0)
    lanes = 64 // np.dtype(dtype).itemsize
    a, w = (
        rng.standard_normal((rows + 2, 15)).astype(dtype),
        rng.standard_normal((13, (blocks + 2) * lanes)).astype(dtype),
    )
    out = np.full((rows + 3, (blocks + 3) * lanes), 7.0, dtype)
    product(a, 1, rows, 3, 14, w, 2, lanes, blocks * lanes, out, 2, 2 * lanes)
    wanted = np.full_like(out, 7.0)
    wanted[2 : 2 + rows, 2 * lanes : (2 + blocks) * lanes] = (
        a[1 : 1 + rows, 3:14] @ w[2:13, lanes : (1 + blocks) * lanes]
    )
    np.testing.assert_allclose(out, wanted, rtol=0, atol=100 * np.finfo(dtype).eps)


@pytest.mark.parametrize("rows", [1, 64, 65, 200])
def test_gradients_of_weights(rows):
    """Operandᵀ · gradients in the blocks that meet the input or the state."""
    rng = np.random.default_rng(0)
    operand, d_gates = rng.standard_normal((rows, 3 + 1 + 8)), rng.standard_normal((rows, 4 * 8))
    both = np.zeros((12, 32))
    into, onto, cut = np.array([1, 2, 0]), np.array([1, 2, 3]), rows // 3
    weight_gradient(operand, 0, cut, d_gates, 0, 3, into, onto, both)
    later = np.concatenate([np.full((2, 32), np.nan), d_gates[cut:]])
    weight_gradient(operand, cut, rows - cut, later, 2, 3, into, onto, both)
    wanted = operand.T @ d_gates
    wanted[4:, :8] = 0
    wanted[:3, 24:] = 0
    np.testing.assert_allclose(both, wanted, rtol=0, atol=1e-13 * rows)


def test_total_of_a_block():
    x = np.arange(16.0)[None]
    out = applied(each_total, x)
    assert out[0, 0] == 28.0 and out[0, 8] == 92.0


def all_numbers() -> dict[str, list[float]]:
    """Outputs and gradients of every kernel, and steps: run in a fresh interpreter, compiled or not."""
    import torch

    import statewise as sw
    from statewise.nn import recurrent

    recurrent.torch_is_faster = lambda *_: False
    torch.manual_seed(0)
    found = {}
    for kind, options in (("RNN", {}), ("RNN", {"nonlinearity": "relu"}), ("GRU", {}), ("LSTM", {})):
        for dtype in (torch.float32, torch.float64):
            extra = {"time_constant": 1.5, "recurrent_dropout": 0.3, "layer_norm": True}
            layer = getattr(sw.nn, kind)(3, 9, bidirectional=True, dtype=dtype, **extra, **options)
            x = torch.randn(5, 6, 3, dtype=dtype, requires_grad=True)
            output = layer(x, lengths=[5, 3, 5, 1, 2, 5], elapsed=torch.rand(5, 6, dtype=dtype))[0]
            numbers = [output, *torch.autograd.grad((output**2).sum(), [x, *layer.parameters()])]
            alone = getattr(sw.nn, kind)(3, 9, dtype=dtype, **options)
            numbers.append(torch.from_numpy(alone.step(np.ones(3, x.detach().numpy().dtype))[0]))
            found[f"{kind} {options} {dtype}"] = [
                float(a) for tensor in numbers for a in tensor.detach().double().ravel()
            ]
    return found


def test_without_compilation():
    """NUMBA_DISABLE_JIT=1 runs the same kernels as plain Python, in which a division by zero or a wrong index is an error.

    Rounding differs by fused products: 1e-5 in float32 and 1e-12 in float64, on numbers up to ten or so.
    """
    root = Path(__file__).parents[2]
    program = (
        "import json; from tests.kernels.test_recurrent_kernels import all_numbers; print(json.dumps(all_numbers()))"
    )
    paths = os.pathsep.join([str(root), str(root / "src")])
    results = []
    for disabled in ("0", "1"):
        environment = os.environ | {"NUMBA_DISABLE_JIT": disabled, "PYTHONPATH": paths}
        done = subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, text=True, cwd=root
        )
        assert done.returncode == 0, done.stderr
        results.append(json.loads(done.stdout))
    for name, compiled in results[0].items():
        scale = max(1.0, max(map(abs, compiled)))
        np.testing.assert_allclose(results[1][name], compiled, rtol=0, atol=(1e-5 if "32" in name else 1e-12) * scale)
