"""The one numba policy, so that every kernel is compiled alike.

Nopython, cached on disk, without the GIL (threads may call serial kernels side by side), and with NumPy's error model:
a division by zero gives inf or NaN as in NumPy, and no check for it stands in the way of vectorisation. Under
``NUMBA_DISABLE_JIT=1`` the same functions run as plain Python; the tests use that, so kernels do not divide by zero.

Fast math is never on by default. ``fast=True`` opts into `FAST`, the subset of LLVM's flags that keeps NaN and
infinities: contraction into fused multiply-adds, division by way of the reciprocal, and no signed zeros. It leaves out
``nnan`` and ``ninf`` (under which a test for NaN is compiled away) and ``reassoc`` (under which sums depend on the
machine).

Decorate a function once: numba's cache tells functions apart by name and line, not by flags.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, overload

import numba

F = TypeVar("F", bound=Callable[..., Any])

FAST = frozenset({"contract", "arcp", "nsz"})


@overload
def jit(function: F) -> F: ...
@overload
def jit(*, fast: bool = False, inline: bool = False) -> Callable[[F], F]: ...
def jit(function: Any = None, *, fast: bool = False, inline: bool = False) -> Any:
    """Compile a kernel: ``@jit``, or ``@jit(fast=True)`` for the NaN-safe fast math; `inline` is for tiny helpers."""
    decorate = _policy(fast=fast, parallel=False, inline=inline)
    return decorate if function is None else decorate(function)


@overload
def parallel_jit(function: F) -> F: ...
@overload
def parallel_jit(*, fast: bool = False) -> Callable[[F], F]: ...
def parallel_jit(function: Any = None, *, fast: bool = False) -> Any:
    """Compile a kernel whose `numba.prange` loops (over sequences) run on all of numba's threads."""
    decorate = _policy(fast=fast, parallel=True, inline=False)
    return decorate if function is None else decorate(function)


def _policy(*, fast: bool, parallel: bool, inline: bool) -> Callable[[Any], Any]:
    flags: dict[str, Any] = {
        "nogil": True,
        "error_model": "numpy",
        "fastmath": set(FAST) if fast else False,
        "parallel": parallel,
        "inline": "always" if inline else "never",
    }

    def decorate(function: Any) -> Any:
        try:
            return numba.njit(function, cache=True, **flags)
        except RuntimeError as error:
            # A read-only installation without a writable home folder has no place for the cache.
            if "cannot cache" not in str(error):
                raise
            return numba.njit(function, cache=False, **flags)

    return decorate
