"""How a loss hangs on what a recurrent layer puts out, step by step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from statewise._core import checks
from statewise._core.errors import InputError

UNSEEN = (
    "the loss also reads states that are not in the output (the c of an LSTM, or the last h of a lower layer); what reaches the states through "
    "them is left out"
)
HALF_SQUARE = "½‖output‖² per step"


@dataclass(frozen=True)
class Pulled:
    """The gradients of a loss by the outputs of the layers.

    Attributes:
        gradients: for each layer ∂L/∂output in the layout of its output; of step t only L[t] counts, unless `whole`.
        words: what L is.
        whole: L is one number, or one a sequence, so that a gradient is of L by all outputs.
        notes: what the loss turned out to be.
    """

    gradients: list[Tensor]
    words: str
    whole: bool
    notes: tuple[str, ...] = ()


def pull_loss(
    result: Any,
    outputs: list[Tensor],
    loss: Callable[[Any], Tensor] | None,
    rows: int | None,
    beside: Sequence[Tensor] = (),
) -> Pulled:
    """Gradients of the loss of what the module returned, by each of `outputs`.

    Args:
        result: what the module returned.
        outputs: of its recurrent layers, with graphs that lead to `result`.
        loss: takes `result` and returns losses: one a step (two axes), or one a sequence, or one number. None: `HALF_SQUARE`.
        beside: tensors that are no outputs; that the loss reads them is noted.
        rows: steps in all, where the module was given packed data or one sequence without a batch; losses of that length are one a step.
    """
    losses, words = (half_square(result), HALF_SQUARE) if loss is None else (loss(result), _name(loss))
    if not isinstance(losses, Tensor) or losses.dim() > 2 or not losses.requires_grad:
        raise InputError(
            f"`loss` returned {checks.shown(losses)}; return a tensor computed from the network's output: (batch, time), (batch,) or ()"
        )
    if not torch.isfinite(losses).all():
        raise InputError("`loss` is not finite on this batch; look at `loss(model(batch))` first")
    gradients = _gradients(losses.sum(), outputs)
    whole = losses.dim() < 2 and not (losses.dim() == 1 and len(losses) == rows)
    notes: tuple[str, ...] = ()
    if not whole and len(outputs) == 1 and not _is_local(losses, gradients[0], outputs):
        whole, notes = (
            True,
            (
                "the loss of a step reads the outputs of other steps too, so the gradients are those of the sum of losses",
            ),
        )
    if beside and any(g.any() for g in _gradients(losses.sum(), list(beside))):
        notes = (*notes, UNSEEN)
    return Pulled(gradients, words, whole, notes)


def half_square(result: Any) -> Tensor:
    """(batch, time), or for packed data (rows,): half the square of the first tensor that the module returned."""
    output = result
    while isinstance(output, tuple | list) and not isinstance(output, PackedSequence):
        output = output[0]
    tensor = output.data if isinstance(output, PackedSequence) else output
    if not isinstance(tensor, Tensor) or not tensor.is_floating_point():
        raise InputError(
            f"`model` returned {checks.shown(result)}; pass `loss`, a function of it that returns a loss a step (batch, time), a sequence or in all"
        )
    return 0.5 * (tensor**2).sum(dim=-1) if tensor.dim() > 1 else 0.5 * tensor**2


def _gradients(total: Tensor, outputs: list[Tensor]) -> list[Tensor]:
    found = torch.autograd.grad(total, outputs, retain_graph=True, allow_unused=True)
    return [torch.zeros_like(o) if g is None else g for g, o in zip(found, outputs, strict=True)]


def _is_local(losses: Tensor, gradient: Tensor, outputs: list[Tensor]) -> bool:
    """Whether the loss of a step reads that step's output alone: then weighting the losses weights the gradients.

    The weights are a fixed irrational pattern over the steps, so that no generator moves.
    """
    if losses.shape != gradient.shape[:-1]:
        return True  # another layout: nothing to compare with
    ramp = torch.arange(losses.numel(), dtype=torch.float64).mul(0.6180339887498949).remainder(1.0).add(0.5)
    weights = ramp.reshape(losses.shape).to(losses)
    (weighted,) = _gradients((weights * losses).sum(), outputs)
    expected = weights.unsqueeze(-1) * gradient
    scale = float(gradient.abs().max())
    tolerance = 1e-4 if losses.dtype == torch.float32 else 1e-10
    return bool(((weighted - expected).abs().max() <= tolerance * scale + np.finfo(float).tiny).item())


def _name(loss: Callable[..., Any]) -> str:
    name = getattr(loss, "__name__", type(loss).__name__)
    return "the loss that was given" if name == "<lambda>" else f"{name} of the output"
