"""torch.nn.RNN, GRU and LSTM as statewise.nn's layers, and back: the same weights by the same names."""

from __future__ import annotations

from typing import Any

from torch import nn

from statewise._core import checks
from statewise._core.errors import UnsupportedError
from statewise.nn import recurrent as own
from statewise.nn.seeding import unmoved

_PAIRS: tuple[tuple[type[nn.RNNBase], Any], ...] = ((nn.RNN, own.RNN), (nn.GRU, own.GRU), (nn.LSTM, own.LSTM))


def torch_to_layer(module: Any) -> nn.RNNBase:
    """The statewise layer with a copy of the weights of a torch.nn.RNN, GRU or LSTM (exact)."""
    for theirs, ours in _PAIRS:
        if type(module) is theirs:
            return _filled(ours, module)
    raise UnsupportedError(
        f"`model` is {checks.shown(type(module).__name__)}; of torch a torch.nn.RNN, GRU or LSTM converts, one layer object at a time: "
        "statewise.nn.accelerate(module) replaces those inside a larger module"
    )


def layer_to_torch(module: Any) -> nn.RNNBase:
    """The torch.nn layer with a copy of the weights of a statewise layer (exact).

    Raises:
        UnsupportedError: the layer learns its first state or has recurrent dropout, which torch.nn's do not have.
    """
    for theirs, ours in _PAIRS:
        if isinstance(module, ours):
            if module.learn_initial or module.recurrent_dropout:
                raise UnsupportedError(
                    "the layer has learn_initial or recurrent_dropout, which torch.nn's layers do not have; leave them out"
                )
            return _filled(theirs, module)
    raise UnsupportedError(f"`model` is {checks.shown(type(module).__name__)}; pass a statewise.nn.RNN, GRU or LSTM")


def _filled(kind: Any, module: nn.RNNBase) -> nn.RNNBase:
    options: dict[str, Any] = {
        name: getattr(module, name) for name in ("num_layers", "bias", "batch_first", "dropout", "bidirectional")
    }
    if isinstance(module, nn.RNN):
        options["nonlinearity"] = module.nonlinearity
    if isinstance(module, nn.LSTM):
        options["proj_size"] = module.proj_size
    first = next(module.parameters())
    with unmoved():  # the weights that are drawn here are replaced at once
        made: nn.RNNBase = kind(
            module.input_size, module.hidden_size, device=first.device, dtype=first.dtype, **options
        )
    made.load_state_dict(module.state_dict())
    return made.train(module.training)
