"""Hostile data: odd numbers, types, layouts in memory and shapes. Each is made from plain words and a seed, so that a failure can be read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
from hypothesis import strategies as st

import statewise as sw

Rng = np.random.Generator


def _holes(rng: Rng, shape: tuple[int, ...]) -> np.ndarray:
    return np.where(rng.random(shape) < 0.5, np.nan, 50 + 10 * rng.standard_normal(shape))


def _with_one(rng: Rng, shape: tuple[int, ...], odd: float) -> np.ndarray:
    values = np.asarray(50 + rng.standard_normal(shape))
    values.flat[: min(values.size, 1)] = odd
    return rng.permutation(values) if values.ndim else values


def _one_infinity(rng: Rng, shape: tuple[int, ...]) -> np.ndarray:
    return _with_one(rng, shape, float(rng.choice([np.inf, -np.inf])))


def _outlier(rng: Rng, shape: tuple[int, ...]) -> np.ndarray:
    return _with_one(rng, shape, 10.0 ** rng.uniform(6, 300))


VALUES: dict[str, Callable[[Rng, tuple[int, ...]], np.ndarray]] = {
    "plain": lambda rng, shape: 50 + 10 * rng.standard_normal(shape),
    "constant": lambda rng, shape: np.full(shape, 50.0),
    "zero": lambda rng, shape: np.zeros(shape),
    "negative zero": lambda rng, shape: np.full(shape, -0.0),
    "all missing": lambda rng, shape: np.full(shape, np.nan),
    "holes": _holes,
    "infinity": _one_infinity,
    "all infinite": lambda rng, shape: np.full(shape, np.inf),
    "huge": lambda rng, shape: 1e300 * rng.standard_normal(shape),
    "huge and opposite": lambda rng, shape: np.where(rng.random(shape) < 0.5, 1.7e308, -1.7e308),
    "large": lambda rng, shape: 1e99 * rng.standard_normal(shape),
    "tiny": lambda rng, shape: 1e-300 * rng.standard_normal(shape),
    "subnormal": lambda rng, shape: 5e-324 * rng.integers(0, 9, size=shape),
    "every scale": lambda rng, shape: rng.choice([-1.0, 1.0], size=shape) * 10.0 ** rng.uniform(-300, 300, size=shape),
    "outlier": _outlier,
    "far from zero": lambda rng, shape: 1e15 + rng.integers(0, 3, size=shape),
    "whole": lambda rng, shape: rng.integers(0, 5, size=shape).astype(np.float64),
    "negative whole": lambda rng, shape: -1.0 - rng.integers(0, 5, size=shape),
    "trend": lambda rng, shape: np.cumsum(np.ones(shape), axis=0) if shape else np.ones(shape),
    "alternating": lambda rng, shape: np.cumsum(np.ones(shape), axis=0) % 2 if shape else np.ones(shape),
    "copies": lambda rng, shape: np.broadcast_to(
        rng.standard_normal((*shape[:1], *(1 for _ in shape[1:]))), shape
    ).copy(),
}


def _object(values: np.ndarray) -> Any:
    return values.astype(object)


def _with_none(values: np.ndarray) -> Any:
    return np.where(np.isnan(values), None, values.astype(object))


def _strided(values: np.ndarray) -> Any:
    return np.repeat(values, 2, axis=0)[::2] if values.ndim else values


def _backwards(values: np.ndarray) -> Any:
    return values[::-1].copy()[::-1] if values.ndim else values


def _locked(values: np.ndarray) -> Any:
    values = values.copy()
    values.setflags(write=False)
    return values


def _masked(values: np.ndarray) -> Any:
    return np.ma.masked_invalid(values, copy=True) if np.isnan(values).any() else np.ma.masked_array(values)


# Other forms of the same numbers: the answer must be that for plain float64.
SAME: dict[str, Callable[[np.ndarray], Any]] = {
    "float64": lambda values: values,
    "object": _object,
    "None for NaN": _with_none,
    "Fortran": np.asfortranarray,
    "strided": _strided,
    "backwards": _backwards,
    "read-only": _locked,
    "big endian": lambda values: values.astype(">f8"),
    "list": lambda values: values.tolist(),
    "pandas": lambda values: (
        pd.DataFrame(values) if values.ndim == 2 else pd.Series(values) if values.ndim == 1 else values
    ),
    "polars": lambda values: pl.DataFrame(values) if values.ndim == 2 and values.size else values,
    "masked": _masked,
}

# Forms that change or spoil the numbers.
SPOILT: dict[str, Callable[[np.ndarray], Any]] = {
    "float16": lambda values: np.clip(values, -6e4, 6e4).astype(np.float16),
    "float32": lambda values: np.clip(values, -3e38, 3e38).astype(np.float32),
    "int8": lambda values: np.clip(np.nan_to_num(values), -100, 100).astype(np.int8),
    "uint64": lambda values: np.clip(np.nan_to_num(values), 0, 1e18).astype(np.uint64),
    "bool": lambda values: values > 50,
    "complex": lambda values: values + 1j,
    "text": lambda values: values.astype(str),
    "bytes": lambda values: values.astype("S8"),
    "dates": lambda values: np.clip(np.nan_to_num(values), -1e6, 1e6).astype("datetime64[D]"),
    "durations": lambda values: np.clip(np.nan_to_num(values), -1e6, 1e6).astype("timedelta64[D]"),
    "objects": lambda values: np.array([object() for _ in range(max(values.size, 1))]),
    "text among numbers": lambda values: [*values.ravel().tolist(), "x"],
    "ragged": lambda values: [[1.0, 2.0], [3.0]],
    "records": lambda values: np.zeros(3, dtype=[("a", float), ("b", float)]),
    "huge integers": lambda values: [10**400, 1, 2],
    "nested": lambda values: [[[1.0]], [[2.0]]],
    "dict": lambda values: {"y": values},
    "set": lambda values: {1.0, 2.0},
    "string": lambda values: "1,2,3",
    "none": lambda values: None,
    "number": lambda values: 3.0,
    "generator": lambda values: (x for x in values.ravel()),
    "function": lambda values: len,
    "class": lambda values: float,
    "three axes": lambda values: np.zeros((2, 3, 1)),
    "zero axes": lambda values: np.array(3.0),
    "no rows": lambda values: np.zeros((0, 1)),
    "no columns": lambda values: np.zeros((3, 0)),
    "empty list": lambda values: [],
    "list of empty": lambda values: [[]],
    "list of None": lambda values: [None, None],
    "list of texts": lambda values: ["a", "b"],
    "list of arrays of two widths": lambda values: [np.zeros((3, 1)), np.zeros((3, 2))],
    "list of arrays and numbers": lambda values: [np.zeros(3), 1.0],
    "frame of text": lambda values: pd.DataFrame({"y": ["a", "b", "c"]}),
    "frame with two columns of one name": lambda values: pd.DataFrame(np.ones((3, 2)), columns=["y", "y"]),
    "frame without rows": lambda values: pd.DataFrame({"y": []}),
    "frame without columns": lambda values: pd.DataFrame(index=[1, 2, 3]),
    "frame with odd names": lambda values: pd.DataFrame(np.ones((3, 2)), columns=[("a", 1), None]),
    "frame of objects": lambda values: pd.DataFrame({"y": [object(), object()]}),
    "frame with nullable integers": lambda values: pd.DataFrame({"y": pd.array([1, None, 3], dtype="Int64")}),
    "polars of text": lambda values: pl.DataFrame({"y": ["a", None]}),
    "polars of lists": lambda values: pl.DataFrame({"y": [[1.0], [2.0, 3.0]]}),
}


@dataclass(frozen=True)
class Spec:
    """Words that make one hostile value."""

    values: str
    form: str
    shape: tuple[int, ...]
    seed: int

    @property
    def plain(self) -> np.ndarray:
        """The numbers as float64."""
        return np.asarray(VALUES[self.values](np.random.default_rng(self.seed), self.shape))

    def make(self) -> Any:
        return (SAME | SPOILT)[self.form](self.plain)


def shapes(dim: int) -> st.SearchStrategy[tuple[int, ...]]:
    """Mostly the right number of columns, and few steps."""
    steps = st.sampled_from([1, 2, 3, 4, 7, 30])
    right = steps.map(lambda T: (T, dim))
    flat = steps.map(lambda T: (T,))
    odd = st.tuples(steps, st.sampled_from([0, 1, 2, 3, 40]))
    return st.one_of(right, right, right, flat, odd, st.just(()), st.tuples(st.just(0), st.just(dim)))


def specs(dim: int, forms: dict[str, Any] = SAME | SPOILT) -> st.SearchStrategy[Spec]:
    return st.builds(
        Spec, st.sampled_from(sorted(VALUES)), st.sampled_from(sorted(forms)), shapes(dim), st.integers(0, 2**16)
    )


# --- single arguments ---------------------------------------------------------------------------------------------------

NUMBERS = (
    0, 1, -1, 2, 3, 12, 2**31, 2**63, -(2**63), 10**30, 0.5, -0.0, 1e300, -1e300, 5e-324, float("nan"), float("inf"), float("-inf"),
    True, False, np.int8(-1), np.uint64(3), np.float16(2), np.float32("nan"), np.bool_(True), 1j,
)  # fmt: skip
THINGS = (
    None, "", "text", "gaussian", b"bytes", "\x00", "../..", [], (), {}, set(), [1], (1, 2), (0.5, 0.5), [[1.0]], {"a": 1}, [None], ["a"],
    object, len, Ellipsis, np.array([]), np.array(3), np.array([1.0, np.nan]), np.array(["a"]), np.zeros((2, 2)), np.eye(3), range(3),
    np.datetime64("2000-01-01"), slice(None), "é" * 1000, [float("inf")] * 3,
)  # fmt: skip


def arguments() -> st.SearchStrategy[Any]:
    """Anything that a caller may put in the place of an argument."""
    return st.one_of(
        st.sampled_from(range(len(NUMBERS))).map(lambda k: NUMBERS[k]),
        st.sampled_from(range(len(THINGS))).map(lambda k: THINGS[k]),
        specs(1).map(lambda spec: spec.make()),
    )


def sequences_of(value: Any) -> sw.Sequences:
    """The value as `Sequences`, through the public door."""
    return value if isinstance(value, sw.Sequences) else sw.Sequences.from_arrays([value])
