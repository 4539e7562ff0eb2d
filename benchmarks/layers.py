"""RNN, GRU and LSTM layers against torch.nn: forward and backward, packed batches, and one streaming step."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

import statewise as sw
from benchmarks.workloads import Pair, Workload
from statewise.nn.threads import torch_threads

_THREADS = 2
_GATES = {"rnn": 1, "gru": 3, "lstm": 4}
SIZES = [
    (100, 32, 8, 32),
    (100, 32, 8, 64),
    (200, 16, 8, 32),
    (500, 8, 4, 32),
    (1000, 1, 4, 64),
    (100, 64, 128, 256),
    (50, 64, 512, 512),
]


def flops(cell: str, rows: int, inputs: int, hidden: int) -> float:
    """Multiplications and additions of the products, forward and backward (twice the forward's)."""
    return 3 * 2.0 * rows * _GATES[cell] * hidden * (inputs + hidden)


def _layers(cell: str, inputs: int, hidden: int) -> tuple[torch.nn.Module, torch.nn.Module]:
    ours = getattr(sw.nn, cell.upper())(inputs, hidden)
    peer = getattr(torch.nn, cell.upper())(inputs, hidden)
    peer.load_state_dict(ours.state_dict())
    return ours, peer


def _pair(cell: str, steps: int, batch: int, inputs: int, hidden: int, ragged: bool) -> Pair:
    """Both give the outputs and the gradients of a fixed combination of them, by inputs and parameters."""
    rng = np.random.default_rng(0)
    draw = lambda *shape: torch.from_numpy(rng.standard_normal(shape, dtype=np.float32))  # noqa: E731  # shorter than a function here
    ours, peer = _layers(cell, inputs, hidden)
    given: Any = draw(steps, batch, inputs)
    if ragged:
        lengths = torch.from_numpy(rng.integers(steps // 2, steps + 1, size=batch))
        given = pack_padded_sequence(given, lengths, enforce_sorted=False)
        given = given._replace(data=given.data.requires_grad_())
    source = given.data if ragged else given.requires_grad_()
    weights = draw(*source.shape[:-1], hidden)

    def train(layer: torch.nn.Module) -> list[torch.Tensor]:
        with torch_threads(_THREADS):
            output = layer(given)[0]
            output = output.data if isinstance(output, PackedSequence) else output
            return [output.detach(), *torch.autograd.grad(output, [source, *layer.parameters()], weights)]

    return Pair(lambda: train(ours), lambda: train(peer), _difference)


def _difference(ours: list[torch.Tensor], peer: list[torch.Tensor]) -> float:
    """The largest error relative to the largest entry of its tensor."""
    return max(float((a - b).abs().max() / b.abs().max()) for a, b in zip(ours, peer, strict=True))


def _workload(cell: str, size: tuple[int, int, int, int], ragged: bool = False) -> Workload:
    steps, batch, inputs, hidden = size
    rows = steps * batch * (0.75 if ragged else 1.0)
    return Workload(
        name=f"layers-{cell}-{'packed-' if ragged else ''}{'-'.join(map(str, size))}",
        what=f"training step of {cell.upper()}, (T, B, I, H) = {size}, float32{', lengths 50-100 %' if ragged else ''}",
        peer=f"torch.nn, {_THREADS} threads",
        unit="of the largest",
        tolerance=1e-5,
        steps=steps,
        quick_steps=8,
        build=lambda length: _pair(cell, length, batch, inputs, hidden, ragged),
        flops=flops(cell, int(rows), inputs, hidden),
    )


def _stream(cell: str, tensors: bool) -> Workload:
    """One step with H = 32 from 8 numbers; the peer is torch's cell under no_grad."""

    def build(_: int) -> Pair:
        ours = getattr(sw.nn, cell.upper())(8, 32)
        peer = getattr(torch.nn, f"{cell.upper()}Cell")(8, 32)
        peer.load_state_dict({name.removesuffix("_l0"): value for name, value in ours.state_dict().items()})
        x = torch.from_numpy(np.random.default_rng(0).standard_normal(8, dtype=np.float32))
        given = x if tensors else x.numpy()
        state = ours.step(given)[1]
        theirs = peer(x)
        theirs = tuple(part.detach() for part in theirs) if cell == "lstm" else theirs.detach()

        def cell_step() -> Any:
            with torch.no_grad():
                return peer(x, theirs)

        def apart(a: Any, b: Any) -> float:
            return float(np.abs(np.asarray(a[0]) - (b[0] if cell == "lstm" else b).numpy()).max())

        return Pair(lambda: ours.step(given, state), cell_step, apart)

    kind = "tensors" if tensors else "arrays"
    what = f"one streaming step of {cell.upper()}, H = 32, {kind} in and out"
    peer = f"torch.nn.{cell.upper()}Cell"
    return Workload(f"step-{cell}-{kind}", what, peer, "absolute", 1e-6, 1, 1, build)


WORKLOADS = [
    *(_workload(cell, size) for cell in _GATES for size in SIZES),
    *(_workload("lstm", size, ragged=True) for size in SIZES if size[1] > 1),
    *(_stream(cell, tensors) for cell in _GATES for tensors in (False, True)),
]
