"""The main job, for real but small: two VARMAs and the naive forecasts on the Nile. Oracle: the same calls from Python."""

from __future__ import annotations

import re

import numpy as np
import pytest

import statewise as sw
from statewise.cli.folders import run_name
from statewise.cli.job import Bridge, run_compare
from statewise.cli.source import Reading, describe, load
from statewise.report import run_folder
from statewise.report.run_folder import open_run

SMALL = ("--models", "varma", "--windows", 2, "--horizon", 3)
FILES = {"backtest.csv", "comparison.csv", "comparison.json", "data.npz", "forecast.csv", "model", "report.html"}


def series(file, rows=60, inputs=False, ids=("",)):
    """A csv file with AR(1) series, one for each id."""
    rng = np.random.default_rng(3)
    lines = ["id,month,y" + (",u" if inputs else "")]
    for name in ids:
        y = 0.0
        for k in range(rows):
            u = np.sin(k)
            y = 0.6 * y + rng.standard_normal() + (u if inputs else 0.0)
            lines.append(f"{name},{2000 + k // 12}-{k % 12 + 1:02},{y}" + (f",{u}" if inputs else ""))
    file.write_text("\n".join(lines) + "\n")
    return file


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    """One run of the job, and its folder."""
    folder = tmp_path_factory.mktemp("job") / "nile"
    return run_compare(sw.datasets.load("nile"), title="nile", folder=folder, models=["varma"], windows=2, horizon=3)


def test_the_job_leaves_a_run_that_opens(job):
    assert {path.name for path in job.folder.iterdir()} >= FILES
    model, seqs = open_run(job.folder)
    assert seqs.equals(sw.datasets.load("nile"))
    assert model.name == job.comparison.best.name
    np.testing.assert_array_equal(model.log_prob(seqs), job.model.log_prob(seqs))


def test_the_winner_is_refitted_to_all_the_data(job):
    seqs = sw.datasets.load("nile")
    again = job.model.clone().fit(seqs, seed=0)
    np.testing.assert_allclose(job.model.log_prob(seqs), again.log_prob(seqs), rtol=1e-12)
    assert job.model.fit_result.n_steps == len(seqs.values)


def test_the_bridge_is_exact_and_of_the_refitted_varma(job):
    """The thesis: the VARMA's Kalman filter and the network agree to rounding."""
    seqs = sw.datasets.load("nile")
    assert job.bridge.name == job.comparison.best.name
    assert job.bridge.log_prob == pytest.approx(job.model.log_prob(seqs).sum(), rel=1e-12)
    assert job.bridge.difference <= 1e-10 * abs(job.bridge.log_prob)


def test_every_model_says_how_long_it_remembers(job):
    assert set(job.memories) == {score.name for score in job.comparison.scores}
    assert job.memories[job.comparison.best.name] == job.model.memory()


def test_the_candidates_are_chosen_without_a_look_past_the_first_origin(monkeypatch, tmp_path):
    """The orders must come from what is before the first window."""
    from statewise.cli import job as module

    seen = []
    honest = module.candidates

    def spied(past, *args, **kwargs):
        seen.append(past)
        return honest(past, *args, **kwargs)

    monkeypatch.setattr(module, "candidates", spied)
    run_compare(sw.datasets.load("nile"), folder=tmp_path / "a", models=["varma"], windows=2, horizon=3)
    (past,) = seen
    assert past.lengths.tolist() == [100 - 2 * 3]


def test_a_baseline_that_wins_is_saved_as_the_model(tmp_path):
    """A steady climb, whose next values a hidden Markov model has never seen and the naive forecast nearly hits."""
    climb = np.cumsum(1 + 0.3 * np.random.default_rng(0).standard_normal(40))
    seqs = sw.Sequences.from_arrays([climb], season=4)
    result = run_compare(seqs, folder=tmp_path / "a", models=["hmm"], windows=2, horizon=3)
    assert result.comparison.best.is_baseline
    assert result.model.name == result.comparison.best.name
    assert result.bridge is None
    assert open_run(result.folder)[0].name == result.model.name


def test_text_is_refused(tmp_path):
    seqs = sw.Sequences([0.0, 1.0, 0.0], lengths=[3], symbols=("a", "b"))
    with pytest.raises(sw.UnsupportedError, match="symbols as codes"):
        run_compare(seqs, folder=tmp_path / "a")


def test_how_the_bridge_is_told():
    text = str(Bridge("VARMA(2,1)", -1234.56781234, -1234.56781237))
    assert text == "VARMA(2,1) as a linear RNN: log-likelihood −1234.567812 = −1234.567812 (difference 3e-08)"


# --- the command ------------------------------------------------------------------------------------------------------


def test_what_compare_prints(cli, tmp_path):
    ran = cli("compare", "nile", *SMALL)
    assert ran.code == 0, ran.err
    assert ran.out.startswith("nile: 1 sequence, 100 steps, column volume, 1871 to 1970\n")
    text = " ".join(ran.out.split())
    for name in ("VARMA(p=2, q=1)", "VARMA(p=2, q=0)", "Naive (baseline)"):
        assert name in text
    assert re.search(r"Use \S+.* nats per step over 3 steps ahead", text)
    assert "Memory of VARMA(p=2, q=1): the predictor's memory has a half-life of 4.06 steps" in text
    assert "Half-life of each model's memory: VARMA(p=2, q=1) 4.06 steps; VARMA(p=2, q=0) the last 2 steps; " in text
    bridge = re.search(r"as a linear RNN: log-likelihood (−[\d.]+) = (−[\d.]+) \(difference (\S+)\)", text)
    assert bridge[1] == bridge[2]
    assert float(bridge[3]) < 1e-9
    assert "written to runs/nile: backtest.csv" in text
    assert ran.out.endswith("next: statewise forecast runs/nile --steps 6\n")
    assert ran.err == ""
    then = cli(*ran.out.splitlines()[-1].removeprefix("next: statewise ").split())
    assert then.code == 0, then.err
    assert "6 steps ahead" in then.out


def test_a_second_run_gets_the_next_number(cli, tmp_path):
    (tmp_path / "runs" / "nile").mkdir(parents=True)
    assert "written to runs/nile-2:" in cli("compare", "nile", *SMALL).out


def test_overwriting_replaces_the_run(cli, tmp_path):
    assert cli("fit", "nile", "--model", "naive", "--out", "runs/nile").code == 0
    assert "written to runs/nile:" in cli("compare", "nile", *SMALL, "--overwrite").out
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["nile"]
    assert open_run(tmp_path / "runs" / "nile")[0].kind == "varma"


def test_json_is_one_document(cli, tmp_path):
    ran = cli("compare", "nile", *SMALL, "--name", "mine", "--out", "elsewhere", "--json")
    assert ran.code == 0, ran.err
    found = ran.json
    assert found["folder"] == "elsewhere/mine"
    assert (tmp_path / "elsewhere" / "mine" / "run.json").is_file()
    assert found["best"] == found["models"][0]["name"]
    assert set(found["models"][0]["coverage"]) == {"80", "95"}
    assert found["bridge"]["difference"] < 1e-9
    assert found["data"] == {
        "sequences": 1,
        "steps": [100],
        "columns": ["volume"],
        "inputs": [],
        "missing": 0,
        "season": None,
    }


def test_a_file_of_the_user_with_several_sequences(cli, tmp_path):
    file = series(tmp_path / "my data.csv", ids=("a", "b"), rows=30)
    ran = cli("compare", file, "--values", "y", "--time", "month", "--id", "id", *SMALL, "--season", 4, "--level", 90)
    assert ran.code == 0, ran.err
    assert "my data: 2 sequences, 30 steps each, column y, 2000-01 to 2002-06, season of 4 steps" in ran.out
    assert "SeasonalNaive(4)" in ran.out
    assert "90" in ran.out and "95" not in ran.out.split("Use")[0]
    assert (tmp_path / "runs" / "my-data" / "report.html").is_file()


def test_inputs_are_compared_and_the_missing_forecast_is_explained(cli, tmp_path):
    file = series(tmp_path / "a.csv", inputs=True)
    ran = cli("compare", file, "--values", "y", "--inputs", "u", *SMALL)
    assert ran.code == 0, ran.err
    assert "given u" in ran.out
    refused = cli("forecast", "runs/a", "--steps", 2)
    assert refused.code == 2
    assert "needs the next 2 values of u; pass them with --future FILE" in refused.err


@pytest.mark.parametrize("place", ["model", "data", "text", "move"])
def test_an_interruption_leaves_nothing(cli, tmp_path, monkeypatch, place):
    """Ctrl-C at each stage of the writing: no run, no temporary folder, code 130."""

    def interrupted(*_args, **_options):
        raise KeyboardInterrupt

    target = {"model": "report_page", "data": "write_npz", "text": "write_atomically", "move": "_move"}[place]
    monkeypatch.setattr(run_folder, target, interrupted)
    ran = cli("compare", "nile", *SMALL)
    assert ran.code == 130
    assert ran.err == "interrupted; nothing half-written was left\n"
    assert list(tmp_path.rglob("*.*")) == []


# --- the source -------------------------------------------------------------------------------------------------------


def test_columns_and_season_of_a_data_set_can_be_chosen():
    seqs = load("us_macro", Reading(values=["infl", "unemp"], season=4))
    assert seqs.columns == ("infl", "unemp")
    assert seqs.season == 4
    whole = sw.datasets.load("us_macro")
    np.testing.assert_array_equal(seqs.values[:, 1], whole.values[:, whole.columns.index("unemp")])


def test_a_file_named_like_a_data_set_is_read_with_its_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nile").write_text("y\n1\n2\n")
    assert load("nile", Reading()).rows == 100
    with pytest.raises(sw.DataError, match="suffix"):
        load("./nile", Reading())


def test_the_line_about_the_data():
    seqs = sw.Sequences.from_arrays([[1.0, np.nan, 3.0], [4.0, 5.0]], inputs=[[1, 2, 3], [1, 2]], season=2)
    wanted = "x: 2 sequences, 2 to 3 steps, column y, given u1, 1 of 5 values missing, season of 2 steps"
    assert describe("x", seqs) == wanted
    wide = sw.Sequences(np.ones((3, 8)), lengths=[3])
    assert describe("x", wide) == "x: 1 sequence, 3 steps, columns y1, y2, y3, y4, y5, y6 and 2 more"


def test_names_for_runs_come_from_the_source():
    assert run_name(None, "my data") == "my-data"
