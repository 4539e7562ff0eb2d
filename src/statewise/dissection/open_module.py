"""Opening a torch module: its recurrent layers are found, watched while it runs on a batch, and replayed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from statewise._core import checks
from statewise._core.errors import InputError, NumericalError
from statewise.dissection.final_states import through_output
from statewise.dissection.layers import CELL_MODULES, LAYERS, Call, array, cell_system, flip, layer_systems, read_call
from statewise.dissection.losses import Pulled, pull_loss
from statewise.dissection.not_finite import trouble
from statewise.dissection.stepwise import Gatherer
from statewise.dissection.subject import Site, Subject
from statewise.dissection.systems import System
from statewise.dissection.windows import module_context
from statewise.nn.diagonal import LRU
from statewise.nn.seeding import unmoved

Loss = Callable[[Any], Tensor] | None


def open_module(
    module: nn.Module,
    batch: Any,
    loss: Loss = None,
    *,
    layer: str | None = None,
    initial: Any = None,
    lengths: Any = None,
    dt: float = 1.0,
) -> Subject:
    """A module that recurs somewhere, run once on a batch in evaluation mode and left as it was.

    Args:
        module: a torch.nn.RNN, LSTM or GRU, one of ours, a cell, or a module that has some inside.
        batch: what the module is called with: a tensor or array in the module's own layout, a PackedSequence, a tuple of arguments, or a
            mapping of named ones. For a bare cell (T, B, d).
        loss: of what the module returns; see `pull_loss`.
        layer: the name of the layer inside the module, as `named_modules` says it; default all.
        initial: the first state of a bare layer or cell; default zeros, or what is in `batch`.
        lengths: of the sequences of a padded batch given to a bare layer.
        dt: time between steps.

    Raises:
        InputError: nothing in the module recurs, or `layer` is not there.
        NumericalError: the module's output is not finite.
    """
    if isinstance(module, CELL_MODULES):
        return _open_cell(module, batch, loss, initial, dt)  # type: ignore[arg-type]  # CELL_MODULES are nn.RNNCellBase
    places = _places(module, layer)
    args, kwargs = _arguments(batch, module, initial)
    calls: list[tuple[str, nn.Module, Call]] = []
    cells = Gatherer()
    with _left_alone(module), _watched(places, calls, cells):
        result = module(*args, **kwargs)
        stepped = cells.judged()
        if not calls and not stepped:
            raise InputError("`model` ran without calling any of its recurrent layers; nothing was seen")
        refuse_not_finite(module, calls)
        outputs = [call.output for _, _, call in calls] + [h for each in stepped for h in each.outputs]
        pulled = pull_loss(result, outputs, loss, _rows(args, kwargs), cells.beside)
    sites, error = [], 0.0
    for k, (name, place, call) in enumerate(calls):
        if lengths is not None:
            call = _shortened(call, lengths)
        systems, replayed = layer_systems(place, call)
        error = max(error, _difference(call, replayed))
        cotangents = array(call.padded(pulled.gradients[k]))
        sites += sites_of(name, systems, cotangents, call.lengths, pulled)
    left = iter(pulled.gradients[len(calls) :])
    for each in stepped:
        system = each.system()
        error = max(error, each.difference(system))
        by_step = [array(next(left)).reshape(system.batch, -1) for _ in each.states]
        sites.append(Site(each.name, system, np.stack(by_step, axis=1), whole=pulled.whole))
    details = {"gradients": pulled, **_predictions(result, args, [call for _, _, call in calls], lengths)}
    if len(calls) == len(sites) == 1 and loss is not None and not (pulled.whole or isinstance(calls[0][1], LRU)):
        _, place, call = calls[0]
        rerun = _rerun(module, place, call, (args, kwargs), loss)
        details["context"] = module_context(sites[0].system, rerun, sites[0].system.lengths)
    return Subject(_described(module), tuple(sites), pulled.words, error, dt, module, batch, pulled.notes, details)


def _predictions(result: Any, args: tuple[Any, ...], calls: list[Call], lengths: Any) -> dict[str, Any]:
    """What a module with one layer put out, and what it was given, batch first; nothing where they are not of one layout."""
    output = result
    while isinstance(output, tuple | list) and not isinstance(output, PackedSequence):
        output = output[0]
    if len(calls) != 1 or not isinstance(output, Tensor) or not output.is_floating_point():
        return {}
    call, own = calls[0], calls[0].output
    if output.dim() != own.dim() or output.shape[:-1] != own.shape[:-1] or isinstance(result, PackedSequence):
        return {}
    given = args[0] if args and isinstance(args[0], Tensor) and args[0].shape[:-1] == own.shape[:-1] else None
    known = call.lengths if lengths is None else np.asarray(torch.as_tensor(lengths).cpu())
    inputs = (
        call.inputs if given is None else array(call.padded(given.float() if not given.is_floating_point() else given))
    )
    return {"output": array(call.padded(output)), "inputs": inputs, "lengths": known, "padded": call.padded}


def _rerun(
    module: nn.Module, place: nn.Module, call: Call, given: tuple[tuple[Any, ...], dict[str, Any]], loss: Any
) -> Callable[[np.ndarray], np.ndarray | None]:
    """A function from what the layer puts out (B, T, ·) to the losses (B, T) that the rest of the module makes of it."""

    def losses(output: np.ndarray) -> np.ndarray | None:
        def hook(layer: nn.Module, args: Any, kwargs: Any, result: Any) -> Any:
            own = result[0]
            data = call.laid_out(output, own.data if isinstance(own, PackedSequence) else own)
            return (own._replace(data=data) if isinstance(own, PackedSequence) else data, *result[1:])

        handle = place.register_forward_hook(hook, with_kwargs=True)
        try:
            with _left_alone(module), torch.no_grad():
                found = loss(module(*given[0], **given[1]))
        finally:
            handle.remove()
        own = call.output
        if found.shape != own.shape[:-1]:
            return None
        return array(call.padded(found.unsqueeze(-1)))[..., 0]

    return losses


def _open_cell(cell: nn.RNNCellBase, batch: Any, loss: Loss, initial: Any, dt: float) -> Subject:
    x = _tensor(batch, cell)
    if x.dim() == 2:
        x = x.unsqueeze(1)
    if x.dim() != 3:
        raise InputError(f"`batch` has {x.dim()} axes; pass (T, B, d) to a cell")
    start = None if initial is None else _first_state(initial, x.shape[1])
    system = cell_system(cell, array(x).transpose(1, 0, 2), start)
    hidden = torch.from_numpy(system.states[:, 1:, : system.readout_size].copy()).requires_grad_()
    pulled = pull_loss(hidden, [hidden], loss, None)
    error = _cell_difference(cell, x, start, system)
    site = Site("", system, array(pulled.gradients[0]), whole=pulled.whole)
    return Subject(_described(cell), (site,), pulled.words, error, dt, cell, batch, pulled.notes, {"gradients": pulled})


def _cell_difference(cell: nn.RNNCellBase, x: Tensor, start: np.ndarray | None, system: System) -> float:
    """The module's own first hundred steps against the replayed ones."""
    steps, H = min(len(x), 100), system.readout_size
    state: Any = None
    if start is not None:
        given = torch.from_numpy(start).to(x)
        state = (given[:, :H], given[:, H:]) if isinstance(cell, nn.LSTMCell) else given
    error = 0.0
    with torch.no_grad():
        for t in range(steps):
            state = cell(x[t], state)
            h = state[0] if isinstance(state, tuple) else state
            error = max(error, float(np.abs(array(h) - system.states[:, t + 1, :H]).max(initial=0.0)))
    return error


def _first_state(initial: Any, batch: int) -> np.ndarray:
    parts = [
        np.asarray(torch.as_tensor(part).cpu(), dtype=np.float64)
        for part in (initial if isinstance(initial, tuple) else (initial,))
    ]
    return np.concatenate([np.broadcast_to(part, (batch, part.shape[-1])) for part in parts], axis=1)


def _places(module: nn.Module, layer: str | None) -> dict[str, nn.Module]:
    found = {name: each for name, each in module.named_modules() if isinstance(each, LAYERS + CELL_MODULES)}
    if not found:
        raise InputError(
            f"`model` is a {type(module).__name__} without a recurrent layer; pass one with a torch.nn.RNN, LSTM or GRU inside, "
            "or its step(x, state) -> state"
        )
    if layer is None:
        return found
    if layer not in found:
        raise InputError(f"`layer` is {layer!r}; the recurrent layers are {', '.join(map(repr, found))}")
    return {layer: found[layer]}


def _arguments(batch: Any, module: nn.Module, initial: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if isinstance(batch, Mapping):
        return (), {name: _tensor(each, module) for name, each in batch.items()}
    if isinstance(batch, tuple) and not isinstance(batch, PackedSequence):
        return tuple(_tensor(each, module) for each in batch), {}
    given = _tensor(batch, module)
    return (given,) if initial is None else (given, _tensor(initial, module)), {}


def _tensor(value: Any, module: nn.Module) -> Any:
    """Arrays as tensors, floating ones in the module's precision, on its device."""
    if isinstance(value, tuple) and not isinstance(value, PackedSequence):
        return tuple(_tensor(each, module) for each in value)
    if isinstance(value, np.ndarray):
        value = torch.from_numpy(np.ascontiguousarray(value))
    like = next(iter(module.parameters()), torch.zeros(()))
    if isinstance(value, Tensor):
        return value.to(like) if value.is_floating_point() else value.to(like.device)
    return value.to(like) if isinstance(value, PackedSequence) else value  # type: ignore[arg-type]  # it takes what a tensor's `to` takes


def _rows(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> int | None:
    first = next(iter([*args, *kwargs.values()]), None)
    if isinstance(first, PackedSequence):
        return len(first.data)
    return len(first) if isinstance(first, Tensor) and first.dim() == 2 and first.is_floating_point() else None


@contextlib.contextmanager
def _left_alone(module: nn.Module) -> Iterator[None]:
    """Evaluation mode and gradients inside; modes, flags, buffers and generators as before outside.

    Without cuDNN, which refuses to go backward in evaluation mode.
    """
    modes = [(each, each.training) for each in module.modules()]
    buffers = {name: value.clone() for name, value in module.named_buffers()}
    devices = sorted({p.device.index for p in module.parameters() if p.device.type == "cuda"})
    try:
        with unmoved(devices), torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):
            module.eval()
            yield
    finally:
        for each, training in modes:
            each.training = training
        with torch.no_grad():
            for name, value in module.named_buffers():
                if not torch.equal(value, buffers[name]):
                    value.copy_(buffers[name])


@contextlib.contextmanager
def _watched(places: dict[str, nn.Module], calls: list[tuple[str, nn.Module, Call]], cells: Gatherer) -> Iterator[None]:
    """Inside, every call of a layer is put on the list, and every call of a cell is gathered."""
    counts: dict[str, int] = {}

    def watch(name: str) -> Any:
        def hook(layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> Any:
            if not isinstance(layer, LAYERS):
                return cells.after(name, result)
            result = _with_graph(result)
            counts[name] = counts.get(name, 0) + 1
            label = name if counts[name] == 1 else f"{name} (call {counts[name]})"
            calls.append((label, layer, read_call(layer, args, kwargs, result)))
            result, unseen = through_output(layer, calls[-1][2], result)
            cells.beside.extend(unseen)
            return result

        return hook

    handles = [place.register_forward_hook(watch(name), with_kwargs=True) for name, place in places.items()]
    handles += [
        place.register_forward_pre_hook(partial(cells.before, name), with_kwargs=True)
        for name, place in places.items()
        if isinstance(place, CELL_MODULES)
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _with_graph(result: Any) -> Any:
    """The same result, its output a leaf that asks for gradients where the layer's weights do not."""
    output = result[0]
    data = output.data if isinstance(output, PackedSequence) else output
    if data.requires_grad:
        return result
    leaf = data.detach().requires_grad_()
    return (output._replace(data=leaf) if isinstance(output, PackedSequence) else leaf, *result[1:])


def _shortened(call: Call, lengths: Any) -> Call:
    batch, steps = call.inputs.shape[:2]
    given = np.asarray(torch.as_tensor(lengths).cpu())
    if given.shape != (batch,) or given.dtype.kind not in "iu" or given.min() < 1 or given.max() > steps:
        raise InputError(f"`lengths` is {checks.shown(lengths)}; pass {batch} whole numbers from 1 to {steps}")
    return Call(call.inputs, given, call.initial, call.output, call.padded, call.elapsed)


def refuse_not_finite(module: nn.Module, calls: list[tuple[str, nn.Module, Call]]) -> None:
    """Raise where a layer put out something that is not finite, and say where that began."""
    if all(bool(torch.isfinite(call.output).all()) for _, _, call in calls):
        return
    found = trouble(module, calls)
    if found:
        raise NumericalError(f"the network's output is not finite on this batch: {found}")


def _difference(call: Call, replayed: np.ndarray) -> float:
    own = array(call.padded(call.output))
    inside = np.arange(own.shape[1]) < call.lengths[:, None]
    return float(np.abs(own - replayed)[inside].max(initial=0.0))


def sites_of(
    name: str, systems: list[System], cotangents: np.ndarray, lengths: np.ndarray, pulled: Pulled
) -> list[Site]:
    """One site a system; in a network with two directions only the top layers have the loss above them."""
    if len(systems) == 1:
        return [Site(name, systems[0], cotangents, whole=pulled.whole)]
    half = len(systems) // 2
    halves = np.split(cotangents, 2, axis=2)
    found = []
    for k, system in enumerate(systems):
        back, top = k >= half, k % half == half - 1
        own = halves[back] if top else None
        if own is not None and back:
            own = flip(own, lengths)
        found.append(Site(name, system, own, backward=back, whole=pulled.whole))
    return found


def _described(module: nn.Module) -> str:
    text = (
        f"{type(module).__name__}({module.extra_repr()})"
        if isinstance(module, LAYERS + CELL_MODULES)
        else type(module).__name__
    )
    return text.replace(", batch_first=True", "")
