"""Fitting one model and forecasting from runs and models. Oracle: the same calls from Python."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import statewise as sw
from statewise.cli.forecast import future_inputs


@pytest.fixture
def fitted(cli):
    """A fitted VARMA(1, 0) of the Nile in runs/nile-varma."""
    ran = cli("fit", "nile", "--model", "varma", "--option", "p=1", "--option", "q=0")
    assert ran.code == 0, ran.err
    return ran


def test_fit_prints_the_summary_and_writes_a_run(fitted, tmp_path):
    model = sw.VARMA(p=1, q=0).fit(sw.datasets.load("nile"))
    saved = sw.load(tmp_path / "runs" / "nile-varma" / "model")
    np.testing.assert_allclose(saved.ar, model.ar, rtol=1e-12)
    assert "log-likelihood  -639.95" in fitted.out
    assert fitted.out.endswith("written to runs/nile-varma\nnext: statewise forecast runs/nile-varma --steps 12\n")


def test_fit_does_not_overwrite_unless_told_to(fitted, cli, tmp_path):
    assert "written to runs/nile-varma-2" in cli("fit", "nile", "--model", "varma").out
    assert cli("fit", "nile", "--model", "naive", "--out", "runs/nile-varma", "--overwrite").code == 0
    assert sw.load(tmp_path / "runs" / "nile-varma" / "model").kind == "naive"


def test_fit_as_json(cli):
    ran = cli("fit", "nile", "--model", "structural", "--option", "level=true", "--json")
    assert ran.code == 0, ran.err
    found = ran.json
    assert found["kind"] == "structural"
    assert found["fit"]["outcome"] == "CONVERGED"
    assert found["fit"]["log_prob"] == pytest.approx(-633.4646, abs=1e-3)  # Durbin & Koopman: the Nile's local level
    assert found["folder"] == "runs/nile-structural"


def test_orders_are_written_with_commas(cli):
    ran = cli(
        "fit", "airline", "--model", "arima", "--option", "order=0,1,1", "--option", "seasonal_order=[0,1,1]", "--json"
    )
    assert ran.code == 0, ran.err
    assert ran.json["options"] == {"order": [0, 1, 1], "seasonal_order": [0, 1, 1], "period": None, "trend": None}
    assert ran.json["folder"] == "runs/airline-arima"


def test_fit_options_reach_the_fit(cli):
    ran = cli("fit", "nile", "--model", "varma", "--option", "q=1", "--option", "max_iter=1", "--json")
    assert ran.json["fit"]["outcome"] == "MAX_ITER"


def test_a_failed_fit_is_code_3_and_leaves_no_run(cli, tmp_path, monkeypatch):
    from statewise.models.naive import Naive
    from statewise.results.fit import FitResult

    def fit(self, data):
        self.fit_result = FitResult(sw.Outcome.NOT_FINITE, np.nan, 0, np.zeros(0), 0.0)
        return self

    monkeypatch.setattr(Naive, "fit", fit)
    ran = cli("fit", "nile", "--model", "naive")
    assert ran.code == 3
    assert ran.err.startswith("error: the objective became NaN or infinite")
    assert not (tmp_path / "runs").exists()


def test_interrupting_a_fit_leaves_nothing(cli, tmp_path, monkeypatch):
    from statewise.report import run_folder

    def interrupted(*_args, **_options):
        raise KeyboardInterrupt

    monkeypatch.setattr(run_folder, "write_npz", interrupted)
    ran = cli("fit", "nile", "--model", "naive")
    assert ran.code == 130
    assert list(tmp_path.rglob("*.*")) == []


# --- forecast ---------------------------------------------------------------------------------------------------------


def python_forecast(tmp_path, steps, **options):
    model = sw.load(tmp_path / "runs" / "nile-varma" / "model")
    return model.forecast(sw.datasets.load("nile"), steps=steps, **options)


def test_a_forecast_is_printed_and_written(fitted, cli, tmp_path):
    ran = cli("forecast", "runs/nile-varma", "--steps", 3, "--level", "50,90", "--out", "a/forecast.csv")
    assert ran.code == 0, ran.err
    wanted = python_forecast(tmp_path, 3, level=(50, 90))
    table = pd.read_csv(tmp_path / "a" / "forecast.csv", parse_dates=["time"])
    np.testing.assert_allclose(table["mean"], wanted.mean[0, :, 0], rtol=1e-12)
    np.testing.assert_allclose(table["upper_90"], wanted.upper[90.0][0, :, 0], rtol=1e-12)
    assert table["time"].dt.year.tolist() == [1971, 1972, 1973]
    for text in ("VARMA(p=1, q=0), 3 steps ahead", "1973", "lower_50", f"{wanted.mean[0, 0, 0]:.1f}"):
        assert text in ran.out
    assert ran.out.endswith("written to a/forecast.csv\n")


def test_a_forecast_as_json(fitted, cli, tmp_path):
    found = cli("forecast", "runs/nile-varma", "--steps", 2, "--json").json
    assert [row["time"] for row in found["forecast"]] == ["1971-01-01", "1972-01-01"]
    np.testing.assert_allclose(
        [row["mean"] for row in found["forecast"]], python_forecast(tmp_path, 2).mean[0, :, 0], rtol=1e-12
    )


def test_a_long_forecast_is_cut_on_the_screen_only(fitted, cli, tmp_path):
    ran = cli("forecast", "runs/nile-varma", "--steps", 70, "--out", "all.csv")
    assert "… and 10 more rows" in ran.out
    assert len(pd.read_csv(tmp_path / "all.csv")) == 70


def test_forecasts_from_new_data(fitted, cli, tmp_path):
    """Columns are those of the model unless named; the forecast starts at the end of the new data."""
    (tmp_path / "new.csv").write_text("year,other,volume\n1990,1,700\n1991,2,800\n1992,3,1200\n")
    wanted = sw.load(tmp_path / "runs" / "nile-varma" / "model").forecast([700.0, 800.0, 1200.0], steps=1).mean.item()
    for place in ("runs/nile-varma", "runs/nile-varma/model"):
        found = cli("forecast", place, "--data", "new.csv", "--steps", 1, "--json").json
        assert found["forecast"][0]["mean"] == pytest.approx(wanted, rel=1e-12)
        assert found["forecast"][0]["time"] == "1993-01-01"
    found = cli("forecast", "runs/nile-varma", "--data", "new.csv", "--values", "other", "--steps", 1, "--json").json
    assert found["forecast"][0]["column"] == "other"


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["runs/nile-varma/model"], "without data; say with --data"),
        (["runs"], "no complete run here"),
        (["runs/nile-varma", "--steps", "0"], "--steps is 0"),
        (["runs/nile-varma", "--level", "100"], "--level is 100"),
        (["runs/nile-varma", "--data", "us_macro"], "fitted to 1"),
        (["runs/nile-varma", "--data", "missing.csv"], "missing.csv: there is no such file"),
        (["runs/nile-varma", "--future", "x.csv"], "have no inputs"),
        (["runs/nile-varma", "--out", "runs"], "."),
    ],
)
def test_a_forecast_that_cannot_be_made(fitted, cli, arguments, hint):
    import re

    ran = cli("forecast", *arguments)
    assert ran.code == 2
    assert len(ran.err.splitlines()) == 1 and ran.err.startswith("error: ")
    assert re.search(hint, ran.err), ran.err


def test_a_damaged_run_is_refused(fitted, cli, tmp_path):
    data = tmp_path / "runs" / "nile-varma" / "data.npz"
    data.write_bytes(data.read_bytes()[:-10])
    ran = cli("forecast", "runs/nile-varma")
    assert ran.code == 2
    assert "data.npz: truncated or altered" in ran.err


def test_future_inputs_make_a_forecast_possible(cli, tmp_path):
    rng = np.random.default_rng(0)
    u = rng.standard_normal(60)
    y = 5 + 3 * u + 0.1 * rng.standard_normal(60)
    rows = "".join(f"{k},{a},{b}\n" for k, (a, b) in enumerate(zip(y, u, strict=True)))
    (tmp_path / "past.csv").write_text("step,y,u\n" + rows)
    (tmp_path / "future.csv").write_text("step,u\n60,2\n61,-1\n62,0\n")
    assert cli("fit", "past.csv", "--model", "varma", "--time", "step", "--values", "y", "--inputs", "u").code == 0
    without = cli("forecast", "runs/past-varma", "--steps", 2)
    assert without.code == 2
    assert "--future" in without.err
    found = cli("forecast", "runs/past-varma", "--steps", 2, "--future", "future.csv", "--json").json
    np.testing.assert_allclose([row["mean"] for row in found["forecast"]], [11, 2], atol=0.3)  # 5 + 3u, 3 sd of noise
    short = cli("forecast", "runs/past-varma", "--steps", 4, "--future", "future.csv")
    assert short.code == 2
    assert "3 rows of future inputs for 4 steps" in short.err


def test_future_inputs_by_id(tmp_path):
    seqs = sw.Sequences.from_arrays([[1.0, 2.0], [3.0, 4.0]], inputs=[[1, 2], [3, 4]], ids=["a", "b"])
    file = tmp_path / "future.csv"
    file.write_text("id,u1\nb,7\nb,8\na,5\na,6\n")
    np.testing.assert_array_equal(future_inputs(file, seqs, 2, "id"), [[[5], [6]], [[7], [8]]])
    file.write_text("u1\n5\n6\n")
    np.testing.assert_array_equal(future_inputs(file, seqs, 1, None), [[[5]], [[5]]])
    file.write_text("id,u1\nb,7\nb,8\nc,5\nc,6\n")
    with pytest.raises(sw.InputError, match="no future inputs for the sequence 'a'"):
        future_inputs(file, seqs, 2, "id")


# --- datasets ---------------------------------------------------------------------------------------------------------


def test_data_sets_are_listed(cli):
    ran = cli("datasets")
    assert ran.code == 0
    for name in sw.datasets.names():
        assert name in ran.out
    assert "public domain" in ran.out and "309 steps × 1" in ran.out


def test_data_sets_as_json(cli):
    found = {one["name"]: one for one in cli("datasets", "--json").json}
    assert sorted(found) == sw.datasets.names()
    assert found["nile"]["rows"] == 100
    assert set(found["nile"]) >= {"title", "licence", "source", "sequences", "missing", "columns", "season"}


@pytest.mark.parametrize("kind", ["tagger", "classifier"])
def test_labels_of_an_npz_are_learned(kind, cli, tmp_path):
    """A run of a model that has no forecast names none, opens again, and `forecast` says why not."""
    from statewise.report.run_folder import open_run, read_record

    labels = np.arange(60) // 5 % 2 if kind == "tagger" else np.arange(6) % 2
    np.savez("data.npz", values=np.random.default_rng(0).normal(size=(60, 1)), lengths=np.full(6, 10), labels=labels)
    options = ["--option", "hidden=2", "--option", "epochs=1", "--out", "run"]
    ran = cli("fit", "data.npz", "--model", kind, *options)
    assert ran.code == 0, ran.err
    assert "next:" not in ran.out
    assert read_record(tmp_path / "run")["commands"] == {}
    model, seqs = open_run(tmp_path / "run")
    assert model.kind == kind
    assert model.score(seqs).count == len(labels)
    assert cli("fit", "data.npz", "--model", kind, *options, "--json").json["kind"] == kind
    refused = cli("forecast", "run")
    assert refused.code != 0
    assert "forecast" in refused.err
