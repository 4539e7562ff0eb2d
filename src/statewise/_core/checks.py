"""The only judge of user input.

An `Option` validates one constructor or method argument and also lists values that it must refuse, so that the contract
tests are generated from the same table that the models use. Functions further down judge arrays.
"""

from __future__ import annotations

import difflib
import math
import operator
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from statewise._core.errors import InputError


class Option(Protocol):
    """A rule for one argument: `check` returns the clean value or raises, `bad` lists values that must be refused."""

    def check(self, name: str, value: Any) -> Any: ...

    @property
    def bad(self) -> tuple[Any, ...]: ...


LARGEST = 1e100  # of an observation or an input: its square, and that over a variance, stay in the range of a double
UNITS = f"numbers beyond {LARGEST:g} have no square in double precision; give the column in larger units"


def shown(value: Any) -> str:
    """A short representation of a value for an error message."""
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape}"
    if hasattr(value, "columns") and hasattr(value, "shape"):
        return f"a frame of shape {value.shape}"
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else text[:57] + "..."


@dataclass(frozen=True)
class Integer:
    """A whole number in [low, high]."""

    low: int = 0
    high: int = 2**31 - 1

    def check(self, name: str, value: Any) -> int:
        if isinstance(value, (bool, np.bool_)):
            raise InputError(f"`{name}` is {value}; pass a whole number from {self.low} to {self.high}")
        try:
            number = operator.index(value)
        except TypeError:
            raise InputError(
                f"`{name}` is {shown(value)}; pass a whole number from {self.low} to {self.high}"
            ) from None
        if not self.low <= number <= self.high:
            raise InputError(f"`{name}` is {number}; pass a whole number from {self.low} to {self.high}")
        return number

    @property
    def bad(self) -> tuple[Any, ...]:
        return (self.low - 1, 1.5, "one", True, float("nan"))


@dataclass(frozen=True)
class Real:
    """A finite number in [low, high]; `open_low` excludes the lower end."""

    low: float = -math.inf
    high: float = math.inf
    open_low: bool = False

    def check(self, name: str, value: Any) -> float:
        try:
            if isinstance(value, (bool, np.bool_, str, bytes)) or np.iscomplexobj(value):
                raise TypeError(value)
            number = float(value)
        except (TypeError, ValueError, OverflowError):
            raise InputError(f"`{name}` is {shown(value)}; pass {self._wanted}") from None
        too_low = number <= self.low if self.open_low else number < self.low
        if not math.isfinite(number) or too_low or number > self.high:
            raise InputError(f"`{name}` is {number}; pass {self._wanted}")
        return number

    @property
    def _wanted(self) -> str:
        if math.isinf(self.low) and math.isinf(self.high):
            return "a finite number"
        if self.open_low:
            return f"a number above {self.low:g}" + ("" if math.isinf(self.high) else f", at most {self.high:g}")
        return f"a number from {self.low:g} to {self.high:g}"

    @property
    def bad(self) -> tuple[Any, ...]:
        below = () if math.isinf(self.low) else (self.low if self.open_low else self.low - 1.0,)
        above = () if math.isinf(self.high) else (self.high + 1.0,)
        return (float("nan"), float("inf"), "much", *below, *above)


@dataclass(frozen=True)
class Choice:
    """One of a few words; the error suggests the nearest one."""

    options: tuple[str, ...]

    def check(self, name: str, value: Any) -> str:
        if isinstance(value, str) and value in self.options:
            return value
        near = difflib.get_close_matches(str(value), self.options, n=1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise InputError(f"`{name}` is {shown(value)}; pass one of {', '.join(map(repr, self.options))}{hint}")

    @property
    def bad(self) -> tuple[Any, ...]:
        return ("no-such-choice", 3, None)


@dataclass(frozen=True)
class Flag:
    """True or False."""

    def check(self, name: str, value: Any) -> bool:
        if isinstance(value, (bool, np.bool_)):
            return bool(value)
        raise InputError(f"`{name}` is {shown(value)}; pass True or False")

    @property
    def bad(self) -> tuple[Any, ...]:
        return ("yes", 1, None)


@dataclass(frozen=True)
class Period:
    """Steps in a season from 2; True for the data's own; False or None for none."""

    def check(self, name: str, value: Any) -> int | bool | None:
        if value is None or isinstance(value, (bool, np.bool_)):
            return True if value else None
        return Integer(2, 10_000).check(name, value)

    @property
    def bad(self) -> tuple[Any, ...]:
        return (1, -3, 2.5, "twelve")


@dataclass(frozen=True)
class Optional:
    """None, or what the inner rule accepts."""

    inner: Option

    def check(self, name: str, value: Any) -> Any:
        return None if value is None else self.inner.check(name, value)

    @property
    def bad(self) -> tuple[Any, ...]:
        return tuple(value for value in self.inner.bad if value is not None)


@dataclass(frozen=True)
class FlagOr:
    """True, False, or what the inner rule accepts; `wanted` says the latter in words."""

    inner: Option
    wanted: str

    def check(self, name: str, value: Any) -> Any:
        if isinstance(value, (bool, np.bool_)):
            return bool(value)
        try:
            return self.inner.check(name, value)
        except InputError:
            raise InputError(f"`{name}` is {shown(value)}; pass True, False or {self.wanted}") from None

    @property
    def bad(self) -> tuple[Any, ...]:
        return tuple(value for value in self.inner.bad if not isinstance(value, bool))


@dataclass(frozen=True)
class Tuple:
    """A tuple (or list) of `size` values, each accepted by the inner rule; any number of them if `size` is None."""

    inner: Option
    size: int | None = None

    def check(self, name: str, value: Any) -> tuple[Any, ...]:
        wanted = "a tuple" if self.size is None else f"a tuple of {self.size} values"
        if not isinstance(value, (tuple, list)) and (not isinstance(value, np.ndarray) or value.ndim != 1):
            raise InputError(f"`{name}` is {shown(value)}; pass {wanted}")
        if self.size is not None and len(value) != self.size:
            raise InputError(f"`{name}` has {len(value)} values; pass {wanted}")
        return tuple(self.inner.check(name, item) for item in value)

    @property
    def bad(self) -> tuple[Any, ...]:
        size = 1 if self.size is None else self.size
        return (3.5, "text", *((value,) * size for value in self.inner.bad), *([] if self.size is None else [()]))


@dataclass(frozen=True)
class Array:
    """A finite numeric array with `ndim` axes, or with a time axis before them (its size is judged where the other sizes are known)."""

    ndim: int
    in_time: bool = False

    def check(self, name: str, value: Any) -> np.ndarray:
        more = isinstance(value, list | tuple | np.ndarray) and _depth(value) == self.ndim + 1
        return array(name, value, (None,) * (self.ndim + (self.in_time and more)))

    @property
    def bad(self) -> tuple[Any, ...]:
        return ("text", np.full((1,) * self.ndim, np.nan), np.zeros((1,) * (self.ndim + 1 + self.in_time)))


@dataclass(frozen=True)
class File:
    """The name of a file or a folder, as text."""

    def check(self, name: str, value: Any) -> str:
        try:
            text = os.fsdecode(value)
        except TypeError:
            raise InputError(f"`{name}` is {shown(value)}; pass the name of a file") from None
        if not text or "\0" in text or any(len(os.fsencode(part)) > 255 for part in text.split(os.sep)):
            raise InputError(f"`{name}` is {shown(text)}, which no file can be called; pass the name of a file")
        return text

    @property
    def bad(self) -> tuple[Any, ...]:
        return (3, "", "a\0b", "x" * 300, ["file"])


def _depth(value: Any) -> int:
    """How many axes an array or a nested list has."""
    if isinstance(value, np.ndarray):
        return value.ndim
    return 1 + (_depth(value[0]) if value else 0) if isinstance(value, list | tuple) else 0


def options(table: Mapping[str, Option], given: Mapping[str, Any]) -> dict[str, Any]:
    """The given values, each judged by its rule in the table."""
    unknown = sorted(set(given) - set(table))
    if unknown:
        near = difflib.get_close_matches(unknown[0], table, n=1)
        hint = f"did you mean `{near[0]}`?" if near else f"the options are {', '.join(sorted(table))}"
        raise InputError(f"there is no option `{unknown[0]}`; {hint}")
    return {name: table[name].check(name, value) for name, value in given.items()}


def array(name: str, value: Any, shape: Sequence[int | None], *, allow_nan: bool = False) -> np.ndarray:
    """`value` as a fresh, contiguous float64 array of the given shape (None: any size along that axis).

    Raises `InputError` for text, objects, complex numbers, another number of axes, another size, infinities, and for
    NaN unless `allow_nan`.
    """
    wanted = "(" + ", ".join("any" if size is None else str(size) for size in shape) + ")"
    try:
        given = np.asarray(value)
        if given.dtype.kind not in "biufO" or (given.dtype.kind == "O" and any(isinstance(x, str) for x in given.flat)):
            raise TypeError(given.dtype)
        result = np.array(given, dtype=np.float64, order="C")
    except (TypeError, ValueError, OverflowError):
        what = "has complex numbers" if _is_complex(value) else f"is {shown(value)}, which is not an array of numbers"
        raise InputError(f"`{name}` {what}; pass real numbers of shape {wanted}") from None
    fits = result.ndim == len(shape) and all(
        want is None or have == want for have, want in zip(result.shape, shape, strict=True)
    )
    if not fits:
        raise InputError(f"`{name}` has shape {result.shape}; pass shape {wanted}")
    if np.isinf(result).any():
        raise InputError(f"`{name}` has {int(np.isinf(result).sum())} infinite entries; pass finite numbers")
    if not allow_nan and np.isnan(result).any():
        raise InputError(f"`{name}` has {int(np.isnan(result).sum())} NaN entries; pass finite numbers")
    return result


def listed(name: str, value: Any, wanted: str = "a list") -> list[Any]:
    """The items of anything that has some, text excepted."""
    try:
        if isinstance(value, (str, bytes)):
            raise TypeError(value)
        return list(value)
    except (TypeError, ValueError):
        raise InputError(f"`{name}` is {shown(value)}; pass {wanted}") from None


def counted(name: str, value: Any, each: int = 1, low: int = 1) -> int:
    """A whole number from `low`, of things with `each` numbers, all of which half of the machine's memory can hold."""
    number = Integer(low).check(name, value)
    needed, there = 8 * number * each, _memory()
    if needed > there / 2:
        raise InputError(
            f"`{name}` is {number}, for which {needed / 2**30:.3g} GiB are needed; this machine has {there / 2**30:.3g}: pass fewer"
        )
    return number


def _memory() -> float:
    """Bytes of memory of the machine; where it does not say, as if 16 GiB."""
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, OSError, ValueError):
        return 16.0 * 2**30


def too_large(values: np.ndarray) -> np.ndarray:
    """Where values are infinite, or finite and beyond `LARGEST`; NaN is neither."""
    return np.asarray(np.abs(values) > LARGEST)


def signal(name: str, value: Any, width: int) -> np.ndarray:
    """(T, width) numbers of `array`, T from 1; (T,) or (T, 1) serves all columns alike."""
    try:
        given = np.asarray(value)
    except ValueError:  # ragged
        given = np.empty(0, dtype=str)
    given = given[:, None] if given.ndim == 1 else given
    clean = array(name, given, (None, None if given.ndim == 2 and given.shape[1] == 1 else width))
    if not len(clean):
        raise InputError(f"`{name}` has no step; pass at least one")
    return np.repeat(clean, width, axis=1) if clean.shape[1] != width else clean


def row(name: str, value: Any, size: int | None, *, allow_nan: bool = False) -> np.ndarray:
    """(size,) one step of observations or inputs: numbers of `array`, within `LARGEST`; a number is a row of one."""
    try:
        given = np.atleast_1d(value)
    except ValueError:  # ragged
        given = value
    clean = array(name, given, (size,), allow_nan=allow_nan)
    if too_large(clean).any():
        raise InputError(f"`{name}` has the entry {clean[too_large(clean)][0]:g}; {UNITS}")
    return clean


def _is_complex(value: Any) -> bool:
    try:
        return bool(np.iscomplexobj(value))
    except ValueError:  # ragged
        return False


def covariance(name: str, value: Any, size: int) -> np.ndarray:
    """A symmetric positive semi-definite (size, size) matrix, within rounding.

    It is judged as a correlation matrix, so that the verdict does not depend on the units of the coordinates.
    """
    matrix = array(name, value, (size, size))
    variances = np.diagonal(matrix)
    if size and variances.min() < -1e-14 * np.abs(matrix).max():
        raise InputError(
            f"`{name}` has the negative variance {variances.min():.3g}; pass a positive semi-definite matrix"
        )
    units = np.sqrt(np.where(variances > 0, variances, 1.0))
    scaled = matrix / units[:, None] / units
    asymmetry = float(np.abs(scaled - scaled.T).max(initial=0.0))
    if asymmetry > 1e-8:
        raise InputError(
            f"`{name}` is not symmetric (off by {asymmetry:.3g} as correlations); pass a covariance matrix"
        )
    lowest = float(np.linalg.eigvalsh((scaled + scaled.T) / 2)[0]) if size else 0.0
    if lowest < -1e-8:
        raise InputError(
            f"`{name}` has a negative eigenvalue ({lowest:.3g} as correlations); pass a positive semi-definite matrix"
        )
    return (matrix + matrix.T) / 2


def probabilities(name: str, value: Any, shape: Sequence[int]) -> np.ndarray:
    """Non-negative numbers that sum to 1 along the last axis: to 1e-6, and the result to rounding. Rows that do so already stay as they are."""
    table = array(name, value, shape)
    if (table < 0).any():
        raise InputError(f"`{name}` has the negative entry {table.min():g}; pass probabilities from 0 to 1")
    sums = table.sum(axis=-1, keepdims=True)
    worst = float(np.abs(sums - 1).max())
    if worst > 1e-6:
        raise InputError(f"`{name}` has a row that sums to {float(sums.flat[np.abs(sums - 1).argmax()]):g}; make it 1")
    return np.where(np.abs(sums - 1) <= 1e-14, table, table / sums)


def levels(value: Any) -> tuple[float, ...]:
    """Interval levels in per cent, such as (80, 95), sorted."""
    single = not isinstance(value, Iterable) or getattr(value, "ndim", 1) == 0
    given = (value,) if single else tuple(listed("level", value))
    if not given:
        raise InputError("`level` is empty; pass percentages such as (80, 95)")
    rule = Real(0.0, 100.0, open_low=True)
    clean = tuple(sorted({rule.check("level", item) for item in given}))
    if clean[-1] >= 100.0:
        raise InputError("`level` is 100; an interval that holds everything is infinite: pass a number below 100")
    if clean[0] <= 1.0:
        raise InputError(f"`level` is {clean[0]:g}; levels are percentages: pass {100 * clean[0]:g}")
    return clean
