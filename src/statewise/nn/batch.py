"""What modules that take a batch of observations and inputs say of a wrong one."""

from __future__ import annotations

from torch import Tensor

from statewise._core.errors import InputError


def judge_batch(y: Tensor, columns: int, u: Tensor | None = None) -> None:
    """Raise unless y is (N, T, columns) with at least one step, and u, if there is one, (N, T, ·).

    Raises:
        InputError: it says which shape was meant.
    """
    if y.ndim != 3 or y.shape[2] != columns or not y.shape[0] or not y.shape[1]:
        raise InputError(
            f"`y` has shape {tuple(y.shape)}; pass (N, T, {columns}): N sequences of T steps, at least one of each"
        )
    if u is not None and (u.ndim != 3 or u.shape[:2] != y.shape[:2]):
        raise InputError(
            f"`u` has shape {tuple(u.shape)}; pass ({y.shape[0]}, {y.shape[1]}, inputs), a row for each of `y`"
        )
