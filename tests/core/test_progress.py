"""The progress bar. Oracle: what reaches stderr."""

from __future__ import annotations

import io
from contextlib import redirect_stderr

import pytest

from statewise._core import progress as module
from statewise._core.progress import progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def screen(monkeypatch):
    """A terminal on which bars appear at once."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(module, "_DELAY_S", -1.0)
    monkeypatch.delenv("STATEWISE_PROGRESS", raising=False)
    return Terminal()


def test_a_bar_appears_on_a_terminal_with_its_labels(screen):
    with redirect_stderr(screen), progress("fitting", 3) as advance:
        advance()
        advance(2, "almost there")
    assert "almost there" in screen.getvalue()


@pytest.mark.usefixtures("screen")
def test_nothing_is_written_when_stderr_is_no_terminal():
    pipe = io.StringIO()
    with redirect_stderr(pipe), progress("fitting", 3) as advance:
        advance(3)
    assert pipe.getvalue() == ""


def test_quick_work_shows_no_bar(screen, monkeypatch):
    monkeypatch.setattr(module, "_DELAY_S", 60.0)
    with redirect_stderr(screen), progress("fitting", 3) as advance:
        advance(3)
    assert screen.getvalue() == ""


def test_the_setting_silences(screen, monkeypatch):
    monkeypatch.setenv("STATEWISE_PROGRESS", "0")
    with redirect_stderr(screen), progress("fitting", 3) as advance:
        advance(3)
    assert screen.getvalue() == ""


def test_an_inner_bar_is_silent_and_the_outer_one_goes_on(screen):
    with redirect_stderr(screen), progress("outer", 2) as advance:
        with progress("inner", 2) as inner:
            inner(2)
        advance(2)
    assert "inner" not in screen.getvalue()
    assert "outer" in screen.getvalue()


def test_an_error_closes_the_bar_so_that_the_next_one_works(screen):
    with pytest.raises(ZeroDivisionError), redirect_stderr(screen), progress("first", 1) as advance:
        advance()
        raise ZeroDivisionError
    with redirect_stderr(screen), progress("second", 1) as advance:
        advance()
    assert "second" in screen.getvalue()
