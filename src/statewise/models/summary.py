"""The text that `summary()` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from statewise.models.base import Model


_MOST_SHOWN = 64


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
            lines += _parameter_lines(name, np.asarray(array))
    return "\n".join(lines)


def _parameter_lines(name: str, array: np.ndarray) -> list[str]:
    """The entries of small arrays, without axes of length one; only the size of large ones, and nothing of empty ones."""
    if not array.size:
        return []
    if array.size > _MOST_SHOWN:
        return [f"  {name} {array.shape}: {array.size} numbers"]
    text = np.array2string(array.squeeze(), precision=4, suppress_small=True, max_line_width=100).splitlines()
    if len(text) == 1:
        return [f"  {name:<15} {text[0]}"]
    return [f"  {name}", *("    " + row for row in text if row.strip())]
