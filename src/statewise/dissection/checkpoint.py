"""A recurrent layer from the weights in a file, without running any code that the file may carry."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from statewise._core import checks
from statewise._core.errors import DataError, InputError
from statewise.nn.seeding import unmoved

_FIRST = re.compile(r"(?P<prefix>.*?)weight_ih(?P<end>_l0)?")
_KINDS: dict[int, Any] = {1: nn.RNN, 3: nn.GRU, 4: nn.LSTM}


def load_layer(
    path: str | os.PathLike[str], prefix: str | None = None, nonlinearity: str = "tanh"
) -> tuple[str, nn.RNNBase]:
    """(prefix, layer): the torch.nn.RNN, GRU or LSTM, batch first, whose weights are in a checkpoint.

    The kind follows from the shapes: W_ih has G·H rows and W_hh H columns, and G is 4 for an LSTM, 3 for a GRU and 1 for an RNN. Layers,
    directions, biases and projections are read from the names. A ``.pt`` file is read with ``weights_only=True``, which refuses everything
    but numbers; a ``.safetensors`` file can hold nothing else.

    Args:
        path: what torch.save or safetensors wrote: a state_dict, or a dictionary that has one somewhere inside.
        prefix: the beginning of the layer's names, such as 'encoder.lstm.'; needed where there are several layers.
        nonlinearity: of an RNN, which its weights do not tell: 'tanh' or 'relu'.

    Raises:
        DataError: the file is not readable as weights, or no recurrent layer is in it.
        InputError: there are several, or none begins with `prefix`.
    """
    nonlinearity = checks.Choice(("tanh", "relu")).check("nonlinearity", nonlinearity)
    weights = dict(_flat(_read(Path(path)), ""))
    found = sorted({match["prefix"] for name in weights if (match := _FIRST.fullmatch(name))})
    if not found:
        some = ", ".join(sorted(weights)[:4]) or "nothing"
        raise DataError(
            f"{os.fspath(path)}: has no weights of a recurrent layer (a name that ends in weight_ih_l0); what it has is {some}"
        )
    chosen = _choose(found, prefix, os.fspath(path))
    own = {name.removeprefix(chosen): value for name, value in weights.items() if name.startswith(chosen)}
    own = {f"{name}_l0" if re.fullmatch(r"(weight|bias)_[ih]h", name) else name: value for name, value in own.items()}
    return chosen, _built(own, nonlinearity, f"{os.fspath(path)}: {chosen}weight_ih_l0")


def _read(path: Path) -> Any:
    if not path.is_file():
        raise InputError(f"{str(path)!r} is not a file; pass a checkpoint that torch.save wrote")
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return load_file(path)
        except SafetensorError as error:
            raise DataError(f"{path}: is not a whole safetensors file ({error})") from None
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except torch.serialization.pickle.UnpicklingError:
        raise DataError(
            f"{path}: holds more than weights, or is not a checkpoint; it is not opened, since that could run code. Save the weights alone: "
            "torch.save(model.state_dict(), path)"
        ) from None
    except (RuntimeError, EOFError, ValueError, KeyError, IndexError, UnicodeDecodeError):
        raise DataError(f"{path}: is not a checkpoint that torch.save wrote, or is cut short") from None


def _flat(value: Any, name: str) -> list[tuple[str, Tensor]]:
    """All tensors in nested dictionaries, their keys joined by dots."""
    if isinstance(value, Tensor):
        return [(name, value)]
    if not isinstance(value, Mapping):
        return []
    return [pair for key, each in value.items() for pair in _flat(each, f"{name}.{key}" if name else str(key))]


def _choose(found: list[str], prefix: str | None, path: str) -> str:
    names = ", ".join(repr(each) for each in found)
    if prefix is None:
        if len(found) > 1:
            raise InputError(f"{path}: has {len(found)} recurrent layers; pass `prefix`, one of {names}")
        return found[0]
    fits = [each for each in found if each == prefix or each == f"{prefix}." or each.endswith(f".{prefix}.")]
    if len(fits) != 1:
        raise InputError(f"`prefix` is {prefix!r}; the recurrent layers begin with {names}")
    return fits[0]


def _built(own: dict[str, Tensor], nonlinearity: str, where: str) -> nn.RNNBase:
    """The layer with these weights."""
    projected = own.get("weight_hr_l0")
    reads = own.get("weight_hh_l0")
    if reads is None:
        raise DataError(f"{where}: has no weight_hh_l0 beside it, so it is no RNN, GRU or LSTM of torch.nn")
    rows, inputs = own["weight_ih_l0"].shape
    hidden = reads.shape[1] if projected is None else projected.shape[1]
    kind = _KINDS.get(rows // hidden) if rows % hidden == 0 else None
    if kind is None:
        raise DataError(
            f"{where}: has {rows} rows for {hidden} units, which is neither an RNN (1 each), a GRU (3) nor an LSTM (4)"
        )
    depth = sum(bool(re.fullmatch(r"weight_ih_l\d+", name)) for name in own)
    options: dict[str, Any] = {
        "num_layers": depth,
        "bias": "bias_ih_l0" in own,
        "bidirectional": "weight_ih_l0_reverse" in own,
        "batch_first": True,
        "dtype": own["weight_ih_l0"].dtype,
    }
    if kind is nn.RNN:
        options["nonlinearity"] = nonlinearity
    if projected is not None:
        options["proj_size"] = projected.shape[0]
    with unmoved():  # the weights that are drawn here are replaced at once
        layer: nn.RNNBase = kind(inputs, hidden, **options)
    try:
        layer.load_state_dict({name: own[name] for name in layer.state_dict() if name in own})
    except RuntimeError as error:
        raise DataError(f"{where}: the weights do not fit together ({' '.join(str(error).split())[:200]})") from None
    return layer.eval()
