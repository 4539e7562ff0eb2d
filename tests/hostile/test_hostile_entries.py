"""Hostile input to every public entry: a right answer or an error of ours with the fix, soon, and no warning.

A few hundred cases of each kind in every run, 10 000 nightly. Oracle: `judge.ends_well`; and for other forms of the same numbers, the
answer for plain float64.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from tests.hostile import entries, judge
from tests.hostile.inputs import SAME, SPOILT, Spec, arguments, shapes, specs
from tests.hostile.subjects import FITTED, UNFITTED, fitted, kinds

import statewise as sw
from statewise.models.registry import MODELS

pytestmark = pytest.mark.filterwarnings("default::statewise.PrecisionWarning")

_MAKERS = (entries.makers, entries.fits, entries.verbs, entries.streams, entries.others)
_READ = ("log_prob", "predict", "forecast", "filter", "smooth", "decode", "score", "memory", "respond", "sample_states")


def often(most: int, nightly: int = 10_000) -> Any:
    """A property as two tests: a few cases in every run, many nightly."""

    def wrap(check: Any) -> Any:
        quiet = {"deadline": None, "suppress_health_check": list(HealthCheck)}

        @pytest.mark.parametrize("many", [False, pytest.param(True, marks=pytest.mark.nightly)])
        def test(many: bool) -> None:
            settings(max_examples=nightly if many else most, **quiet)(check)()

        test.__doc__ = check.__doc__
        return test

    return wrap


@cache
def every(group: int) -> list[entries.Entry]:
    return [entry for entry in _MAKERS[group]() if entry.arguments]


def test_every_kind_of_model_is_among_the_subjects():
    assert kinds() == set(MODELS)


@often(300)
@given(st.data())
def test_any_argument_may_be_anything(draw):
    """One argument of a call that works is replaced: of constructors, fits, verbs, streams, functions."""
    entry = draw.draw(st.sampled_from(every(draw.draw(st.sampled_from(range(len(_MAKERS)))))))
    argument = draw.draw(st.sampled_from(entry.arguments))
    value = draw.draw(arguments())
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    assume(not (whole and entries.PATIENCE.get(argument, value) < value < 10**9))
    judge.ends_well(lambda: entry.spoilt(argument, value))


@often(250)
@given(st.data())
def test_a_fitted_model_reads_anything(draw):
    name = draw.draw(st.sampled_from(sorted(FITTED)))
    model = fitted(name)
    verb = draw.draw(st.sampled_from([verb for verb in _READ if hasattr(model, verb)]))
    spec = draw.draw(specs(columns(name)))
    judge.ends_well(lambda: getattr(model, verb)(spec.make()))


@often(100)
@given(st.data())
def test_a_stream_reads_anything(draw):
    name = draw.draw(st.sampled_from([name for name in sorted(FITTED) if hasattr(fitted(name), "stream")]))
    table = draw.draw(
        st.builds(
            Spec,
            st.sampled_from(VALUE_WORDS),
            st.sampled_from(sorted(SAME)),
            shapes(columns(name)),
            st.integers(0, 999),
        )
    )
    rows = np.atleast_1d(table.plain)

    def read() -> list[Any]:
        stream = fitted(name).stream()
        ahead = [stream.forecast(2)] if hasattr(stream, "forecast") else []
        return [*(stream.update(row) for row in rows), *ahead]

    judge.ends_well(read)


VALUE_WORDS = [
    "plain",
    "huge",
    "every scale",
    "outlier",
    "holes",
    "infinity",
    "all missing",
    "tiny",
    "whole",
    "constant",
]


@often(100)
@given(st.data())
def test_a_model_is_fitted_to_anything(draw):
    """A fit that ends well leaves finite parameters, and a model that scores its own data."""
    name = draw.draw(st.sampled_from(sorted(UNFITTED)))
    make, options = UNFITTED[name]
    spec = draw.draw(specs(draw.draw(st.sampled_from([1, 1, 2]))))

    def fit() -> Any:
        x = spec.make()
        if name in ("tagger", "classifier"):
            steps = np.arange(len(spec.plain)) % 2 if spec.plain.ndim else [0]
            x = sw.Sequences.from_arrays([x, x, x], labels=[steps] * 3 if name == "tagger" else ["a", "b", "a"])
        model = make().fit(x, **options)
        assert np.isfinite(model.fit_result.log_prob) or not model.fit_result.outcome.ok
        ahead = model.forecast(x, steps=2) if hasattr(model, "forecast") else model.predict(x)
        return [dict(model.parameters), model.log_prob(x), ahead]

    judge.ends_well(fit)


@often(250)
@given(st.data())
def test_the_same_numbers_in_another_form_get_the_same_answer(draw):
    """Oracle: the answer for a plain float64 array."""
    name = draw.draw(st.sampled_from([name for name in sorted(FITTED) if hasattr(fitted(name), "log_prob")]))
    words = ["whole"] if name.endswith(("symbols", "poisson")) else ["plain", "holes", "whole"]
    shape = (30, columns(name)) if columns(name) > 1 else draw.draw(st.sampled_from([(30,), (30, 1)]))
    spec = Spec(
        draw.draw(st.sampled_from(words)),
        draw.draw(st.sampled_from(sorted(SAME))),
        shape,
        draw.draw(st.integers(0, 99)),
    )
    verb = draw.draw(st.sampled_from(["log_prob", "predict"]))
    want = judge.ends_well(lambda: getattr(fitted(name), verb)(spec.plain))
    have = judge.ends_well(lambda: getattr(fitted(name), verb)(spec.make()))
    assert type(have) is type(want)
    if isinstance(want, sw.StatewiseError):
        return
    for a, b in zip(judge.arrays(have), judge.arrays(want), strict=True):
        np.testing.assert_array_equal(a, b)


def columns(name: str) -> int:
    """Columns that a subject is for."""
    return len((fitted(name)._schema or {}).get("columns", ("y",)))


# --- the judge is judged ------------------------------------------------------------------------------------------------


def test_the_judge_sees_nan_hangs_bare_errors_and_empty_messages():
    """Planted: each of what must never happen."""
    with pytest.raises(AssertionError, match="NaN in ndarray"):
        judge.ends_well(lambda: np.array([1.0, np.nan]))
    with pytest.raises(AssertionError, match="NaN in Predicted"):
        good = fitted("ar").predict(np.arange(9.0))
        judge.sound(type(good)(good.mean * np.nan, good.variance, good.residuals, good.lengths, good.ids, good.columns))
    with pytest.raises(judge.Hang):
        judge.ends_well(lambda: [None for _ in iter(int, 1)], seconds=0.2)
    with pytest.raises(ZeroDivisionError):
        judge.ends_well(lambda: 1 / 0)

    def short() -> None:
        raise sw.InputError("bad")

    with pytest.raises(AssertionError, match="too short"):
        judge.ends_well(short)
    with pytest.raises(RuntimeWarning):
        judge.ends_well(lambda: np.array([1e308]) * 10)
    assert SPOILT.keys().isdisjoint(SAME)
