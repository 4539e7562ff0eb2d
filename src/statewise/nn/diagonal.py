"""Recurrent layers whose units do not see each other's past: the minimal GRU and the linear recurrent unit.

Their recurrence is h[t] = a[t] h[t−1] + b[t], entry by entry, which runs as one loop over memory (`ops.linear_scan`) instead of as T small
products of matrices. Units mix in the products with the input before, and in what reads the layer after.
"""

from __future__ import annotations

import abc
import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout, gelu, linear
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from statewise._core import checks
from statewise._core.errors import InputError, UnsupportedError
from statewise.ops.linear_scan import check_lengths, linear_scan, zeros_beyond


class _Diagonal(nn.Module, abc.ABC):
    """What the layers share: stacking, directions, lengths, states, one step; a subclass gives the parameters and the recurrence."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int,
        batch_first: bool,
        dropout: float,
        bidirectional: bool,
    ) -> None:
        super().__init__()
        self.input_size = checks.Integer(1).check("input_size", input_size)
        self.hidden_size = checks.Integer(1).check("hidden_size", hidden_size)
        self.num_layers = checks.Integer(1).check("num_layers", num_layers)
        self.batch_first = checks.Flag().check("batch_first", batch_first)
        self.dropout = checks.Real(0.0, 1.0).check("dropout", dropout)
        self.bidirectional = checks.Flag().check("bidirectional", bidirectional)

    @property
    @abc.abstractmethod
    def state_size(self) -> int:
        """Numbers carried by one layer in one direction."""

    @abc.abstractmethod
    def reset_parameters(self) -> None:
        """Draw the parameters anew."""

    @abc.abstractmethod
    def _state_type(self, kind: torch.dtype) -> torch.dtype:
        """The type of the state for inputs of type `kind`."""

    @abc.abstractmethod
    def _scan(self, ending: str, x: Tensor, start: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
        """Outputs and states at every step of one layer in one direction."""

    @abc.abstractmethod
    def _step(self, ending: str, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Output and state after one step, x (B, …) and state (B, n)."""

    def _between(self, x: Tensor) -> Tensor:
        """What a layer's output goes through before the next one reads it."""
        return x

    def _endings(self) -> list[list[str]]:
        """For each layer, the endings of its parameters' names, one a direction: torch's `_l0`, `_l0_reverse`."""
        directions = ["", "_reverse"] if self.bidirectional else [""]
        return [[f"_l{layer}{direction}" for direction in directions] for layer in range(self.num_layers)]

    def extra_repr(self) -> str:
        """What torch shows of the layer."""
        shown = [f"{self.input_size}, {self.hidden_size}", f"num_layers={self.num_layers}"]
        shown += [f"{name}=True" for name in ("batch_first", "bidirectional") if getattr(self, name)]
        return ", ".join(shown + ([f"dropout={self.dropout}"] if self.dropout else []))

    def forward(self, input: Any, hx: Tensor | None = None, lengths: Any = None) -> tuple[Any, Tensor]:
        """Outputs of the last layer at every step, and the states after each sequence's last step.

        Args:
            input: (T, B, input_size), (B, T, input_size) if batch_first, or (T, input_size) for one sequence; or a PackedSequence.
            hx: (layers · directions, B, state_size), or (layers · directions, state_size) for one sequence; zeros unless given.
            lengths: (B,) steps of each sequence, from 0 to T. What lies beyond is not read, and the output there is 0.

        Returns:
            (T, B, directions · hidden_size), or batch first, or packed; and the states as hx.

        Raises:
            InputError: shapes or lengths do not fit.
        """
        if isinstance(input, PackedSequence):
            return self._packed(input, hx, lengths)
        if input.ndim not in (2, 3) or input.shape[-1] != self.input_size:
            raise InputError(
                f"`input` has shape {tuple(input.shape)}; pass {self.input_size} numbers at a step, (…, {self.input_size})"
            )
        axis = 1 if self.batch_first else 0
        if input.ndim == 2:
            one = None if hx is None else hx.unsqueeze(1)
            output, states = self.forward(input.unsqueeze(1 - axis), one, lengths)
            return output.squeeze(1 - axis), states.squeeze(1)
        count, steps = input.shape[1 - axis], input.shape[axis]
        ends = None if lengths is None else check_lengths(lengths, count, steps).to(input.device)
        x = input if ends is None else zeros_beyond(input, ends, self.batch_first)
        start = self._start(hx, count, x)
        finals: list[Tensor] = []
        for layer, endings in enumerate(self._endings()):
            if layer:
                x = dropout(self._between(x), self.dropout, self.training)
            outputs = []
            for ending in endings:
                seen = self._reversed(x, ends) if ending.endswith("_reverse") else x
                output, states = self._scan(ending, seen, start[len(finals)], ends)
                finals.append(_last(states, start[len(finals)], ends, axis))
                outputs.append(self._reversed(output, ends) if ending.endswith("_reverse") else output)
            x = torch.cat(outputs, dim=2) if self.bidirectional else outputs[0]
        return x, torch.stack(finals)

    def step(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """One step of a stream: (B, hidden_size) the output and the state to hand to the next step.

        Args:
            x: (B, input_size) what arrives.
            state: (layers, B, state_size) as `forward` and `step` return it; zeros unless given.

        Raises:
            UnsupportedError: the layer is bidirectional, and so needs the end before the beginning.
            InputError: shapes do not fit.
        """
        if self.bidirectional:
            raise UnsupportedError("a bidirectional layer has no next step: it reads the sequence from its end too")
        if x.ndim != 2 or x.shape[1] != self.input_size:
            raise InputError(f"`x` has shape {tuple(x.shape)}; pass (batch, {self.input_size})")
        start, after = self._start(state, x.shape[0], x), []
        for layer, (ending,) in enumerate(self._endings()):
            if layer:
                x = dropout(self._between(x), self.dropout, self.training)
            x, new = self._step(ending, x, start[layer])
            after.append(new)
        return x, torch.stack(after)

    def _packed(self, packed: PackedSequence, hx: Tensor | None, lengths: Any) -> tuple[PackedSequence, Tensor]:
        if lengths is not None:
            raise InputError("`lengths` is given beside a PackedSequence, which has its own; leave it out")
        x, own = pad_packed_sequence(packed, batch_first=self.batch_first)
        output, states = self.forward(x, hx, own)
        order, axis = packed.sorted_indices, 0 if self.batch_first else 1
        if order is not None:
            output, own = output.index_select(axis, order), own[order.cpu()]
        again = pack_padded_sequence(output, own, batch_first=self.batch_first)
        return again._replace(sorted_indices=order, unsorted_indices=packed.unsorted_indices), states

    def _start(self, hx: Tensor | None, count: int, x: Tensor) -> Tensor:
        wanted = (self.num_layers * (1 + self.bidirectional), count, self.state_size)
        if hx is None:
            return x.new_zeros(wanted, dtype=self._state_type(x.dtype))
        if tuple(hx.shape) != wanted:
            raise InputError(f"the state has shape {tuple(hx.shape)}; pass {wanted}")
        return hx.to(self._state_type(x.dtype))

    def _reversed(self, x: Tensor, lengths: Tensor | None) -> Tensor:
        """Each sequence from its last step to its first; what lies beyond the end stays there."""
        axis = 1 if self.batch_first else 0
        if lengths is None:
            return x.flip(axis)
        steps = torch.arange(x.shape[axis], device=x.device)
        order = torch.where(steps < lengths[:, None], lengths[:, None] - 1 - steps, steps)
        order = order if self.batch_first else order.T
        return x.gather(axis, order[..., None].expand_as(x))


def _last(states: Tensor, start: Tensor, lengths: Tensor | None, axis: int) -> Tensor:
    """(B, n) each sequence's last state."""
    if lengths is None:
        return states.select(axis, -1)
    rows = torch.arange(len(lengths), device=lengths.device)
    ends = (lengths - 1).clamp(min=0)
    found = states[rows, ends] if axis else states[ends, rows]
    return torch.where((lengths > 0)[:, None], found, start)


class MinGRU(_Diagonal):
    """The minimal gated recurrent unit: a GRU whose gate and candidate look at the input alone.

    ::

        z = σ(W_z x[t] + b_z)        n = W_n x[t] + b_n        h[t] = (1 − z) h[t−1] + z n

    Here z renews, where in torch.nn.GRU z keeps. The state stays between the candidates that it has seen.

    Args:
        input_size: numbers at a step.
        hidden_size: units H, which are also the state.
        num_layers: layers stacked.
        bias: whether there are b_z and b_n.
        batch_first: axes (batch, time, feature) instead of (time, batch, feature).
        dropout: share of the numbers between layers that is dropped in training.
        bidirectional: a second stack reads from the end, and the outputs stand side by side.

    Parameters: `weight_ih_l0` (2H, input_size), rows in the order z, n; `bias_ih_l0` (2H,); `…_l1`, `…_l0_reverse` and so on.

    Source: Feng, Tung, Ahmed, Bengio & Hajimirsadeghi, *Were RNNs all we needed?* (2024), §3.1.

    Example:
        >>> import torch
        >>> layer = MinGRU(3, 8, batch_first=True)
        >>> output, state = layer(torch.zeros(2, 5, 3), lengths=[5, 2])
        >>> output.shape, state.shape
        (torch.Size([2, 5, 8]), torch.Size([1, 2, 8]))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(input_size, hidden_size, num_layers, batch_first, dropout, bidirectional)
        self.bias = checks.Flag().check("bias", bias)
        for layer, endings in enumerate(self._endings()):
            width = input_size if layer == 0 else hidden_size * len(endings)
            for ending in endings:
                weight = torch.empty(2 * hidden_size, width, device=device, dtype=dtype)
                self.register_parameter("weight_ih" + ending, nn.Parameter(weight))
                if bias:
                    self.register_parameter("bias_ih" + ending, nn.Parameter(weight.new_empty(2 * hidden_size)))
        self.reset_parameters()

    @property
    def state_size(self) -> int:
        """H, for the state is the output."""
        return self.hidden_size

    def reset_parameters(self) -> None:
        """All from U(−1/√H, 1/√H), as in torch.nn.GRU."""
        bound = 1 / math.sqrt(self.hidden_size)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)

    def _state_type(self, kind: torch.dtype) -> torch.dtype:
        return kind

    def _gates(self, ending: str, x: Tensor) -> tuple[Tensor, Tensor]:
        bias = getattr(self, "bias_ih" + ending) if self.bias else None
        z, n = linear(x, getattr(self, "weight_ih" + ending), bias).chunk(2, dim=-1)
        return torch.sigmoid(z), n

    def _scan(self, ending: str, x: Tensor, start: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
        z, n = self._gates(ending, x)
        h = linear_scan(1 - z, z * n, start, lengths, self.batch_first)
        return h, h

    def _step(self, ending: str, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        z, n = self._gates(ending, x)
        h = torch.lerp(state, n, z)
        return h, h


class LRU(_Diagonal):
    """The linear recurrent unit: a diagonal linear state-space model with complex eigenvalues that cannot leave the unit circle.

    ::

        s[t] = λ s[t−1] + e^γ B x[t]        y[t] = Re(C s[t]) + D x[t]        λ = exp(−e^ν + i e^θ), |λ| < 1

    e^γ starts at √(1 − |λ|²), so that the state's size does not grow with the memory. A unit remembers for τ = −1 / ln |λ| = e^(−ν) steps.
    Between the layers of a stack goes the GELU; a stack of linear layers alone would be one linear layer.

    Args:
        input_size: numbers at a step.
        hidden_size: numbers H of the output.
        num_layers: layers stacked.
        batch_first: axes (batch, time, feature) instead of (time, batch, feature).
        dropout: share of the numbers between layers that is dropped in training.
        bidirectional: a second stack reads from the end, and the outputs stand side by side.
        state_size: complex numbers N of the state; H unless given.
        radius: (least, most) |λ| at first, uniform in the ring between; within [0, 1].
        max_phase: largest angle of λ at first, in radians.

    Parameters, for layer 0: `nu_log_l0`, `theta_log_l0`, `gamma_log_l0` (N,), the ν, θ, γ above; B `input_l0` (N, 2, input_size) and
    C `output_l0` (H, N, 2), real and imaginary parts; D `skip_l0` (H, input_size). The state is complex, (layers · directions, batch, N).

    Source: Orvieto, Smith, Gu, Fernando, Gulcehre, Pascanu & De, *Resurrecting recurrent neural networks for long sequences* (2023), §3 and
    appendix A.

    Example:
        >>> import torch
        >>> layer = LRU(3, 8, batch_first=True, state_size=16, radius=(0.9, 0.999))
        >>> output, state = layer(torch.zeros(2, 5, 3))
        >>> output.shape, state.shape, state.dtype
        (torch.Size([2, 5, 8]), torch.Size([1, 2, 16]), torch.complex64)
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        state_size: int | None = None,
        radius: tuple[float, float] = (0.0, 1.0),
        max_phase: float = 2 * math.pi,
        device: Any = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(input_size, hidden_size, num_layers, batch_first, dropout, bidirectional)
        size = checks.Optional(checks.Integer(1)).check("state_size", state_size)
        self._size = hidden_size if size is None else size
        self.radius = checks.Tuple(checks.Real(0.0, 1.0), 2).check("radius", radius)
        if not self.radius[0] < self.radius[1]:
            raise InputError(f"`radius` is {self.radius}; pass (least, most) with least below most")
        self.max_phase = checks.Real(0.0, 2 * math.pi, open_low=True).check("max_phase", max_phase)
        for layer, endings in enumerate(self._endings()):
            width = input_size if layer == 0 else hidden_size * len(endings)
            shapes = {
                "nu_log": (self._size,),
                "theta_log": (self._size,),
                "gamma_log": (self._size,),
                "input": (self._size, 2, width),
                "output": (hidden_size, self._size, 2),
                "skip": (hidden_size, width),
            }
            for ending in endings:
                for name, shape in shapes.items():
                    empty = torch.empty(shape, device=device, dtype=dtype)
                    self.register_parameter(name + ending, nn.Parameter(empty))
        self.reset_parameters()

    @property
    def state_size(self) -> int:
        """N, complex numbers."""
        return self._size

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """λ uniform in the ring, e^γ = √(1 − |λ|²), B, C and D normal with variances 1/(2 inputs), 1/N and 1/inputs."""
        least, most = (radius**2 for radius in self.radius)
        for ending in (name for layer in self._endings() for name in layer):
            own = {name: getattr(self, name + ending) for name in ("nu_log", "theta_log", "gamma_log")}
            squared = least + (most - least) * torch.rand_like(own["nu_log"]).clamp(1e-6, 1 - 1e-6)
            own["nu_log"].copy_(torch.log(-0.5 * torch.log(squared)))
            own["theta_log"].copy_(torch.log(self.max_phase * torch.rand_like(own["nu_log"]).clamp(min=1e-6)))
            own["gamma_log"].copy_(0.5 * torch.log1p(-squared))
            weights = [getattr(self, name + ending) for name in ("input", "output", "skip")]
            inputs = weights[2].shape[1]
            for weight, variance in zip(weights, (0.5 / inputs, 1 / self._size, 1 / inputs), strict=True):
                nn.init.normal_(weight, 0.0, math.sqrt(variance))

    def eigenvalues(self, layer: int = 0, reverse: bool = False) -> Tensor:
        """(N,) λ, the diagonal of the Jacobian ∂s[t]/∂s[t−1], which is the same at every step.

        Raises:
            InputError: there is no such layer or direction.
        """
        layer = checks.Integer(0, self.num_layers - 1).check("layer", layer)
        if reverse and not self.bidirectional:
            raise InputError("`reverse` is True; the layer is not bidirectional: leave it out")
        return self._eigenvalues(self._endings()[layer][int(reverse)])

    def _eigenvalues(self, ending: str) -> Tensor:
        size = torch.exp(-torch.exp(getattr(self, "nu_log" + ending)))
        return torch.polar(size, torch.exp(getattr(self, "theta_log" + ending)))

    def _state_type(self, kind: torch.dtype) -> torch.dtype:
        return torch.promote_types(kind, torch.complex64)

    def _between(self, x: Tensor) -> Tensor:
        return gelu(x)

    def _drive(self, ending: str, x: Tensor) -> Tensor:
        """e^γ B x, complex, by one real product."""
        scale = torch.exp(getattr(self, "gamma_log" + ending))[:, None, None]
        weight = (scale * getattr(self, "input" + ending)).flatten(0, 1)
        return torch.view_as_complex(linear(x, weight).unflatten(-1, (self._size, 2)))

    def _read(self, ending: str, state: Tensor, x: Tensor) -> Tensor:
        """Re(C s) + D x, by two real products."""
        weight = getattr(self, "output" + ending)
        weight = torch.stack([weight[..., 0], -weight[..., 1]], dim=-1).flatten(1)
        return linear(torch.view_as_real(state).flatten(-2), weight) + linear(x, getattr(self, "skip" + ending))

    def _scan(self, ending: str, x: Tensor, start: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
        states = linear_scan(self._eigenvalues(ending), self._drive(ending, x), start, lengths, self.batch_first)
        return self._read(ending, states, x), states

    def _step(self, ending: str, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        new = self._eigenvalues(ending) * state + self._drive(ending, x)
        return self._read(ending, new, x), new
