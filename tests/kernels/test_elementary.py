"""exp and log of whole arrays against NumPy's, in units in the last place; mpmath-free, since NumPy's own are within one unit."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from statewise.kernels._elementary import exp_in_place, log_in_place

EPS = np.finfo(float).eps


def applied(function, values):
    x = np.array(values, dtype=float)
    function(x, np.empty_like(x))
    return x


@given(st.lists(st.floats(-707.9, 700.0), min_size=1, max_size=50))
def test_exp_is_within_two_units(values):
    """Ours is within one unit of the truth and NumPy's within one: relative 2 ε."""
    np.testing.assert_allclose(applied(exp_in_place, values), np.exp(values), rtol=2 * EPS)


@given(st.lists(st.floats(1e-300, 1e300), min_size=1, max_size=50))
def test_log_is_within_two_units(values):
    """Relative 2 ε, and absolute ε / 2 where the logarithm itself vanishes, near 1."""
    np.testing.assert_allclose(applied(log_in_place, values), np.log(values), rtol=2 * EPS, atol=EPS / 2)


def test_ends_of_the_range():
    assert applied(exp_in_place, [-np.inf, -709.0, -1e300, 0.0]).tolist() == [0.0, 0.0, 0.0, 1.0]
    assert np.isnan(applied(exp_in_place, [1.0, np.nan]))[1]
    assert applied(log_in_place, [1.0, 2.0**-1022, 2.0**1023]).tolist() == [0.0, np.log(2.0**-1022), np.log(2.0**1023)]


@pytest.mark.parametrize("length", [1, 3, 4, 7, 8, 9, 33])
def test_every_length_gives_the_same_numbers(length):
    """The vectorised body and its scalar rest agree to the last bit, fused products apart: 1 ε."""
    x = np.linspace(-30.0, 30.0, 64)
    whole = applied(exp_in_place, x)
    np.testing.assert_allclose(applied(exp_in_place, x[:length]), whole[:length], rtol=EPS)


def test_without_compilation():
    code = (
        "import numpy as np; from statewise.kernels._elementary import exp_in_place as e, log_in_place as l\n"
        "x = np.linspace(-700.0, 700.0, 9); y = x.copy(); w = np.empty(9); e(y, w); z = y.copy(); l(z, w)\n"
        "assert np.allclose(y, np.exp(x), rtol=4e-16) and np.allclose(z, x, rtol=4e-16, atol=2e-16)"
    )
    subprocess.run([sys.executable, "-c", code], env=os.environ | {"NUMBA_DISABLE_JIT": "1"}, check=True)
