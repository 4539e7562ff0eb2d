"""Networks that started at a hidden Markov model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from statewise._core.errors import UnsupportedError
from statewise.emissions.rows import Rows
from statewise.inference import classical_markov
from statewise.inference.classical_gaussian import Scaling
from statewise.inference.classical_markov import MarkovPath
from statewise.inference.discrete import Chain
from statewise.models.hmm import HMM
from statewise.models.started_part import Part, many
from statewise.models.started_training import Table, made
from statewise.results.marginals import Marginals
from statewise.results.predicted import Predicted
from statewise.sequences.sequences import Sequences


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
                many(self._end(chain, laws.log_likelihood(own), one), count)
                for chain, laws in ((self.chain, self.emission), now)
            ]
            given = None if inputs is None else inputs[i]
            last = many(one.values[-1], count)
            found[:, i] = self._continued(
                now, (ahead[0], ahead[1]), [many(layer[i], count) for layer in units], last, steps, given, rng
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
