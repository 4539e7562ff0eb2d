"""Layer 8: recipes, one readable file each: a field's data, the classical and the recurrent model side by side, and a baseline.

A recipe is a function ``run(path, quick, seed) -> Finding``; `path` names data in the layout that its page documents, and None a small
synthetic input. ``statewise recipe NAME --data PATH`` runs one.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass

from statewise.recipes.finding import Finding, Score

__all__ = ["RECIPES", "Finding", "Recipe", "Score"]


@dataclass(frozen=True)
class Recipe:
    """One entry of the cookbook.

    Attributes:
        name: what the command line calls it, and its file.
        field: whose it is.
        title: a few words.
        data: what `path` is.
        minutes: that it may take on two cores.
    """

    name: str
    field: str
    title: str
    data: str
    minutes: int

    @property
    def run(self) -> Callable[..., Finding]:
        found: Callable[..., Finding] = importlib.import_module(f"statewise.recipes.{self.name}").run
        return found


RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        Recipe("co2", "time series", "Fill in missing weeks of CO2 at Mauna Loa", "CSV: date, co2", 2),
        Recipe(
            "macro",
            "time series",
            "Forecast GDP, consumption and investment a quarter ahead",
            "CSV: year, quarter, realgdp, …",
            3,
        ),
        Recipe("laser", "physics", "Predict a chaotic laser one step ahead", "CSV: t, intensity", 5),
        Recipe("vowels", "classification", "Tell nine speakers apart by a vowel", "folder: train.csv, test.csv", 5),
        Recipe("promoters", "bioinformatics", "Find promoters in DNA", "CSV: label, name, sequence", 5),
    )
}
