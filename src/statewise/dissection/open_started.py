"""Opening a network that starts at a classical model: its gated units, and the classical recursion beside them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from statewise._core.errors import InputError
from statewise.cells import CELLS
from statewise.dissection.affine import AffineSystem
from statewise.dissection.belief import BeliefSystem
from statewise.dissection.open_network import stacked
from statewise.dissection.packing import inside, padded
from statewise.dissection.subject import Site, Subject
from statewise.dissection.systems import System
from statewise.dissection.windows import density_context
from statewise.models.started_parts import GaussianPart
from statewise.nn.classical_start import SWING, GaussianPath
from statewise.sequences.sequences import Sequences


def open_started(model: Any, seqs: Sequences, loss: Any, dt: float) -> Subject:
    """A StartedRecurrent as two recurrences under −log p(y[t] | past): the gated units, driven by what they see of the data and of the
    classical model's predictions, and the classical path, whose step t reads y[t] and predicts y[t+1].

    Raises:
        InputError: `loss` is given; two recurrences have their own.
    """
    if loss is not None:
        raise InputError("`loss` is given, and a network beside a classical path has its own; leave it out")
    part, group = model._applied, model._groups(seqs)
    rows = part.rows(seqs, group)
    own = {name.removeprefix("rnn."): a for name, a in part.network.arrays().items() if name.startswith("rnn.")}
    units = stacked(CELLS[part.cell], own, rows["x"], seqs.lengths)
    read = torch.from_numpy(units.readout(units.states[:, 1:]).copy()).requires_grad_()
    batch = {name: torch.from_numpy(padded(np.asarray(a), seqs.lengths)) for name, a in rows.items()}
    added = tuple(read @ weight.detach().T for weight in part.network.readouts)
    kind = _gaussian if isinstance(part, GaussianPart) else _markov
    path, losses, at_path = kind(part, batch, added, seqs)
    scored = torch.from_numpy(inside(seqs.lengths))
    total = losses[scored].sum()
    (at_units,) = torch.autograd.grad(total, read, allow_unused=True)
    theirs = -model.log_prob(seqs, per_step=True)
    finite = np.isfinite(theirs)
    error = float(np.abs(losses[scored].detach().numpy() - theirs)[finite].max())
    notes = ["the replay error is that of log densities, in nats", "the path's step t reads y[t] and predicts y[t+1]"]
    silent = at_units is None or not any(bool(weight.any()) for weight in part.network.readouts)
    if silent:
        notes.append("the output does not read the units: the network is its classical start")
    sites = [Site("units", units, None if silent else at_units.numpy()), Site("path", path, at_path)]
    details = {"context": density_context(model, seqs), "density": True, "sequences": seqs}
    words = "−log p(y[t] | y[… t−1])"
    order = tuple(sites if not silent else reversed(sites))
    return Subject(model.name, order, words, error, dt, model, seqs, tuple(notes), details)


Opened = tuple[System, Tensor, np.ndarray]


def _gaussian(part: Any, rows: dict[str, Tensor], added: tuple[Tensor, ...], seqs: Sequences) -> Opened:
    """The path's system, the losses (B, T), and the gradients (B, T − 1, n) of the next row's loss by the path's state."""
    path: GaussianPath = part.network.path
    frozen = part.network.frozen
    system = _path_system(path, rows, seqs.lengths)
    group = rows["group"][:, 0]
    with torch.no_grad():
        C = path.weight("C", group)
        at_y = path.weight("d", group)[:, None] + rows["u"] @ path.weight("D", group).mT
        change = torch.zeros(()) if frozen else path.weight("s", group)[:, None]
    states = torch.from_numpy(system.states.copy()).requires_grad_()
    expected = rows["mean"] if frozen else (C[:, None] @ states[:, : rows["y"].shape[1], :, None])[..., 0] + at_y
    swing = SWING * torch.tanh(added[1] / SWING) + change
    mean = expected + rows["sd"] * added[0]
    rest = (rows["y"] - mean) * torch.exp(-swing) * rows["seen"]
    z = torch.linalg.solve_triangular(_roots(rows["root"]), rest[..., None], upper=False)[..., 0]
    log_det = rows["log_det"] + (swing * rows["seen"]).sum(dim=-1)
    density = -0.5 * (z * z).sum(dim=-1) - log_det - 0.5 * math.log(2 * math.pi) * rows["seen"].sum(dim=-1)
    losses = -torch.where(rows["held"] > 0, rows["constant"], density)
    found = np.zeros(system.states[:, 1:].shape)
    if not frozen:
        scored = torch.from_numpy(inside(seqs.lengths))
        (gradient,) = torch.autograd.grad(losses[scored].sum(), states, retain_graph=True)
        found = gradient[:, 1:].numpy()
    else:
        found = (
            -(C.mT[:, None] @ torch.linalg.solve(_covariance(rows, swing), rest_of(rows, mean)[..., None]))[..., 0]
            .detach()
            .numpy()
        )
        found = np.concatenate([found[:, 1:], np.zeros_like(found[:, :1])], axis=1)
    return system, losses, found


def _roots(root: Tensor) -> Tensor:
    """With ones on the diagonal of what is padded."""
    empty = torch.diagonal(root, dim1=-2, dim2=-1) == 0
    return root + torch.diag_embed(empty.to(root))


def _covariance(rows: dict[str, Tensor], swing: Tensor) -> Tensor:
    root = torch.exp(swing)[..., None] * _roots(rows["root"])
    covariance: Tensor = root @ root.mT
    return covariance


def rest_of(rows: dict[str, Tensor], mean: Tensor) -> Tensor:
    """(B, T, p) what is observed less its mean, 0 where missing."""
    return (rows["y"] - mean) * rows["seen"] * (rows["held"][..., None] == 0)


def _path_system(path: GaussianPath, rows: dict[str, Tensor], lengths: np.ndarray) -> AffineSystem:
    """a[t+1] = (A − K[t] C) a[t] + K[t] y[t] + …; while a diffuse start is held the state is given, and depends on nothing."""
    group = rows["group"][:, 0]
    with torch.no_grad():
        A, C, K = (path.weight(letter, group) for letter in "ACK")
        at_y = path.weight("d", group)[:, None] + rows["u"] @ path.weight("D", group).mT
        at_x = path.weight("b", group)[:, None] + rows["u"] @ path.weight("B", group).mT
        gains = (rows["gain"] + K[:, None]) * rows["seen"][:, :, None]
        held = (rows["held"] > 0)[..., None]
        closed = torch.where(held[..., None], 0.0, A[:, None] - gains @ C[:, None])
        offset = torch.where(held, rows["next_state"], at_x - (gains @ at_y[..., None])[..., 0])
        gains = torch.where(held[..., None], 0.0, gains)
    batch, steps, n, _ = closed.shape
    kinds = np.arange(batch * steps).reshape(batch, steps)
    first = rows["state"][:, 0].numpy()
    matrices, into = closed.reshape(-1, n, n).numpy(), gains.reshape(batch * steps, n, -1).numpy()
    return AffineSystem(matrices, into, kinds, rows["y"].numpy(), lengths, first, offset.numpy(), "predictor")


def _markov(part: Any, rows: dict[str, Tensor], added: tuple[Tensor, ...], seqs: Sequences) -> Opened:
    path, frozen = part._path(), part.network.frozen
    with torch.no_grad():
        table = path.network.emission(rows["y"], rows["u"]).numpy()
    chain = path.network.chain()
    evidence = np.where(inside(seqs.lengths)[..., None], table, 0.0)
    if frozen:
        chain = part.chain
        own = part.emission.log_likelihood(_rows(seqs))
        system = BeliefSystem(padded(np.asarray(own), seqs.lengths), chain.transition, chain.initial, seqs.lengths)
    else:
        system = BeliefSystem(evidence, chain.transition, chain.initial, seqs.lengths)
    states = torch.from_numpy(system.states.copy()).requires_grad_()
    steps = evidence.shape[1]
    ahead = torch.log(states[:, :steps]) + added[0]
    joint = torch.logsumexp(ahead + torch.from_numpy(evidence), dim=2) - torch.logsumexp(ahead, dim=2)
    scored = torch.from_numpy(inside(seqs.lengths))
    (gradient,) = torch.autograd.grad(-joint[scored].sum(), states, retain_graph=True)
    return system, -joint, torch.nan_to_num(gradient[:, 1:]).numpy()


def _rows(seqs: Sequences) -> Any:
    from statewise.models.hmm_verbs import rows_of

    return rows_of(seqs)
