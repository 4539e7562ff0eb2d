"""Recipes: each runs on its synthetic input, and beats what it should; on the real data, where they are, a reduced run is within its bounds."""

from __future__ import annotations

import inspect
import json
from pathlib import Path

import numpy as np
import pytest

from statewise.cli.exits import guarded
from statewise.recipes import RECIPES, Finding, Score, co2, finding, promoters

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


@pytest.fixture(scope="module", params=list(RECIPES))
def quick(request) -> tuple[str, Finding]:
    return request.param, RECIPES[request.param].run(None, True, 0)


def test_a_synthetic_run_says_everything(quick):
    _, found = quick
    assert len(found.scores) >= 2
    assert len(found.said) == 3
    assert found.panels
    assert all(np.isfinite(score.value) for score in found.scores)
    assert found.reached is None
    assert json.loads(json.dumps(found.to_dict()))["title"] == found.title
    assert list(found.to_frame()["model"]) == [score.model for score in found.scores]


# recipe -> (model, measure, at most or at least, bound) of the quick synthetic run; each is far from what guessing gives.
BOUNDS = {
    "co2": ("structural", "RMSE of hidden weeks, ppmv", "below", 0.5),  # a straight line: .54
    "macro": (
        "VAR(2)",
        "one-step log score, nats a quarter",
        "above",
        -4.7,
    ),  # independent normal draws of the series' variance: below −5
    "laser": ("AR(25)", "one-step NMSE", "below", 0.75),  # the mean: 1
    "vowels": ("HMM for each speaker", "accuracy", "above", 0.9),  # guessing: .33
    "promoters": ("position chain", "errors, each sequence left out once", "below", 8),  # guessing: 30 of 60
}


def test_a_synthetic_run_is_as_good_as_it_was(quick):
    name, found = quick
    model, measure, side, bound = BOUNDS[name]
    value = found.value(model, measure)
    assert value <= bound if side == "below" else value >= bound


@pytest.mark.skipif(not DATA.is_dir(), reason="the real data sets are not beside this checkout")
def test_hidden_weeks_of_carbon_dioxide_lie_in_their_intervals():
    """95 % intervals cover 90 to 99 %, and the smoother is nearer than a straight line."""
    found = co2.run(DATA / "co2_weekly" / "co2_weekly.csv")
    assert 0.90 <= found.value("structural", co2.COVERED) <= 0.99
    assert found.value("structural", co2.MEASURE) < found.value("linear interpolation", co2.MEASURE)
    assert found.reached


@pytest.mark.skipif(not DATA.is_dir(), reason="the real data sets are not beside this checkout")
def test_letters_at_their_places_find_promoters():
    """A reduced run, in three folds: the chain of positions alone, at most 16 errors of 106 (53 by guessing; 14 when written)."""
    codes, labels = promoters._data(DATA / "promoters" / "promoters.csv", 0)
    folds = np.arange(len(codes)) % 3
    wrong = sum(
        int(
            (
                (promoters._chain(codes[folds != f], labels[folds != f], codes[folds == f]) > 0) != labels[folds == f]
            ).sum()
        )
        for f in range(3)
    )
    assert wrong <= 16


def test_the_goal_is_of_our_own_models():
    scores = (Score("ours", "errors", 7.0), Score("theirs", "errors", 4.0, source="published"))
    found = Finding("t", "d", scores, ("a", "b", "c"), goal=("errors", "below", 6.0))
    assert found.reached is False
    assert Finding("t", "d", scores, (), goal=("errors", "above", 6.0)).reached is True


def test_recipes_are_short_and_have_no_engine_code():
    for recipe in RECIPES.values():
        module = inspect.getmodule(recipe.run)
        source = inspect.getsource(module)
        assert len(source.splitlines()) <= 150, recipe.name
        assert "numba" not in source and "import torch" not in source
        assert module.__doc__ and "Data:" in module.__doc__
    assert finding.__doc__


def test_the_command_line_lists_and_runs(capsys):
    assert guarded(["recipe"]) == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in RECIPES)
    assert guarded(["recipe", "co2", "--quick", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["reached"] is None
    assert guarded(["recipe", "cooking"]) == 2
    assert "the recipes are co2" in capsys.readouterr().err
    assert guarded(["recipe", "co2", "--data", "nowhere.csv"]) == 2
    assert "reads CSV: date, co2" in capsys.readouterr().err
