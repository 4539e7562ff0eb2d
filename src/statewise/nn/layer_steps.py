"""One step of a recurrent layer at a time: arguments, states, and which way it is computed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from statewise._core.errors import InputError, UnsupportedError
from statewise.nn.backends import obstacle
from statewise.nn.layer_options import KINDS, Options, State
from statewise.nn.missing import judge_elapsed
from statewise.nn.streaming import Stepper
from statewise.ops.recurrent_steps import unrolled


class Steps(Options):
    """`step` of the three layers."""

    _stepper: Stepper | None = None
    _fast_step: Callable[[Any, Any], Any] | None = None

    def step(self, x: Any, state: State = None, *, elapsed: Any = None) -> tuple[Any, State]:
        """The output and the state after one more step, computed for streaming: no gradient, no dropout, microseconds.

        Args:
            x: (d,) or (B, d), a NumPy array or a tensor of the layer's precision; the results are what `x` is.
            state: what the step before returned, or a layer's call: (L, H), or (L, B, H) for a batch; a pair (h, c) for the LSTM. None
                begins a sequence. The same state continues a sequence in a call, ``layer(next_part, state)``, where it is a tensor.
            elapsed: the time since the step before, a number or (B,), for a layer that decays with time.

        Returns:
            y (H,) or (B, H), and the state. `x` and `state` are not changed.

        Raises:
            UnsupportedError: the layer is bidirectional, so that it needs the future.

        Example:
            >>> layer = sw.nn.GRU(2, 3)
            >>> y, state = layer.step(np.zeros(2, np.float32))
            >>> y, state = layer.step(np.ones(2, np.float32), state)
            >>> y.shape, state.shape
            ((3,), (1, 3))
        """
        fast = self._fast_step
        if fast is not None and elapsed is None:
            found = fast(x, state)
            if found is not None:
                return found
        return self._any_step(x, state, elapsed)

    def _any_step(self, x: Any, state: State, elapsed: Any) -> tuple[Any, State]:
        if self._decays != (elapsed is not None):
            raise InputError("pass `elapsed` to a layer that decays with time, and to no other")
        if self.layer_norm:
            return self._normed_step(x, state, elapsed)
        stepper = self._stepper
        if stepper is None or not stepper.is_fresh:
            stepper = self._new_stepper()
        if state is None and self.learn_initial:
            state = self._initial_arrays(x)
        if elapsed is not None and state is not None:
            state = self._decayed(state, elapsed)
        return stepper.step(x, state)

    def _normed_step(self, x: Any, state: State, elapsed: Any) -> tuple[Any, State]:
        """A step of a layer with layer norm, in torch operations."""
        self._refuse_both_ways()
        arrays, pair, kind = not isinstance(x, Tensor), self.mode == "LSTM", KINDS[self.mode]
        data = torch.as_tensor(x).detach()
        single = data.dim() == 1
        data = data.unsqueeze(0) if single else data
        if state is None and self.learn_initial:
            state = self._initial_arrays(x)
        given: list[Any] = [None] * (1 + pair) if state is None else list(state) if pair else [state]
        shape = (self.num_layers, len(data), self.hidden_size)
        parts = [data.new_zeros(shape) if part is None else torch.as_tensor(part).reshape(shape) for part in given]
        gap = None
        if elapsed is not None:
            gap = judge_elapsed(elapsed, (*(() if single else (len(data),)), *self._gap_axes), data).reshape(
                len(data), -1
            )
            gap = gap if self.decay_inputs else gap[:, 0]
        ends = []
        with torch.no_grad():
            for k, names in enumerate(self._all_weights):
                weights = [getattr(self, name) for name in names]
                own, weights, inside = self._normed(k, data, weights + [None] * (4 - len(weights)))
                h, c = parts[0][k], parts[1][k] if pair else None
                fade = self._log_decay(k, gap)
                data, *end = unrolled(kind, own, [len(data)], False, h, c, weights, fade, None, inside)
                ends.append(end[: 1 + pair])
        after = [torch.stack(part) for part in zip(*ends, strict=True)]
        y, after = (data[0], [part[:, 0] for part in after]) if single else (data, after)
        return (y.numpy(), self._as_given([part.numpy() for part in after])) if arrays else (y, self._as_given(after))

    def _refuse_both_ways(self) -> None:
        if self.bidirectional:
            raise UnsupportedError(
                "a bidirectional layer has no `step`: it reads the sequence from its end too; make one with bidirectional=False"
            )

    def _new_stepper(self) -> Stepper:
        self._refuse_both_ways()
        if self.proj_size:
            raise UnsupportedError(
                "a layer with proj_size has no `step`; call the layer on one step and pass its state on"
            )
        weights = [[getattr(self, name) for name in names] for names in self._all_weights]
        reason = obstacle([weight for names in weights for weight in names])
        if reason:
            raise UnsupportedError(
                f"`step` runs on the CPU in float32 or float64, but {reason}; call the layer on one step instead"
            )
        own = self.__dict__  # past torch's handling of attributes
        made = own["_stepper"] = Stepper(KINDS[self.mode], weights)
        own["_fast_step"] = None if self._decays else made.fast
        return made

    def _initial_arrays(self, x: Any) -> State:
        parts = [self.initial_h, self.initial_c] if self.mode == "LSTM" else [self.initial_h]
        arrays = [part.detach().numpy() for part in parts]
        if getattr(x, "ndim", 1) == 2:
            arrays = [np.repeat(array[:, None], len(x), axis=1) for array in arrays]
        return self._as_given(arrays)

    def _decayed(self, state: State, elapsed: Any) -> State:
        """A state of `step`, carried over the time that has passed."""
        h = state[0] if self.mode == "LSTM" else state
        shape = (h.shape[1],) if h.ndim == 3 else ()
        like: Any = self.weight_hh_l0
        gap = judge_elapsed(elapsed, (*shape, *self._gap_axes), like)
        with torch.no_grad():
            rows = gap.reshape(-1, *gap.shape[len(shape) :])
            logs: list[Any] = [self._log_decay(index, rows) for index in range(self.num_layers)]
            decays = [torch.exp(log) for log in logs]
        factor: Any = torch.stack(decays) if shape else torch.cat(decays)
        factor = factor if isinstance(h, Tensor) else factor.numpy()
        return tuple(part * factor for part in state) if self.mode == "LSTM" else state * factor

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = dict(super().__getstate__())
        return {key: value for key, value in state.items() if key not in ("_stepper", "_fast_step")}

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if isinstance(value, Tensor):  # a parameter
            self.__dict__.update(_stepper=None, _fast_step=None)
