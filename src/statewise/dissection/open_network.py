"""Opening our own networks: `Recurrent`, `Tagger` and `Classifier`, replayed from their parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from statewise.cells import CELLS, Cell, layer_count, layer_parameters
from statewise.dissection.gated import GatedSystem
from statewise.dissection.layers import flip
from statewise.dissection.losses import pull_loss
from statewise.dissection.open_module import sites_of
from statewise.dissection.packing import inside, padded
from statewise.dissection.subject import Site, Subject
from statewise.dissection.systems import Stack, System
from statewise.dissection.windows import density_context, label_context
from statewise.inference import labelling
from statewise.inference import recurrent as inference
from statewise.nn.head import READERS, is_trained
from statewise.nn.network import Head
from statewise.nn.outputs import TorchMaths
from statewise.sequences.sequences import Sequences


def stacked(
    cell: Cell, params: Mapping[str, np.ndarray], x: np.ndarray, lengths: np.ndarray, gaps: np.ndarray | None = None
) -> System:
    """The layers of a stack along packed inputs x (rows, d), with gaps (rows,) where the state fades."""
    layers: list[System] = []
    seen = padded(x, lengths)
    for k in range(layer_count(params)):
        own = layer_parameters(params, k)
        fade = inference.decays(cell, own, gaps)
        layers.append(_layer(cell, own, seen, lengths, f"layer {k}", None if fade is None else padded(fade, lengths)))
        seen = _read(layers[-1])
    return layers[0] if len(layers) == 1 else Stack(layers, "stack")


def _layer(
    cell: Cell,
    own: Mapping[str, np.ndarray],
    x: np.ndarray,
    lengths: np.ndarray,
    label: str,
    decay: np.ndarray | None = None,
) -> GatedSystem:
    return GatedSystem(cell, own, x, lengths, None, label, decay)


def open_recurrent(model: Any, seqs: Sequences, loss: Any, dt: float) -> Subject:
    """A `Recurrent` under −log p(y[t] | y[1 … t−1], u[1 … t]), in the data's units."""
    params, output = model.parameters, model._output(seqs.dim)
    cell = CELLS[model.get_params()["cell"]]
    seen = inference.features(params, seqs, output)
    system = stacked(cell, {n: a for n, a in params.items() if is_trained(n)}, seen.cell, seqs.lengths, seen.gaps)
    read = torch.from_numpy(system.readout(system.states[:, 1:]).copy()).requires_grad_()
    own = torch.from_numpy(inside(seqs.lengths))
    rows = -_log_densities(params, output, read[own], seen.skip, seqs)
    theirs = -model.log_prob(seqs, per_step=True)
    error = float(np.abs(rows.detach().numpy() - theirs).max())
    notes = ["the replay error is that of log densities, in nats", "step t reads y[t−1] and predicts y[t]"]
    silent = loss is None and not any(params[name].any() for name in READERS if name in params)
    if silent:
        lags = ", ".join(str(lag) for lag in params["lags"])
        notes.append(f"the output does not read the state: what is predicted is a regression on the lags {lags}")
        site, words = Site("", system, None), ""
    else:
        given = (lambda _: read.new_zeros(own.shape).masked_scatter(own, rows)) if loss is None else loss
        pulled = pull_loss(read, [read], given, None)
        words = "−log p(y[t] | y[… t−1])" if loss is None else pulled.words.replace("output", "state")
        site = Site("", system, pulled.gradients[0].numpy(), whole=pulled.whole)
        notes += pulled.notes
    details = {"context": density_context(model, seqs), "density": output.continuous, "sequences": seqs}
    return Subject(model.name, (site,), words, error, dt, model, seqs, tuple(notes), details)


def _log_densities(
    params: Mapping[str, np.ndarray], output: Any, h: Tensor, skip: np.ndarray, seqs: Sequences
) -> Tensor:
    """(rows,) log densities of the observed entries under the head, from the hidden states h (rows, H)."""
    head = Head(h.shape[1], skip.shape[1], output.widths).double()
    with torch.no_grad():
        for name, parameter in head.named_parameters():
            parameter.copy_(torch.from_numpy(np.array(params[name])))
    law = head(h, torch.from_numpy(skip)).law
    seen = torch.from_numpy((~np.isnan(seqs.values)).astype(np.float64))
    y = torch.from_numpy(np.ascontiguousarray(inference.targets(params, seqs.values, output)))
    density: Tensor = output.log_density(TorchMaths(), law, y, seen)
    if output.continuous:
        density = density - seen @ torch.from_numpy(np.log(params["value_scale"]))
    return torch.where(seen.any(dim=1), density, torch.zeros_like(density))


def open_labeller(model: Any, seqs: Sequences, loss: Any, dt: float) -> Subject:
    """A `Tagger` or `Classifier` under −log p of the known labels, one a step or one a sequence; without labels, of its own best guess.

    With two directions every layer and direction is a recurrence of its own, its input held.
    """
    params, cell = model.parameters, CELLS[model.get_params()["cell"]]
    x = labelling.step_inputs(params, seqs, (model._schema or {}).get("codes"))
    systems, h = _directions(cell, params, padded(labelling._embedded(params, x), seqs.lengths), seqs.lengths)
    read = torch.from_numpy(h.copy()).requires_grad_()
    pooling = model._pooling
    logits = _logits(params, read, seqs.lengths, pooling)
    table = torch.log_softmax(logits, dim=-1)
    notes = ["the replay error is that of log probabilities of labels, in nats"]
    own = torch.from_numpy(inside(seqs.lengths))
    rows = table[own] if pooling is None else table
    error = float(np.abs(rows.detach().numpy() - model._label_log_probs(seqs)).max())
    words, losses = _label_losses(model, seqs, rows)
    if pooling is None:
        losses = read.new_zeros(own.shape).masked_scatter(own, losses)
    if "guess" in words:
        notes.append("the sequences have no labels, so the loss is that of the network's best guess")
    pulled = pull_loss(read, [read], (lambda _: losses) if loss is None else loss, None)
    words = words if loss is None else pulled.words.replace("output", "state")
    sites = sites_of("", systems, pulled.gradients[0].numpy(), seqs.lengths, pulled)
    both = bool(model.get_params()["bidirectional"])
    details: dict[str, Any] = {"sequences": seqs}
    if not both and "guess" not in words and loss is None:
        details["context"] = label_context(model, seqs)
    return Subject(
        model.name, tuple(sites), words, error, dt, model, seqs, (*notes, *pulled.notes), details
    )  # fmt: skip


def _directions(
    cell: Cell, params: Mapping[str, np.ndarray], x: np.ndarray, lengths: np.ndarray
) -> tuple[list[System], np.ndarray]:
    """All forward layers and then all backward ones, or one stack; and what the top ones put out (B, T, ·)."""
    forward: list[System] = []
    reverse: list[System] = []
    for k in range(sum(f"weight_ih_l{k}" in params for k in range(len(params)))):
        runs = labelling._directions(params, k)
        forward.append(_layer(cell, runs[0], x, lengths, f"layer {k}"))
        if len(runs) == 2:
            reverse.append(_layer(cell, runs[1], flip(x, lengths), lengths, f"layer {k} reverse"))
        x = _read(forward[-1])
        if reverse:
            x = np.concatenate([x, flip(_read(reverse[-1]), lengths)], axis=2)
    if reverse:
        return [*forward, *reverse], x
    return [forward[0] if len(forward) == 1 else Stack(forward, "stack")], x


def _read(system: System) -> np.ndarray:
    return system.readout(system.states[:, 1:])


def _logits(params: Mapping[str, np.ndarray], h: Tensor, lengths: np.ndarray, pooling: str | None) -> Tensor:
    """(B, T, K), or with pooling (B, K)."""
    weight, bias = (torch.from_numpy(np.array(params[name])) for name in ("label_weight", "label_bias"))
    if pooling == "mean":
        own = torch.from_numpy(inside(lengths))
        h = (h * own[..., None]).sum(dim=1) / torch.from_numpy(lengths.copy())[:, None]
    elif pooling == "last":
        both = any(name.endswith(labelling.BACKWARD) for name in params)
        width = h.shape[2] // (1 + both)
        last = h[torch.arange(len(h)), torch.from_numpy(lengths - 1), :width]
        h = torch.cat([last, h[:, 0, width:]], dim=1)
    return h @ weight.T + bias


def _label_losses(model: Any, seqs: Sequences, rows: Tensor) -> tuple[str, Tensor]:
    """What the loss is, and (rows,) or (N,) of it."""
    if seqs.labels is None or len(seqs.labels) != len(rows):
        return "−log p of the best guess", -rows.max(dim=1).values
    known, codes = model._known(seqs)
    each = rows[torch.arange(len(codes)), torch.from_numpy(codes)]
    per = "label[t]" if model.per == "step" else "label"
    return f"−log p({per} | values)", torch.where(torch.from_numpy(known), -each, torch.zeros_like(each))
