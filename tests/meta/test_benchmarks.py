"""The benchmarks: each workload agrees with its peer, and a disagreement shows no ratio. Oracle: the other packages."""

from __future__ import annotations

import json

import pytest
from benchmarks import __main__ as command
from benchmarks import runner
from benchmarks.registry import WORKLOADS
from benchmarks.timing import time_pair
from benchmarks.workloads import Pair, Workload


def a_workload(ours: float, peer: float, **changes) -> Workload:
    pair = Pair(lambda: ours, lambda: peer, lambda a, b: abs(a - b))
    given = {"peer": "another", "unit": "nats", "tolerance": 1e-6, "steps": 2, "quick_steps": 1} | changes
    return Workload(name="planted", what="a number", build=lambda _: pair, **given)


# dynamax brings JAX along, which only `make bench` installs.
OFTEN = [name for name, each in WORKLOADS.items() if "dynamax" not in each.packages and not each.nightly]
NIGHTLY = [pytest.param(name, marks=pytest.mark.nightly) for name in WORKLOADS if name not in OFTEN]


@pytest.mark.parametrize("name", [*OFTEN, *NIGHTLY])
def test_every_workload_agrees_with_its_peer(name):
    workload = WORKLOADS[name]
    for package in workload.packages:
        pytest.importorskip(package)
    pair = workload.build(workload.quick_steps)
    assert (pair.peer is None) == (workload.peer == "") == (pair.difference is None)
    if pair.peer is not None:
        assert pair.difference(pair.ours(), pair.peer()) <= workload.tolerance
        assert workload.quick_steps <= workload.steps


@pytest.mark.parametrize("peer", [1.1, float("nan")])
def test_a_disagreement_shows_no_ratio_and_fails(peer, monkeypatch, tmp_path, capsys):
    outcome = runner.run(a_workload(1.0, peer))
    assert outcome.timing is None
    assert not outcome.agrees
    assert "×" not in runner.table([outcome])
    assert "differ" in runner.table([outcome])
    monkeypatch.setitem(WORKLOADS, "planted", a_workload(1.0, peer))
    monkeypatch.setattr(runner, "RESULTS", tmp_path)
    assert command.main(["planted", "--rounds", "1"]) == 1
    assert "differ" in capsys.readouterr().out


def test_agreement_shows_a_ratio_and_writes_where_it_was_measured(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(WORKLOADS, "planted", a_workload(1.0, 1.0))
    monkeypatch.setattr(runner, "RESULTS", tmp_path)
    assert command.main(["planted", "--rounds", "1"]) == 0
    assert "×" in capsys.readouterr().out
    (file,) = tmp_path.iterdir()
    content = json.loads(file.read_text())
    assert content["workloads"][0]["timing"]["ratio"] > 0
    assert content["machine"]["packages"]["statewise"]
    assert {"processor", "cores", "commit"} <= set(content["machine"])


def test_a_missing_package_is_named_and_not_a_disagreement():
    outcome = runner.run(a_workload(1.0, 2.0, packages=("no_such_package",)))
    assert outcome.timing is None
    assert outcome.agrees
    assert "no_such_package is not installed" in runner.table([outcome])


def test_an_unknown_name_is_refused():
    with pytest.raises(SystemExit) as caught:
        command.main(["no-such-workload"])
    assert caught.value.code == 2


def test_the_ratio_is_peer_over_ours():
    """Oracle: two waits of known length."""
    import time

    timing = time_pair(Pair(lambda: time.sleep(0.002), lambda: time.sleep(0.006)), rounds=3)
    assert 2.0 < timing.ratio < 4.0
    assert timing.rounds == 3


@pytest.mark.parametrize(("value", "text"), [(2.5, "2.5 s"), (0.0123, "12.3 ms"), (4.56e-6, "4.56 µs"), (3e-9, "3 ns")])
def test_seconds_in_words(value, text):
    assert runner.seconds(value) == text
