"""The experiments of `benchmarks.starts` run, small, and refuse what they need and do not have."""

from __future__ import annotations

import pytest
from benchmarks import starts


def test_they_run_and_print(capsys, monkeypatch):
    monkeypatch.setitem(starts.BUDGET, "epochs", 2)
    assert starts.main(["linear", "nonlinear", "convert", "filtering", "--count", "1", "--steps", "60"]) == 0
    printed = capsys.readouterr().out
    for text in (
        "random start, % above the floor",
        "started beats its start in",
        "HMM, to rnn",
        "state space against GRU(10)",
    ):
        assert text in printed


def test_what_is_wrong_is_said(capsys):
    for arguments in (["no-such"], ["sunspots"]):
        with pytest.raises(SystemExit):
            starts.main(arguments)
    assert "needs --data FILE" in capsys.readouterr().err
