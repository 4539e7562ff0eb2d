"""Folders are layers, and imports go downward only. Oracle: the table below, which is the design."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "statewise"

LAYERS = {
    "_core": 0,
    "sequences": 1,
    "results": 1,
    "kernels": 1,
    "ops": 2,
    "cells": 3,
    "emissions": 3,
    "nn": 3,
    "inference": 4,
    "fitting": 5,
    "models": 6,
    "conversion": 7,
    "evaluate": 7,
    "dissection": 7,
    "recipes": 8,
    "labs": 8,
    "report": 8,
    "cli": 8,
}
DOOR = 9  # the package's own __init__ and __main__
SIDEWAYS = {
    ("cli", "report"): "the command line writes the report: a shell over the same layer",
    ("dissection", "report"): "d.report(path) is a method, and loads the page's writer when it is called",
    ("cli", "recipes"): "the command line runs the recipes: a shell over the same layer",
}
FROM_THE_DOOR = {"__version__"}  # what the layers may take from the package itself
THROUGH_THE_DOOR = {"recipes"}  # layers that read as a user's own code, ``import statewise as sw``
_MODULE_NAME = re.compile(r"statewise(\.\w+)+(:\w+)?")


def imports(source: str) -> list[tuple[int, str]]:
    """(line, module) of every import of ours in a file: at the top, inside functions, and by a name in a string.

    Imports that only a type checker sees are left out: they cannot make a cycle or load anything.
    """
    found: list[tuple[int, str]] = []

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            for child in node.orelse:
                visit(child)
            return
        if isinstance(node, ast.Import):
            found.extend((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            found.append((node.lineno, "." * node.level + (node.module or "")))
            if node.module == "statewise":
                found.pop()
                found.extend((node.lineno, f"statewise.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and _MODULE_NAME.fullmatch(node.value):
            found.append((node.lineno, node.value.partition(":")[0]))
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(ast.parse(source))
    return [(line, module) for line, module in found if module.startswith((".", "statewise"))]


def offences(path: str, source: str) -> list[str]:
    """What is wrong with the imports of the file `path` (relative to the package)."""
    own = Path(path).parts[0]
    if own.endswith(".py"):
        return []
    if own not in LAYERS:
        return [f"{path}: the folder {own!r} is in no layer; add it to the table"]
    found = []
    for line, module in imports(source):
        parts = module.split(".")
        if module.startswith("."):
            found.append(f"{path}:{line}: relative import; write statewise.{own}")
        elif (len(parts) > 1 and parts[1] in FROM_THE_DOOR | {own}) or (
            module == "statewise" and own in THROUGH_THE_DOOR
        ):
            continue
        elif len(parts) == 1 or parts[1] not in LAYERS:
            found.append(f"{path}:{line}: imports {module} from the public door")
        elif LAYERS[parts[1]] >= LAYERS[own] and (own, parts[1]) not in SIDEWAYS:
            found.append(f"{path}:{line}: layer {LAYERS[own]} ({own}) imports {module} of layer {LAYERS[parts[1]]}")
    return found


FILES = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES)
def test_imports_go_downward(path):
    assert offences(path, (PACKAGE / path).read_text(encoding="utf-8")) == []


def test_reference_twins_import_nothing_of_ours():
    """They define what is correct, so they must not use what they judge."""
    for path in (ROOT / "tests" / "reference").rglob("*.py"):
        assert imports(path.read_text(encoding="utf-8")) == [], path.name


# --- the checker itself -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "source",
    [
        "from statewise.models.varma import VARMA",
        "import statewise.models.varma",
        "def late():\n    from statewise.models import base",
        "try:\n    import statewise.cli\nexcept ImportError:\n    pass",
        "from statewise import VARMA",
        "import statewise",
        "from ..models import base",
        "import importlib\nimportlib.import_module('statewise.models.varma')",
        "TABLE = {'varma': 'statewise.models.varma:VARMA'}",
        "from statewise.sequences import read",
        "if TYPE_CHECKING:\n    pass\nelse:\n    from statewise.models import base",
    ],
)
def test_a_planted_upward_import_is_found(source):
    assert len(offences("kernels/planted.py", source)) == 1


@pytest.mark.parametrize(
    "source",
    [
        "from statewise._core import checks",
        "from statewise.kernels._jit import jit",
        "from statewise import __version__",
        "import numpy as np",
        "if TYPE_CHECKING:\n    from statewise.models.base import Model",
        "'''Documentation may name statewise.models.varma in a sentence.'''",
    ],
)
def test_a_downward_import_is_left_alone(source):
    assert offences("kernels/planted.py", source) == []


def test_an_unknown_folder_is_found():
    assert len(offences("helpers/planted.py", "")) == 1
