"""Exit codes and error lines. Errors are planted in the functions that a command calls; the oracle is the table of codes."""

from __future__ import annotations

import errno
import io
import os
import re
import warnings

import pytest

from statewise import __version__
from statewise._core.errors import DataError, InputError, ModelFileError, NumericalError
from statewise.cli import main, output
from statewise.cli.exits import as_typed
from statewise.sequences import datasets

COMMANDS = ("datasets", "compare", "fit", "forecast")


def raising(error):
    def planted(*_args, **_options):
        raise error

    return planted


def test_version(cli):
    ran = cli("--version")
    assert (ran.code, ran.out, ran.err) == (0, f"statewise {__version__}\n", "")


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], *([command, "--help"] for command in COMMANDS)])
def test_help_is_no_error(cli, arguments):
    ran = cli(*arguments)
    assert ran.code == 0
    assert "Usage: statewise" in ran.out
    assert ran.err == ""


def test_help_names_every_command(cli):
    text = cli("--help").out
    assert all(command in text for command in COMMANDS)


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["compare"], "SOURCE.*see statewise compare --help"),
        (["compare", "nile", "--horizn", "3"], "--horizn.*see statewise compare --help"),
        (["compare", "nile", "--horizon", "many"], "--horizon"),
        (["compare", "nile", "extra"], "extra"),
        (["cmpare", "nile"], "cmpare.*see statewise --help"),
        (["fit", "nile"], "--model"),
        (["compare", "sunspot"], "did you mean 'sunspots'"),
        (["compare", "zebra"], "the data sets are airline, co2, nile"),
        (["compare", "nile", "--models", "vamra"], "--models is 'vamra'.*did you mean 'varma'"),
        (["compare", "nile", "--level", "high"], "--level is 'high'"),
        (["compare", "nile", "--horizon", "0"], "--horizon is 0"),
        (["compare", "nile", "--windows", "0"], "--windows is 0"),
        (["compare", "nile", "--season", "0"], "--season is 0"),
        (["compare", "nile", "--time", "year"], "--time is for files"),
        (["compare", "nile", "--values", "height"], "no column 'height'; its columns are volume"),
        (["compare", "nile", "--name", "a/b"], "--name is 'a/b'"),
        (["compare", "nile.csv", "--time", "t", "--no-time"], "contradict"),
        (["fit", "nile", "--model", "structural", "--option", "level=3"], "`level` is 3; pass True or False"),
        (["forecast", "nowhere"], "no complete run here"),
        (["forecast", "nowhere", "--season", "12"], "add --data FILE"),
        (["compare", "stdlib-code"], "the candidates model numbers"),
    ],
)
def test_wrong_usage_is_code_2_and_one_line(cli, arguments, hint, tmp_path):
    ran = cli(*arguments)
    assert ran.code == 2
    assert len(ran.err.splitlines()) == 1 and ran.err.startswith("error: ")
    assert re.search(hint, ran.err), ran.err
    assert not (tmp_path / "runs").exists()


def test_no_command_shows_the_help(cli):
    ran = cli()
    assert ran.code == 2
    assert "Usage: statewise" in ran.out + ran.err
    assert "error" not in ran.err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InputError("a"), 2),
        (DataError("a"), 2),
        (ModelFileError("a"), 2),
        (NumericalError("a"), 3),
        (OSError(errno.EACCES, "x", "place"), 2),
        (OSError(errno.ENOSPC, "x"), 2),
        (KeyboardInterrupt(), 130),
        (ZeroDivisionError("a"), 1),
        (OSError("no number"), 1),
    ],
)
def test_each_error_has_its_code_and_no_traceback(cli, monkeypatch, error, code):
    monkeypatch.setattr(datasets, "names", raising(error))
    ran = cli("datasets")
    assert ran.code == code
    assert "Traceback" not in ran.err
    assert len(ran.err.splitlines()) == 1
    if code != 130:
        assert ran.err.startswith("error: ")


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_a_reader_that_goes_away_is_met_with_silence(cli, monkeypatch, options):
    class Closed(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))

    monkeypatch.setattr("sys.stdout", Closed())
    ran = cli("datasets", *options)
    assert (ran.code, ran.err) == (141, "")


def test_what_the_lines_say(cli, monkeypatch):
    said = {}
    for error in (KeyboardInterrupt(), ZeroDivisionError("by zero"), PermissionError(errno.EACCES, "x", "place")):
        monkeypatch.setattr(datasets, "names", raising(error))
        said[type(error)] = cli("datasets").err.strip()
    assert said[KeyboardInterrupt] == "interrupted; nothing half-written was left"
    assert "ZeroDivisionError: by zero" in said[ZeroDivisionError]
    assert "STATEWISE_DEBUG=1" in said[ZeroDivisionError]
    assert said[PermissionError].startswith(f"error: place: {os.strerror(errno.EACCES)}")


@pytest.mark.parametrize("error", [ZeroDivisionError("a"), InputError("a")])
def test_debugging_raises_errors_as_they_are(cli, monkeypatch, error):
    monkeypatch.setattr(datasets, "names", raising(error))
    monkeypatch.setenv("STATEWISE_DEBUG", "1")
    with pytest.raises(type(error)):
        main(["datasets"])


def test_markup_in_a_message_is_text(cli, monkeypatch):
    monkeypatch.setattr(datasets, "names", raising(InputError("[bold]x[/bold] [/] :smile:\nsecond")))
    assert cli("datasets").err == "error: [bold]x[/bold] [/] :smile: second\n"


def test_a_long_error_stays_one_line(cli, monkeypatch):
    monkeypatch.setattr(datasets, "names", raising(InputError("word " * 200 + "end")))
    assert len(cli("datasets").err.splitlines()) == 1


def test_a_warning_is_a_line_on_stderr(cli, monkeypatch):
    def names():
        warnings.warn("careful", UserWarning, stacklevel=1)
        return []

    monkeypatch.setattr(datasets, "names", names)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        ran = cli("datasets", "--json")
    assert ran.json == []
    assert ran.err == "warning: careful\n"


@pytest.mark.parametrize(
    ("message", "command", "wanted"),
    [
        ("pass sort=True or `id`", "compare", "pass --sort or --id"),
        ("pass time=False", "fit", "pass --no-time"),
        ("`level` is 3", "forecast", "--level is 3"),
        ("`level` is 3", "fit", "`level` is 3"),
        ("`p` is -1", "fit", "`p` is -1"),
        ("`id`", "nonsense", "`id`"),
    ],
)
def test_messages_speak_of_the_options_that_were_typed(message, command, wanted):
    assert as_typed(message, ["--something", command, "x"]) == wanted


# --- output -----------------------------------------------------------------------------------------------------------


def test_json_has_no_nan(capsys):
    output.say_json({"a": [float("nan"), float("inf"), 1.5], "b": (None, True, "ü")})
    assert (
        capsys.readouterr().out
        == '{\n  "a": [\n    null,\n    null,\n    1.5\n  ],\n  "b": [\n    null,\n    true,\n    "\\u00fc"\n  ]\n}\n'
    )


def test_a_wide_table_is_whole_where_there_is_no_terminal(capsys):
    from rich.table import Table

    table = Table()
    for k in range(20):
        table.add_column(f"a rather long heading {k}")
    table.add_row(*(f"cell {k}" for k in range(20)))
    output.say(table)
    out = capsys.readouterr().out
    assert all(f"a rather long heading {k} " in out for k in range(20))
    assert "…" not in out


def test_text_is_wrapped_at_words_and_commands_are_not(capsys):
    text = "word " * 50
    output.say(text.strip())
    assert max(map(len, capsys.readouterr().out.splitlines())) <= output.PIPE_WIDTH
    output.say(text.strip(), wrap=False)
    assert capsys.readouterr().out == text.strip() + "\n"


def test_no_colour_where_there_is_no_terminal_or_none_is_wanted(capsys, monkeypatch):
    for name, value in {"FORCE_COLOR": "", "NO_COLOR": "1", "TERM": "xterm-256color"}.items():
        monkeypatch.setenv(name, value)
    output.complain("x")
    output.say("x")
    captured = capsys.readouterr()
    assert captured.err == "error: x\n"
    assert captured.out == "x\n"


def test_errors_are_red_on_a_terminal(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    output.complain("x")
    assert terminal.getvalue() == "\x1b[31merror: x\x1b[0m\n"
