"""Runs, with a real model. Oracles: what was written equals what is read back, and the tables equal the results they came from."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from tests.report import fakes

from statewise._core.errors import InputError, ModelFileError
from statewise.evaluate.compare import compare
from statewise.models.naive import Naive
from statewise.report import run_folder
from statewise.report.files import comparison_json, csv
from statewise.report.run_folder import open_run, read_record, write_fit, write_run
from statewise.sequences.sequences import Sequences


def job(folder, seqs: Sequences, **more):
    comparison = compare([Naive(2)], seqs, horizon=4, windows=2)
    model = Naive(2).fit(seqs)
    run = write_run(folder, title="the title", seqs=seqs, comparison=comparison, model=model, **({"steps": 3} | more))
    return run, comparison, model


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return job(tmp_path_factory.mktemp("runs") / "panel", fakes.panel(), notes=("a note",))


def test_everything_is_there(written):
    run, _, _ = written
    names = {path.name for path in run.folder.iterdir()}
    assert names == {
        "model", "data.npz", "forecast.csv", "backtest.csv", "comparison.csv", "comparison.json", "report.html", "report.txt", "run.json",
    }  # fmt: skip
    assert all(path.exists() for path in vars(run).values())
    assert [path for path in run.folder.parent.iterdir() if path != run.folder] == []


def test_open_run_returns_the_model_and_the_data(written):
    run, _, model = written
    opened, seqs = open_run(run.folder)
    assert seqs.equals(fakes.panel())
    np.testing.assert_array_equal(opened.forecast(seqs, 3).mean, model.forecast(seqs, 3).mean)


def test_the_forecast_file(written):
    run, _, model = written
    forecast = model.forecast(fakes.panel(), 3)
    frame = pd.read_csv(run.forecast)
    assert list(frame.columns) == ["id", "step", "column", "mean", "sd", "lower_80", "upper_80", "lower_95", "upper_95"]
    np.testing.assert_allclose(frame["mean"], forecast.mean.ravel(), rtol=1e-12)
    np.testing.assert_allclose(frame["upper_95"], forecast.interval(95)[1].ravel(), rtol=1e-12)


def test_the_backtest_file(written):
    """Its errors give the comparison's RMSE back."""
    run, comparison, _ = written
    frame = pd.read_csv(run.backtest)
    assert list(frame.columns)[:6] == ["model", "window", "id", "step", "column", "mean"]
    assert set(frame["window"]) == {1, 2} and set(frame["step"]) == {1, 2, 3, 4}
    for score in comparison.scores:
        own = frame[frame["model"] == score.name]
        assert np.sqrt(np.mean((own["mean"] - own["actual"]) ** 2)) == pytest.approx(score.rmse, rel=1e-12)
        inside = (own["lower_80"] <= own["actual"]) & (own["actual"] <= own["upper_80"])
        assert 100 * inside.mean() == pytest.approx(score.coverage[80], rel=1e-12)


def test_the_comparison_files(written):
    run, comparison, _ = written
    frame = pd.read_csv(run.comparison)
    assert frame["model"].tolist() == [score.name for score in comparison.scores]
    np.testing.assert_allclose(frame["log_score"], [score.log_score for score in comparison.scores], rtol=1e-12)
    document = json.loads(run.comparison_json.read_text(encoding="utf-8"), parse_constant=pytest.fail)
    assert document["best"] == comparison.best.name
    assert [model["crps"] for model in document["models"]] == [score.crps for score in comparison.scores]
    assert document["models"][0]["coverage"]["80"] == comparison.best.coverage[80]


def test_nan_becomes_null(tmp_path):
    comparison = fakes.compared(fakes.yearly(), ["Naive", "B()", "C()"], failed="D()")
    failed = json.loads(comparison_json(comparison), parse_constant=pytest.fail)["models"][-1]
    assert failed["log_score"] is None and failed["coverage"] == {"80": None, "95": None}
    assert failed["failure"].startswith("window 1")


def test_the_record(written):
    run, _, _ = written
    record = read_record(run.folder)
    assert record["title"] == "the title" and record["steps"] == 3 and record["level"] == [80.0, 95.0]
    assert record["commands"]["forecast"] == f"statewise forecast {run.folder} --steps 3"
    on_disk = {path.relative_to(run.folder).as_posix() for path in run.folder.rglob("*") if path.is_file()}
    assert set(record["files"]) == on_disk - {"run.json"}
    assert record["versions"]["statewise"]


def test_dates_in_the_files(tmp_path):
    run, _, _ = job(tmp_path / "run", fakes.yearly())
    assert pd.read_csv(run.forecast)["time"].tolist() == ["1920-01-01", "1921-01-01", "1922-01-01"]
    assert pd.read_csv(run.backtest)["time"].iloc[0] == "1912-01-01"
    assert "From, to: 1800 to 1919" in run.report_text.read_text(encoding="utf-8")


def test_missing_values_stay_missing(tmp_path):
    run, _, _ = job(tmp_path / "run", fakes.gappy())
    _, seqs = open_run(run.folder)
    assert seqs.equals(fakes.gappy())


def test_hostile_names_in_files(tmp_path):
    name = 'a,"b"\n<script>=1+1'
    run, _, _ = job(tmp_path / "run", fakes.panel().replace(columns=[name]))
    assert set(pd.read_csv(run.forecast)["column"]) == {name}
    assert set(pd.read_csv(run.backtest)["column"]) == {name}


@pytest.mark.parametrize("broken", ["run.json", "data.npz", "model"])
def test_a_part_is_gone(written, tmp_path, broken):
    folder = shutil.copytree(written[0].folder, tmp_path / "copy")
    gone = folder / broken
    shutil.rmtree(gone) if gone.is_dir() else gone.unlink()
    with pytest.raises(ModelFileError, match=r"no complete run|no data\.npz|no model"):
        open_run(folder)


@pytest.mark.parametrize("broken", ["run.json", "data.npz", "model/model.json"])
def test_a_part_is_truncated(written, tmp_path, broken):
    folder = shutil.copytree(written[0].folder, tmp_path / "copy")
    file = folder / broken
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(ModelFileError, match="truncated"):
        open_run(folder)


@pytest.mark.parametrize("content", ["[]", "{}", '{"format": "1"}', '{"format": 1}', '{"format": 1, "files": []}'])
def test_a_record_of_something_else(tmp_path, content):
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(ModelFileError, match="not the record of a run"):
        read_record(tmp_path)


def test_a_record_from_the_future(written, tmp_path):
    record = read_record(written[0].folder) | {"format": 99}
    (tmp_path / "run.json").write_text(json.dumps(record))
    with pytest.raises(ModelFileError, match="pip install --upgrade"):
        open_run(tmp_path)


def test_no_run_there(tmp_path):
    with pytest.raises(ModelFileError, match="no complete run"):
        open_run(tmp_path / "nowhere")
    file = tmp_path / "file"
    file.write_text("x")
    with pytest.raises(ModelFileError, match="no complete run"):
        open_run(file)
    with pytest.raises(InputError, match="existing file"):
        job(file, fakes.yearly())


def test_writing_again_replaces_the_run_and_leaves_other_files(tmp_path):
    job(tmp_path / "run", fakes.panel())
    (tmp_path / "run" / "mine.txt").write_text("keep")
    run, _, _ = job(tmp_path / "run", fakes.yearly(), steps=2)
    _, seqs = open_run(run.folder)
    assert seqs.equals(fakes.yearly())
    assert len(pd.read_csv(run.forecast)) == 2
    assert (run.folder / "mine.txt").read_text() == "keep"
    assert len(list((run.folder / "model").iterdir())) == 2


def test_a_fit_alone_is_a_smaller_run(tmp_path):
    """It takes the place of a whole run and leaves none of its files behind."""
    job(tmp_path / "run", fakes.panel())
    seqs = fakes.yearly()
    folder = write_fit(tmp_path / "run", title="t", seqs=seqs, model=Naive(2).fit(seqs))
    assert {path.name for path in folder.iterdir()} == {"model", "data.npz", "run.json"}
    assert open_run(folder)[1].equals(seqs)
    assert read_record(folder)["commands"]["forecast"] == f"statewise forecast {folder} --steps 12"


@pytest.mark.parametrize("existing", [False, True])
def test_an_interrupt_leaves_no_half_run(tmp_path, monkeypatch, existing):
    """Ctrl-C in the middle of writing: no new folder, or the old run as it was."""
    if existing:
        job(tmp_path / "run", fakes.panel())
    real = run_folder.write_atomically

    def interrupted(path, content):
        if path.name == "report.html":
            raise KeyboardInterrupt
        return real(path, content)

    monkeypatch.setattr(run_folder, "write_atomically", interrupted)
    with pytest.raises(KeyboardInterrupt):
        job(tmp_path / "run", fakes.yearly())
    assert [path.name for path in tmp_path.iterdir()] == (["run"] if existing else [])
    if existing:
        assert open_run(tmp_path / "run")[1].equals(fakes.panel())


def test_a_model_that_needs_future_inputs(tmp_path):
    """No forecast can be made; the run says why and is complete all the same."""

    class Driven(Naive):
        def forecast(self, data, steps=12, level=(80, 95), inputs=None, seed=0):
            if inputs is None:
                raise InputError("the model has the inputs oil; pass their values as `inputs`")
            return super().forecast(data, steps, level, seed=seed)

    seqs = fakes.yearly().replace(inputs=np.arange(120.0), input_columns=["oil"])
    comparison = compare([Naive(2)], seqs, horizon=4, windows=2)
    run = write_run(tmp_path / "run", title="t", seqs=seqs, comparison=comparison, model=Driven(2).fit(seqs), steps=3)
    assert read_record(run.folder)["commands"]["forecast"].endswith("--steps 3 --future FILE")
    assert run.forecast is None and not (run.folder / "forecast.csv").exists()
    assert "the future of oil is not known" in run.report_text.read_text(encoding="utf-8").replace("\n", " ").replace(
        "  ", " "
    )


@pytest.mark.parametrize(("name", "value"), [("steps", 0), ("steps", 1.5), ("level", 100), ("level", ())])
def test_bad_arguments(tmp_path, name, value):
    with pytest.raises(InputError, match=name):
        job(tmp_path / "run", fakes.yearly(), **{name: value})
    assert list(tmp_path.iterdir()) == []


def test_numbers_are_written_in_full():
    """The text of a number gives the same double back."""
    value = 0.1 + 0.2
    lines = csv(pd.DataFrame({"x": [value]})).splitlines()
    assert float(lines[1]) == value
