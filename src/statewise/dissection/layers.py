"""One call of a recurrent torch layer as systems: its weights, its input and its own output to compare with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence

from statewise._core.errors import UnsupportedError
from statewise.cells import CELLS
from statewise.dissection.gated import GatedSystem
from statewise.dissection.linear_units import lru_systems
from statewise.dissection.projected import ProjectedSystem
from statewise.dissection.systems import Stack, System
from statewise.nn.diagonal import LRU, MinGRU

_CELL_NAMES = {"RNN_TANH": "rnn", "RNN_RELU": "rnn-relu", "GRU": "gru", "LSTM": "lstm"}
LAYERS: tuple[type[nn.Module], ...] = (nn.RNNBase, MinGRU, LRU)
CELL_MODULES: tuple[type[nn.Module], ...] = (nn.RNNCellBase,)


@dataclass(frozen=True)
class Call:
    """What a layer was given and gave, batch first and padded.

    Attributes:
        inputs: (B, T, d).
        lengths: (B,).
        initial: (L·D, B, ·) for each part of the state, or None for zeros.
        output: the tensor that the layer returned, with its graph.
        padded: takes a tensor of the output's layout to (B, T, ·).
        elapsed: (B, T) or (B, T, k), for layers that decay with time.
    """

    inputs: np.ndarray
    lengths: np.ndarray
    initial: tuple[np.ndarray, ...] | None
    output: Tensor
    padded: Callable[[Tensor], Tensor]
    elapsed: np.ndarray | None = None

    def laid_out(self, padded: np.ndarray, like: Tensor) -> Tensor:
        """An array (B, T, ·) in the layout of the output `like`, whose own numbers stay beyond the ends."""
        flat = like.detach().reshape(-1, like.shape[-1]).clone()
        places = self.padded(torch.arange(len(flat)).reshape(*like.shape[:-1], 1))[..., 0].numpy()
        own = np.arange(places.shape[1]) < self.lengths[:, None]
        flat[torch.from_numpy(places[own])] = torch.from_numpy(padded[own]).to(flat)
        return flat.reshape(like.shape)


def read_call(layer: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> Call:
    """The call ``layer(*args, **kwargs)`` that returned `result`."""
    given = dict(zip(("input", "hx"), args, strict=False)) | kwargs
    source, hx = given["input"], given.get("hx")
    output = result[0]
    elapsed = given.get("elapsed")
    if isinstance(source, PackedSequence):
        padded = _unpacking(source)
        lengths = pad_packed_sequence(source)[1].numpy()
        tensor, output = source.data, output.data
        single = False
    else:
        single = source.dim() == 2
        padded = _batching(single, bool(getattr(layer, "batch_first", False)))
        tensor = source
        count, steps = padded(source).shape[:2]
        own = given.get("lengths")
        lengths = np.full(count, steps) if own is None else np.asarray(torch.as_tensor(own).cpu())
    if hx is None and getattr(layer, "learn_initial", False):
        hx = layer._initial(source, None)
    return Call(
        array(padded(tensor)),
        lengths,
        None if hx is None else tuple(array(part.unsqueeze(1) if single else part) for part in _tuple(hx)),
        output,
        padded,
        None if elapsed is None else _padded_elapsed(elapsed, padded),
    )


def _padded_elapsed(elapsed: Tensor, padded: Callable[[Tensor], Tensor]) -> np.ndarray:
    return array(padded(elapsed.unsqueeze(-1)))[..., 0] if elapsed.dim() < 3 else array(padded(elapsed))


def _unpacking(source: PackedSequence) -> Callable[[Tensor], Tensor]:
    def padded(data: Tensor) -> Tensor:
        like = PackedSequence(data, source.batch_sizes, source.sorted_indices, source.unsorted_indices)
        found: Tensor = pad_packed_sequence(like, batch_first=True)[0]
        return found

    return padded


def _batching(single: bool, batch_first: bool) -> Callable[[Tensor], Tensor]:
    if single:
        return lambda tensor: tensor.unsqueeze(0)
    return (lambda tensor: tensor) if batch_first else (lambda tensor: tensor.transpose(0, 1))


def _tuple(state: Any) -> tuple[Tensor, ...]:
    return state if isinstance(state, tuple) else (state,)


def array(tensor: Tensor) -> np.ndarray:
    """A float64 copy; of a complex tensor the real parts and then the imaginary ones, along its last axis."""
    if tensor.is_complex():
        return np.concatenate([array(tensor.real), array(tensor.imag)], axis=-1)
    found: np.ndarray = tensor.detach().to("cpu", torch.float64).numpy().copy()
    return found


def layer_systems(layer: Any, call: Call) -> tuple[list[System], np.ndarray]:
    """The systems of a layer along its call, one a direction or more, and its replayed output (B, T, D·H).

    A stack of one direction is one system. With two directions a layer reads both of the layer below, so that every layer and direction
    is a system of its own, its input held: all forward ones first.
    """
    if isinstance(layer, LRU):
        return lru_systems(layer, call)
    if getattr(layer, "layer_norm", False):
        raise UnsupportedError("`model` has a layer with layer_norm, whose equations are not replayed yet")
    two = bool(layer.bidirectional)
    x, parts, reverse = call.inputs, [], []
    for depth in range(int(layer.num_layers)):
        name = f"layer {depth}"
        forward = _one(layer, call, depth * (1 + two), f"_l{depth}", x, name)
        parts.append(forward)
        x = _read(forward)
        if two:
            flipped = flip(parts[-1].inputs, call.lengths)
            back = _one(layer, call, 2 * depth + 1, f"_l{depth}_reverse", flipped, f"{name} reverse")
            reverse.append(back)
            x = np.concatenate([x, flip(_read(back), call.lengths)], axis=2)
    systems: list[System] = [*parts, *reverse] if two else [parts[0] if len(parts) == 1 else Stack(parts, "stack")]
    return systems, x


def _one(layer: Any, call: Call, index: int, ending: str, x: np.ndarray, label: str) -> GatedSystem:
    params = {
        name.removesuffix(ending) + "_l0": array(value)
        for name, value in layer.named_parameters()
        if name.endswith(ending)
    }
    initial = None if call.initial is None else np.concatenate([part[index] for part in call.initial], axis=1)
    if isinstance(layer, MinGRU):
        return GatedSystem(CELLS["diagonal"], params, x, call.lengths, initial, label)
    cell = CELLS[_CELL_NAMES[layer.mode]]
    kind = ProjectedSystem if getattr(layer, "proj_size", 0) else GatedSystem
    return kind(cell, params, x, call.lengths, initial, label, _decay(layer, call, index, ending, cell.carried))


def _decay(layer: Any, call: Call, index: int, ending: str, carried: int) -> np.ndarray | None:
    """(B, T, n) what is left of the state after the time between two steps."""
    if call.elapsed is None:
        return None
    batch, steps = call.elapsed.shape[:2]
    elapsed = call.elapsed if not ending.endswith("reverse") else flip(call.elapsed, call.lengths)
    like = layer.weight_hh_l0
    with torch.no_grad():
        rows = torch.from_numpy(elapsed.reshape(batch * steps, *elapsed.shape[2:])).to(like)
        log = layer._log_decay(index, rows)
    return np.tile(np.exp(array(log)).reshape(batch, steps, -1), carried)


def _read(system: System) -> np.ndarray:
    """(B, T, ·) what the layer puts out."""
    return system.states[:, 1:, : system.readout_size]


def flip(array: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Every sequence (B, T, …) from its end to its beginning; what is beyond stays where it is."""
    steps = np.arange(array.shape[1])
    order = np.where(steps < lengths[:, None], lengths[:, None] - 1 - steps, steps)
    return np.take_along_axis(array, order.reshape(*order.shape, *(1,) * (array.ndim - 2)), axis=1)


def cell_system(cell: nn.RNNCellBase, inputs: np.ndarray, initial: np.ndarray | None) -> GatedSystem:
    """The system of a torch.nn.RNNCell, GRUCell or LSTMCell that was called step by step; inputs (B, T, d)."""
    mode = {"RNNCell": f"RNN_{getattr(cell, 'nonlinearity', '').upper()}", "GRUCell": "GRU", "LSTMCell": "LSTM"}
    found = [mode[kind.__name__] for kind in type(cell).__mro__ if kind.__name__ in mode]
    if not found:
        raise UnsupportedError(f"`model` has a cell {type(cell).__name__}; RNNCell, GRUCell and LSTMCell are known")
    params = {f"{name}_l0": array(value) for name, value in cell.named_parameters()}
    lengths = np.full(inputs.shape[0], inputs.shape[1])
    return GatedSystem(CELLS[_CELL_NAMES[found[0]]], params, inputs, lengths, initial)
