"""The two kinds of classical start behind one face: how rows are prepared, how the network is applied, how it goes on."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from statewise._core.errors import NumericalError, UnsupportedError
from statewise.emissions.rows import Rows
from statewise.inference import classical_gaussian, classical_markov, filtering
from statewise.inference.classical_gaussian import Ahead, Scaling, stacked, unstacked, with_inputs
from statewise.inference.classical_markov import MarkovPath
from statewise.inference.discrete import Chain
from statewise.inference.recurrent import states as unit_states
from statewise.inference.steady import predictor_gain
from statewise.inference.system import System
from statewise.models.hmm import HMM
from statewise.models.started_training import Table, made
from statewise.nn.classical_start import GaussianPath, StartedNetwork
from statewise.results.added import Added
from statewise.results.marginals import GaussianMarginals, Marginals
from statewise.results.predicted import Predicted
from statewise.sequences.scaling import standardise, standardise_inputs
from statewise.sequences.sequences import Sequences

_SCALING = ("mean", "scale", "input_mean", "input_scale")


class Part(abc.ABC):
    """A network and the classical model that it started from."""

    network: StartedNetwork
    scaling: Scaling
    cell: str

    @abc.abstractmethod
    def rows(self, seqs: Sequences, group: np.ndarray) -> dict[str, np.ndarray]:
        """What the network sees, packed over rows."""

    @abc.abstractmethod
    def start_log_prob(self, seqs: Sequences, group: np.ndarray) -> np.ndarray:
        """(rows,) the classical model's log densities."""

    @abc.abstractmethod
    def predict(self, seqs: Sequences, group: np.ndarray) -> Predicted:
        """One-step-ahead predictions."""

    @abc.abstractmethod
    def exact_forecast(self, seqs: Sequences, group: np.ndarray, steps: int, inputs: np.ndarray | None) -> Marginals:
        """The classical model's forecast."""

    @abc.abstractmethod
    def paths(
        self,
        seqs: Sequences,
        group: np.ndarray,
        steps: int,
        inputs: np.ndarray | None,
        count: int,
        rng: np.random.Generator,
    ) -> np.ndarray:
        """(count, N, steps, p) simulated continuations."""

    @abc.abstractmethod
    def draws(self, length: int, count: int, inputs: np.ndarray | None, rng: np.random.Generator) -> np.ndarray:
        """(count, length, p) sequences from the start on."""

    def classical_arrays(self) -> dict[str, np.ndarray]:
        """What the classical model needs beside its option, by name."""
        return {}

    def log_prob(self, seqs: Sequences, group: np.ndarray) -> np.ndarray:
        """(rows,) log densities."""
        return Table(self.rows(seqs, group), seqs).log_prob(self.network)

    def added(self, seqs: Sequences, group: np.ndarray) -> Added:
        """What the network adds to the classical model."""
        seen = (~np.isnan(seqs.values)).any(axis=1)
        differences = (self.log_prob(seqs, group) - self.start_log_prob(seqs, group))[seen]
        return Added.of(differences, not self.network.is_start())

    def arrays(self) -> dict[str, np.ndarray]:
        """All parameters by name."""
        scaling = {f"scaling_{name}": getattr(self.scaling, name) for name in _SCALING}
        return self.network.arrays() | self.classical_arrays() | scaling

    @property
    def n_trained(self) -> int:
        """Weights that training moves."""
        own = sum(p.numel() for p in self.network.parameters())
        return own - (sum(p.numel() for p in self.network.path.parameters()) if self.network.frozen else 0)

    def _units(self, rows: Mapping[str, np.ndarray], seqs: Sequences) -> list[np.ndarray]:
        """For each layer, (N, ·) the state after the last step of each sequence."""
        own = {k.removeprefix("rnn."): a for k, a in self.network.arrays().items() if k.startswith("rnn.")}
        return [layer[seqs.offsets[1:] - 1] for layer in unit_states(self.cell, own, rows["x"], seqs.lengths)]

    def _rested(self, count: int) -> list[np.ndarray]:
        """For each layer, the state of units that have seen nothing, (count, ·)."""
        rnn = self.network.rnn
        width = rnn.hidden_size * (2 if self.cell == "lstm" else 1)
        return [np.zeros((count, width)) for _ in range(rnn.num_layers)]


class GaussianPart(Part):
    """With linear-Gaussian starts, one for all sequences or one for each."""

    def __init__(self, options: Mapping[str, Any], systems: list[System], scaling: Scaling, seed: int) -> None:
        self.systems, self.scaling, self.cell = systems, scaling, options["cell"]
        sd, size = [], []
        for sys in systems:
            _, F, P, _ = predictor_gain(sys, 2000)
            sd.append(np.sqrt(np.diag(F)))
            size.append(np.sqrt(np.maximum(np.diag(P), 0.0)))
        path = GaussianPath(stacked(systems), np.stack(size), np.stack(sd), scaling.input_scale)
        p, u = systems[0].p, scaling.input_mean.shape[1]
        self.network = made(options, path, 4 * p + u, seed)

    def classical_arrays(self) -> dict[str, np.ndarray]:
        return {f"start_{letter}": array for letter, array in stacked(self.systems).items()}

    def rows(self, seqs: Sequences, group: np.ndarray) -> dict[str, np.ndarray]:
        return classical_gaussian.gaussian_rows(self.systems, group, self.scaling, seqs)

    def start_log_prob(self, seqs: Sequences, group: np.ndarray) -> np.ndarray:
        return np.concatenate(
            [filtering.log_prob_steps(self.systems[g], one) for g, one in zip(group.tolist(), seqs, strict=True)]
        )

    def predict(self, seqs: Sequences, group: np.ndarray) -> Predicted:
        rows = self.rows(seqs, group)
        mean, swing = np.empty(seqs.values.shape), np.empty(seqs.values.shape)
        path = self.network.path
        assert isinstance(path, GaussianPath)
        with torch.no_grad():
            for batch, scored, index in Table(rows, seqs).whole():
                law = path.law(batch, self.network.added(batch), self.network.frozen)
                mean[index], swing[index] = (part[scored].numpy() for part in law)
        held = rows["held"][:, None] > 0
        variance = np.where(held, np.inf, (rows["sd"] * np.exp(swing)) ** 2)
        return Predicted.gaussian(seqs, np.where(held, np.nan, mean), variance)

    def exact_forecast(self, seqs: Sequences, group: np.ndarray, steps: int, inputs: np.ndarray | None) -> Marginals:
        found = []
        for i, one in enumerate(seqs):
            given = None if inputs is None else inputs[i : i + 1]
            found.append(filtering.forecast(self.systems[group[i]], one, steps, given))
        return GaussianMarginals(*(np.concatenate([getattr(f, part) for f in found]) for part in ("mean", "variance")))

    def paths(
        self,
        seqs: Sequences,
        group: np.ndarray,
        steps: int,
        inputs: np.ndarray | None,
        count: int,
        rng: np.random.Generator,
    ) -> np.ndarray:
        rows, noise = self.rows(seqs, group), _antithetic(rng, steps, count, seqs.dim)
        units, trained = self._units(rows, seqs), self._trained_ends(rows, seqs)
        found = np.empty((count, len(seqs), steps, seqs.dim))
        for i, one in enumerate(seqs):
            sys, last = self.systems[group[i]], seqs.offsets[i + 1] - 1
            past = filtering.run_filter(sys, one, store=False)
            filtering.forecast(
                sys, one, 1, None if inputs is None else inputs[i : i + 1, :1]
            )  # refuses an unsettled start
            z = rows["seen"][last] * (rows["sd"][last] > 0) * (rows["y"][last] - rows["mean"][last])
            z = z / np.where(rows["sd"][last] > 0, rows["sd"][last], 1.0)
            at = Ahead(
                _many(past.mean_next[0], count), _many(trained[i], count), past.cov_next[0], [_many(layer[i], count) for layer in units],
                _many(rows["y"][last], count), _many(rows["seen"][last], count), _many(z, count),
            )  # fmt: skip
            found[:, i] = self._continued(sys, int(group[i]), at, noise, None if inputs is None else inputs[i])
        return found

    def draws(self, length: int, count: int, inputs: np.ndarray | None, rng: np.random.Generator) -> np.ndarray:
        sys = self.systems[0]
        found = np.empty((count, length, sys.p))
        for i in range(count):
            nothing = np.zeros((1, sys.p))
            at = Ahead(sys.m0[None], sys.m0[None], sys.P0, self._rested(1), nothing, nothing, nothing)
            noise = rng.standard_normal((length, 1, sys.p))
            found[i] = self._continued(sys, 0, at, noise, None if inputs is None else inputs[i])[0]
        return found

    def _continued(self, sys: System, g: int, at: Ahead, noise: np.ndarray, inputs: np.ndarray | None) -> np.ndarray:
        path = self.network.path
        assert isinstance(path, GaussianPath)
        with torch.no_grad():
            now = {letter: path.weight(letter, torch.tensor(g)).numpy() for letter in "ACbdBDKs"}
        with np.errstate(over="ignore", invalid="ignore"):
            found = classical_gaussian.simulate(
                sys, now, self.cell, self.network.arrays(), self.scaling, g, at, noise, inputs
            )
        return _finite(found)

    def _trained_ends(self, rows: dict[str, np.ndarray], seqs: Sequences) -> np.ndarray:
        """(N, n) the trained path's prediction of the state after the last step: one more step without an observation of its own."""
        path = self.network.path
        assert isinstance(path, GaussianPath)
        ends = []
        with torch.no_grad():
            for i in range(len(seqs)):
                own = {k: torch.tensor(v[seqs.offsets[i] : seqs.offsets[i + 1]])[None] for k, v in rows.items()}
                ends.append(path.run(own)[1][0].numpy())
        return np.stack(ends)


class MarkovPart(Part):
    """With a hidden Markov model as the start."""

    def __init__(self, options: Mapping[str, Any], model: HMM, scaling: Scaling, seed: int) -> None:
        self.model, self.scaling, self.cell = model, scaling, options["cell"]
        self.chain, self.emission = model._constant_laws
        width = 2 * self.emission.dim + self.chain.states + scaling.input_mean.shape[1]
        self.network = made(options, MarkovPath(self.chain, self.emission), width, seed)

    def rows(self, seqs: Sequences, group: np.ndarray) -> dict[str, np.ndarray]:
        return classical_markov.markov_rows(self.chain, self.emission, self.scaling, seqs)

    def start_log_prob(self, seqs: Sequences, group: np.ndarray) -> np.ndarray:
        return self.model.log_prob(seqs, per_step=True)

    def _path(self) -> MarkovPath:
        path = self.network.path
        assert isinstance(path, MarkovPath)
        return path

    def predict(self, seqs: Sequences, group: np.ndarray) -> Predicted:
        weights = np.empty((seqs.rows, self.chain.states))
        with torch.no_grad():
            for batch, scored, index in Table(self.rows(seqs, group), seqs).whole():
                logits, _ = self._path().weights(batch, self.network.added(batch), self.network.frozen)
                weights[index] = torch.exp(logits[scored]).numpy()
        laws, rows = (
            self._path().network.emission.emission(),
            Rows(seqs.values, seqs.lengths, seqs.inputs, seqs.columns),
        )
        found = laws.marginals(weights, rows)
        residuals = laws.residuals(rows, weights)
        return Predicted(found.mean, found.variance, residuals, seqs.lengths, seqs.ids, seqs.columns, seqs.times)

    def exact_forecast(self, seqs: Sequences, group: np.ndarray, steps: int, inputs: np.ndarray | None) -> Marginals:
        return self.model.forecast(seqs, steps=steps, inputs=inputs).marginals

    def paths(
        self,
        seqs: Sequences,
        group: np.ndarray,
        steps: int,
        inputs: np.ndarray | None,
        count: int,
        rng: np.random.Generator,
    ) -> np.ndarray:
        now, rows = self._now(), self.rows(seqs, group)
        units = self._units(rows, seqs)
        found = np.empty((count, len(seqs), steps, seqs.dim))
        for i, one in enumerate(seqs):
            own = Rows(one.values, one.lengths, one.inputs, one.columns)
            ahead = [
                _many(self._end(chain, laws.log_likelihood(own), one), count)
                for chain, laws in ((self.chain, self.emission), now)
            ]
            given = None if inputs is None else inputs[i]
            last = _many(one.values[-1], count)
            found[:, i] = self._continued(
                now, (ahead[0], ahead[1]), [_many(layer[i], count) for layer in units], last, steps, given, rng
            )
        return found

    def draws(self, length: int, count: int, inputs: np.ndarray | None, rng: np.random.Generator) -> np.ndarray:
        now, found = self._now(), []
        for i in range(count):
            ahead = self.chain.initial[None], now[0].initial[None]
            last = np.full((1, self.emission.dim), np.nan)
            given = None if inputs is None else inputs[i]
            found.append(self._continued(now, ahead, self._rested(1), last, length, given, rng)[0])
        return np.stack(found)

    def _now(self) -> tuple[Chain, Any]:
        """The trained chain and laws."""
        if self.emission.look_back:
            raise UnsupportedError(
                f"emission {self.emission.kind!r} looks back at earlier rows, and the network that was trained on it cannot be simulated; "
                "score and predict with it, or forecast with its start"
            )
        return self._path().network.chain(), self._path().network.emission.emission()

    @staticmethod
    def _end(chain: Chain, table: np.ndarray, one: Sequences) -> np.ndarray:
        from statewise.inference import discrete

        return np.asarray(discrete.filter(chain, table, one.lengths).probs[-1] @ chain.transition)

    def _continued(
        self,
        now: tuple[Chain, Any],
        ahead: tuple[np.ndarray, np.ndarray],
        units: list[np.ndarray],
        last: np.ndarray,
        steps: int,
        inputs: np.ndarray | None,
        rng: np.random.Generator,
    ) -> np.ndarray:
        return classical_markov.simulate(
            self.chain, now, self.cell, self.network.arrays(), self.scaling, ahead, units, last, self.emission, steps, inputs, rng
        )  # fmt: skip


def begin(options: Mapping[str, Any], models: list[Any], seqs: Sequences, seed: int) -> Part:
    """An untrained network around classical models that have parameters."""
    groups = list(seqs) if options["per_series"] else [seqs]
    values, inputs = [standardise(one)[1] for one in groups], [standardise_inputs(one)[1] for one in groups]
    width = 0 if seqs.inputs is None else seqs.inputs.shape[1]
    scaling = Scaling(
        np.stack([s.mean for s in values]),
        np.stack([s.scale for s in values]),
        np.stack([s.mean for s in inputs]).reshape(len(groups), width),
        np.stack([s.scale for s in inputs]).reshape(len(groups), width),
    )
    if isinstance(models[0], HMM):
        models[0]._for_columns_of(seqs)
        return MarkovPart(options, models[0], scaling, seed)
    for model in models:
        if model._system_for(seqs).which is not None:
            raise UnsupportedError(
                f"the matrices of {model.name} change with the step, and a recurrent path has constant weights; start at a model with constant ones"
            )
        model._receive(seqs)
    return GaussianPart(options, [with_inputs(model.system, width) for model in models], scaling, seed)


def restored(options: Mapping[str, Any], parameters: Mapping[str, np.ndarray]) -> Part:
    """The network of saved parameters."""
    scaling = Scaling(*(parameters[f"scaling_{name}"] for name in _SCALING))
    part: Part
    if isinstance(options["start"], HMM):
        part = MarkovPart(options, options["start"], scaling, 0)
    else:
        part = GaussianPart(options, unstacked(parameters, "start_"), scaling, 0)
    part.network.load(parameters)
    return part


def _many(row: np.ndarray, count: int) -> np.ndarray:
    return np.repeat(row[None], count, axis=0)


def _antithetic(rng: np.random.Generator, steps: int, count: int, p: int) -> np.ndarray:
    """(steps, count, p) standard normal numbers, the second half the first with its sign changed."""
    half = rng.standard_normal((steps, (count + 1) // 2, p))
    return np.concatenate([half, -half], axis=1)[:, :count]


def _finite(paths: np.ndarray) -> np.ndarray:
    if not np.isfinite(paths).all():
        raise NumericalError(
            f"a simulated path left the range of floating-point numbers within {paths.shape[1]} steps: the trained dynamics are explosive; ask "
            "for fewer steps, or fit with classical='freeze'"
        )
    return paths
