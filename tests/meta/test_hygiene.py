"""House rules that a linter does not know. Each checker is a function of a text, tested on a planted error."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TEXT = {".py", ".md", ".toml", ".txt", ".yml", ".yaml", ".cfg", ".html", ".css", ".js", ".json", ".csv", ".sh", ""}

LONG_FILES: dict[str, str] = {}  # path -> why it is one thing though over 500 lines
BROAD_EXCEPTS: dict[str, str] = {}  # path -> why it may catch every error

# Written in pieces, so that this file does not contain what it forbids.
_MACHINE_PATHS = re.compile(r"(?<![\w.:/])/(" + "|".join(["home", "Users", "root", "work", "tmp", "farm"]) + r")/\w")
_REGISTRIES = re.compile(
    "|".join(
        [
            r"pypi\." + "org",
            "python" + "hosted",
            r"download\." + r"pytorch\.",
            "ana" + r"conda\.(org|com)",
            "npm" + r"js\.",
            "jsde" + "livr",
            "unp" + r"kg\.",
            "cdn" + "js",
        ]
    )
)


def files() -> list[Path]:
    """Every text file that belongs to the tree: what git tracks or would track."""
    listing = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True)
    paths = [ROOT / line for line in listing.stdout.splitlines()]
    if listing.returncode:  # no git here, such as in a source archive
        folders = [".ci", "benchmarks", "docs", "src", "tests"]
        paths = [*ROOT.iterdir(), *(path for folder in folders for path in (ROOT / folder).rglob("*"))]
    paths = [path for path in paths if path.is_file() and "__pycache__" not in path.parts]
    return sorted(path for path in paths if path.suffix in TEXT and path.stat().st_size < 2_000_000)


def machine_paths(text: str) -> list[str]:
    return [f"line {n}: a path of one machine" for n, line in _numbered(text) if _MACHINE_PATHS.search(line)]


def registry_hosts(text: str) -> list[str]:
    return [f"line {n}: names a package registry's host" for n, line in _numbered(text) if _REGISTRIES.search(line)]


def unfinished(text: str) -> list[str]:
    marks = r"\b(" + "|".join(["TO" + "DO", "FIX" + "ME", "X" + "XX", "HA" + "CK"]) + r")\b"
    return [f"line {n}: unfinished" for n, line in _numbered(text) if re.search(marks, line)]


def silent_ignores(text: str) -> list[str]:
    """`type: ignore` and `noqa` name the rule, and the line says why."""
    plain = re.compile(r"#\s*(type:\s*ignore|noqa)(?!\S*[\[:]\s*[\w-]+.*#)")
    return [f"line {n}: ignores a check without a reason" for n, line in _numbered(text) if plain.search(line)]


def asserts(text: str) -> list[str]:
    """`assert` narrows a type for the reader; it never judges a user's input, since -O removes it."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Assert) and not re.fullmatch(
            r"isinstance\(.*\)|.* is not None", ast.unparse(node.test)
        ):
            found.append(f"line {node.lineno}: assert {ast.unparse(node.test)}; raise an error of statewise")
    return found


def broad_excepts(text: str) -> list[str]:
    """An `except` that catches everything hides mistakes, unless it raises again."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ExceptHandler):
            broad = node.type is None or bool({"Exception", "BaseException"} & _names(node.type))
            raises = any(isinstance(inner, ast.Raise) for inner in ast.walk(node))
            if broad and not raises:
                found.append(f"line {node.lineno}: catches every error")
    return found


def plain_raises(text: str) -> list[str]:
    """`raise Exception(...)` tells a caller nothing."""
    return [
        f"line {node.lineno}: raises a plain Exception"
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Raise) and node.exc is not None and {"Exception", "BaseException"} & _names(node.exc)
    ]


def unsafe_calls(text: str) -> list[str]:
    """Model files never run code, and random numbers come from a seed that the caller gave."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            found += [f"line {node.lineno}: imports {name}" for name in modules if name in ("pickle", "dill", "joblib")]
        if isinstance(node, ast.Call) and ast.unparse(node.func) in (
            "eval",
            "exec",
            "np.random.seed",
            "torch.manual_seed",
            "print",
        ):
            found.append(f"line {node.lineno}: calls {ast.unparse(node.func)}")
    return found


def _names(node: ast.AST) -> set[str]:
    return {inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name)}


def _numbered(text: str) -> list[tuple[int, str]]:
    return list(enumerate(text.splitlines(), start=1))


TREE = [path.relative_to(ROOT).as_posix() for path in files()]
SOURCE = [path for path in TREE if path.startswith("src/") and path.endswith(".py")]
PYTHON = [path for path in TREE if path.endswith(".py")]


def offences(check: Callable[[str], list[str]], paths: list[str], allowed: dict[str, str] | None = None) -> list[str]:
    """Every finding of a checker, with its file."""
    return [
        f"{path}: {finding}"
        for path in paths
        if path not in (allowed or {})
        for finding in check((ROOT / path).read_text(encoding="utf-8", errors="replace"))
    ]


def test_the_tree_is_found():
    assert "src/statewise/__init__.py" in SOURCE
    assert "README.md" in TREE


def test_no_path_of_one_machine():
    assert offences(machine_paths, TREE) == []


def test_no_registry_host():
    assert offences(registry_hosts, TREE) == []


def test_nothing_unfinished():
    assert offences(unfinished, PYTHON) == []


def test_no_silent_ignore():
    assert offences(silent_ignores, PYTHON) == []


def test_no_assert_judges_input():
    assert offences(asserts, SOURCE) == []


def test_no_broad_except():
    assert offences(broad_excepts, SOURCE, BROAD_EXCEPTS) == []


def test_no_plain_raise():
    assert offences(plain_raises, SOURCE) == []


def test_nothing_unsafe():
    assert offences(unsafe_calls, SOURCE) == []


def test_files_are_one_thing():
    """Ask why at 500 lines; an answer goes into the list above."""
    long = {path for path in SOURCE if len((ROOT / path).read_text(encoding="utf-8").splitlines()) > 500}
    assert long == set(LONG_FILES)


def test_every_data_file_is_packaged():
    """What is not Python travels with the package only if a pattern of pyproject.toml names it."""
    import tomllib

    patterns = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["statewise"]
    package = ROOT / "src" / "statewise"
    shipped = {path for pattern in patterns for path in package.glob(pattern)}
    data = {
        path
        for path in package.rglob("*")
        if path.is_file() and path.suffix != ".py" and "__pycache__" not in path.parts
    }
    assert data <= shipped


# --- the checkers themselves ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("check", "planted", "fine"),
    [
        (machine_paths, "see " + "/ho" + "me/me/x", "see https://example.net/home/x and a/work/b"),
        (registry_hosts, "from https://pypi." + "org/simple", "the CPU index on PyTorch's install page"),
        (unfinished, "# TO" + "DO later", "mastodon"),
        (silent_ignores, "x = 1  # type: " + "ignore", "x = 1  # type: " + "ignore[attr-defined]  # set by numba"),
        (silent_ignores, "x = 1  # no" + "qa: E501", "x = 1  # no" + "qa: E501  # a table"),
        (asserts, "assert steps > 0", "assert isinstance(x, int)"),
        (asserts, "assert steps", "assert model is not None"),
        (broad_excepts, "try:\n    f()\nexcept:\n    pass", "try:\n    f()\nexcept BaseException:\n    raise"),
        (
            broad_excepts,
            "try:\n    f()\nexcept (ValueError, Exception):\n    pass",
            "try:\n    f()\nexcept OSError:\n    pass",
        ),
        (plain_raises, "raise Exception('no')", "raise ValueError('no')"),
        (unsafe_calls, "import pickle", "import json"),
        (unsafe_calls, "np.random.seed(0)", "np.random.default_rng(0)"),
    ],
)
def test_each_checker_finds_its_planted_error(check, planted, fine):
    assert len(check(planted)) == 1
    assert check(fine) == []
