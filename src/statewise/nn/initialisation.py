"""Initial weights and biases of recurrent layers, by name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from statewise._core import checks
from statewise._core.errors import InputError, UnsupportedError
from statewise._core.seed import generator

M = TypeVar("M", bound=nn.Module)

_NAMES = ("orthogonal", "identity", "chrono", "forget-bias", "spectral")
_WEIGHT = re.compile(r"weight_ih(?P<ending>|_l\d+(_reverse)?)")
_KINDS = {1: "RNN", 2: "minGRU", 3: "GRU", 4: "LSTM"}  # by blocks of rows in the weights
_KEEPS = {
    2: (0, -1.0),
    3: (1, 1.0),
    4: (1, 1.0),
}  # the block of the gate that keeps, and the sign with which its bias does
_INPUT_SD = 0.001  # of the input weights of an identity recurrence, Le et al. (2015), §4


class _Step(NamedTuple):
    """The parameters of one layer and direction; those that it does not have are None."""

    input: Tensor
    recurrent: Tensor | None
    input_bias: Tensor | None
    recurrent_bias: Tensor | None
    gates: int
    hidden: int

    @property
    def kind(self) -> str:
        return _KINDS[self.gates]

    def rows(self, block: int) -> slice:
        return slice(block * self.hidden, (block + 1) * self.hidden)

    def blocks(self) -> Iterator[Tensor]:
        """Each gate's recurrent weights (H, H); the same memory, so that a change is kept."""
        if self.recurrent is None:
            raise UnsupportedError(
                f"a {self.kind} has no recurrent weights to initialise; use 'chrono' or 'forget-bias'"
            )
        for block in range(self.gates):
            yield self.recurrent[self.rows(block)]


def initialise(
    module: M,
    name: str,
    *,
    horizon: float | None = None,
    value: float = 1.0,
    radius: float = 1.0,
    seed: int | None = 0,
) -> M:
    """Initialise every recurrent layer inside a module, in place, and return the module.

    ==============  ===================================================================================================
    `name`          what is set; all else stays as it is
    ==============  ===================================================================================================
    'orthogonal'    each gate's W_hh to a random orthogonal matrix, so that ‖W_hh v‖ = ‖v‖
    'identity'      an RNN's W_hh to the identity, its biases to 0, W_ih to N(0, .001²): a recurrence that keeps
    'chrono'        the gate that keeps to time constants up to `horizon`: an LSTM's b_f = ln U(1, horizon − 1) and b_i = −b_f; a GRU's
                    b_z = ln U(1, horizon − 1), for z keeps; a minGRU's b_z the negative of that, for there z renews
    'forget-bias'   the bias of the gate that keeps to `value`; of a minGRU's z to −`value`
    'spectral'      each gate's W_hh multiplied so that its spectral radius is `radius`
    ==============  ===================================================================================================

    A gate f held at σ(b) remembers for τ = −1 / ln f steps: 1.44 at b = 0, and 99.5 at b = ln 99, the longest of horizon = 100. Where a
    layer has two biases, as PyTorch's do, the input's gets the value and the state's gets 0.

    Args:
        module: a torch.nn or statewise.nn RNN, GRU or LSTM (or RNNCell, GRUCell, LSTMCell), a `MinGRU`, or a module that contains some.
        name: from the table.
        horizon: T of 'chrono', in steps, from 2: the longest dependence that is expected.
        value: of 'forget-bias'.
        radius: of 'spectral', above 0.
        seed: of the random numbers; None draws fresh ones.

    Raises:
        InputError: an argument is wrong, no recurrent layer is found, or a layer has no biases where they are to be set.
        UnsupportedError: a layer has nothing that the initialisation sets.

    Source: Saxe, McClelland & Ganguli (2014), §3 (orthogonal); Le, Jaitly & Hinton (2015), §4 (identity); Tallec & Ollivier (2018), §2
    (chrono); Jozefowicz, Zaremba & Sutskever (2015), §2.2 (forget bias).

    Example:
        >>> import torch
        >>> layer = initialise(torch.nn.LSTM(3, 8), "chrono", horizon=100)
        >>> bool((layer.bias_ih_l0[8:16] <= 4.5952).all())  # ln 99
        True
    """
    name = checks.Choice(_NAMES).check("name", name)
    if name == "chrono" and horizon is None:
        raise InputError("`horizon` is None; pass the longest dependence that is expected, in steps")
    horizon = checks.Real(2.0).check("horizon", 2.0 if horizon is None else horizon)
    value = checks.Real().check("value", value)
    radius = checks.Real(0.0, open_low=True).check("radius", radius)
    rng = generator(seed)
    found = list(_steps(module))
    if not found:
        raise InputError(
            f"`module` is a {type(module).__name__} without a recurrent layer; pass an RNN, a GRU or an LSTM"
        )
    with torch.no_grad():
        for step in found:
            if name == "orthogonal":
                _orthogonal(step, rng)
            elif name == "identity":
                _identity(step, rng)
            elif name == "spectral":
                _spectral(step, radius)
            elif name == "chrono":
                _keep(step, name, np.log(rng.uniform(1.0, horizon - 1.0, step.hidden)), opposite=True)
            else:
                _keep(step, name, np.full(step.hidden, value), opposite=False)
    return module


def _steps(module: nn.Module) -> Iterator[_Step]:
    for part in module.modules():
        hidden = getattr(part, "hidden_size", None)
        own: dict[str, Any] = dict(part.named_parameters(recurse=False))
        for key, weight in own.items():
            match = _WEIGHT.fullmatch(key)
            if not match or not isinstance(hidden, int) or weight.shape[0] not in [hidden * gates for gates in _KINDS]:
                continue
            other, input_bias, other_bias = (
                own.get(which + match["ending"]) for which in ("weight_hh", "bias_ih", "bias_hh")
            )
            yield _Step(weight, other, input_bias, other_bias, weight.shape[0] // hidden, hidden)


def _orthogonal(step: _Step, rng: np.random.Generator) -> None:
    for weight in step.blocks():
        rows, columns = weight.shape
        normal = rng.standard_normal((max(rows, columns), min(rows, columns)))
        q, r = np.linalg.qr(normal)
        q = q * np.sign(np.diagonal(r))  # uniform among the orthogonal matrices, Mezzadri (2007)
        _set(weight, q if rows >= columns else q.T)


def _identity(step: _Step, rng: np.random.Generator) -> None:
    if step.gates != 1:
        raise UnsupportedError(
            f"'identity' makes an RNN keep its state; a {step.kind} has a gate for that: use 'chrono'"
        )
    for weight in step.blocks():
        _set(weight, np.eye(len(weight)))
    _set(step.input, _INPUT_SD * rng.standard_normal(tuple(step.input.shape)))
    for bias in (step.input_bias, step.recurrent_bias):
        if bias is not None:
            bias.zero_()


def _spectral(step: _Step, radius: float) -> None:
    for weight in step.blocks():
        if weight.shape[0] != weight.shape[1]:
            raise UnsupportedError("a layer with proj_size has no square recurrent weights, and so no spectral radius")
        own = float(np.abs(np.linalg.eigvals(weight.double().cpu().numpy())).max())
        if own == 0.0:
            raise InputError(
                "the recurrent weights have the spectral radius 0, which no factor changes; draw them first"
            )
        weight.mul_(radius / own)


def _keep(step: _Step, name: str, bias: np.ndarray, opposite: bool) -> None:
    """Set the bias of the gate that keeps, and with `opposite` an LSTM's input gate to the negative of it."""
    if step.gates not in _KEEPS:
        raise UnsupportedError(
            f"{name!r} sets the gate that keeps; an {step.kind} has none: use 'identity' or 'orthogonal'"
        )
    if step.input_bias is None:
        raise InputError(f"{name!r} sets biases, and the layer has none; build it with bias=True")
    block, sign = _KEEPS[step.gates]
    values = {block: sign * bias}
    if opposite and step.kind == "LSTM":
        values[0] = -bias
    for rows, given in values.items():
        _set(step.input_bias[step.rows(rows)], given)
        if step.recurrent_bias is not None:
            step.recurrent_bias[step.rows(rows)].zero_()


def _set(tensor: Tensor, array: np.ndarray) -> None:
    tensor.copy_(torch.from_numpy(np.ascontiguousarray(array)))
