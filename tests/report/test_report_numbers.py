"""Numbers and times as text. Oracle: written by hand."""

from __future__ import annotations

import numpy as np
import pytest

from statewise.report import numbers

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (12.3456, "12.35"),
        (-0.00123456, "-0.001235"),
        (123456.7, "123457"),
        (0.0, "0"),
        (1e-7, "1.000e-07"),
        (3e12, "3.000e+12"),
        (NAN, "–"),
        (INF, "∞"),
        (-INF, "-∞"),
    ],
)
def test_number(value, text):
    assert numbers.number(value) == text


def test_fixed_has_no_sign_on_zero():
    assert numbers.fixed(-0.0004, 2) == "0.00"
    assert numbers.fixed(-0.006, 2) == "-0.01"
    assert numbers.fixed(NAN, 2) == "–"


@pytest.mark.parametrize(
    ("values", "places"),
    [([0.0, 190.0], 1), ([0.01, 0.07], 5), ([90000.0, 180000.0], 0), ([5.0, 5.0], 3), ([NAN], 3), ([1e-12, 2e-12], 9)],
)
def test_decimals(values, places):
    assert numbers.decimals(np.array(values)) == places


@pytest.mark.parametrize(
    ("given", "text"),
    [(0.00012, "p < 0.001"), (0.0123, "p = 0.012"), (0.5, "p = 0.50"), (1.0, "p = 1.00"), (NAN, "p unknown")],
)
def test_p_value(given, text):
    assert numbers.p_value(given) == text


def test_typographic_turns_signs_and_leaves_hyphens():
    text = "-1.5 (mean -0.3) in 1990-01-02, a one-step model-2, 80 % of it, -∞"
    assert numbers.typographic(text) == "−1.5 (mean −0.3) in 1990-01-02, a one-step model-2, 80\u00a0% of it, −∞"


def test_count():
    assert numbers.count(1, "step") == "1 step"
    assert numbers.count(1234, "step") == "1,234 steps"


@pytest.mark.parametrize(
    ("times", "unit"),
    [
        (["1990-01-01", "1991-01-01"], "Y"),
        (["1990-01-01", "1990-04-01"], "M"),
        (["1990-01-01", "1990-04-02"], "D"),
        (["1990-01-01T00:00:00", "1990-01-01T12:30:00"], "s"),
        (["1990-01-01T00:00:00", "1990-01-01T00:00:00.5"], "us"),
    ],
)
def test_unit(times, unit):
    assert numbers.unit(np.array(times, dtype="datetime64[us]")) == unit


def test_moment():
    assert numbers.moment(np.datetime64("1990-01-02T00:00:00", "us")) == "1990-01-02"
    assert numbers.moment(np.datetime64("1990-01-02T03:00:00", "us")) == "1990-01-02T03:00:00"
    assert numbers.moment(1700.0) == "1700"
    assert numbers.moment(np.float64(0.1)) == "0.1"


def test_plain_is_strict_json():
    given = {
        80: np.array([1.0, NAN]),
        "a": (INF, np.int64(3), np.bool_(True)),
        "t": np.datetime64("1990-01-01"),
        "o": object,
    }
    clean = numbers.plain(given)
    assert clean["80"] == [1.0, None]
    assert clean["a"] == [None, 3, True]
    assert clean["t"] == "1990-01-01"
    assert isinstance(clean["o"], str)
