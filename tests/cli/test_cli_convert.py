"""``statewise convert``: exit codes, exact output, and a saved model that says the same. Oracle: the same call in Python."""

from __future__ import annotations

import numpy as np
import pytest

import statewise as sw


@pytest.fixture
def fitted(cli):
    ran = cli("fit", "nile", "--model", "varma", "--option", "p=1", "--option", "q=1", "--out", "run")
    assert ran.code == 0
    return ran


def test_a_run_is_converted_verified_and_saved(fitted, cli, tmp_path):
    ran = cli("convert", "run", "--to", "rnn", "--verify")
    assert ran.code == 0
    assert "VARMA(p=1, q=1) → LinearRNN" in ran.out
    assert "largest discrepancy on the sequences" in ran.out
    nile = sw.datasets.load("nile")
    original, made = sw.load(tmp_path / "run" / "model"), sw.load(tmp_path / "run" / "model-rnn")
    np.testing.assert_allclose(made.log_prob(nile), original.log_prob(nile), rtol=1e-10)


def test_as_json_with_options(fitted, cli, tmp_path):
    ran = cli("convert", "run", "--to", "gru", "--scale", "0.0001", "--out", "made", "--json")
    assert ran.code == 0
    assert ran.json["kind"] == "embedded-rnn"
    assert ran.json["largest_discrepancy"] is None
    assert (tmp_path / "made" / "model.json").is_file()
    assert (
        cli("convert", "run", "--to", "rnn", "--gain", "steady", "--verify", "--json").json["largest_discrepancy"]
        > 1e-6
    )


def test_what_cannot_be_converted_is_wrong_usage(fitted, cli):
    ran = cli("convert", "run", "--to", "hmm")
    assert ran.code == 2
    assert "does not convert to 'hmm'" in ran.err
    assert cli("convert", "nowhere", "--to", "rnn").code == 2
    assert "did you mean 'rnn'" in cli("convert", "run", "--to", "rn").err
