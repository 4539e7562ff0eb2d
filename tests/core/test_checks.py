"""The judge of user input: each rule refuses its own `bad` values and names the argument. Oracle: its documentation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from statewise._core import checks
from statewise._core.errors import InputError

RULES = {
    "integer": checks.Integer(),
    "integer-range": checks.Integer(1, 12),
    "real": checks.Real(),
    "real-range": checks.Real(0.0, 1.0),
    "real-open": checks.Real(0.0, open_low=True),
    "choice": checks.Choice(("diag", "full", "tied")),
    "flag": checks.Flag(),
    "period": checks.Period(),
    "optional-integer": checks.Optional(checks.Integer(1)),
    "optional-choice": checks.Optional(checks.Choice(("diag", "full"))),
    "flag-or": checks.FlagOr(checks.Choice(("damped",)), "'damped'"),
    "flag-or-pair": checks.FlagOr(checks.Tuple(checks.Real(2.0), 2), "a pair"),
    "tuple": checks.Tuple(checks.Choice(("level", "trend"))),
    "triple": checks.Tuple(checks.Integer(0, 100), 3),
    "vector": checks.Array(1),
    "matrix": checks.Array(2),
}
BAD = [pytest.param(rule, value, id=f"{name}-{k}") for name, rule in RULES.items() for k, value in enumerate(rule.bad)]


@pytest.mark.parametrize(("rule", "value"), BAD)
def test_every_bad_value_is_refused_by_name(rule, value):
    with pytest.raises(InputError, match="`the_argument`"):
        rule.check("the_argument", value)


@pytest.mark.parametrize("name", RULES)
def test_every_rule_lists_bad_values(name):
    assert len(RULES[name].bad) >= 2


@pytest.mark.parametrize(
    ("rule", "given_value", "clean"),
    [
        (checks.Integer(1, 12), np.int32(12), 12),
        (checks.Integer(1, 12), 1, 1),
        (checks.Real(0.0, 1.0), 1, 1.0),
        (checks.Real(0.0, 1.0), np.float32(0.5), 0.5),
        (checks.Real(0.0, open_low=True), 1e-300, 1e-300),
        (checks.Choice(("diag", "full")), "full", "full"),
        (checks.Flag(), np.True_, True),
        (checks.Period(), 12, 12),
        (checks.Period(), True, True),
        (checks.Period(), None, None),
        (checks.FlagOr(checks.Choice(("damped",)), "'damped'"), "damped", "damped"),
        (checks.FlagOr(checks.Choice(("damped",)), "'damped'"), np.True_, True),
        (checks.Tuple(checks.Integer(0, 100), 3), [0, np.int64(1), 1], (0, 1, 1)),
        (checks.Tuple(checks.Choice(("level", "trend"))), [], ()),
        (checks.Optional(checks.Flag()), None, None),
        (checks.Optional(checks.Flag()), False, False),
    ],
)
def test_good_values_come_back_clean(rule, given_value, clean):
    result = rule.check("x", given_value)
    assert result == clean
    assert type(result) is type(clean)


def test_ends_of_a_range():
    assert checks.Real(0.0, 1.0).check("x", 0.0) == 0.0
    with pytest.raises(InputError, match="above 0"):
        checks.Real(0.0, open_low=True).check("x", 0.0)
    with pytest.raises(InputError, match="from 0 to 1"):
        checks.Real(0.0, 1.0).check("x", 1.5)
    with pytest.raises(InputError, match="from 1 to 12"):
        checks.Integer(1, 12).check("x", 13)


@pytest.mark.parametrize("value", [10**400, 1j, [1.0, 2.0], None])
def test_real_refuses_what_is_no_float(value):
    with pytest.raises(InputError, match="`x`"):
        checks.Real().check("x", value)


def test_choice_suggests_the_nearest_word():
    with pytest.raises(InputError, match="did you mean 'diag'"):
        checks.Choice(("diag", "full")).check("covariance", "daig")


def test_options_judges_each_and_suggests_names():
    table = {"states": checks.Integer(1), "covariance": checks.Choice(("diag", "full"))}
    assert checks.options(table, {"states": 3}) == {"states": 3}
    with pytest.raises(InputError, match="did you mean `states`"):
        checks.options(table, {"state": 3})
    with pytest.raises(InputError, match="the options are covariance, states"):
        checks.options(table, {"zzz": 3})


# --- arrays ---------------------------------------------------------------------------------------------------------


def test_array_is_a_fresh_contiguous_copy():
    given_array = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    result = checks.array("x", given_array, (2, None))
    assert result.flags.c_contiguous
    assert not np.shares_memory(result, given_array)
    np.testing.assert_array_equal(result, given_array)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("text", "not an array of numbers"),
        (["1.5", "2"], "not an array of numbers"),
        (np.array(["1.5"]), "not an array of numbers"),
        (np.array(["1.5", None], dtype=object), "not an array of numbers"),
        ([object()], "not an array of numbers"),
        ([[1.0, 2.0], [3.0]], "not an array of numbers"),
        (np.array(["2020-01-01"], dtype="datetime64[D]"), "not an array of numbers"),
        ([10**400], "not an array of numbers"),
        (np.array([1 + 2j]), "complex"),
        ([1 + 2j], "complex"),
        ([[1.0]], "shape"),
        (1.0, "shape"),
        ([1.0, 2.0, 3.0], "shape"),
        ([np.inf, 1.0], "1 infinite"),
        ([np.nan, 1.0], "1 NaN"),
        ([None, 1.0], "1 NaN"),
    ],
)
def test_array_refuses(value, message):
    with pytest.raises(InputError, match=message) as caught:
        checks.array("x", value, (2,) if message in ("1 infinite", "1 NaN", "shape") else (None,))
    assert "`x`" in str(caught.value)


def test_array_keeps_nan_where_allowed_but_never_infinity():
    assert np.isnan(checks.array("x", [np.nan, None], (2,), allow_nan=True)).all()
    with pytest.raises(InputError, match="infinite"):
        checks.array("x", [np.nan, -np.inf], (2,), allow_nan=True)


def test_array_accepts_whole_numbers_and_truth_values():
    np.testing.assert_array_equal(checks.array("x", [True, False], (2,)), [1.0, 0.0])
    np.testing.assert_array_equal(checks.array("x", np.array([1, 2], dtype=np.uint8), (2,)), [1.0, 2.0])


# --- covariances ----------------------------------------------------------------------------------------------------


@given(st.integers(1, 4), st.integers(0, 2**32 - 1), st.lists(st.integers(-6, 6), min_size=4, max_size=4))
def test_covariance_accepts_every_gram_matrix_in_any_units(size, seed, powers):
    """Invariance: M Mᵀ is positive semi-definite whatever the units of its coordinates."""
    factor = np.random.default_rng(seed).normal(size=(size, max(1, size - 1)))
    factor *= 10.0 ** np.array(powers[:size])[:, None]
    gram = factor @ factor.T
    np.testing.assert_array_equal(checks.covariance("Q", gram, size), gram)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([[1.0, 0.5], [0.4, 1.0]], "not symmetric"),
        ([[1.0, 2.0], [2.0, 1.0]], "negative eigenvalue"),
        ([[1e12, 0.0], [0.0, -1.0]], "negative variance"),
        ([[1e-12, 2e-6], [2e-6, 1.0]], "negative eigenvalue"),
        ([[1e12, 1.0], [0.5, 1e-12]], "not symmetric"),
        ([[0.0, 1.0], [1.0, 1.0]], "negative eigenvalue"),
        ([[-1.0, 0.0], [0.0, 1.0]], "negative variance"),
        ([[1.0]], "shape"),
    ],
)
def test_covariance_refuses(value, message):
    with pytest.raises(InputError, match=message) as caught:
        checks.covariance("state_noise", value, 2)
    assert "`state_noise`" in str(caught.value)


def test_covariance_forgives_rounding():
    rounded = np.array([[1.0, 0.3], [0.3 + 1e-14, 1.0]])
    result = checks.covariance("Q", rounded, 2)
    np.testing.assert_array_equal(result, result.T)
    assert checks.covariance("Q", np.zeros((3, 3)), 3).shape == (3, 3)
    assert checks.covariance("Q", np.zeros((0, 0)), 0).shape == (0, 0)


# --- probabilities and levels ---------------------------------------------------------------------------------------


def test_probabilities_are_normalised_along_the_last_axis():
    table = checks.probabilities("P", [[0.5, 0.5 + 5e-7], [0.0, 1.0]], (2, 2))
    np.testing.assert_allclose(table.sum(axis=-1), 1.0, rtol=0, atol=2e-16)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([[0.5, 0.4], [0.5, 0.5]], "sums to 0.9"),
        ([[1.5, -0.5], [0.5, 0.5]], "negative entry -0.5"),
        ([[0.5, np.nan], [0.5, 0.5]], "NaN"),
        ([0.5, 0.5], "shape"),
    ],
)
def test_probabilities_refuse(value, message):
    with pytest.raises(InputError, match=message) as caught:
        checks.probabilities("transition_probs", value, (2, 2))
    assert "`transition_probs`" in str(caught.value)


@pytest.mark.parametrize(
    ("value", "clean"),
    [
        (80, (80.0,)),
        ((95, 80), (80.0, 95.0)),
        (np.array(90.0), (90.0,)),
        ([50, 50], (50.0,)),
        (np.array([99.9]), (99.9,)),
    ],
)
def test_levels_are_sorted_percentages(value, clean):
    assert checks.levels(value) == clean


@pytest.mark.parametrize("value", [(), None, "80", 0, 100, 120, -5, np.nan, 0.95, (0.8, 95), ("a",), True])
def test_levels_refuse(value):
    with pytest.raises(InputError, match="`level`"):
        checks.levels(value)


def test_levels_say_how_to_write_a_share():
    with pytest.raises(InputError, match="pass 95"):
        checks.levels(0.95)


def test_shown_is_short():
    assert checks.shown(np.zeros((3, 4))) == "an array of shape (3, 4)"
    assert len(checks.shown("x" * 500)) == 60
