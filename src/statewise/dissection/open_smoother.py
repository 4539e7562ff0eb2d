"""Opening the bidirectional linear network that a fixed-interval smoother is: two recurrences and a merge."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from statewise._core.errors import UnsupportedError
from statewise.dissection.affine import AffineSystem
from statewise.dissection.layers import flip
from statewise.dissection.losses import pull_loss
from statewise.dissection.packing import inside, padded
from statewise.dissection.subject import Site, Subject
from statewise.nn.linear_birnn import LinearBiRNNModule
from statewise.sequences.sequences import Sequences


def open_smoother(model: Any, seqs: Sequences, loss: Any, dt: float) -> Subject:
    """A LinearBiRNN under ½‖x̂[t]‖² per step of the smoothed mean, or a loss of it (B, T, n).

    The forward recurrence is the filter, F[t] = (I − K C)(A F[t−1] + b) + K y[t]; the backward one the information of what follows,
    B[t] = A' (I + Ω Q)⁻¹ (B[t+1] − Ω b) + C' R⁻¹ y[t], which runs from the end.

    Raises:
        UnsupportedError: the start is diffuse, so that the forward direction has no covariance to begin with.
    """
    module: LinearBiRNNModule = model.module
    if module.initial_precision is not None:
        raise UnsupportedError(
            "`model` is a smoother with a diffuse start, whose two directions carry information; dissect the model it was made of"
        )
    runs = [_both(module, one) for one in seqs]
    lengths = seqs.lengths
    forward = _system([run[0] for run in runs], lengths, "forward", False)
    backward = _system([run[1] for run in runs], lengths, "backward", True)
    F = torch.from_numpy(forward.states[:, 1:].copy()).requires_grad_()
    B = torch.from_numpy(flip(backward.states[:, 1:], lengths)).requires_grad_()
    merges = [padded(np.concatenate([run[2][k] for run in runs]), lengths) for k in range(3)]
    by_f, by_b, skip = (torch.from_numpy(each) for each in merges)
    mean = (by_f @ F[..., None] + by_b @ B[..., None])[..., 0] - skip
    own = inside(lengths)
    error = float(np.abs(mean.detach().numpy()[own] - model.smooth(seqs).mean).max())
    scored = torch.from_numpy(own)

    def mine(result: Tensor) -> Tensor:
        return torch.where(scored, 0.5 * (result**2).sum(dim=-1), 0.0)

    pulled = pull_loss(mean, [F, B], mine if loss is None else loss, None)
    at_f, at_b = (each.numpy() for each in pulled.gradients)
    sites = (
        Site("forward", forward, at_f, whole=pulled.whole),
        Site("backward", backward, flip(at_b, lengths), backward=True, whole=pulled.whole),
    )
    words = "½‖smoothed state‖² per step" if loss is None else pulled.words
    return Subject(model.name, sites, words, error, dt, model, seqs, pulled.notes, {"sequences": seqs})


Run = tuple[
    np.ndarray, np.ndarray, np.ndarray
]  # the matrices (T, n, n), what is added (T, n), and the first state (n,)


def _both(module: LinearBiRNNModule, one: Sequences) -> tuple[Run, Run, Run]:
    """Of one sequence: the forward run, the backward run in its own order, and the merge's weights of F, of B, and its skip."""
    with torch.no_grad():
        y = torch.tensor(one.values)[None]
        u = None if one.inputs is None else torch.tensor(one.inputs)[None]
        steps = module._steps(y, u)
        ahead = module._backward(steps)
        eye = torch.eye(len(module.transition), dtype=torch.float64)
        P = (module.initial_root @ module.initial_root.T)[None]
        before, drive = eye[None], module.initial_mean[None]  # the first step is from the start itself
        forward, merge = [], []
        for step, (precision, _) in zip(steps, ahead, strict=True):
            spread = P @ step.C.mT
            gain = torch.linalg.solve(step.C @ spread + step.R, spread.mT).mT
            kept = eye - gain @ step.C
            forward.append((kept @ before, _times(kept, drive) + _times(gain, step.y)))
            P = kept @ P @ kept.mT + gain @ step.R @ gain.mT
            weight = torch.linalg.inv(eye + P @ precision)
            merge.append((weight, weight @ P, _times(weight @ P @ step.informed, step.y)))
            before, drive = step.A, step.drive
            P = step.A @ P @ step.A.mT + step.Q
        backward = [(torch.zeros_like(eye)[None], _times(steps[-1].informed, steps[-1].y))]
        for here, after, (precision, _) in zip(
            reversed(steps[:-1]), reversed(steps[1:]), reversed(ahead[1:]), strict=True
        ):
            total = precision + after.informed @ after.C
            moved = here.A.mT @ torch.linalg.inv(eye + total @ here.Q)
            added = _times(here.informed, here.y) - _times(moved @ total, here.drive)
            backward.append((moved, added))
    n = len(eye)
    return _run(forward, np.zeros(n)), _run(backward, np.zeros(n)), _arrays(merge)


def _run(steps: list[tuple[Tensor, Tensor]], start: np.ndarray) -> Run:
    matrices, added = (np.concatenate([step[k].numpy() for step in steps]) for k in range(2))
    return matrices, added, start


def _arrays(steps: list[tuple[Tensor, Tensor, Tensor]]) -> Run:
    by_f, by_b, skip = (np.concatenate([step[k].numpy() for step in steps]) for k in range(3))
    return by_f, by_b, skip


def _times(matrix: Tensor, vector: Tensor) -> Tensor:
    return (matrix @ vector[..., None])[..., 0]


def _system(runs: list[Run], lengths: np.ndarray, label: str, backward: bool) -> AffineSystem:
    """The recurrence of one direction; its input is what each row adds to the state."""
    matrices = np.concatenate([run[0] for run in runs])
    added = padded(np.concatenate([run[1] for run in runs]), lengths)
    which = padded(np.arange(len(matrices)), lengths)
    n = matrices.shape[1]
    into = np.broadcast_to(np.eye(n), (len(matrices), n, n))
    initial = np.stack([run[2] for run in runs])
    return AffineSystem(
        matrices, into, which, added, lengths, initial, label="filter" if label == "forward" else "information"
    )
