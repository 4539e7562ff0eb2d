"""Opening what `convert` makes of leaky integrators and linear networks, and leaky integrators themselves."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from statewise._core.errors import InputError, UnsupportedError
from statewise.dissection.affine import AffineSystem
from statewise.dissection.losses import HALF_SQUARE
from statewise.dissection.open_gaussian import with_loss
from statewise.dissection.open_module import open_module
from statewise.dissection.packing import inside, padded
from statewise.dissection.subject import Site, Subject
from statewise.sequences.sequences import Sequences


def open_cells(model: Any, seqs: Sequences, loss: Any, dt: float) -> Subject:
    """An LSTMNetwork or GRUNetwork along its inputs, the sequences' values, under ½‖output‖² per step."""
    width = model.module.rnn.input_size
    return _open(model, padded(_columns(seqs.values, width), seqs.lengths), seqs, loss, dt)


def _columns(values: np.ndarray, width: int) -> np.ndarray:
    """(rows, width) of values (rows, 1), which serve all inputs alike, or (rows, width)."""
    if np.isnan(values).any():
        raise UnsupportedError("the sequences have missing entries, and this network reads complete ones")
    if values.shape[1] not in (1, width):
        raise InputError(
            f"the sequences have {values.shape[1]} columns and the network reads {width}; pass {width}, or 1 for all"
        )
    return np.broadcast_to(values, (len(values), width))


def open_embedded(model: Any, seqs: Sequences, loss: Any, dt: float) -> Subject:
    """An EmbeddedRNN under −log p(y[t+1] | y[… t]): after step t it predicts the next row."""
    if np.isnan(seqs.values).any():
        raise UnsupportedError("the sequences have missing entries, and this network reads complete ones")
    D, F = (torch.from_numpy(np.array(model.parameters[n])) for n in ("input_to_observation", "innovation_cov"))
    u = np.zeros((seqs.rows, D.shape[1])) if seqs.inputs is None else seqs.inputs
    x = padded(np.hstack([seqs.values, u]), seqs.lengths)
    root = torch.linalg.cholesky(F)
    given = torch.from_numpy(x)
    scored = torch.from_numpy(inside(seqs.lengths))[:, 1:]

    def own(result: Any) -> Tensor:
        mean = result[0][:, :-1] + given[:, 1:, seqs.dim :] @ D.T
        z = torch.linalg.solve_triangular(root, (given[:, 1:, : seqs.dim] - mean)[..., None], upper=False)[..., 0]
        constant = float(torch.log(torch.diagonal(root)).sum()) + 0.5 * seqs.dim * float(np.log(2 * np.pi))
        losses = torch.where(scored, 0.5 * (z * z).sum(dim=-1) + constant, 0.0)
        return torch.cat([losses, losses.new_zeros(len(losses), 1)], dim=1)

    found = _open(model, x, seqs, own if loss is None else loss, dt)
    return found if loss is not None else _renamed(found, "−log p(y[t+1] | y[… t])")


def _open(model: Any, x: np.ndarray, seqs: Sequences, loss: Any, dt: float) -> Subject:
    found = open_module(model.module, x, loss, lengths=seqs.lengths.copy(), dt=dt)
    return _renamed(found, found.loss, model, seqs)


def _renamed(found: Subject, loss: str, model: Any = None, seqs: Sequences | None = None) -> Subject:
    """The same, told as the model that was opened."""
    from dataclasses import replace

    if model is None:
        return replace(found, loss=loss)
    details = dict(found.details) | {"sequences": seqs}
    return replace(found, name=model.name, loss=loss, opened=model, batch=seqs, details=details)


def open_leaky(model: Any, seqs: Sequences, loss: Any, dt: float) -> Subject:
    """A LeakyIntegrator along its inputs, the sequences' values, under ½‖state‖² per step; its `dt` is the step unless another is given."""
    units = len(model.forget)
    inputs = padded(np.array(_columns(seqs.values, units)), seqs.lengths)
    which = np.zeros(inputs.shape[:2], dtype=np.int64)
    A, B = np.diag(model.forget)[None], np.diag(model.input_weight)[None]
    system = AffineSystem(A, B, which, inputs, seqs.lengths, np.zeros((len(seqs), units)), label="layer 0")
    own = np.concatenate([model.respond(one.values) for one in seqs])
    after = system.states[:, 1:]
    error = float(np.abs(after[inside(seqs.lengths)] - own).max())
    notes: tuple[str, ...] = ()
    site, words = Site("", system, after * inside(seqs.lengths)[:, :, None]), HALF_SQUARE
    if loss is not None:
        site, words, notes = with_loss(system, loss)
    step = model.get_params()["dt"] if dt == 1.0 else dt
    return Subject(model.name, (site,), words, error, step, model, seqs, notes, {"sequences": seqs})
