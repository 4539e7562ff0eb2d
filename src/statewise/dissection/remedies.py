"""Applying a suggestion to a copy of a model."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from statewise._core import checks
from statewise._core.errors import InputError, UnsupportedError
from statewise.dissection.suggestions import Suggestion
from statewise.models.base import Model
from statewise.nn import initialise
from statewise.nn.seeding import unmoved

_INITIAL = ("chrono", "forget-bias", "orthogonal", "identity", "spectral")


def apply(suggestion: Suggestion, model: Any, *, seed: int | None = 0) -> Any:
    """A copy of a model or module with the remedy; the one given stays as it is.

    ==============  =====================================================================================================
    kind            what the copy has
    ==============  =====================================================================================================
    initialisations the weights and biases that `statewise.nn.initialise` sets; all others are those of the model
    'truncate'      recurrent layers that run in pieces of `steps` steps and pass the state on without its gradient
    'clip'          parameters whose gradient is shortened to the norm `threshold`, one by one, as backward passes give it
    'skip'          stacks whose layers, from the second on, have their input added to their output
    ==============  =====================================================================================================

    Args:
        suggestion: one of ``d.suggestions``.
        model: a torch module, or a fitted `Recurrent`, `Tagger` or `Classifier`, for which only initialisations are possible.
        seed: of the random numbers of an initialisation.

    Raises:
        InputError: `suggestion` is none.
        UnsupportedError: the remedy does not go with the model.

    Example:
        >>> import torch
        >>> lstm = torch.nn.LSTM(3, 16, batch_first=True)
        >>> x = torch.randn(8, 60, 3, generator=torch.Generator().manual_seed(0))
        >>> d = sw.dissect(lstm, x, needs=40)
        >>> better = sw.dissection.apply(d.suggestions[0], lstm)
        >>> sw.dissect(better, x).gradient_half_life.value > 10 * d.gradient_half_life.value
        True
    """
    if not isinstance(suggestion, Suggestion):
        raise InputError(f"`suggestion` is {checks.shown(suggestion)}; pass one of `d.suggestions`")
    if isinstance(model, Model):
        return _apply_to_model(suggestion, model, seed)
    if not isinstance(model, nn.Module):
        raise InputError(f"`model` is {checks.shown(model)}; pass a torch module or a model of statewise")
    copied = copy.deepcopy(model)
    if suggestion.kind in _INITIAL:
        return initialise(copied, suggestion.kind, seed=seed, **suggestion.options)
    if suggestion.kind == "clip":
        return _clipping(copied, suggestion.options["threshold"])
    if suggestion.kind == "truncate":
        steps = int(suggestion.options["steps"])
        return _replaced(copied, lambda layer: Truncated(layer, steps))
    return _replaced(copied, _skipping)


def _apply_to_model(suggestion: Suggestion, model: Model, seed: int | None) -> Model:
    if suggestion.kind not in _INITIAL:
        raise UnsupportedError(
            f"{suggestion.text!r} is a matter of training; a {type(model).__name__} is trained in windows and with a clipped gradient: "
            "pass `window` to its fit"
        )
    layers = [name for name in model.parameters if name.startswith("weight_ih_l")]
    if not layers:
        raise UnsupportedError(f"a {type(model).__name__} has no recurrent layer to initialise; pass a network")
    copied = copy.deepcopy(model)
    initialise(_Shell(copied.parameters), suggestion.kind, seed=seed, **suggestion.options)
    return copied


class _Shell(nn.Module):
    """Arrays of weights as parameters of a layer that share their memory."""

    def __init__(self, arrays: dict[str, np.ndarray]) -> None:
        super().__init__()
        self.hidden_size = int(arrays["weight_hh_l0"].shape[1]) if "weight_hh_l0" in arrays else 0
        for name, array in arrays.items():
            if name.startswith(("weight_ih_l", "weight_hh_l", "bias_ih_l", "bias_hh_l")):
                self.register_parameter(name, nn.Parameter(torch.from_numpy(array), requires_grad=False))


def _clipping(module: nn.Module, threshold: float) -> nn.Module:
    for parameter in module.parameters():
        if parameter.requires_grad:
            parameter.register_hook(_Shortened(threshold))
    return module


class _Shortened:
    """g · min(1, c / ‖g‖)."""

    def __init__(self, threshold: float) -> None:
        self.threshold = threshold

    def __call__(self, gradient: Tensor) -> Tensor:
        return gradient * torch.clamp(self.threshold / (torch.linalg.vector_norm(gradient) + 1e-30), max=1.0)


def _replaced(module: nn.Module, change: Any) -> nn.Module:
    """The module with every recurrent layer inside it, or itself, changed."""
    if isinstance(module, nn.RNNBase):
        changed: nn.Module = change(module)
        return changed
    found = [(parent, name, child) for parent in module.modules() for name, child in parent.named_children()]
    found = [(parent, name, child) for parent, name, child in found if isinstance(child, nn.RNNBase)]
    if not found:
        raise UnsupportedError(f"a {type(module).__name__} has no RNN, LSTM or GRU to change; change its own forward")
    for parent, name, child in found:
        setattr(parent, name, change(child))
    return module


class Truncated(nn.Module):
    """A recurrent layer whose gradient goes back `steps` steps at most: the state is passed on between pieces without it.

    Args:
        layer: one direction, unpacked input.
        steps: of a piece.
    """

    def __init__(self, layer: nn.RNNBase, steps: int) -> None:
        super().__init__()
        if layer.bidirectional:
            raise UnsupportedError("a layer with two directions cannot be truncated: the other one comes from the end")
        self.layer, self.steps = layer, steps

    def forward(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """As the layer's own."""
        if isinstance(x, PackedSequence):
            raise InputError("`x` is packed; a truncated layer takes padded tensors")
        axis = 0 if x.dim() == 2 or not self.layer.batch_first else 1
        pieces = []
        for piece in x.split(self.steps, dim=axis):
            output, state = self.layer(piece, state)
            pieces.append(output)
            state = tuple(part.detach() for part in state) if isinstance(state, tuple) else state.detach()
        return torch.cat(pieces, dim=axis), state


def _skipping(layer: nn.RNNBase) -> nn.Module:
    return Skipping(layer)


class Skipping(nn.Module):
    """A stack of recurrent layers, one way, in which every layer from the second on adds its input to its output.

    Args:
        stack: whose weights are taken over.
    """

    def __init__(self, stack: nn.RNNBase) -> None:
        super().__init__()
        if stack.bidirectional or stack.proj_size or stack.num_layers < 2:
            raise UnsupportedError("only a stack of two or more layers, one way and without projection, can have skips")
        self.batch_first = stack.batch_first
        self.layers = nn.ModuleList(_single(stack, depth) for depth in range(stack.num_layers))

    def forward(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """As the stack's own: the top layer's output, skip included, and all last states."""
        ends = []
        for depth, layer in enumerate(self.layers):
            own = None if state is None else _layer_state(state, depth)
            output, end = layer(x, own)
            x = output if depth == 0 else _added(output, x)
            ends.append(end)
        if isinstance(ends[0], tuple):
            return x, tuple(torch.cat(parts) for parts in zip(*ends, strict=True))
        return x, torch.cat(ends)


def _added(output: Any, x: Any) -> Any:
    return output._replace(data=output.data + x.data) if isinstance(output, PackedSequence) else output + x


def _layer_state(state: Any, depth: int) -> Any:
    if isinstance(state, tuple):
        return tuple(part[depth : depth + 1] for part in state)
    return state[depth : depth + 1]


def _single(stack: nn.RNNBase, depth: int) -> nn.RNNBase:
    """One layer of a stack as a layer of its own."""
    options: dict[str, Any] = {"batch_first": stack.batch_first, "bias": stack.bias}
    kind: Any = type(stack)
    if isinstance(stack, nn.RNN):
        options["nonlinearity"] = stack.nonlinearity
    weight = stack.get_parameter(f"weight_ih_l{depth}")
    with unmoved():  # the weights that are drawn here are replaced at once
        made: nn.RNNBase = kind(weight.shape[1], stack.hidden_size, device=weight.device, dtype=weight.dtype, **options)
    ending = f"_l{depth}"
    own = {
        name.removesuffix(ending) + "_l0": value for name, value in stack.state_dict().items() if name.endswith(ending)
    }
    made.load_state_dict(own)
    return made.train(stack.training)
