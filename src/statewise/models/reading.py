"""What a model makes of sequences in one pass: densities of every step, and forecasts from any of them.

A backtest asks for forecasts from several origins of the same sequences, and for the density of what came. A model that carries a state need read
the sequences only once for all of them: it says so by a reading of its own (`Density.reading`).
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from statewise.results.forecast import Forecast
from statewise.sequences.sequences import Sequences

if TYPE_CHECKING:
    from statewise.models.base import Density


class Reading:
    """A model's reading of sequences; this one reads the past of each origin again.

    Attributes:
        seqs: the sequences.
    """

    def __init__(self, model: Density, seqs: Sequences) -> None:
        self.model, self.seqs = model, seqs

    @cached_property
    def log_prob_steps(self) -> np.ndarray:
        """(rows,) log density of each step given the steps before it: of the steps up to an origin the same, whatever comes after."""
        return self.model.log_prob(self.seqs, per_step=True)

    def forecast(
        self,
        ids: Sequence[Hashable],
        origins: Any,
        steps: int = 12,
        level: Any = (80, 95),
        inputs: Any = None,
        **options: Any,
    ) -> Forecast:
        """The model's `forecast` after the first `origins` (M,) steps of the sequences named `ids`; other arguments as there."""
        return self.model.forecast(self.past(ids, origins), steps=steps, level=level, inputs=inputs, **options)

    def past(self, ids: Sequence[Hashable], origins: Any) -> Sequences:
        """The sequences named `ids` up to their origins."""
        which = [self.seqs.ids.index(name) for name in ids]
        spans = [(0, 0)] * len(self.seqs)
        for k, origin in zip(which, origins, strict=True):
            spans[k] = (0, int(origin))
        cut = self.seqs.cut(spans)
        return cut[[cut.ids.index(name) for name in ids]]
