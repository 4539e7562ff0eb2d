"""The text that `summary()` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import ndtr

from statewise.models.standard_errors import HasStandardErrors

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
        lines.append(f"  AIC / BIC       {fit.aic(k):.2f} / {fit.bic(k):.2f}")
        if fit.n_steps > 1:
            lines.append(f"  HQIC            {fit.hqic(k):.2f}")
        if "gradient_norm" in fit.details:
            lines.append(
                f"  gradient        {fit.details['gradient_norm']:.1e} at most, per step of the standardised data"
            )
        lines += [f"  note            {note}" for note in fit.notes]
    table = model._coefficients() if isinstance(model, HasStandardErrors) and fit is not None else None
    if model.is_fitted and not (table and model._unlisted):  # the table has them all
        for name, array in model.parameters.items():
            if name not in model._unlisted:
                lines += _parameter_lines(name, np.asarray(array))
    return "\n".join(lines + _coefficient_lines(table))


def _coefficient_lines(kept: dict[str, Any] | None) -> list[str]:
    """The table of estimates, standard errors, z and p values, and the condition of the information behind it."""
    if kept is None:
        return []
    condition = "inf" if kept["condition"] is None else f"{kept['condition']:.1e}"
    lines = [f"  information     condition {condition}, by differences of the gradient with step {kept['step']:.1e}"]
    lines += [f"  note            {note}" for note in kept["notes"]]
    width = max([11, *map(len, kept["names"])])
    lines.append(f"  {'coefficient':<{width}}    estimate  std. error         z      p")
    for name, value, error in zip(kept["names"], kept["estimate"], kept["standard_error"], strict=True):
        row = f"  {name:<{width}}  {value:>10.4g}"
        known = error is not None and error > 0
        rest = (
            f"  {error:>10.4g}  {value / error:>8.2f}  {2 * ndtr(-abs(value / error)):.3f}" if known else "     unknown"
        )
        lines.append(row + rest)
    return lines


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
