"""RNN, GRU and LSTM layers: torch.nn's, computed by numba kernels on the CPU."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from statewise._core import checks
from statewise._core.errors import InputError
from statewise.nn.backends import obstacle, torch_is_faster
from statewise.nn.layer_options import KINDS, State
from statewise.nn.layer_steps import Steps
from statewise.nn.missing import backward_in_time, judge_elapsed
from statewise.ops.recurrent import Rows, recurrence
from statewise.ops.recurrent_steps import unrolled

_SIZES = {"input_size": checks.Integer(1), "hidden_size": checks.Integer(1), "num_layers": checks.Integer(1, 1000)}
_NAMES = ("input_size", "hidden_size", "num_layers")


class _Layer(Steps):
    """What the three layers share: the passage from torch's arguments to the kernels and back."""

    path: str = ""

    def __init__(
        self,
        *args: Any,
        learn_initial: bool = False,
        layer_norm: bool = False,
        recurrent_dropout: float = 0.0,
        time_constant: float | None = None,
        decay_inputs: int = 0,
        **kwargs: Any,
    ) -> None:
        for name, value in dict(zip(_NAMES, args, strict=False)).items() | kwargs.items():
            if name in _SIZES:
                _SIZES[name].check(name, value)
        super().__init__(*args, **kwargs)
        self.learn_initial = checks.Flag().check("learn_initial", learn_initial)
        self.layer_norm = checks.Flag().check("layer_norm", layer_norm)
        self.recurrent_dropout = checks.Real(0.0, 0.99).check("recurrent_dropout", recurrent_dropout)
        self.time_constant = checks.Optional(checks.Real(0.0, open_low=True)).check("time_constant", time_constant)
        self.decay_inputs = checks.Integer(0).check("decay_inputs", decay_inputs)
        if self.time_constant and self.decay_inputs:
            raise InputError("`time_constant` and `decay_inputs` are both given; pass one of them")
        if self.proj_size and (self.recurrent_dropout or self._decays or self.layer_norm):
            raise InputError("`proj_size` goes with no recurrent dropout, decay or layer norm; leave it at 0")
        if self.learn_initial:
            self._add_initial_state()
        if self._decays:
            self._add_decay()
        if self.layer_norm:
            self._add_norm()

    def forward(
        self, input: Any, hx: State = None, *, lengths: Any = None, elapsed: Any = None
    ) -> Any:  # the name is torch's
        """Outputs and last state, as torch.nn.

        Args:
            input: (T, B, d), (B, T, d) with batch_first, (T, d), or a PackedSequence.
            hx: the first state, (L·D, B, H); a pair (h, c) for the LSTM. None: zeros, or the learned state.
            lengths: (B,) the real steps of each sequence of a padded batch; only these are computed, and the outputs after them are 0.
            elapsed: the time since the step before, for a layer with `time_constant`: as `input`, without its last axis; with
                `decay_inputs` that axis has as many entries. For a PackedSequence its packed rows.
        """
        packed = isinstance(input, PackedSequence)
        data = input.data if packed else input
        self._judge(data, hx, packed)
        if (elapsed is not None) != self._decays:
            raise InputError(
                "this layer decays with time; pass `elapsed`"
                if self._decays
                else "`elapsed` is given to a layer that has no decay; make it with time_constant= or decay_inputs="
            )
        if elapsed is not None:
            axes = self._gap_axes
            elapsed = judge_elapsed(elapsed, (*data.shape[:-1], *axes), data)
        if lengths is not None:
            return self._padded(input, hx, lengths, elapsed)
        hx = self._initial(input, hx) if hx is None and self.learn_initial else hx
        self.path = self._torch_reason(input, data, hx, packed)
        if self.path and self._is_plain:
            return super().forward(input, hx)
        return self._packed(input, hx, elapsed) if packed else self._dense(input, hx, elapsed)

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
        return not ((self.recurrent_dropout and self.training) or self._decays or self.layer_norm)

    def _torch_reason(self, source: Any, data: Tensor, hx: State, packed: bool) -> str:
        """Why torch computes this call, or "" if the kernels do."""
        if self.proj_size:
            return "the kernels have no proj_size"
        states = [] if hx is None else list(hx) if isinstance(hx, tuple) else [hx]
        weights = [getattr(self, name) for names in self._all_weights for name in names]
        reason = obstacle([data, *states, *weights])
        if reason or not self._is_plain:
            return reason
        if packed:
            steps, batch = len(source.batch_sizes), int(source.batch_sizes[0])
        else:
            steps, batch = (len(data), 1) if data.dim() == 2 else data.shape[:2][:: -1 if self.batch_first else 1]
        slower = torch_is_faster(KINDS[self.mode], data.dtype, steps, batch, self.hidden_size, packed)
        return "torch's own layer is faster at this size" if slower else ""

    def _padded(self, data: Any, hx: State, lengths: Any, elapsed: Tensor | None) -> Any:
        """A padded batch with the lengths of its sequences: only the real steps are computed, and the outputs after them are 0."""
        if isinstance(data, PackedSequence) or data.dim() != 3:
            raise InputError("`lengths` needs a batch; pass `input` with three axes")
        batch, steps = (data.shape[0], data.shape[1]) if self.batch_first else (data.shape[1], data.shape[0])
        given = torch.as_tensor(lengths).to("cpu")
        if given.is_floating_point() or given.is_complex() or given.shape != (batch,):
            raise InputError(f"`lengths` is {checks.shown(lengths)}; pass {batch} whole numbers, one a sequence")
        if batch and (int(given.min()) < 1 or int(given.max()) > steps):
            raise InputError(
                f"`lengths` go from {int(given.min())} to {int(given.max())}; pass numbers from 1 to {steps}"
            )
        pack = partial(pack_padded_sequence, lengths=given, batch_first=self.batch_first, enforce_sorted=False)
        output, state = self(pack(data), hx, elapsed=None if elapsed is None else pack(elapsed).data)
        return pad_packed_sequence(output, batch_first=self.batch_first, total_length=steps)[0], state

    def _packed(self, source: PackedSequence, hx: State, elapsed: Tensor | None) -> tuple[PackedSequence, State]:
        sizes = source.batch_sizes.numpy()
        order, back = source.sorted_indices, source.unsorted_indices
        states = self._states(hx, int(sizes[0]), source.data)
        if order is not None:
            states = [state.index_select(1, order) for state in states]
        rows = [Rows(sizes, reverse=bool(d)) for d in range(self._directions)]
        output, states = self._run(source.data, rows, states, elapsed)
        if back is not None:
            states = [state.index_select(1, back) for state in states]
        return PackedSequence(output, source.batch_sizes, order, back), self._as_given(states)

    def _dense(self, source: Tensor, hx: State, elapsed: Tensor | None) -> tuple[Tensor, State]:
        single = source.dim() == 2
        x = source.unsqueeze(1) if single else source.transpose(0, 1) if self.batch_first else source
        steps, batch = x.shape[:2]
        if single and hx is not None:
            hx = tuple(state.unsqueeze(1) for state in hx) if isinstance(hx, tuple) else hx.unsqueeze(1)
        rows = [Rows.full(steps, batch, bool(d)) for d in range(self._directions)]
        if elapsed is not None:
            elapsed = elapsed.unsqueeze(1) if single else elapsed.transpose(0, 1) if self.batch_first else elapsed
            elapsed = elapsed.reshape(steps * batch, *elapsed.shape[2:])
        output, states = self._run(x.reshape(steps * batch, -1), rows, self._states(hx, batch, x), elapsed)
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

    # --- layer by layer -----------------------------------------------------------------------------------------------------

    def _run(
        self, data: Tensor, rows: list[Rows], first: list[Tensor], elapsed: Tensor | None
    ) -> tuple[Tensor, list[Tensor]]:
        """The stack on packed rows (R, d): outputs (R, D·H) and the last states, each (L·D, B, H)."""
        kind = KINDS[self.mode]
        gaps = [
            None if elapsed is None else backward_in_time(elapsed, walk.sizes) if walk.reverse else elapsed
            for walk in rows
        ]
        split = [state.unbind(0) for state in first]
        last: list[tuple[Tensor, ...]] = []
        for layer in range(self.num_layers):
            outputs = []
            for direction, walk in enumerate(rows):
                index = layer * len(rows) + direction
                h, c = split[0][index], split[1][index] if kind == "lstm" else None
                weights = [getattr(self, name) for name in self._all_weights[index]]
                weights += [None] * (4 - len(weights))
                more: dict[str, Any] = {
                    "mask": self._mask(h),
                    "log_decay": self._log_decay(index, gaps[direction]),
                }
                x, weights, more["inside"] = self._normed(index, data, weights)
                if self.path:
                    y, *ends = unrolled(kind, x, walk.sizes.tolist(), walk.reverse, h, c, weights, **more)
                else:
                    y, *ends = recurrence(kind, x, walk, h, c, weights, **more)
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
    """The Elman network: torch.nn.RNN, computed by kernels on the CPU.

    ::

        h[t] = φ(W_ih x[t] + b_ih + W_hh h[t−1] + b_hh)        φ = tanh, or max(·, 0) with nonlinearity="relu"

    Args:
        input_size, hidden_size, num_layers, nonlinearity, bias, batch_first, dropout, bidirectional, device, dtype: as in torch.nn.RNN.
        learn_initial: the first state is a parameter, used where none is given.
        layer_norm: normalise the state over the units, with a learned gain and shift, where it enters the product with weight_hh.
        recurrent_dropout: chance with which a unit of the state is left out of that product, one mask a sequence (variational dropout).
        time_constant: τ from which the learned ones begin; the state is multiplied by exp(−Δt/τ) before each step, Δt being `elapsed`.
        decay_inputs: d, instead: the state is multiplied by exp(−max(0, W δ + b)) for `elapsed` δ (…, d).

    Raises `InputError` for wrong sizes and options. `path` says why torch computed the last call, or is "".

    Source: Elman, *Finding Structure in Time*, Cognitive Science 14 (1990).

    Example:
        >>> layer = sw.nn.RNN(2, 3)
        >>> output, h = layer(torch.zeros(5, 1, 2))
        >>> output.shape, h.shape
        (torch.Size([5, 1, 3]), torch.Size([1, 1, 3]))
    """


class GRU(_Layer, nn.GRU):
    """The gated recurrent unit: torch.nn.GRU, computed by kernels on the CPU; the arguments beyond torch's are those of `RNN`.

    ::

        r = σ(W_ir x + b_ir + W_hr h + b_hr)        z = σ(W_iz x + b_iz + W_hz h + b_hz)
        n = tanh(W_in x + b_in + r (W_hn h + b_hn))
        h[t] = (1 − z) n + z h[t−1]

    Recurrent dropout and layer norm act on h in the products; the carried h[t−1] is left as it is.

    Source: Cho et al., *Learning Phrase Representations using RNN Encoder–Decoder*, EMNLP 2014.

    Example:
        >>> layer = sw.nn.GRU(2, 3, batch_first=True)
        >>> output, h = layer(torch.zeros(4, 5, 2), lengths=[5, 3, 1, 2])
        >>> output.shape, h.shape
        (torch.Size([4, 5, 3]), torch.Size([1, 4, 3]))
    """


class LSTM(_Layer, nn.LSTM):
    """The LSTM: torch.nn.LSTM, computed by kernels on the CPU; the arguments beyond torch's are those of `RNN`.

    ::

        i, f, o = σ(W x + b + U h)        g = tanh(W_ig x + b_ig + W_hg h + b_hg)
        c[t] = f c[t−1] + i g             h[t] = o tanh c[t]

    A decay with time multiplies h and c alike. torch computes a layer with `proj_size`.

    Source: Hochreiter and Schmidhuber, *Long Short-Term Memory*, Neural Computation 9 (1997); the forget gate: Gers, Schmidhuber and
    Cummins, *Learning to Forget*, Neural Computation 12 (2000).

    Example:
        >>> layer = sw.nn.LSTM(2, 3)
        >>> output, (h, c) = layer(torch.zeros(5, 1, 2))
        >>> output.shape, c.shape
        (torch.Size([5, 1, 3]), torch.Size([1, 1, 3]))
    """


_FAST: dict[type, type] = {nn.RNN: RNN, nn.GRU: GRU, nn.LSTM: LSTM}


def accelerate(module: nn.Module) -> nn.Module:
    """Let every torch.nn.RNN, GRU and LSTM inside a module compute as statewise's; in place, with the same parameters.

    Args:
        module: a torch.nn.Module; also a layer itself. Subclasses of torch's layers are left alone, since they may do something else.

    Returns:
        The same module.

    Raises:
        InputError: it is no module.

    Example:
        >>> model = torch.nn.ModuleList([torch.nn.GRU(2, 3), torch.nn.Linear(3, 1)])
        >>> type(sw.nn.accelerate(model)[0]).__module__
        'statewise.nn.recurrent'
    """
    if not isinstance(module, nn.Module):
        raise InputError(f"`module` is {checks.shown(module)}; pass a torch.nn.Module")
    for part in module.modules():
        if type(part) in _FAST:
            part.__class__ = _FAST[type(part)]
    return module
