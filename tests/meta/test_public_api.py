"""One public door: what it lists, how fast it opens, what it leaves unloaded. Oracle: its own tables, and a clock."""

from __future__ import annotations

import importlib
import inspect
import os
import re
import subprocess
import sys
import time

import pytest

import statewise
from statewise.models.registry import MODELS, model_class

HEAVY = ("torch", "pandas", "matplotlib", "plotly", "numba", "scipy", "polars", "pyarrow", "rich", "typer", "jinja2")
NAMES = sorted(set(statewise.__all__) - {"__version__"})


def sort_key(name: str) -> tuple[int, list[object]]:
    """Constants, then classes, then the rest; numbers by value."""
    group = 0 if name.isupper() else 1 if name[0].isupper() else 2
    return group, [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]


def best_time(*arguments: str) -> tuple[float, str]:
    """The fastest of a few runs of a command (the first may write byte code), and what it printed."""
    best, output = float("inf"), ""
    for _ in range(3):
        start = time.perf_counter()
        output = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=True).stdout
        best = min(best, time.perf_counter() - start)
    return best, output


def test_all_is_sorted_and_equals_the_exports():
    assert statewise.__all__ == sorted(statewise.__all__, key=sort_key)
    assert set(statewise.__all__) == set(statewise._EXPORTS) | {"__version__"}
    assert list(statewise._EXPORTS) == sorted(statewise._EXPORTS)
    assert dir(statewise) == sorted(statewise.__all__)


def test_the_sort_key_puts_constants_first():
    assert sorted(["b", "Aa", "HMM", "__x__", "B10", "B9x", "a"], key=sort_key) == [
        "B10",
        "HMM",
        "Aa",
        "B9x",
        "__x__",
        "a",
        "b",
    ]


@pytest.mark.parametrize("name", NAMES)
def test_every_name_is_there_and_documented(name):
    value = getattr(statewise, name)
    assert inspect.getdoc(value), f"{name} has no docstring"
    module = statewise._EXPORTS[name]
    if module:
        assert value.__module__ == module, "the table names the module that defines it"
        assert value.__name__ == name


def test_type_checkers_see_the_same_names():
    """The names of the TYPE_CHECKING block, read from the source, are those of the table."""
    source = inspect.getsource(statewise)
    block = source[source.index("if TYPE_CHECKING:") : source.index("def __getattr__")]
    seen = set(
        re.findall(
            r"\b(?!from\b|import\b)\w+\b", re.sub(r"from [\w.]+ import", "", block.replace("if TYPE_CHECKING:", ""))
        )
    )
    assert seen == set(statewise._EXPORTS)


@pytest.mark.parametrize("name", NAMES)
def test_public_classes_document_their_public_methods(name):
    value = getattr(statewise, name)
    if inspect.isclass(value):
        for method, item in inspect.getmembers(
            value, lambda item: inspect.isfunction(item) or isinstance(item, property)
        ):
            if not method.startswith("_"):
                assert inspect.getdoc(item), f"{name}.{method} has no docstring"


@pytest.mark.parametrize("kind", MODELS)
def test_every_registered_model_says_its_own_kind(kind):
    cls = model_class(kind)
    assert cls.kind == kind
    assert inspect.getdoc(cls)
    assert set(cls.options) == set(inspect.signature(cls.__init__).parameters) - {"self"}


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = statewise.no_such_name
    assert not hasattr(importlib.import_module("statewise"), "also_not_there")


def test_import_is_quick_and_loads_nothing_heavy():
    assert not modules_after("import statewise") & set(HEAVY)
    assert best_time("-c", "import statewise")[0] < 2.5


def modules_after(code: str) -> set[str]:
    """The top-level modules that are loaded once a fresh interpreter has run some code."""
    ending = "; import sys; print('MODULES', *sys.modules)"
    environment = os.environ | {"COLUMNS": "100"}
    command = [sys.executable, "-c", code + ending]
    output = subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout
    return {module.partition(".")[0] for module in output.rpartition("MODULES")[2].split()}


def test_classical_models_do_not_load_torch():
    names = ("VARMA", "Structural", "StateSpace", "HMM", "Naive", "read", "compare", "Sequences")
    assert "torch" not in modules_after("import statewise as sw; " + ", ".join(f"sw.{name}" for name in names))


def test_help_is_quick_and_loads_nothing_heavy():
    seconds, output = best_time("-m", "statewise", "--help")
    assert "compare" in output
    assert seconds < 1.5
    code = "import contextlib, sys; from statewise.cli import main; sys.argv = ['statewise', '--help']\n"
    loaded = modules_after(code + "with contextlib.suppress(SystemExit): main()\npass")
    assert not loaded & {"torch", "pandas", "matplotlib", "plotly", "numba", "scipy"}
