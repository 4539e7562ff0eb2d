"""Opening linear-Gaussian models: the Kalman predictor, a recurrence whose gain changes until it has settled."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from statewise._core.errors import InputError
from statewise.dissection.affine import AffineSystem
from statewise.dissection.packing import padded
from statewise.dissection.subject import Site, Subject
from statewise.dissection.windows import density_context
from statewise.inference import filtering
from statewise.inference.system import AXES, System, system, weighted
from statewise.models.linear_gaussian import LinearGaussian
from statewise.models.linear_rnn import LinearRNN
from statewise.sequences.sequences import Sequences

NOTE = "step t reads y[t] and predicts y[t+1], whose loss is that of step t; a sequence of T rows has T − 1 of them"


class Predictor:
    """s[t+1] = (A − K[t] C) s[t] + K[t] (y[t] − D u[t] − d) + B u[t] + b along the sequences, packed over their rows.

    The gains are those of the exact filter: they change until the covariance has settled, and with what is missing; K[t] has no column, and
    y[t] no weight, where an entry is.

    Attributes:
        first: (N,) the first row of each sequence at which a diffuse start is settled.
        kind: (rows,) which of `closed` (M, n, n), `gain` (M, n, p), `reads` C (M, p, n) and `cov` F (M, p, p) a row has; in the last
            two a missing entry is one that reads nothing, with variance 1.
    """

    def __init__(self, sys: System, seqs: Sequences) -> None:
        self.past = filtering.run_filter(sys, seqs)
        self.seen = ~np.isnan(seqs.values)
        self.sys, self.seqs = sys, seqs
        changed = _changes(self.past.cov_pred, self.seen, sys.which, seqs.offsets)
        self.kind, at = np.cumsum(changed) - 1, np.flatnonzero(changed)
        part = {
            letter: getattr(sys, letter) if sys.which is None else getattr(sys, letter)[sys.which[at]]
            for letter in AXES
        }
        A, C, P = part["A"], part["C"], self.past.cov_pred[at]
        seen = self.seen[at].astype(float)
        self.reads = seen[:, :, None] * C
        F = C @ P @ np.swapaxes(C, -1, -2) + part["R"]
        self.cov = seen[:, :, None] * F * seen[:, None, :] + (1 - seen)[:, :, None] * np.eye(sys.p)
        unsettled = np.asarray(self.past.diffuse.any(axis=1))
        self.cov[unsettled[at]] = np.eye(sys.p)  # there is no law yet, and these rows are left out
        cross = (A @ P @ np.swapaxes(C, -1, -2) + part["S"]) * seen[:, None, :]
        self.gain = np.swapaxes(np.linalg.solve(self.cov, np.swapaxes(cross, 1, 2)), 1, 2)
        self.closed = A - self.gain @ self.reads
        within = np.arange(seqs.rows) - np.repeat(seqs.offsets[:-1], seqs.lengths)
        begins = np.maximum.reduceat(np.where(unsettled, within + 1, 0), seqs.offsets[:-1])
        self.first = seqs.offsets[:-1] + begins

    def offsets(self) -> tuple[np.ndarray, np.ndarray]:
        """What is added to the state (rows, n) and to the observation (rows, p) at each row."""
        rows, u = self.seqs.rows, self.seqs.inputs
        to_state = np.broadcast_to(self.sys.rows("b"), (rows, self.sys.n)).copy()
        to_y = np.broadcast_to(self.sys.rows("d"), (rows, self.sys.p)).copy()
        if u is not None and self.sys.B.shape[-1]:
            to_state += weighted(self.sys.rows("B"), u)
        if u is not None and self.sys.D.shape[-1]:
            to_y += weighted(self.sys.rows("D"), u)
        return to_state, to_y

    def losses(self, state: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(M,) −log p(y | state) and its gradients (M, n), for predicted states (M, n) of some rows (M,)."""
        kind, seen = self.kind[rows], self.seen[rows]
        C, F = self.reads[kind], self.cov[kind]
        rest = (
            np.where(seen, self.seqs.values[rows], 0.0)
            - seen * self.offsets()[1][rows]
            - (C @ state[..., None])[..., 0]
        )
        solved = np.linalg.solve(F, rest[..., None])
        sizes = np.linalg.slogdet(F)[1] + seen.sum(axis=1) * np.log(2 * np.pi)
        return 0.5 * ((rest[:, None] @ solved)[:, 0, 0] + sizes), -(np.swapaxes(C, 1, 2) @ solved)[..., 0]


def _changes(cov: np.ndarray, seen: np.ndarray, which: np.ndarray | None, offsets: np.ndarray) -> np.ndarray:
    """(rows,) whether a row has another filter than the row before it."""
    changed = np.ones(len(cov), dtype=bool)
    changed[1:] = (cov[1:] != cov[:-1]).any(axis=(1, 2)) | (seen[1:] != seen[:-1]).any(axis=1)
    if which is not None:
        changed[1:] |= which[1:] != which[:-1]
    changed[offsets[:-1]] = True
    return changed


def open_gaussian(model: Any, seqs: Sequences, loss: Any, dt: float) -> Subject:
    """A StateSpace, VARMA, ARIMA, Structural or LinearRNN as the recurrence of its exact predictor.

    Raises:
        InputError: no sequence has two rows after a diffuse start has settled.
    """
    found = Predictor(predictor_system(model, seqs), seqs)
    lengths = np.maximum(seqs.offsets[1:] - found.first - 1, 0)
    kept = np.flatnonzero(lengths)
    if not len(kept):
        raise InputError("no sequence has two rows after the start has settled; pass longer ones")
    places = np.concatenate([np.arange(found.first[i], found.first[i] + lengths[i]) for i in kept])
    affine = _affine(found, places, lengths[kept])
    mask = affine.mask
    ahead, own = places + 1, affine.states[:, 1:][mask]
    losses, gradients = found.losses(own, ahead)
    theirs = -model.log_prob(seqs, per_step=True)[ahead]
    notes = [NOTE, "the replay error is that of log densities, in nats"]
    left_out = int((found.first - seqs.offsets[:-1]).sum())
    if left_out:
        notes.append(f"{left_out} rows that settle a diffuse start are left out")
    details: dict[str, Any] = {
        "context": density_context(model, seqs, _unsettled(found.sys)),
        "density": True,
        "sequences": seqs,
    }
    words, site = "−log p(y[t+1] | y[… t])", Site("", affine, padded(gradients, affine.lengths))
    if loss is not None:
        site, words, more = with_loss(affine, loss)
        notes += more
    return Subject(
        model.name, (site,), words, float(np.abs(losses - theirs).max()), dt, model, seqs, tuple(notes), details
    )  # fmt: skip


def with_loss(system: Any, loss: Any) -> tuple[Site, str, tuple[str, ...]]:
    """A site under a loss of the states that are read out (B, T, r), what that loss is, and what to know of it."""
    import torch

    from statewise.dissection.losses import pull_loss

    read = torch.from_numpy(system.readout(system.states[:, 1:]).copy()).requires_grad_()
    pulled = pull_loss(read, [read], loss, None)
    site = Site("", system, pulled.gradients[0].numpy(), whole=pulled.whole)
    return site, pulled.words.replace("output", "state"), pulled.notes


def _affine(found: Predictor, places: np.ndarray, lengths: np.ndarray) -> AffineSystem:
    """The recurrence over the rows `places`, those of each sequence one after the other."""
    seqs, sys = found.seqs, found.sys
    kinds, which = np.unique(found.kind[places], return_inverse=True)
    gain = found.gain[kinds]
    u = np.zeros((seqs.rows, 0)) if seqs.inputs is None else seqs.inputs
    rows = np.hstack([np.where(found.seen, seqs.values, 0.0), u])[places]
    to_state, to_y = found.offsets()
    offset = to_state - (found.gain[found.kind] @ to_y[..., None])[..., 0]
    into = np.concatenate([gain, np.zeros((len(gain), sys.n, u.shape[1]))], axis=2)
    if u.shape[1] and sys.which is None:  # then the inputs are inputs, and not part of what is added
        B = sys.B if sys.B.shape[1] else np.zeros((sys.n, u.shape[1]))
        D = sys.D if sys.D.shape[1] else np.zeros((sys.p, u.shape[1]))
        into[:, :, sys.p :] = B - gain @ D
        offset = sys.b - (found.gain @ sys.d)[found.kind]
    starts = np.cumsum(lengths) - lengths
    initial = found.past.mean_pred[places[starts]]
    drift = np.broadcast_to(offset, (seqs.rows, sys.n))[places]
    which_rows, inputs, drifts = (padded(each, lengths) for each in (which, rows, drift))
    return AffineSystem(found.closed[kinds], into, which_rows, inputs, lengths, initial, drifts, "predictor")


def predictor_system(model: Any, seqs: Sequences) -> System:
    """The state-space model whose exact filter is the model's own recursion."""
    if isinstance(model, LinearGaussian):
        return model._system_for(seqs)
    assert isinstance(model, LinearRNN)
    own = {name: weight.detach().numpy() for name, weight in model.module.state_dict().items()}
    K, root = own["gain"], np.tril(own["innovation_chol"])
    F = root @ np.swapaxes(root, -1, -2)
    A, C = own["transition"], own["observation"]
    known = np.zeros_like(A)
    made = system(
        A, C, known, F[-1], own["initial_state"], known, b=own["state_intercept"], d=own["observation_intercept"],
        B=own["input_to_state"], D=own["input_to_observation"],
    )  # fmt: skip
    within = np.arange(seqs.rows) - np.repeat(seqs.offsets[:-1], seqs.lengths)
    S = K @ F
    parts = {"Q": S @ np.swapaxes(K, -1, -2), "R": F, "S": S}
    if len(K) == 1:
        return replace(made, **{letter: part[0] for letter, part in parts.items()})
    every = {letter: np.repeat(getattr(made, letter)[None], len(K), axis=0) for letter in AXES}
    return replace(made, which=np.minimum(within, len(K) - 1), **(every | parts))


def _unsettled(sys: System) -> int:
    """Steps without which there is no prediction: one for each diffuse direction that an observation can settle."""
    return -(-int(np.linalg.matrix_rank(sys.Pinf)) // sys.p) if sys.Pinf.any() else 0
