"""Oracle: closed form (the texts are short enough to know the answer)."""

from __future__ import annotations

import pytest

from statewise._core.errors import InputError
from statewise.cli.fit import build, parse
from statewise.cli.folders import choose, run_name
from statewise.cli.options import levels, names


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (None, None),
        ("y", ["y"]),
        ("y,z", ["y", "z"]),
        (" y , z ", ["y", "z"]),
        ('"sales, net",y', ["sales, net", "y"]),
    ],
)
def test_names_are_split_at_commas(text, wanted):
    assert names("--values", text) == wanted


@pytest.mark.parametrize("text", ["", ",", "y,,z", "y,", " "])
def test_an_empty_name_is_refused_and_the_option_is_named(text):
    with pytest.raises(InputError, match=r"--values is .* separated by commas"):
        names("--values", text)


@pytest.mark.parametrize(("text", "wanted"), [("80,95", (80, 95)), ("95, 50", (50, 95)), ("97.5", (97.5,))])
def test_levels_are_sorted_percentages(text, wanted):
    assert levels(text) == wanted


@pytest.mark.parametrize("text", ["", "high", "80;95", "0", "100", "nan", "-5", "0.95"])
def test_a_bad_level_is_refused(text):
    with pytest.raises(InputError, match="level"):
        levels(text)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("p=2", ("p", 2)),
        ("tol=1e-3", ("tol", 1e-3)),
        ("trend=c", ("trend", "c")),
        ("level=True", ("level", True)),
        ("level=false", ("level", False)),
        ("seasonal=None", ("seasonal", None)),
        ("seasonal=null", ("seasonal", None)),
        ("name=a=b", ("name", "a=b")),
        ("order=[1, 2]", ("order", [1, 2])),
        ("order=0,1,1", ("order", [0, 1, 1])),
        ("name=a,b", ("name", "a,b")),
    ],
)
def test_an_option_is_a_name_and_a_value(text, wanted):
    assert parse(text) == wanted


@pytest.mark.parametrize("text", ["p", "=2", "", " =2"])
def test_an_option_without_name_or_value_is_refused(text):
    with pytest.raises(InputError, match="NAME=VALUE"):
        parse(text)


def test_options_go_to_the_model_or_to_its_fit():
    model, arguments = build("varma", ["p=2", "q=1", "max_iter=7"])
    assert model.get_params() == {"p": 2, "q": 1, "trend": "c"}
    assert arguments == {"max_iter": 7}


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("vrma", [], r"--model is 'vrma'.*did you mean varma"),
        ("varma", ["pp=2"], r"--option pp: varma has no such option; did you mean p\?"),
        ("varma", ["zebra=2"], r"the options are max_iter, p, q, restarts, seed, tol, trend"),
        ("varma", ["p=-1"], r"`p` is -1"),
        ("varma", ["p=two"], r"`p` is 'two'"),
    ],
)
def test_a_wrong_model_or_option_is_refused_with_the_fix(kind, options, message):
    with pytest.raises(InputError, match=message):
        build(kind, options)


@pytest.mark.parametrize(
    ("given", "title", "wanted"),
    [
        (None, "sunspots", "sunspots"),
        (None, "my data (2)", "my-data-2"),
        (None, "..", "run"),
        (None, "销售", "销售"),
        ("mine", "sunspots", "mine"),
    ],
)
def test_a_run_has_a_plain_name(given, title, wanted):
    assert run_name(given, title) == wanted


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/a"])
def test_a_name_that_is_a_path_is_refused(name):
    with pytest.raises(InputError, match="--name"):
        run_name(name, "sunspots")


def test_a_taken_folder_gets_the_next_number(tmp_path):
    assert choose(tmp_path / "runs" / "a") == tmp_path / "runs" / "a"
    (tmp_path / "a").mkdir()
    (tmp_path / "a-2").mkdir()
    assert choose(tmp_path / "a") == tmp_path / "a-3"


def test_overwriting_replaces_runs_only(tmp_path):
    run, other = tmp_path / "run", tmp_path / "other"
    run.mkdir()
    other.mkdir()
    (run / "run.json").write_text("{}")
    (other / "thesis.tex").write_text("years of work")
    assert choose(run, overwrite=True) == run
    with pytest.raises(InputError, match="not a run"):
        choose(other, overwrite=True)


def test_a_file_in_the_way_is_found_before_the_work(tmp_path):
    (tmp_path / "runs").write_text("")
    with pytest.raises(InputError, match="is a file"):
        choose(tmp_path / "runs" / "a")
