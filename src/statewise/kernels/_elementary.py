"""exp and log of whole arrays, in loops that vectorise: no branch, no call, and bits moved only by integer views.

exp: x = k ln 2 + r with |r| ≤ ½ ln 2, a Taylor polynomial of degree 13 in r (remainder below 4e-18), times 2ᵏ.
log: x = 2ᵏ m with ½√2 ≤ m < √2, log m = 2 artanh s, s = (m − 1) / (m + 1), |s| ≤ .1716, by its series up to s²¹ (remainder
below 3e-18). Source: Muller, *Elementary Functions*, 3rd ed. (2016), ch. 3 and 11.
"""

from __future__ import annotations

import numpy as np

from statewise.kernels._jit import jit

_SHIFT = 6755399441055744.0  # 1.5 · 2⁵²: adding it leaves the nearest integer in the low bits
_LOG2_E = 1.4426950408889634
_LN2_HIGH, _LN2_LOW = 0.693147180369123816490, 1.90821492927058770002e-10  # the first has 32 zero bits at its end
_LEAST = -708.0  # exp of less is below the normal doubles
_BIAS, _WIDTH = np.int64(1023), np.int64(52)
_ROOT_HALF_BITS = np.int64(0x3FE6A09E667F3BCD)


@jit(fast=True)
def exp_in_place(x, work):
    """x ← exp(x) for entries up to 700, to one unit in the last place; below −708, and for −inf, exactly 0. NaN stays NaN."""
    for i in range(x.shape[0]):
        value = x[i] if not x[i] < _LEAST else _LEAST
        work[i] = value * _LOG2_E + _SHIFT
    for i in range(x.shape[0]):
        value = x[i] if not x[i] < _LEAST else _LEAST
        k = work[i] - _SHIFT
        r = (value - k * _LN2_HIGH) - k * _LN2_LOW
        p = 1.0 / 6227020800.0
        p = p * r + 1.0 / 479001600.0
        p = p * r + 1.0 / 39916800.0
        p = p * r + 1.0 / 3628800.0
        p = p * r + 1.0 / 362880.0
        p = p * r + 1.0 / 40320.0
        p = p * r + 1.0 / 5040.0
        p = p * r + 1.0 / 720.0
        p = p * r + 1.0 / 120.0
        p = p * r + 1.0 / 24.0
        p = p * r + 1.0 / 6.0
        p = p * r + 0.5
        p = p * (r * r) + r + 1.0
        x[i] = p if not x[i] < _LEAST else 0.0
    bits = work.view(np.int64)
    for i in range(x.shape[0]):
        bits[i] = (bits[i] + _BIAS) << _WIDTH
    for i in range(x.shape[0]):
        x[i] *= work[i]


@jit(fast=True)
def log_in_place(x, work):
    """x ← log(x) for positive normal entries, to two units in the last place (absolute 1e-16 near 1)."""
    bits, high = x.view(np.int64), work.view(np.int64)
    for i in range(x.shape[0]):
        k = (bits[i] - _ROOT_HALF_BITS) >> _WIDTH
        high[i] = k
        bits[i] -= k << _WIDTH
    for i in range(x.shape[0]):
        s = (x[i] - 1.0) / (x[i] + 1.0)
        z = s * s
        p = 1.0 / 21.0
        p = p * z + 1.0 / 19.0
        p = p * z + 1.0 / 17.0
        p = p * z + 1.0 / 15.0
        p = p * z + 1.0 / 13.0
        p = p * z + 1.0 / 11.0
        p = p * z + 1.0 / 9.0
        p = p * z + 1.0 / 7.0
        p = p * z + 1.0 / 5.0
        p = p * z + 1.0 / 3.0
        k = np.float64(high[i])
        x[i] = k * _LN2_HIGH + (2.0 * s + (2.0 * s * z * p + k * _LN2_LOW))
