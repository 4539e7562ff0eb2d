"""What the documentation shows is what happens.

Every ```python block of a page runs, in order, in one namespace and an empty folder. A ```text block after
``<!-- prints -->`` must be what the block above it printed, numbers within 1 %. A block after
``<!-- no-run: reason -->`` is left out. Every option of ``statewise`` in a ```sh block must exist, and every relative
link must lead somewhere.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from tests.meta.pages import FENCE, blocks, refreshed, run_page, same_output

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    path.relative_to(ROOT).as_posix() for path in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")] if path.is_file()
)


@pytest.mark.parametrize("page", PAGES)
def test_the_code_on_the_page_runs(page, tmp_path, monkeypatch):
    import torch

    monkeypatch.chdir(tmp_path)
    threads = torch.get_num_threads()
    try:
        run_page((ROOT / page).read_text(encoding="utf-8"), page)
    finally:
        torch.set_num_threads(threads)  # a page may choose, for itself


# --- commands and links -----------------------------------------------------------------------------------------------


def commands(text: str) -> list[list[str]]:
    """The words of every ``statewise …`` line in the shell blocks of a page."""
    lines = [
        line
        for block in blocks(text)
        if block.language == "sh"
        for line in re.sub(r"\\\n\s*", "", block.body).splitlines()
    ]
    return [words for line in lines if (words := shlex.split(line, comments=True)) and words[0] == "statewise"]


def wrong_options(words: list[str]) -> list[str]:
    """Those options of a command line that the command line interface does not have."""
    import typer

    from statewise.cli.app import app

    group = typer.main.get_command(app)
    names = [word for word in words[1:] if not word.startswith("-")]
    command = group.commands.get(names[0]) if names else group
    if command is None:
        return [names[0]]
    known = {option for parameter in command.params for option in [*parameter.opts, *parameter.secondary_opts]}
    given = {word.partition("=")[0] for word in words[1:] if word.startswith("-")}
    return sorted(given - known - {"--help", "-h"})


@pytest.mark.parametrize("page", PAGES)
def test_the_commands_on_the_page_exist(page):
    for words in commands((ROOT / page).read_text(encoding="utf-8")):
        assert wrong_options(words) == [], " ".join(words)


def broken_links(path: Path) -> list[str]:
    """Relative links of a page that lead nowhere."""
    text = FENCE.sub("", path.read_text(encoding="utf-8"))
    targets = [target.partition("#")[0] for target in re.findall(r"\]\(([^)\s]+)\)", text)]
    return [target for target in targets if target and ":" not in target and not (path.parent / target).exists()]


@pytest.mark.parametrize("page", PAGES)
def test_the_links_on_the_page_lead_somewhere(page):
    assert broken_links(ROOT / page) == []


def test_every_page_is_in_the_menu():
    """A page that the menu leaves out is never found. (That the menu's pages exist, mkdocs itself checks.)"""
    menu = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    pages = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    assert {page for page in pages if page not in menu} == set()


# --- the runner itself ------------------------------------------------------------------------------------------------

_PAGE = "text\n```python\nx = 1.234\nprint('x is', x)\n```\n\n<!-- prints -->\n\n```text\nx is {}\n```\n"


def test_the_runner_shares_names_between_blocks():
    run_page("```python\nx = 1\n```\n```python\nassert x == 1\n```", "planted")


def test_the_runner_finds_an_error_and_its_line():
    with pytest.raises(NameError) as caught:
        run_page("one\ntwo\n```python\nok = 1\nnot_there\n```", "planted")
    assert caught.traceback[-1].lineno + 1 == 5


def test_the_runner_compares_what_is_printed():
    run_page(_PAGE.format("1.23"), "planted")
    with pytest.raises(AssertionError, match="line 10"):
        run_page(_PAGE.format("1.31"), "planted")
    with pytest.raises(AssertionError):
        run_page(_PAGE.replace("x is {}", "y is 1.234"), "planted")
    with pytest.raises(AssertionError, match="line 23"):
        run_page(_PAGE.format("1.234") + "\n\n" + _PAGE.replace("x is {}\n", ""), "a second, empty one")


def test_an_output_is_refreshed_only_where_it_differs():
    close, far = _PAGE.format("1.23"), _PAGE.format("1.31")
    assert refreshed(close, "planted") == close
    assert refreshed(far, "planted") == _PAGE.format("1.234")


def test_the_runner_leaves_out_what_has_a_reason():
    run_page("<!-- no-run: it needs a GPU -->\n```python\nraise ValueError\n```", "planted")
    with pytest.raises(ValueError):
        run_page("<!-- another comment -->\n```python\nraise ValueError\n```", "planted")


def test_numbers_agree_within_a_hundredth_or_the_last_digit():
    assert same_output("a −1.50 b 3", "a -1.504 b 3")
    assert same_output("1e-14", "1.002e-14")
    assert not same_output("a 3", "a 4")
    assert not same_output("a 1.50", "a 1.55")
    assert not same_output("a 1", "b 1")


def test_a_wrong_option_and_a_wrong_command_are_found():
    assert commands("```sh\nstatewise compare my.csv \\\n    --values y  # a comment\nls\n```") == [
        ["statewise", "compare", "my.csv", "--values", "y"]
    ]
    assert wrong_options(["statewise", "compare", "my.csv", "--values", "y"]) == []
    assert wrong_options(["statewise", "compare", "my.csv", "--valeus=y"]) == ["--valeus"]
    assert wrong_options(["statewise", "predict"]) == ["predict"]
    assert wrong_options(["statewise", "--version"]) == []


def test_a_broken_link_is_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("[a](page.md) [b](gone.md#x) [c](https://example.net) [d](#here)")
    assert broken_links(page) == ["gone.md"]
