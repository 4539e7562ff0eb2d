"""RNN, GRU and LSTM layers: torch.nn's, computed by numba kernels on the CPU."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from statewise._core import checks
from statewise._core.errors import InputError
from statewise.nn.backends import obstacle, torch_is_faster
from statewise.ops.recurrent import Rows, recurrence
from statewise.ops.recurrent_steps import unrolled

State = Any  # (L·D, B, H), or a pair of such for the LSTM
_KINDS = {"RNN_TANH": "tanh", "RNN_RELU": "relu", "GRU": "gru", "LSTM": "lstm"}
_SIZES = {"input_size": checks.Integer(1), "hidden_size": checks.Integer(1), "num_layers": checks.Integer(1, 1000)}
_NAMES = ("input_size", "hidden_size", "num_layers")


class _Layer(nn.RNNBase):
    """What the three layers share: the passage from torch's arguments to the kernels and back."""

    learn_initial: bool = False
    recurrent_dropout: float = 0.0
    path: str = ""

    def __init__(self, *args: Any, learn_initial: bool = False, recurrent_dropout: float = 0.0, **kwargs: Any) -> None:
        for name, value in dict(zip(_NAMES, args, strict=False)).items() | kwargs.items():
            if name in _SIZES:
                _SIZES[name].check(name, value)
        super().__init__(*args, **kwargs)
        self.learn_initial = checks.Flag().check("learn_initial", learn_initial)
        self.recurrent_dropout = checks.Real(0.0, 0.99).check("recurrent_dropout", recurrent_dropout)
        if self.learn_initial:
            self._add_initial_state()

    def forward(self, input: Any, hx: State = None, *, lengths: Any = None) -> Any:  # the name is torch's
        """Outputs and last state, as torch.nn; `lengths` (B,) are the real steps of each sequence of a padded batch."""
        if lengths is not None:
            return self._padded(input, hx, lengths)
        packed = isinstance(input, PackedSequence)
        data = input.data if packed else input
        self._judge(data, hx, packed)
        hx = self._initial(input, hx) if hx is None and self.learn_initial else hx
        self.path = self._torch_reason(input, data, hx, packed)
        if self.path and self._is_plain:
            return super().forward(input, hx)
        return self._packed(input, hx) if packed else self._dense(input, hx)

    # --- torch's arguments ------------------------------------------------------------------------------------------------

    def _judge(self, data: Any, hx: State, packed: bool) -> None:
        if not isinstance(data, Tensor):
            raise InputError(f"`input` is {checks.shown(data)}; pass a tensor or a PackedSequence")
        if not packed and data.dim() not in (2, 3):
            raise InputError(
                f"`input` has {data.dim()} axes; pass (T, B, {self.input_size}), or (T, {self.input_size}) without a batch"
            )
        if data.shape[-1] != self.input_size:
            raise InputError(
                f"`input` has {data.shape[-1]} features; this layer was made for input_size={self.input_size}"
            )
        if hx is not None and isinstance(hx, tuple) != (self.mode == "LSTM"):
            wanted = "a pair (h, c)" if self.mode == "LSTM" else "one tensor h"
            raise InputError(f"`hx` is {type(hx).__name__}; pass {wanted}")

    @property
    def _is_plain(self) -> bool:
        """Whether torch.nn has all that this layer does."""
        return not (self.recurrent_dropout and self.training)

    @property
    def _directions(self) -> int:
        return 2 if self.bidirectional else 1

    def _torch_reason(self, source: Any, data: Tensor, hx: State, packed: bool) -> str:
        """Why torch computes this call, or "" if the kernels do."""
        if self.proj_size:
            return "the kernels have no proj_size"
        states = [] if hx is None else list(hx) if isinstance(hx, tuple) else [hx]
        weights = [getattr(self, name) for names in self._all_weights for name in names]
        reason = obstacle([data, *states, *weights])
        if reason or not self._is_plain:
            return reason
        batch = (
            int(source.batch_sizes[0]) if packed else 1 if data.dim() == 2 else data.shape[0 if self.batch_first else 1]
        )
        rows = data.numel() // self.input_size
        slower = torch_is_faster(_KINDS[self.mode], data.dtype, rows, batch, self.input_size, self.hidden_size, packed)
        return "torch's own layer is faster at this size" if slower else ""

    def _padded(self, data: Any, hx: State, lengths: Any) -> Any:
        """A padded batch with the lengths of its sequences: only the real steps are computed, and the outputs after them are 0."""
        self._judge(data, hx, packed=False)
        if data.dim() != 3:
            raise InputError("`lengths` needs a batch; pass `input` with three axes")
        batch, steps = (data.shape[0], data.shape[1]) if self.batch_first else (data.shape[1], data.shape[0])
        given = torch.as_tensor(lengths).to("cpu")
        if given.is_floating_point() or given.is_complex() or given.shape != (batch,):
            raise InputError(f"`lengths` is {checks.shown(lengths)}; pass {batch} whole numbers, one a sequence")
        if batch and (int(given.min()) < 1 or int(given.max()) > steps):
            raise InputError(
                f"`lengths` go from {int(given.min())} to {int(given.max())}; pass numbers from 1 to {steps}"
            )
        packed = pack_padded_sequence(data, given, batch_first=self.batch_first, enforce_sorted=False)
        output, state = self(packed, hx)
        return pad_packed_sequence(output, batch_first=self.batch_first, total_length=steps)[0], state

    def _packed(self, source: PackedSequence, hx: State) -> tuple[PackedSequence, State]:
        sizes = source.batch_sizes.numpy()
        order, back = source.sorted_indices, source.unsorted_indices
        states = self._states(hx, int(sizes[0]), source.data)
        if order is not None:
            states = [state.index_select(1, order) for state in states]
        output, states = self._run(source.data, [Rows(sizes, reverse=bool(d)) for d in range(self._directions)], states)
        if back is not None:
            states = [state.index_select(1, back) for state in states]
        return PackedSequence(output, source.batch_sizes, order, back), self._as_given(states)

    def _dense(self, source: Tensor, hx: State) -> tuple[Tensor, State]:
        single = source.dim() == 2
        x = source.unsqueeze(1) if single else source.transpose(0, 1) if self.batch_first else source
        steps, batch = x.shape[:2]
        if single and hx is not None:
            hx = tuple(state.unsqueeze(1) for state in hx) if isinstance(hx, tuple) else hx.unsqueeze(1)
        rows = [Rows.full(steps, batch, bool(d)) for d in range(self._directions)]
        output, states = self._run(x.reshape(steps * batch, -1), rows, self._states(hx, batch, x))
        output = output.reshape(steps, batch, -1)
        if single:
            return output.squeeze(1), self._as_given([state.squeeze(1) for state in states])
        return output.transpose(0, 1) if self.batch_first else output, self._as_given(states)

    def _states(self, hx: State, batch: int, like: Tensor) -> list[Tensor]:
        """The first states as a list: [h], or [h, c]."""
        shape = (self.num_layers * self._directions, batch, self.hidden_size)
        if hx is None:
            return [like.new_zeros(shape)] * (2 if self.mode == "LSTM" else 1)
        states = list(hx) if isinstance(hx, tuple) else [hx]
        for name, state in zip(("h", "c"), states, strict=False):
            if tuple(state.shape) != shape:
                raise InputError(f"`hx` ({name}) has shape {tuple(state.shape)}; pass {shape}")
        return states

    def _as_given(self, states: list[Tensor]) -> State:
        return tuple(states) if self.mode == "LSTM" else states[0]

    # --- learnable initial states -------------------------------------------------------------------------------------------

    def _add_initial_state(self) -> None:
        like = self.weight_hh_l0
        shape = (self.num_layers * self._directions, self.proj_size or self.hidden_size)
        self.initial_h = nn.Parameter(torch.zeros(shape, device=like.device, dtype=like.dtype))
        if self.mode == "LSTM":
            size = (shape[0], self.hidden_size)
            self.initial_c = nn.Parameter(torch.zeros(size, device=like.device, dtype=like.dtype))

    def _initial(self, source: Any, hx: State) -> State:
        """The learned first state, the same for every sequence."""
        states = [self.initial_h, self.initial_c] if self.mode == "LSTM" else [self.initial_h]
        if isinstance(source, PackedSequence) or source.dim() == 3:
            batch = (
                int(source.batch_sizes[0])
                if isinstance(source, PackedSequence)
                else source.shape[0 if self.batch_first else 1]
            )
            states = [state.unsqueeze(1).expand(-1, batch, -1).contiguous() for state in states]
        return self._as_given(states)

    # --- layer by layer -----------------------------------------------------------------------------------------------------

    def _run(self, data: Tensor, rows: list[Rows], first: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """The stack on packed rows (R, d): outputs (R, D·H) and the last states, each (L·D, B, H)."""
        kind = _KINDS[self.mode]
        split = [state.unbind(0) for state in first]
        last: list[tuple[Tensor, ...]] = []
        for layer in range(self.num_layers):
            outputs = []
            for direction, walk in enumerate(rows):
                index = layer * len(rows) + direction
                h, c = split[0][index], split[1][index] if kind == "lstm" else None
                mask = self._mask(h)
                weights = [getattr(self, name) for name in self._all_weights[index]]
                weights += [None] * (4 - len(weights))
                if self.path:
                    y, *ends = unrolled(kind, data, walk.sizes.tolist(), walk.reverse, h, c, weights, mask=mask)
                else:
                    y, *ends = recurrence(kind, data, walk, h, c, weights, mask=mask)
                outputs.append(y)
                last.append(tuple(end for end in ends if end is not None))
            data = outputs[0] if len(outputs) == 1 else torch.cat(outputs, 1)
            if self.dropout and self.training and layer < self.num_layers - 1:
                data = nn.functional.dropout(data, self.dropout)
        return data, [torch.stack(states) for states in zip(*last, strict=True)]

    def _mask(self, h: Tensor) -> Tensor | None:
        """One dropout mask a sequence for the whole of it, scaled to keep the mean."""
        if not (self.recurrent_dropout and self.training):
            return None
        return nn.functional.dropout(torch.ones_like(h), self.recurrent_dropout)


class RNN(_Layer, nn.RNN):
    """h[t] = φ(W_ih x[t] + b_ih + W_hh h[t−1] + b_hh)."""


class GRU(_Layer, nn.GRU):
    """h[t] = (1 − z) n + z h[t−1]."""


class LSTM(_Layer, nn.LSTM):
    """c[t] = f c[t−1] + i g, h[t] = o tanh c[t]."""


_FAST: dict[type, type] = {nn.RNN: RNN, nn.GRU: GRU, nn.LSTM: LSTM}


def accelerate(module: nn.Module) -> nn.Module:
    """Let every torch.nn.RNN, GRU and LSTM inside a module compute as statewise's; in place, with the same parameters."""
    if not isinstance(module, nn.Module):
        raise InputError(f"`module` is {checks.shown(module)}; pass a torch.nn.Module")
    for part in module.modules():
        if type(part) in _FAST:
            part.__class__ = _FAST[type(part)]
    return module
