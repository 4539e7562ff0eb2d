"""A recurrent network's reading of sequences: its state after every step, from which a forecast can begin."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from statewise._core import checks
from statewise._core.seed import generator
from statewise.inference import recurrent as inference
from statewise.inference import recurrent_paths as sampling
from statewise.inference.recurrent_moments import forecast_moments
from statewise.models.reading import Reading
from statewise.results.forecast import Forecast
from statewise.results.marginals import GaussianMarginals, Marginals, SampleMarginals
from statewise.sequences.calendar import future_times

if TYPE_CHECKING:
    from statewise.models.recurrent import Recurrent
_METHODS = checks.Choice(("sampling", "moments"))


class RecurrentReading(Reading):
    """As `Reading`, but the sequences are read once, whatever the number of origins."""

    model: Recurrent

    @cached_property
    def _past(self) -> inference.Read:
        model = self.model
        return inference.read(model.get_params()["cell"], model.parameters, self.seqs, model._output(self.seqs.dim))

    @cached_property
    def log_prob_steps(self) -> np.ndarray:
        model, seqs = self.model, self.seqs
        cell, output = model.get_params()["cell"], model._output(seqs.dim)
        return inference.log_prob_steps(cell, model.parameters, seqs, output, self._past)

    def forecast(
        self,
        ids: Sequence[Hashable],
        origins: Any,
        steps: int = 12,
        level: Any = (80, 95),
        inputs: Any = None,
        **options: Any,
    ) -> Forecast:
        model, parameters = self.model, self.model.parameters
        steps, levels = model._steps_ahead(steps, len(ids), sampling.PATHS), checks.levels(level)
        method = _METHODS.check("method", options.get("method", "sampling"))
        given = model._future_inputs(inputs, len(ids), steps)
        past = self.past(ids, origins)
        starts = self.seqs.offsets[[self.seqs.ids.index(name) for name in ids]]
        ends = sampling.Ends(starts + np.asarray(origins) - 1, starts)
        cell, output = model.get_params()["cell"], model._output(self.seqs.dim)
        gaps = inference.future_gaps(parameters, past, steps)
        marginals: Marginals
        if method == "moments":
            found = forecast_moments(cell, parameters, self._past, ends, steps, given, output, gaps)
            marginals = GaussianMarginals(*found)
        else:
            rng = generator(options.get("seed", 0))
            shape = (cell, parameters, self._past, ends, steps, given, sampling.PATHS, rng, output, gaps)
            marginals = SampleMarginals(sampling.paths_after(*shape))
        return Forecast(marginals, levels, past.ids, past.columns, future_times(past, steps))
