"""``statewise dissect``: exit codes, output, and the same numbers as the call in Python."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from tests.dissection.networks import forgetful

import statewise as sw


@pytest.fixture
def checkpoint(tmp_path):
    torch.save({"epoch": 1, "model": {f"rnn.{k}": v for k, v in forgetful().state_dict().items()}}, tmp_path / "ck.pt")
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.standard_normal((170, 3)), columns=["a", "b", "c"])
    frame.insert(0, "id", np.repeat([1, 2, 3], [60, 60, 50]))
    frame.to_csv(tmp_path / "data.csv", index=False)
    return frame


GIVEN = ("dissect", "ck.pt", "--input", "data.csv", "--id", "id", "--no-time")


def test_a_checkpoint_is_dissected(checkpoint, cli, tmp_path):
    ran = cli(*GIVEN, "--needs", "40")
    assert ran.code == 0
    assert "your task needs 40" in ran.out
    assert "suggested: chrono initialisation with T = 80" in " ".join(ran.out.split())
    assert ran.out.rstrip().endswith("written to ck-dissection.html")
    assert (tmp_path / "ck-dissection.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert ran.err == ""


def test_as_json_with_the_numbers_of_the_call(checkpoint, cli, tmp_path):
    """Oracle: sw.dissect on the padded sequences."""
    ran = cli(*GIVEN, "--json", "--out", "there.html", "--exponents", "3")
    x = np.zeros((3, 60, 3))
    for k, (_, part) in enumerate(checkpoint.groupby("id")):
        x[k, : len(part)] = part[["a", "b", "c"]]
    d = sw.dissect(forgetful(), x, lengths=[60, 60, 50], exponents=3)
    found = ran.json["diagnostics"]
    assert found["gradient_half_life"]["value"] == pytest.approx(d.gradient_half_life.value, rel=1e-6)
    np.testing.assert_allclose(found["lyapunov"]["value"], d.lyapunov.value, rtol=1e-9)
    assert ran.json["suggestions"][0]["kind"] == "chrono"
    assert "data" not in found["lyapunov"]
    assert ran.json["report"] == "there.html"
    assert (tmp_path / "there.html").is_file()


def test_two_checkpoints_side_by_side(checkpoint, cli, tmp_path):
    better = sw.nn.initialise(forgetful(), "chrono", horizon=80)
    torch.save(better.state_dict(), tmp_path / "better.pt")
    ran = cli(*GIVEN, "--against", "better.pt", "--json")
    assert ran.code == 0
    a, b = ran.json["diagnostics"], ran.json["other"]["diagnostics"]
    assert b["gradient_half_life"]["value"] > 5 * a["gradient_half_life"]["value"]
    assert "A against B" in (tmp_path / "ck-dissection.html").read_text(encoding="utf-8")


def test_a_run_is_dissected_on_its_own_data(cli, tmp_path):
    assert (
        cli(
            "fit",
            "nile",
            "--model",
            "recurrent",
            "--option",
            "cell=gru",
            "--option",
            "hidden=4",
            "--option",
            "epochs=3",
            "--out",
            "run",
        ).code
        == 0
    )
    ran = cli("dissect", "run", "--needs", "5")
    assert ran.code == 0, ran.err
    assert "λ₁" in ran.out
    assert (tmp_path / "run" / "dissection.html").is_file()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("ck.pt",), "a checkpoint has no data; pass sequences with --input"),
        (("nowhere.pt", "--input", "data.csv"), "'nowhere.pt' is not there"),
        (("ck.pt", "--input", "data.csv", "--no-time"), "reads 3 numbers a step and --input has 4 (id, a, b, c)"),
        (
            ("ck.pt", "--input", "data.csv", "--id", "id", "--no-time", "--prefix", "lstm"),
            "--prefix is 'lstm'; the recurrent layers begin with",
        ),
        (("ck.pt", "--input", "data.csv", "--id", "id", "--no-time", "--needs", "-1"), "--needs is -1"),
        (("data.csv", "--input", "data.csv"), "data.csv: "),
    ],
)
def test_wrong_usage_is_one_line(checkpoint, cli, arguments, said):
    ran = cli("dissect", *arguments)
    assert ran.code == 2
    assert said in ran.err
    assert len(ran.err.splitlines()) == 1


def test_missing_entries_are_refused(checkpoint, cli, tmp_path):
    checkpoint.loc[3, "a"] = np.nan
    checkpoint.to_csv(tmp_path / "data.csv", index=False)
    ran = cli(*GIVEN)
    assert ran.code == 2
    assert "missing entries" in ran.err


def test_code_in_a_checkpoint_is_never_run(checkpoint, cli, tmp_path):
    torch.save(forgetful(), tmp_path / "whole.pt")
    ran = cli("dissect", "whole.pt", "--input", "data.csv")
    assert ran.code == 2
    assert "torch.save(model.state_dict(), path)" in ran.err
