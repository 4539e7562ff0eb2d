"""What `make` installs and asks, with a stand-in for Python that writes down how pip is called. Oracle: the README."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

pty = pytest.importorskip("pty", reason="make and sh are for POSIX systems")

ROOT = Path(__file__).resolve().parents[2]
CUDA = '{"install": [{"metadata": {\n"name": "nvidia-cublas"}}]}'
PLAIN = '{"install": [{"metadata": {\n"name": "torch"}}]}'
_PIP = """#!/bin/sh
echo "$*" >> calls
case "$*" in
  *--no-index*) exit "$NO_TORCH" ;;
  *--report*) printf '%s\\n' "$REPORT" ;;
esac
"""
_OLD = """#!/bin/sh
case "$1" in -V) echo Python 3.9.1 ;; *) exit 1 ;; esac
"""


@dataclass(frozen=True)
class Place:
    """A copy of what the script reads, with a stand-in for the virtual environment."""

    folder: Path

    def run(self, extra: str, **settings: str) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {"VENV": "venv", "REPORT": PLAIN, "NO_TORCH": "1", "TORCH_ARGS": ""} | settings
        command = ["sh", ".ci/install", extra]
        return subprocess.run(
            command, cwd=self.folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True
        )

    @property
    def calls(self) -> list[str]:
        """The calls of pip that install something."""
        file = self.folder / "calls"
        lines = file.read_text().splitlines() if file.exists() else []
        return [line.partition(" install ")[2] for line in lines if "--dry-run" not in line]

    def read(self, name: str) -> str:
        return (self.folder / name).read_text()


@pytest.fixture
def place(tmp_path):
    for name in (".ci/install", "constraints.txt", "pyproject.toml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    executable(tmp_path / "venv" / "bin" / "python", _PIP)
    return Place(tmp_path)


def executable(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def test_the_package_comes_with_torch_in_one_resolution(place):
    assert place.run("package").returncode == 0
    assert place.calls == ["--quiet -c venv/constraints.txt -e ."]
    assert place.read("venv/constraints.txt") == place.read("constraints.txt")


def test_an_extra_is_installed_by_name(place):
    place.run("test")
    assert place.calls == ["--quiet -c venv/constraints.txt -e .[test]"]


def test_a_torch_that_is_there_is_kept(place):
    place.run("package", NO_TORCH="0", REPORT=CUDA)
    assert len(place.calls) == 1
    constraints = place.read("venv/constraints.txt")
    assert "torch==" not in constraints
    assert "numpy==" in constraints


def test_the_choice_of_a_torch_goes_before_everything_else(place):
    place.run("package", TORCH_ARGS="--index-url URL --no-cache-dir", REPORT=CUDA)
    assert place.calls == [
        "--index-url URL --no-cache-dir -r venv/torch.txt",
        "--quiet -c venv/constraints.txt -e .",
    ]
    assert set(place.read("venv/torch.txt").splitlines()) == {
        line for line in place.read("constraints.txt").splitlines() if line.startswith("torch==")
    }


def test_cuda_is_announced_where_nobody_can_be_asked(place):
    done = place.run("package", REPORT=CUDA)
    assert done.returncode == 0
    assert "several gigabytes" in done.stderr
    assert "TORCH_ARGS=" in done.stderr
    assert len(place.calls) == 1


@pytest.mark.parametrize(("answer", "installs"), [("n", 0), ("", 0), ("y", 1)])
def test_cuda_is_asked_about_on_a_terminal(place, answer, installs):
    ours, theirs = pty.openpty()
    try:
        os.write(ours, f"{answer}\n".encode())
        environment = os.environ | {"VENV": "venv", "REPORT": CUDA, "NO_TORCH": "1", "TORCH_ARGS": ""}
        done = subprocess.run(
            ["sh", ".ci/install", "package"],
            cwd=place.folder,
            env=environment,
            stdin=theirs,
            capture_output=True,
            text=True,
        )
    finally:
        os.close(ours)
        os.close(theirs)
    assert "[y/N]" in done.stderr
    assert len(place.calls) == installs
    assert done.returncode == (0 if installs else 1)


def test_the_pages_need_no_torch(place):
    place.run("docs")
    assert place.calls == ["--quiet -c constraints.txt mkdocs mkdocs-material"]


@pytest.mark.parametrize(("python", "words"), [("no-such-python", "no 'no-such-python'"), ("old", "Python 3.9.1")])
def test_a_missing_or_an_old_python_is_named(place, python, words):
    old = executable(place.folder / "bin" / "old", _OLD)
    done = place.run("package", VENV="fresh", PYTHON=python, PATH=f"{old.parent}:{os.environ['PATH']}")
    assert done.returncode == 1
    assert words in done.stderr
    assert "make PYTHON=" in done.stderr
    assert not (place.folder / "fresh").exists()


def test_a_venv_that_cannot_be_made_leaves_nothing(place):
    half = _OLD.replace("*) exit 1", "-m) mkdir -p fresh/bin; exit 1 ;; *) exit 0")
    broken = executable(place.folder / "bin" / "broken", half)
    done = place.run("package", VENV="fresh", PYTHON=str(broken))
    assert done.returncode == 1
    assert "python3-venv" in done.stderr
    assert not (place.folder / "fresh").exists()
