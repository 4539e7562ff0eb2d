"""Networks that started at linear-Gaussian models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from statewise._core.errors import NumericalError
from statewise.inference import classical_gaussian, filtering
from statewise.inference.classical_gaussian import Ahead, Scaling, stacked
from statewise.inference.steady import predictor_gain
from statewise.inference.system import System
from statewise.models.started_part import Part, many
from statewise.models.started_training import Table, made
from statewise.nn.classical_start import GaussianPath
from statewise.results.marginals import GaussianMarginals, Marginals
from statewise.results.predicted import Predicted
from statewise.sequences.sequences import Sequences


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
                many(past.mean_next[0], count), many(trained[i], count), past.cov_next[0], [many(layer[i], count) for layer in units],
                many(rows["y"][last], count), many(rows["seen"][last], count), many(z, count),
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
