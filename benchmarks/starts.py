"""Networks that start at a classical model, measured: ``python -m benchmarks.starts [airline|sunspots|linear|nonlinear|convert|filtering …]``.

Each experiment prints what was asked, what was reached and how it was set up. `--data FILE` gives the monthly sunspots (columns month,
sunspots) that the experiment of that name needs. `--count` and `--steps` make the synthetic ones smaller. Run one BLAS thread.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import statewise as sw

# The one tuning budget of both networks in an experiment: no search, the same units, epochs at most, patience and batches.
BUDGET: dict[str, Any] = {"epochs": 60, "patience": 20, "seed": 0}
HIDDEN = 8

# How settings are chosen on real data, before the test part is looked at: every candidate in these lists, by one score, on the training part alone.
# A classical model is fitted to the first four fifths of the training part and scored on its last fifth; the winner is fitted to all of it. A
# network is trained from that winner on and has the score of its own validation part, the last 15 % of the training part, at its best epoch.
# The score is the mean one-step log density; of equals the first in the list is taken.
SIZES, RATES = (4, 16), (0.001, 0.003, 0.01)
AIRLINE_ORDERS = [(p, d, q) for d in (0, 1) for p in range(3) for q in range(3) if 0 < p + q < 4]
SUNSPOT_LAGS = (9, 18, 27, 36)


def chosen_start(candidates: list[Any], past: sw.Sequences) -> tuple[Any, dict[str, float]]:
    """The classical model with the best one-step density on the last fifth of the training part, fitted to all of it; and all scores."""
    cut = int(0.8 * past.rows)
    scores = {}
    for model in candidates:
        steps = model.clone().fit(past.steps(0, cut)).log_prob(past, per_step=True)
        scores[model.name] = float(steps[cut:].mean())
    best = max(candidates, key=lambda model: scores[model.name])
    return best.clone().fit(past), scores


def chosen_network(start: Any, past: sw.Sequences, **fit: Any) -> Any:
    """The started GRU of the size and learning rate with the best score on the validation part."""
    made = [
        sw.Recurrent(cell="gru", hidden=hidden, start=start, classical="freeze").fit(past, lr=lr, **(BUDGET | fit))
        for hidden in SIZES
        for lr in RATES
    ]
    return max(made, key=lambda model: model.fit_result.details["best_score"])


def airline() -> dict[str, Any]:
    """Airline passengers, last 12 months, logarithms: mean absolute percentage error of the forecast from December 1959.

    The start is a seasonal ARIMA((p, d, q), (0, 1, 1), 12) with p, q ≤ 2 and d ≤ 1; `chosen_start` and `chosen_network` say how it and the
    network are chosen.
    """
    begun, processor = time.perf_counter(), time.process_time()
    passengers = sw.datasets.load("airline").values[:, 0]
    past = sw.Sequences.from_arrays([np.log(passengers[:-12])], season=12)
    start, scores = chosen_start([sw.ARIMA(order, (0, 1, 1), period=12) for order in AIRLINE_ORDERS], past)
    network = chosen_network(start, past)

    def mape(model: Any) -> float:
        ahead = np.exp(model.forecast(past, steps=12).mean[0, :, 0])
        return float(100 * np.abs(ahead / passengers[-12:] - 1).mean())

    return {
        "start": repr(start),
        "candidates, nats a step": ", ".join(f"{name} {score:.3f}" for name, score in scores.items()),
        "start, MAPE": mape(start),
        "started, MAPE": mape(network),
        "asked": "at most 2.9",
        "network": network.fit_result.notes[-1],
        "seconds, selection and training": time.perf_counter() - begun,
        "of these the processor's": time.process_time() - processor,
    }


def sunspots(data: Path) -> dict[str, Any]:
    """Monthly sunspots, one-step root mean squared error on the last fifth, of an AR of 2 √(y + 5) and the GRU that starts there.

    Fitted to the first four fifths; the mean of the inverse is (m² + v)/4 − 5 for a prediction with mean m and variance v.
    `chosen_start` picks 9, 18, 27 or 36 lags, `chosen_network` the network.
    """
    import pandas as pd

    y = pd.read_csv(data)["sunspots"].to_numpy(dtype=float)
    cut = int(0.8 * len(y))
    z = 2 * np.sqrt(y + 5)
    past = sw.Sequences.from_arrays([z[:cut]])
    start, scores = chosen_start([sw.VARMA(p=p) for p in SUNSPOT_LAGS], past)
    network = chosen_network(start, past, window=128)

    def error(model: Any) -> float:
        ahead = model.predict(z)
        mean = (ahead.mean[:, 0] ** 2 + ahead.variance[:, 0]) / 4 - 5
        return float(np.sqrt(np.mean((mean - y)[cut:] ** 2)))

    return {
        "candidates, nats a step": ", ".join(f"{name} {score:.4f}" for name, score in scores.items()),
        "chosen": network.name,
        "start, RMSE": error(start),
        "started, RMSE": error(network),
        "asked": "at most the start's and 18.0",
        "validation": network.fit_result.notes[0],
        "log density added on the last fifth": str(network.added(z[cut:])),
    }


def linear(count: int = 100, steps: int = 600) -> dict[str, Any]:
    """Truly linear series: how far above the Kalman floor one-step squared errors are, on `steps` further steps.

    ARMA(1, 1) with φ from ±.95 and θ from ±.9 drawn at random. The start is VARMA(1, 1) fitted to the first part; the floor is the true
    model's own predictor. The network with random weights is `Recurrent` of the same cell, units, epochs, patience and window.
    """
    rows = []
    for seed in range(count):
        rng = np.random.default_rng(seed)
        phi, theta = rng.uniform(-0.95, 0.95), rng.uniform(-0.9, 0.9)
        e = rng.standard_normal(2 * steps + 100)
        y = np.zeros(len(e))
        for t in range(1, len(e)):
            y[t] = phi * y[t - 1] + e[t] + theta * e[t - 1]
        y = y[100:]
        past = y[:steps]
        start = sw.VARMA(p=1, q=1).fit(past, restarts=0)
        started = sw.Recurrent(cell="gru", hidden=HIDDEN, start=start, classical="freeze").fit(past, **BUDGET)
        random = sw.Recurrent(cell="gru", hidden=HIDDEN).fit(past, **BUDGET)
        truth = _arma(phi, theta)
        floor = _error(truth, y, steps)
        rows.append([100 * (_error(model, y, steps) / floor - 1) for model in (start, started, random)])
    table = np.array(rows)
    names = ("start", "started", "random start")
    return {
        "series": count,
        "budget": f"{HIDDEN} units, {BUDGET['epochs']} epochs, patience {BUDGET['patience']}, one seed, no search, for both networks",
        **{f"{name}, % above the floor (mean)": value for name, value in zip(names, table.mean(axis=0), strict=True)},
        **{f"{name}, % above (median)": value for name, value in zip(names, np.median(table, axis=0), strict=True)},
        "asked": "started within 1",
    }


def nonlinear(count: int = 20, steps: int = 600) -> dict[str, Any]:
    """Series with a term that no linear model has, y[t] = .6 y[t−1] + 2 tanh(2 y[t−2]) − 1.2 y[t−2] + e[t], e ~ N(0, .25).

    One-step squared errors on `steps` further steps over the variance of e, at equal epochs at most.
    """
    rows = []
    for seed in range(count):
        rng = np.random.default_rng(seed)
        y = np.zeros(2 * steps + 50)
        for t in range(2, len(y)):
            y[t] = 0.6 * y[t - 1] + 2 * np.tanh(2 * y[t - 2]) - 1.2 * y[t - 2] + 0.5 * rng.standard_normal()
        y = y[50:]
        past = y[:steps]
        start = sw.VARMA(p=2).fit(past, restarts=0)
        started = sw.Recurrent(cell="gru", hidden=HIDDEN, start=start, classical="freeze").fit(past, lr=0.01, **BUDGET)
        random = sw.Recurrent(cell="gru", hidden=HIDDEN).fit(past, lr=0.01, **BUDGET)
        rows.append([_error(model, y, steps) / 0.25 for model in (start, started, random)])
    table = np.array(rows)
    names = ("start", "started", "random start")
    return {
        "series": count,
        **{f"{name}, error over noise (mean)": value for name, value in zip(names, table.mean(axis=0), strict=True)},
        "started beats its start in": int((table[:, 1] < table[:, 0]).sum()),
        "started beats the random start in": int((table[:, 1] < table[:, 2]).sum()),
        "asked": "started below both",
    }


def convert(rounds: int = 30) -> dict[str, Any]:
    """Milliseconds that `convert` takes, the median of some rounds after one to warm up: an 8-state HMM, a 10-state state-space model."""
    rng = np.random.default_rng(0)
    hmm = sw.HMM(
        states=8, initial_probs=rng.dirichlet(np.ones(8)), transition_probs=rng.dirichlet(np.ones(8), 8),
        means=rng.standard_normal((8, 2)), covariances=np.ones((8, 2)),
    )  # fmt: skip
    space = sw.StateSpace.random(states=10, dim=2, seed=0)
    found: dict[str, Any] = {}
    for name, model, to in (("HMM, to rnn", hmm, "rnn"), ("state space, to rnn", space, "rnn"), ("HMM, to birnn", hmm, "birnn"),
                            ("state space, to birnn", space, "birnn")):  # fmt: skip
        sw.convert(model, to=to)
        times = []
        for _ in range(rounds):
            begun = time.perf_counter()
            sw.convert(model, to=to)
            times.append(1000 * (time.perf_counter() - begun))
        found[name] = float(np.median(times))
    return found | {"asked": "below 10"}


def filtering(steps: int = 1000, batch: int = 8, rounds: int = 15) -> dict[str, Any]:
    """Converted modules against the layers of the recurrent engine, both without gradients: the layer's time over the module's, in turn.

    The median of some rounds; above 1 the converted module is faster. float64, layers of as many units as the model has states.
    """
    import torch

    rng = np.random.default_rng(0)
    hmm = sw.HMM(
        states=8, initial_probs=rng.dirichlet(np.ones(8)), transition_probs=rng.dirichlet(np.ones(8), 8),
        means=rng.standard_normal((8, 2)), covariances=np.ones((8, 2)),
    )  # fmt: skip
    space = sw.StateSpace.random(states=10, dim=2, seed=0)
    y = torch.tensor(rng.standard_normal((batch, steps, 2)))
    found: dict[str, Any] = {}
    with torch.no_grad():
        for name, model, units in (("HMM", hmm, 8), ("state space", space, 10)):
            module = sw.convert(model, to="rnn").module
            for cell in ("RNN", "GRU", "LSTM"):
                layer = getattr(sw.nn, cell)(2, units, batch_first=True).double()
                ratios = []
                for _ in range(rounds + 1):
                    times = []
                    for run in (module, layer):
                        begun = time.perf_counter()
                        run(y)
                        times.append(time.perf_counter() - begun)
                    ratios.append(times[1] / times[0])
                found[f"{name} against {cell}({units})"] = float(np.median(ratios[1:]))
    return found | {"asked": "at least 1"}


def _arma(phi: float, theta: float) -> sw.StateSpace:
    """ARMA(1, 1) with given coefficients and unit noise."""
    K = phi + theta
    return sw.StateSpace([[phi]], [[1.0]], [[K * K]], [[1.0]], noise_cross=[[K]], initial="stationary")


def _error(model: Any, y: np.ndarray, steps: int) -> float:
    """Mean squared one-step error over the last `steps` steps."""
    return float(np.mean((model.predict(y).mean[-steps:, 0] - y[-steps:]) ** 2))


def main(arguments: list[str] | None = None) -> int:
    """Run the experiments that were named, or all that need no data."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.starts", description=__doc__)
    names = ("airline", "sunspots", "linear", "nonlinear", "convert", "filtering")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"any of {', '.join(names)}")
    parser.add_argument("--data", type=Path, help="csv file of the monthly sunspots")
    parser.add_argument("--count", type=int, help="how many synthetic series")
    parser.add_argument("--steps", type=int, default=600, help="steps of a synthetic series that train")
    given = parser.parse_args(arguments)
    if set(given.names) - set(names):
        parser.error(f"there are {', '.join(names)}")
    if "sunspots" in given.names and given.data is None:
        parser.error("sunspots needs --data FILE")
    runs: dict[str, Callable[[], dict[str, Any]]] = {
        "airline": airline,
        "sunspots": lambda: sunspots(given.data),
        "linear": lambda: linear(given.count or 200, given.steps),
        "nonlinear": lambda: nonlinear(given.count or 20, given.steps),
        "convert": convert,
        "filtering": filtering,
    }
    for name in given.names or [name for name in names if name != "sunspots" or given.data is not None]:
        print(f"{name}: {(globals()[name].__doc__ or '').splitlines()[0]}")
        for key, value in runs[name]().items():
            print(f"  {key}: {value:.4g}" if isinstance(value, float) else f"  {key}: {value}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
