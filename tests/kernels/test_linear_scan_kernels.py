"""The scan's loops against the plain twin: every layout, type and length."""

from __future__ import annotations

import numpy as np
import pytest
from tests.reference import linear_scan as twin

from statewise.kernels import linear_scan as kernels

# A twelve-step recurrence with |a| ≤ 1 and the twin's sums of a dozen products: some hundred roundings of numbers below 10.
ROUNDING = {"float32": 1e-4, "float64": 1e-12, "complex64": 1e-4, "complex128": 1e-12}
SHAPES = [(12, 3, 5), (1, 2, 3), (7, 1, 64), (5, 1, 3), (3, 4, 1)]
LENGTHS = {"dense": None, "ragged": [3, 0, 12, 1]}


def numbers(rng: np.random.Generator, shape: tuple[int, ...], kind: str) -> np.ndarray:
    values = rng.normal(size=shape)
    return (values + 1j * rng.normal(size=shape) if kind.startswith("complex") else values).astype(kind)


def problem(shape, kind, ragged, constant, seed=0):
    """a, b, start, g, all (T, B, H)-wise, a full lengths array, and the lengths to pass."""
    rng = np.random.default_rng(seed)
    steps, count, hidden = shape
    a = numbers(rng, (hidden,) if constant else shape, kind)
    a /= np.maximum(1, np.abs(a))
    lengths = np.full(count, steps)
    if ragged:
        lengths = np.minimum(np.resize(LENGTHS["ragged"], count), steps)
    return a, numbers(rng, shape, kind), numbers(rng, (count, hidden), kind), numbers(rng, shape, kind), lengths


def ours(a, b, start, g, lengths, batch_first):
    """h, da, db, dstart from the kernels, in memory that was NaN before, given back with time first."""
    turn = (lambda x: np.ascontiguousarray(np.swapaxes(x, 0, 1))) if batch_first else (lambda x: x)
    a, b, g = a if a.ndim == 1 else turn(a), turn(b), turn(g)
    h, db = np.full_like(b, np.nan), np.full_like(b, np.nan)
    da = np.zeros_like(start) if a.ndim == 1 else np.full_like(a, np.nan)
    dstart = np.zeros_like(start)
    kernels.scan(a, b, start, lengths, batch_first, h)
    kernels.scan_gradient(a, start, lengths, batch_first, h, g, da, db, dstart)
    return turn(h), da.sum(0) if a.ndim == 1 else turn(da), turn(db), dstart


@pytest.mark.parametrize("threads", ["1", "3"])
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize("constant", [False, True])
@pytest.mark.parametrize("kind", ROUNDING)
@pytest.mark.parametrize("shape", SHAPES)
def test_values_and_gradients_are_the_twins(shape, kind, constant, ragged, batch_first, threads, monkeypatch):
    monkeypatch.setenv("STATEWISE_THREADS", threads)
    monkeypatch.setattr("statewise.kernels.linear_scan._WORTH_SHARING", 0)
    a, b, start, g, lengths = problem(shape, kind, ragged, constant)
    full = np.broadcast_to(a, shape)
    wide = [x.astype("complex128" if kind.startswith("complex") else "float64") for x in (full, b, start, g)]
    want_h = twin.scan(*wide[:3], lengths)
    want_a, want_b, want_start = twin.gradient(*wide[:3], lengths, wide[3])
    h, da, db, dstart = ours(a, b, start, g, lengths if ragged else None, batch_first)
    assert h.dtype == da.dtype == kind
    np.testing.assert_allclose(h, want_h, atol=ROUNDING[kind])
    np.testing.assert_allclose(da, want_a.sum((0, 1)) if constant else want_a, atol=ROUNDING[kind])
    np.testing.assert_allclose(db, want_b, atol=ROUNDING[kind])
    np.testing.assert_allclose(dstart, want_start, atol=ROUNDING[kind])


@pytest.mark.parametrize("constant", [False, True])
@pytest.mark.parametrize("batch_first", [False, True])
def test_what_lies_beyond_the_end_is_not_read(batch_first, constant):
    """NaN and infinity in the padding reach nothing, in value or gradient."""
    a, b, start, g, lengths = problem((12, 4, 5), "float64", True, constant)
    clean = ours(a, b, start, g, lengths, batch_first)
    for s, end in enumerate(lengths):
        b[end:, s], g[end:, s] = np.nan, np.inf
        if not constant:
            a[end:, s] = np.nan
    for found, want in zip(ours(a, b, start, g, lengths, batch_first), clean, strict=True):
        np.testing.assert_array_equal(found, want)


def test_a_nan_stays_in_its_column_and_after_its_step():
    """Closed form: everything else is what it was, to the last bit."""
    a, b, start, g, _ = problem((12, 3, 5), "float64", False, False)
    clean = ours(a, b, start, g, None, False)[0]
    b[4, 1, 2] = np.nan
    found = ours(a, b, start, g, None, False)[0]
    assert np.isnan(found[4:, 1, 2]).all()
    found[4:, 1, 2] = clean[4:, 1, 2]
    np.testing.assert_array_equal(found, clean)


def test_the_geometric_sum():
    """Closed form: a = s, b = 1 gives (1 − sᵗ)/(1 − s); a = .9 leaves half of the start after 6.578813 steps, .9⁷ after seven."""
    h = np.empty((50, 1, 1))
    kernels.scan(np.array([0.9]), np.ones((50, 1, 1)), np.zeros((1, 1)), None, False, h)
    np.testing.assert_allclose(h.ravel(), (1 - 0.9 ** np.arange(1, 51)) / 0.1, rtol=1e-13)
    kernels.scan(np.array([0.9]), np.zeros((50, 1, 1)), np.ones((1, 1)), None, False, h)
    assert h[6, 0, 0] == pytest.approx(0.9**7, rel=1e-14)


def test_an_overflow_is_infinite_and_no_error():
    h = np.empty((2000, 1, 1))
    with np.errstate(over="ignore"):  # plain Python warns, where nothing is compiled
        kernels.scan(np.array([2.0]), np.ones((2000, 1, 1)), np.zeros((1, 1)), None, False, h)
    assert np.isinf(h[-1, 0, 0]) and np.isfinite(h[1000, 0, 0])


def test_an_error_in_a_thread_comes_through(monkeypatch):
    monkeypatch.setenv("STATEWISE_THREADS", "3")
    monkeypatch.setattr(kernels, "_WORTH_SHARING", 0)

    def work(*box):
        raise ValueError(f"part {box}")

    with pytest.raises(ValueError, match="part"):
        kernels._share(work, (8, 5, 1, 4))
