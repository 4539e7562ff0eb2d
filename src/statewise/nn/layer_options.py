"""What statewise's recurrent layers have beyond torch's: learned first states, decay with time, layer norm; their parameters and what follows."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from statewise.ops.recurrent_steps import Inside

State = Any  # (L·D, B, H), or a pair of such for the LSTM
KINDS = {"RNN_TANH": "tanh", "RNN_RELU": "relu", "GRU": "gru", "LSTM": "lstm"}


class Options(nn.RNNBase):
    """A layer's own parameters, where its options ask for them."""

    learn_initial: bool = False
    layer_norm: bool = False
    recurrent_dropout: float = 0.0
    time_constant: float | None = None
    decay_inputs: int = 0

    @property
    def _decays(self) -> bool:
        return self.time_constant is not None or bool(self.decay_inputs)

    @property
    def _gap_axes(self) -> tuple[int, ...]:
        """The axes of `elapsed` for one step of one sequence."""
        return (self.decay_inputs,) if self.decay_inputs else ()

    @property
    def _directions(self) -> int:
        return 2 if self.bidirectional else 1

    def _as_given(self, states: list[Any]) -> State:
        return tuple(states) if self.mode == "LSTM" else states[0]

    # --- learnable initial states -------------------------------------------------------------------------------------------

    def _add_initial_state(self) -> None:
        like: Any = self.weight_hh_l0
        shape = (self.num_layers * self._directions, self.proj_size or self.hidden_size)
        self.initial_h = nn.Parameter(torch.zeros(shape, device=like.device, dtype=like.dtype))
        if self.mode == "LSTM":
            size = (shape[0], self.hidden_size)
            self.initial_c = nn.Parameter(torch.zeros(size, device=like.device, dtype=like.dtype))

    def _initial(self, source: Any, hx: State) -> State:
        """The learned first state, the same for every sequence."""
        states: list[Any] = [self.initial_h, self.initial_c] if self.mode == "LSTM" else [self.initial_h]
        if isinstance(source, PackedSequence) or source.dim() == 3:
            batch = (
                int(source.batch_sizes[0])
                if isinstance(source, PackedSequence)
                else source.shape[0 if self.batch_first else 1]
            )
            states = [state.unsqueeze(1).expand(-1, batch, -1).contiguous() for state in states]
        return self._as_given(states)

    # --- decay with time ------------------------------------------------------------------------------------------------------

    def _add_decay(self) -> None:
        like: Any = self.weight_hh_l0
        for names in self._all_weights:
            ending = names[0].removeprefix("weight_ih")
            if self.time_constant is not None:
                start = torch.full((self.hidden_size,), math.log(self.time_constant))
                self.register_parameter(f"log_time_constant{ending}", nn.Parameter(start.to(like)))
            else:
                weight = torch.full((self.hidden_size, self.decay_inputs), 0.1 / self.decay_inputs)
                self.register_parameter(f"decay_weight{ending}", nn.Parameter(weight.to(like)))
                self.register_parameter(f"decay_bias{ending}", nn.Parameter(like.new_zeros(self.hidden_size)))

    def _log_decay(self, index: int, elapsed: Tensor | None) -> Tensor | None:
        """(R, H) −Δt / τ, or −max(0, W δ + b)."""
        if elapsed is None:
            return None
        ending = self._all_weights[index][0].removeprefix("weight_ih")
        if self.decay_inputs:
            weight, bias = getattr(self, f"decay_weight{ending}"), getattr(self, f"decay_bias{ending}")
            return -torch.relu(nn.functional.linear(elapsed, weight, bias))
        return -elapsed[:, None] * torch.exp(-getattr(self, f"log_time_constant{ending}"))

    # --- layer norm ---------------------------------------------------------------------------------------------------------

    def _add_norm(self) -> None:
        like: Any = self.weight_hh_l0
        names = ["norm_weight"] if self.mode.startswith("RNN") else ["norm_ih_weight", "norm_hh_weight"]
        for own in self._all_weights:
            ending = own[0].removeprefix("weight_ih")
            for name in names:
                self.register_parameter(f"{name}{ending}", nn.Parameter(like.new_ones(len(like))))
            if self.mode == "LSTM":
                self.register_parameter(f"norm_cell_weight{ending}", nn.Parameter(like.new_ones(self.hidden_size)))
                self.register_parameter(f"norm_cell_bias{ending}", nn.Parameter(like.new_zeros(self.hidden_size)))

    def _normed(self, index: int, data: Tensor, weights: list[Any]) -> tuple[Tensor, list[Any], Inside | None]:
        """What the recurrence reads with a layer norm: its input, its weights, and the norms inside a step.

        An RNN's sums from input and state are normalised as one. Those of the gates are normalised apart: from the input here, for all steps at once,
        and from the state inside the step; torch's biases are the shifts.
        """
        if not self.layer_norm:
            return data, weights, None
        ending = self._all_weights[index][0].removeprefix("weight_ih")
        part: Any = lambda name: getattr(self, f"{name}{ending}")  # noqa: E731  # shorter than a function here
        w_ih, w_hh, b_ih, b_hh = weights
        nothing = w_hh.new_zeros(len(w_hh))
        if self.mode.startswith("RNN"):
            shift = nothing if b_ih is None else b_ih + b_hh
            return data, [w_ih, w_hh, None, None], Inside(part("norm_weight"), shift, None, None)
        sums = nn.functional.linear(data, w_ih)
        given = nn.functional.layer_norm(sums, sums.shape[1:], part("norm_ih_weight"), b_ih)
        cell = (part("norm_cell_weight"), part("norm_cell_bias")) if self.mode == "LSTM" else (None, None)
        shift = nothing if b_hh is None else b_hh
        return given, [None, w_hh, None, None], Inside(part("norm_hh_weight"), shift, *cell)
