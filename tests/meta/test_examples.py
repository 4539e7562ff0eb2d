"""The examples in docstrings run and give what they show. Oracle: the docstring.

An example may use `sw`, `np`, every public name, `seqs` (the Nile data) and `varma` (fitted to them).
"""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import numpy as np
import pytest

import statewise as sw

PACKAGE = Path(sw.__file__).parent
_FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
MODULES = sorted(
    ".".join(("statewise", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__")
    for path in PACKAGE.rglob("*.py")
    if ">>>" in path.read_text(encoding="utf-8")
)


@pytest.fixture(scope="module")
def names() -> dict[str, object]:
    seqs = sw.datasets.load("nile")
    public = {name: getattr(sw, name) for name in sw.__all__ if not name.startswith("__")}
    return public | {"sw": sw, "np": np, "seqs": seqs, "varma": sw.VARMA(p=1, q=1).fit(seqs)}


def failures(module: object, names: dict[str, object]) -> str:
    """What the failed examples of a module printed; empty if all are right."""
    report: list[str] = []
    runner = doctest.DocTestRunner(optionflags=_FLAGS, verbose=False)
    for test in doctest.DocTestFinder(exclude_empty=True).find(module, extraglobs=None):
        test.globs = names | test.globs
        runner.run(test, out=report.append)
    return "".join(report)


@pytest.mark.parametrize("module", MODULES)
def test_the_examples_of_a_module(module, names, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert failures(importlib.import_module(module), names) == ""


def test_a_wrong_example_is_found(names):
    planted = type("Planted", (), {"__doc__": ">>> len(seqs)\n2\n", "__module__": __name__})
    module = type(np)("planted")
    module.Planted = planted
    planted.__module__ = "planted"
    assert "Expected" in failures(module, names)
    planted.__doc__ = ">>> len(seqs)\n1\n"
    assert failures(module, names) == ""
