"""The experiments: their problems against brute force, their recorded results against their bounds, and the smallest of them run."""

from __future__ import annotations

import importlib
import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from experiments.adding import run as adding
from experiments.chorales import run as chorales
from experiments.copying import run as copying
from experiments.parity import run as parity
from experiments.remember import run as remember

from experiments import common

ROOT = Path(__file__).resolve().parents[2]
NAMES = sorted(path.parent.name for path in (ROOT / "experiments").glob("*/run.py"))


def made(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# --- the problems -----------------------------------------------------------------------------------------------------


def test_the_adding_problem():
    """Two marks, one in each half; the answer is their sum. Always saying 1 costs 1/6, within five standard errors."""
    x, y = adding.problem(4000, 31, made())
    marks = x[..., 1]
    assert (marks[:, :15].sum(1) == 1).all() and (marks[:, 15:].sum(1) == 1).all()
    for b in range(5):
        assert y[b, 0] == pytest.approx(sum(float(x[b, t, 0]) for t in range(31) if marks[b, t] == 1), rel=1e-6)
    assert abs(((y - 1) ** 2).mean() - 1 / 6) < 5 * ((y - 1) ** 2).std() / math.sqrt(4000)


def test_copy_memory():
    x, wanted = copying.problem(20, 7, made())
    given = x.argmax(2)
    assert x.shape == (20, 27, 10) and (x.sum(2) == 1).all()
    assert torch.equal(given[:, :10], wanted[:, -10:]) and (given[:, :10] >= 1).all() and (given[:, :10] <= 8).all()
    assert (given[:, 16] == 9).all() and (given[:, 10:16] == 0).all() and (given[:, 17:] == 0).all()
    assert (wanted[:, :17] == 0).all()
    knows = torch.nn.functional.one_hot(wanted, 9).double() * 100
    assert copying.recalled(knows, wanted) == 1 and copying.cross_entropy(knows, wanted) < 1e-12
    blank = torch.full_like(knows, -100.0)
    blank[:, :17, 0], blank[:, 17:, 1:] = 100.0, 0.0
    assert float(copying.cross_entropy(blank, wanted)) == pytest.approx(10 * math.log(8) / 27, rel=1e-6)


def test_delayed_parity():
    x, y = parity.problem(3, 20, 4, made())
    bits = (x[..., 0] > 0).int()
    for t in range(4 + parity.BITS - 1, 20):
        odd = bits[:, t - 4 - parity.BITS + 1 : t - 4 + 1].sum(1) % 2
        assert torch.equal(y[:, t - 4 - parity.BITS + 1], odd.float())
    answers = torch.zeros(3, 20, 1)
    answers[:, -y.shape[1] :, 0] = 2 * y - 1
    assert parity.wrong(answers, y) == 0 and parity.wrong(-answers, y) == 1
    assert y.shape[1] == 20 - 4 - parity.BITS + 1


def test_chorales_are_scored_step_by_step():
    """Closed form: a network that says every key with chance 1/2 costs 88 ln 2 a step, whatever the padding."""
    songs = chorales.rolls([[[0, 4], [5], [87]], [[3]] * 7])
    assert songs[0].shape == (3, 88) and songs[0].sum() == 4

    class Half(torch.nn.Module):
        def forward(self, x):
            return torch.zeros_like(x)

    assert chorales.nats(Half(), songs)[1] == 2 + 6
    assert chorales.score(Half(), songs) == pytest.approx(88 * math.log(2), rel=1e-6)


def test_transposition_moves_all_keys_alike_and_none_off_the_keyboard():
    song = chorales.rolls([[[1, 40], [86]]])[0]
    seen = set()
    for seed in range(40):
        moved = chorales.transposed(song, 5, made(seed))
        shift = int(moved[1].argmax()) - 86
        seen.add(shift)
        assert torch.equal(moved, song.roll(shift, 1)) and moved.sum() == 3
    assert seen == {-1, 0, 1}


# --- gradient flow ----------------------------------------------------------------------------------------------------


def test_the_gradient_flow_of_a_linear_recurrence_is_geometric():
    """Closed form: with W = .9 I and rectified units that are all on, ‖∂L/∂h[T−k]‖ falls by .9 a step: a half-life of 6.578813."""
    model = common.Reader(torch.nn.RNN(2, 4, nonlinearity="relu", batch_first=True), 4, 1, last=True).double()
    with torch.no_grad():
        model.layer.weight_hh_l0.copy_(0.9 * torch.eye(4, dtype=torch.float64))
        model.layer.weight_ih_l0.fill_(0.1)
        model.layer.bias_ih_l0.fill_(1.0)
    x, y = torch.rand(5, 30, 2, dtype=torch.float64), torch.zeros(5, 1, dtype=torch.float64)
    flow = remember.gradient_flow(model, x, y)
    np.testing.assert_allclose(flow, 0.9 ** np.arange(30), rtol=1e-9)
    assert remember.half_life(flow) == pytest.approx(6.578813, abs=1e-5)
    assert remember.half_life([1.0, 2.0, 4.0]) == math.inf


@pytest.mark.parametrize("cell", remember.CELLS)
def test_the_gradient_flow_is_autograds_on_the_unrolled_cell(cell):
    """Oracle: the same sizes from one cell applied by hand, in double precision."""
    model = remember.model_of(cell, "torch", 12, "torch", 0).double()
    x, y = (part.double() for part in adding.problem(3, 12, made()))
    found = remember.gradient_flow(model, x, y)
    single = {"rnn": torch.nn.RNNCell, "lstm": torch.nn.LSTMCell, "gru": torch.nn.GRUCell}[cell](
        2, remember.HIDDEN
    ).double()
    single.load_state_dict({name.removesuffix("_l0"): p for name, p in model.layer.state_dict().items()})
    state, states = None, []
    for t in range(12):
        after = single(x[:, t], state)
        # Copies, so that the gradient of c leaves out what passes through h of the same step: h and c are two halves of one state.
        states.append(tuple(part.clone() for part in after) if cell == "lstm" else (after,))
        state = states[-1] if cell == "lstm" else after
    loss = ((model.read(states[-1][0]) - y) ** 2).sum()
    sizes = []
    for parts in [*states[:-1], states[-1][:1]]:
        sizes.append(torch.cat(torch.autograd.grad(loss, parts, retain_graph=True), 1).norm(dim=1).log().mean())
    want = [math.exp(float(size - sizes[-1])) for size in reversed(sizes)]
    np.testing.assert_allclose(found, want, rtol=1e-9)


# --- what was recorded ------------------------------------------------------------------------------------------------


def test_every_experiment_is_found():
    assert NAMES == ["adding", "chorales", "copying", "parity", "remember"]


@pytest.mark.parametrize("name", NAMES)
def test_the_recorded_result_keeps_its_bounds(name):
    recorded = common.expected(ROOT / "experiments" / name / "run.py")
    assert recorded["bounds"] and common.broken_bounds(recorded["result"], recorded["bounds"]) == []
    assert recorded["command"].startswith(f"python -m experiments.{name}.run")
    assert importlib.import_module(f"experiments.{name}.run").__doc__


def test_a_broken_bound_is_found():
    broken = common.broken_bounds({"a": 1.0, "b": math.nan}, {"a": [0, 2], "b": [0, 1], "c": [0, 1]})
    assert broken == ["b is nan, not from 0 to 1", "c is None, not from 0 to 1"]
    assert common.broken_bounds({"a": 3.0}, {"a": [0, 2]}) == ["a is 3.0, not from 0 to 2"]


# --- reduced runs -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("module", "library"), [(parity, "torch"), (adding, "statewise")])
def test_the_smallest_runs_learn(module, library):
    """A tenth of a minute each; the bounds of the reduced run are in the record too."""
    bounds = common.expected(module.__file__)["quick"]
    assert common.broken_bounds(module.run(True, library), bounds) == []


def test_the_chorales_run_on_a_file(tmp_path):
    """Three notes that take turns: two epochs bring the score below that of the keys' shares."""
    song = [[40], [44], [47]] * 8
    file = tmp_path / "songs.json"
    file.write_text(json.dumps({name: [song] * 16 for name in ("train", "valid", "test")}))
    result = chorales.run(str(file), quick=True)
    assert result["epochs"] == 2
    assert (
        result["test nats"] < 3 * (math.log(3) - 2 / 3 * math.log(2)) + 0.1
    )  # three keys, each on in a third of the steps


def test_the_page_shows_what_was_recorded():
    """Every number of the table on the page is the record's."""
    page = (ROOT / "docs" / "guide" / "remember.md").read_text(encoding="utf-8")
    for cell, own in common.expected(remember.__file__)["result"]["cells"].items():
        row = re.search(rf"^\| {cell.upper()} \|(.*)\|$", page, re.M)
        assert row is not None
        halves = [own["half-life before"], own["half-life after"]]
        wanted = [own["initial"], f"{own['lr']:g}", f"{own['test mse']:.4f}"]
        wanted += ["never" if steps is None else f"{steps:g}" for steps in halves]
        assert [part.strip() for part in row[1].split("|")] == wanted


def test_the_picture_is_drawn_from_the_record(tmp_path):
    """The page's own picture is the one that is drawn, but for matplotlib's version."""
    remember.draw(common.expected(remember.__file__)["result"], tmp_path / "flow.svg")
    drawn, kept = (
        path.read_text(encoding="utf-8") for path in (tmp_path / "flow.svg", ROOT / "docs/guide/remember.svg")
    )
    labels = [re.findall(r"<!-- ([A-Za-z].*?) -->", text) for text in (drawn, kept)]
    assert labels[0] == labels[1] and "RNN, test error 0.161" in labels[0]


def test_the_reduced_comparison_runs():
    """Twenty updates on twenty steps: nothing is learned, every part runs."""
    result = remember.run(True, "statewise")
    assert set(result["cells"]) == set(remember.CELLS)
    assert all(own["flow before"][0] == 1.0 for own in result["cells"].values())
