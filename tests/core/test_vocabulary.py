"""Errors, outcomes, seeds and optional packages. Oracle: their documentation."""

from __future__ import annotations

import builtins
import inspect

import numpy as np
import pytest

from statewise._core import errors, outcome
from statewise._core.errors import InputError, MissingDependencyError, NumericalError, StatewiseError
from statewise._core.optional import require
from statewise._core.outcome import Outcome
from statewise._core.seed import child_seed, generator

CLASSES = [item for _, item in inspect.getmembers(errors, inspect.isclass)]


@pytest.mark.parametrize("error", CLASSES, ids=lambda error: error.__name__)
def test_every_error_is_in_the_tree_and_in_its_drawing(error):
    assert issubclass(error, StatewiseError)
    assert error.__name__ in errors.__doc__
    assert error.__doc__
    if error is not StatewiseError:
        standard = [
            base
            for base in error.__mro__
            if base.__module__ == "builtins" and base not in (Exception, BaseException, object)
        ]
        assert standard, "a caller can catch it by a standard exception"
        assert hasattr(builtins, standard[0].__name__)


@pytest.mark.parametrize("member", Outcome)
def test_an_outcome_raises_exactly_when_it_is_bad_and_says_the_remedy(member):
    if member in outcome._GOOD:
        assert member.ok
        member.check()
        return
    assert not member.ok
    with pytest.raises(NumericalError) as caught:
        member.check()
    assert str(caught.value) == member.value
    assert ";" in member.value, "a bad outcome says what happened; then what to do"


def test_the_same_seed_gives_the_same_stream_and_generators_pass_through():
    np.testing.assert_array_equal(generator(3).normal(size=4), generator(3).normal(size=4))
    stream = np.random.default_rng(0)
    assert generator(stream) is stream
    assert not np.array_equal(generator(None).normal(size=4), generator(None).normal(size=4))


@pytest.mark.parametrize("seed", [-1, 1.5, "one", True])
def test_a_bad_seed_is_refused_by_name(seed):
    with pytest.raises(InputError, match="`seed`"):
        generator(seed)


def test_child_seeds_are_reproducible_and_distinct():
    seeds = {child_seed(0, window, restart) for window in range(10) for restart in range(10)}
    assert len(seeds) == 100
    assert child_seed(0, 1, 2) == child_seed(0, 1, 2)
    assert child_seed(0, 1, 2) != child_seed(1, 1, 2)
    assert child_seed(None, 1) is None


def test_a_missing_package_is_named_with_the_command_that_brings_it():
    assert require("math", "none", "counting").pi > 3
    with pytest.raises(
        MissingDependencyError, match=r"reading runes needs the package 'no_such_package'.*statewise\[runes\]"
    ):
        require("no_such_package", "runes", "reading runes")
