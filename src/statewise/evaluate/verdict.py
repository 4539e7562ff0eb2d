"""The sentence that says which model to use and by how much."""

from __future__ import annotations

import math
from collections.abc import Sequence

from statewise.results.comparison import Score

_SIGNIFICANT = 0.05


def verdict(scores: Sequence[Score], horizon: int) -> str:
    """Which model to use, its lead over the next one with a standard error, and what it gains over the naive forecast."""
    scored = [score for score in scores if score.failure is None and not math.isnan(score.log_score)]
    if not scored:
        return "No model could be scored; see the reasons in the table."
    best = scored[0]
    sentence = f"Use {best.name}: {_nats(best.log_score)} nats per step over {horizon} steps ahead"
    rivals = [score for score in scored[1:] if not score.is_baseline] or scored[1:]
    if rivals:
        sentence += ", " + _lead(best, rivals[0])
    sentence += "."
    naive = [score for score in scored if score.is_baseline]
    if best.is_baseline:
        sentence += " No model does better than this simple rule."
    elif naive and naive[0] is not (rivals[0] if rivals else None):
        sentence += f" Over the best simple rule, {naive[0].name}, {best.name} gains {_gap(naive[0])} nats per step."
    return sentence


def _lead(best: Score, rival: Score) -> str:
    gap = f"{_gap(rival)} better than {rival.name} (Diebold–Mariano p = {rival.p_value:.2g})"
    if rival.p_value < _SIGNIFICANT:
        return gap
    simpler = min((best, rival), key=lambda score: score.n_parameters)
    if simpler is rival:
        return (
            gap
            + f", which is within the noise: {rival.name} with {rival.n_parameters} parameter{'s' if rival.n_parameters != 1 else ''} will do as well"
        )
    return gap + ", which is within the noise"


def _gap(score: Score) -> str:
    return f"{score.difference:.3f} ± {score.difference_se:.3f}"


def _nats(value: float) -> str:
    return f"{value:.3f}".replace("-", "−")
