"""The text that `summary()` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from statewise.models.base import Model


def summary(model: Model) -> str:
    """Options, fit, criteria and parameters of a model, as lines of text."""
    lines = [f"{model.name}"]
    fit = model.fit_result
    if fit is not None:
        lines += [
            f"  fit             {fit.reason}",
            f"  iterations      {fit.iterations} in {fit.seconds:.2f} s",
            f"  steps           {fit.n_steps}",
            f"  log-likelihood  {fit.log_prob:.4f} nats ({fit.log_prob / fit.n_steps:.4f} a step)",
        ]
    lines.append(f"  parameters      {model.n_parameters}")
    if fit is not None:
        k = model.n_parameters
        lines.append(
            f"  AIC / BIC       {2 * k - 2 * fit.log_prob:.2f} / {k * np.log(fit.n_steps) - 2 * fit.log_prob:.2f}"
        )
        lines += [f"  note            {note}" for note in fit.notes]
    if model.is_fitted:
        for name, array in model.parameters.items():
            if array.size <= 36:
                text = np.array2string(np.asarray(array), precision=4, suppress_small=True)
                lines.append(f"  {name} {array.shape}:")
                lines += ["    " + row for row in text.splitlines()]
            else:
                lines.append(f"  {name} {array.shape}: {array.size} numbers")
    return "\n".join(lines)
