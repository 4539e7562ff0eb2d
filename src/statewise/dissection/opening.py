"""One door for everything that can be dissected."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from statewise._core import checks
from statewise._core.errors import InputError
from statewise.dissection.subject import Site, Subject
from statewise.dissection.systems import JacobianSystem

_DT = checks.Real(0.0, open_low=True)


def opened(
    what: Any,
    batch: Any = None,
    loss: Any = None,
    *,
    initial: Any = None,
    lengths: Any = None,
    layer: str | None = None,
    dt: float = 1.0,
) -> Subject:
    """Whatever can be dissected, as a `Subject`: an opened one, a model, a torch module, a step(x, state) -> state, or matrices.

    Args:
        what: one of our models; a torch module with a recurrent layer inside; a function step(x, state) -> state of float64 tensors
            (M, d) and (M, n), whose rows do not mix; an array of Jacobians (T, n, n) or (B, T, n, n).
        batch: sequences for a model; what a module is called with; inputs (B, T, d) or (T, d) of a step function; None for matrices.
        loss: takes what a module returns, or the states (B, T, n) of a step function, and returns losses; see `losses.pull_loss`.
        initial: the first state: (n,), (B, n), or a tuple of such for a state of several tensors. A step function needs it.
        lengths: (B,) of a padded batch.
        layer: the one layer of a larger module to look at, by its name.
        dt: time between steps, in the data's unit.

    Raises:
        InputError: it is none of these, or they do not fit.
    """
    dt = _DT.check("dt", dt)
    if isinstance(what, Subject):
        return what
    if isinstance(what, np.ndarray):
        return _open_matrices(what, dt)
    import torch

    if isinstance(what, torch.nn.Module):
        from statewise.dissection.open_module import open_module

        if batch is None:
            raise InputError("`batch` is None; pass what the module is called with")
        return open_module(what, batch, loss, layer=layer, initial=initial, lengths=lengths, dt=dt)
    from statewise.models.base import Model

    if isinstance(what, Model):
        from statewise.dissection.open_model import open_model

        return open_model(what, batch, loss, dt, initial)
    if callable(what):
        return _open_step(what, batch, loss, initial, lengths, dt)
    raise InputError(
        f"`model` is {checks.shown(what)}; pass a statewise model, a torch module with a recurrent layer, a step(x, state) -> state, or "
        "an array of Jacobians (T, n, n)"
    )


def _open_matrices(matrices: np.ndarray, dt: float) -> Subject:
    given = np.asarray(matrices, dtype=np.float64)
    given = given[None] if given.ndim == 3 else given
    if given.ndim != 4 or given.shape[2] != given.shape[3] or not given.size:
        raise InputError(f"`model` is an array of shape {np.shape(matrices)}; pass Jacobians (T, n, n) or (B, T, n, n)")
    if not np.isfinite(given).all():
        raise InputError("`model` has Jacobians with entries that are not finite")
    return Subject(f"{given.shape[1]} Jacobians", (Site("", JacobianSystem(given), None),), dt=dt, opened=matrices)


def _open_step(step: Callable[..., Any], batch: Any, loss: Any, initial: Any, lengths: Any, dt: float) -> Subject:
    import torch

    from statewise.dissection.losses import pull_loss
    from statewise.dissection.stepped import SteppedSystem

    if batch is None or initial is None:
        missing = "batch" if batch is None else "initial"
        raise InputError(
            f"`{missing}` is None; a step function needs inputs (B, T, d), d = 0 for none, and its first state"
        )
    x = np.asarray(batch, dtype=np.float64)
    x = x[None] if x.ndim == 2 else x
    if x.ndim != 3:
        raise InputError(f"`batch` has {x.ndim} axes; pass inputs (B, T, d)")
    parts = initial if isinstance(initial, tuple) else (initial,)
    arrays = [np.asarray(part, dtype=np.float64) for part in parts]
    sizes = [part.shape[-1] if part.ndim else 1 for part in arrays]
    start = np.concatenate([np.broadcast_to(a, (len(x), n)) for a, n in zip(arrays, sizes, strict=True)], axis=1)
    function = _joined(step, sizes) if isinstance(initial, tuple) else step
    given = np.full(len(x), x.shape[1]) if lengths is None else np.asarray(lengths)
    name = getattr(step, "__name__", type(step).__name__)
    system = SteppedSystem(function, x, given, start, name, sizes[0])
    states = torch.from_numpy(system.states[:, 1:, : sizes[0]].copy()).requires_grad_()
    pulled = pull_loss(states, [states], loss, None)
    site = Site("", system, pulled.gradients[0].numpy(), whole=pulled.whole)
    words = pulled.words.replace("output", "state")
    return Subject(name, (site,), words, 0.0, dt, step, batch, pulled.notes, {"gradients": pulled})


def _joined(step: Callable[..., Any], sizes: list[int]) -> Callable[..., Any]:
    """A step whose state is a tuple, as one whose state is a tensor."""
    import torch

    def joined(x: Any, state: Any) -> Any:
        return torch.cat(tuple(step(x, tuple(state.split(sizes, dim=1)))), dim=1)

    return joined
