"""Times: reading them, their spacing, the season that the spacing suggests, and the times after the end.

A time is a datetime64[us] in UTC without a zone, or a plain float64. Nothing here depends on the machine's own time
zone.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from statewise._core import checks
from statewise._core.errors import InputError

if TYPE_CHECKING:
    from statewise.sequences.sequences import Sequences

ADVICE = "write dates as 2020-12-31, 2020-12-31 18:00, 2020-12 or 2020Q4, or times as plain numbers"
YEAR_NAMES = frozenset({"year", "years", "yr", "date", "ds"})
MISSING = frozenset({"", "na", "n/a", "nan", "nat", "none", "null", ".", "<na>"})

_MINUTE, _DAY = 60_000_000, 86_400_000_000  # in microseconds
_NICE = np.array(
    [m * _MINUTE for m in (5, 10, 15, 20, 30, 60, 120, 180, 240, 360, 480, 720)] + [d * _DAY for d in (1, 7, 14, 28)]
)
_UNIFORM = re.compile(r"\d{4}-\d{2}(-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?)?)?")
_DATE = re.compile(
    r"(\d{4})(?:[-/](\d{1,2})(?:[-/](\d{1,2})(?:[T ](\d{1,2}):(\d{2})(?::(\d{2})(?:\.(\d{1,9}))?)?)?)?)?"
    r"\s*(Z|UTC|[+-]\d{2}(?::?\d{2})?)?"
)
_NUMBER = re.compile(r"[+-]?\d+(\.\d*)?([eE][+-]?\d+)?")
_QUARTER = re.compile(r"(\d{4})[-\s]?[Qq]([1-4])")


class UnreadableTimeError(InputError):
    """A time that cannot be understood; `row` is its position and `problem` what is wrong with it."""

    def __init__(self, name: str, row: int, problem: str) -> None:
        super().__init__(f"`{name}`[{row}] {problem}")
        self.row, self.problem = row, problem


# --- reading --------------------------------------------------------------------------------------------------------


def parse_times(column: Any, name: str = "times", guess: bool = False) -> np.ndarray:
    """Times as (rows,) datetime64[us] or float64.

    Understood are datetime64, Python and pandas dates, periods, and text: ISO dates and times ("2020-12-31",
    "2020/12/31", "2020-12-31T18:00:00.5"), months ("1949-01"), quarters ("1959Q1", "1959-Q1"). A time with a zone or an
    offset is converted to UTC and kept without the zone. Numbers, also as text, stay numbers; but with `guess`, as for
    a column of a file, two kinds are dates: whole numbers from 1000 to 2999 if `name` is year, years, yr, date or ds,
    and eight-digit numbers that are all valid days, such as 20201231.

    Raises:
        InputError: a time is missing or not understood; the message names its position, and says what to write.
    """
    try:
        given = np.asarray(column)
    except ValueError:
        raise InputError(f"`{name}` is {checks.shown(column)}; pass one time a row") from None
    if given.ndim != 1:
        raise InputError(f"`{name}` has shape {given.shape}; pass one time a row")
    if np.issubdtype(given.dtype, np.datetime64):
        clean = given.astype("datetime64[us]")
        return _complete(clean, np.isnat(clean), name)
    if np.issubdtype(given.dtype, np.timedelta64):
        raise InputError(f"`{name}` are durations; pass numbers, such as seconds since the start")
    if given.dtype.kind in "iuf":
        numbers = given.astype(np.float64)
    else:
        cells = [str(cell).strip() for cell in given.tolist()]
        if given.dtype.kind == "b" or not (given.dtype.kind in "OUST" or hasattr(given.dtype, "na_object")):
            raise InputError(f"`{name}` has type {given.dtype}; {ADVICE}")
        _complete(given, np.array([cell.casefold() in MISSING for cell in cells]), name)
        try:
            numbers = np.array([float(cell) for cell in cells])
        except ValueError:
            return _from_text(cells, name)
    _complete(numbers, np.isnan(numbers), name)
    if np.isinf(numbers).any():
        raise UnreadableTimeError(name, int(np.flatnonzero(np.isinf(numbers))[0]), "is infinite; pass finite numbers")
    return _from_numbers(numbers, name) if guess else numbers


def _complete(times: np.ndarray, missing: np.ndarray, name: str) -> np.ndarray:
    if missing.any():
        raise UnreadableTimeError(name, int(np.flatnonzero(missing)[0]), "is missing; every row needs a time")
    return times


def _from_numbers(numbers: np.ndarray, name: str) -> np.ndarray:
    if not numbers.size or (numbers != np.floor(numbers)).any():
        return numbers
    if name.casefold() in YEAR_NAMES and numbers.min() >= 1000 and numbers.max() <= 2999:
        return (numbers.astype(np.int64) - 1970).astype("datetime64[Y]").astype("datetime64[us]")
    if numbers.min() >= 1000_01_01 and numbers.max() <= 2999_12_31:
        digits = [str(int(number)) for number in numbers]
        try:
            return np.array([f"{d[:4]}-{d[4:6]}-{d[6:]}" for d in digits], dtype="datetime64[us]")
        except ValueError:
            return numbers
    return numbers


def _from_text(cells: Sequence[str], name: str) -> np.ndarray:
    if _UNIFORM.fullmatch(cells[0]) and len({len(cell) for cell in cells}) == 1:
        try:
            return np.array(cells, dtype="datetime64[us]")
        except ValueError:
            pass  # the loop below names the row
    parsed: list[datetime] = []
    zoned = 0
    for row, cell in enumerate(cells):
        moment = _moment(cell)
        if moment is None:
            raise _unreadable(name, row, cells)
        zoned += moment.tzinfo is not None
        if zoned not in (0, row + 1):
            raise UnreadableTimeError(
                name, row, f"is {checks.shown(cell)}: some times have a zone and some have none; write all alike"
            )
        parsed.append(moment.replace(tzinfo=None))
    return np.array(parsed, dtype="datetime64[us]")


def _unreadable(name: str, row: int, cells: Sequence[str]) -> UnreadableTimeError:
    """The error for a cell that is no date; where most cells are plain numbers, the first that is none is at fault."""
    plain = [bool(_NUMBER.fullmatch(cell)) for cell in cells]
    row = plain.index(False) if sum(plain) >= len(plain) / 2 else row
    return UnreadableTimeError(name, row, f"is {checks.shown(cells[row])}, not a time that can be read; {ADVICE}")


def _moment(text: str) -> datetime | None:
    """The time that a text means, in UTC if it has a zone, or None."""
    quarter, match = _QUARTER.fullmatch(text), _DATE.fullmatch(text)
    try:
        if quarter:
            return datetime(int(quarter[1]), 3 * int(quarter[2]) - 2, 1)
        if not match:
            return None
        year, month, day, hour, minute, second, fraction, zone = match.groups()
        iso = f"{year}-{int(month or 1):02}-{int(day or 1):02}T{int(hour or 0):02}:{minute or '00'}:{second or '00'}"
        iso += f".{fraction[:6]:0<6}" if fraction else ""
        moment = datetime.fromisoformat(iso + ("+00:00" if zone in ("Z", "UTC") else zone or ""))
        return moment.astimezone(UTC) if zone else moment
    except (ValueError, OverflowError):  # no such day or hour, or a year outside 1 to 9999
        return None


def time_text(time: Any) -> str:
    """A time as short text: 2020-12-31, 2020-12-31T18:00:00, or the number."""
    if not isinstance(time, np.datetime64):
        return f"{time:g}"
    day = time.astype("datetime64[D]")
    return (
        str(day)
        if day == time
        else str(time.astype("datetime64[s]"))
        if time.astype("datetime64[s]") == time
        else str(time)
    )


# --- spacing --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Spacing:
    """The step from one time to the next: calendar months, or microseconds, or business days (`weekend` skipped)."""

    months: int = 0
    micros: int = 0
    weekend: bool = False
    regular: bool = True


def spacing(times: np.ndarray) -> Spacing | None:
    """The usual step of increasing datetimes; steps may be missing. None for fewer than two times or for numbers."""
    if len(times) < 2 or not np.issubdtype(times.dtype, np.datetime64):
        return None
    months = _calendar_months(times, tolerance=0.0)
    if months:
        return Spacing(months=months)
    gaps = np.diff(times).astype(np.int64)
    middle = float(np.median(gaps))
    unit = int(_NICE[np.abs(np.log(_NICE / middle)).argmin()])
    nice = abs(middle / unit - 1) < 0.01
    unit = unit if nice else max(1, round(middle))
    multiples = np.round(gaps / unit)
    steady = (np.abs(gaps / unit - multiples) <= (0.1 if nice else 0.01)) & (multiples >= 1)
    if steady.mean() >= 0.99 and (multiples == 1).mean() >= 0.5:
        return Spacing(micros=unit, weekend=unit == _DAY and _skips_weekends(times))
    months = _calendar_months(times, tolerance=0.1)
    return Spacing(months=months) if months else Spacing(micros=max(1, round(middle)), regular=False)


def _calendar_months(times: np.ndarray, tolerance: float) -> int:
    """Months in a step if the times keep their place in the month, else 0.

    With `tolerance` 0 they must all be on one day of the month (or on the last, where the month is shorter); otherwise
    they may be off by that share of a month.
    """
    month, day, length = _calendar(times)
    number = month.astype(np.int64)
    if tolerance == 0.0:
        if (day != np.minimum(day.max(), length)).any():
            return 0
    else:
        place = number + (day - 1) / length
        turn = np.exp(2j * np.pi * place).mean()
        shifted = place - np.angle(turn) / (2 * np.pi)
        number = np.round(shifted).astype(np.int64)
        if np.abs(shifted - number).max() > tolerance:
            return 0
    steps = np.diff(number)
    if (steps < 1).any():
        return 0
    step = int(np.gcd.reduce(steps))
    return step if (steps == step).mean() >= 0.5 else 0


def _calendar(times: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Month, day of the month from 1, and days in that month."""
    month = times.astype("datetime64[M]")
    first = month.astype("datetime64[D]")
    day = (times.astype("datetime64[D]") - first).astype(np.int64) + 1
    length = ((month + 1).astype("datetime64[D]") - first).astype(np.int64)
    return month, day, length


def _skips_weekends(times: np.ndarray) -> bool:
    """Whether ten or more days span a weekend and yet none falls on one."""
    days = times.astype("datetime64[D]")
    return len(days) >= 10 and bool(np.is_busday(days).all())


def guess_season(times: np.ndarray | None) -> int | None:
    """Steps in a season as the spacing suggests, for increasing times; missing steps do not matter.

    Half-hourly 48, hourly 24 (any step from five minutes to twelve hours that divides the day: steps in a day), daily
    7, business days 5, weekly 52, fortnightly 26, monthly 12, quarterly 4, half-yearly 2. None for yearly, irregular,
    finer or fewer than three times, and for plain numbers.
    """
    if times is None or len(times) < 3:
        return None
    step = spacing(times)
    if step is None or not step.regular:
        return None
    if step.months:
        return 12 // step.months if step.months in (1, 2, 3, 4, 6) else None
    if step.micros == _DAY:
        return 5 if step.weekend else 7
    if step.micros < _DAY:
        return _DAY // step.micros if step.micros in _NICE else None
    return {7 * _DAY: 52, 14 * _DAY: 26, 28 * _DAY: 13}.get(step.micros)


# --- after the end --------------------------------------------------------------------------------------------------


def missing_steps(seqs: Sequences) -> int:
    """Steps that the times of the sequences leave out: rows that are not there at all, where the usual step is regular.

    Numbers count as regular if every gap is a whole multiple of the smallest. 0 without times, or where the times are irregular.
    """
    if seqs.times is None:
        return 0
    return sum(_left_out(times) for times in np.split(seqs.times, seqs.offsets[1:-1]))


def _left_out(times: np.ndarray) -> int:
    if len(times) < 3:
        return 0
    if not np.issubdtype(times.dtype, np.datetime64):
        gaps = np.diff(times.astype(np.float64))
        multiples = gaps / gaps.min()
        regular = np.abs(multiples - np.round(multiples)).max() < 1e-6 and (np.round(multiples) == 1).mean() >= 0.5
        return int(np.round(multiples).sum()) - len(gaps) if regular else 0
    usual = spacing(times)
    if usual is None or not usual.regular:
        return 0
    if usual.months:
        number: np.ndarray = times.astype("datetime64[M]").astype(np.int64)
        return int(number[-1] - number[0]) // usual.months - (len(number) - 1)
    if usual.weekend:
        days = times.astype("datetime64[D]")
        return int(np.busday_count(days[0], days[-1])) - (len(days) - 1)
    gaps = np.diff(times).astype(np.int64)
    return int(np.round(gaps / usual.micros).sum()) - len(gaps)


def future_times(seqs: Sequences, steps: int) -> np.ndarray | None:
    """(N, steps) times of the `steps` steps after the end of each sequence, or None where the sequences have no times.

    Months, quarters and years follow the calendar (a series of month ends goes on with month ends), business days skip
    weekends, other times go on in the usual step; irregular times and plain numbers in the median step. A sequence of
    one row takes the step of the longest one; if that too has one row, the step is 1 for numbers and unknown (None) for
    dates.
    """
    steps = checks.Integer(1).check("steps", steps)
    if seqs.times is None:
        return None
    each = np.split(seqs.times, seqs.offsets[1:-1])
    longest = max(each, key=len)
    if len(longest) < 2 and np.issubdtype(longest.dtype, np.datetime64):
        return None
    return np.stack([_extend(times, longest if len(times) < 2 else times, steps) for times in each])


def _extend(times: np.ndarray, pattern: np.ndarray, steps: int) -> np.ndarray:
    """`steps` times after ``times[-1]`` in the step of `pattern`."""
    ahead = np.arange(1, steps + 1)
    step = spacing(pattern)
    if step is None:
        return times[-1] + ahead * (float(np.median(np.diff(pattern))) if len(pattern) > 1 else 1.0)
    if step.weekend:
        day = times[-1].astype("datetime64[D]")
        return np.busday_offset(day, ahead, roll="backward") + (times[-1] - day)
    if not step.months:
        return times[-1] + (ahead * step.micros).astype("timedelta64[us]")
    _, day, length = _calendar(pattern)
    wanted = 31 if (day == length).all() else int(day.max()) if day.max() > 28 else int(day[-1])
    future = times[-1].astype("datetime64[M]") + ahead * step.months
    first, days = future.astype("datetime64[D]"), _calendar(future.astype("datetime64[D]"))[2]
    clock = times[-1] - times[-1].astype("datetime64[D]")
    return (first + np.minimum(wanted, days) - 1) + clock
