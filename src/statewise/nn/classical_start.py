"""A gated network around a classical predictor: torch modules.

A *path* runs the classical model's own recursion and says what it predicts; gated units see what it sees and add to its readout. Their
readout starts at zero, so that the untrained network is the classical model. Tensors of a batch are named in a dict `rows`, (B, T, …) each.
"""

from __future__ import annotations

import abc
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

_LAYERS: dict[str, Callable[..., nn.RNNBase]] = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}
_STEP = 0.1  # of a change of the classical weights, to one of the network's
SWING = 2.0  # the most that a state can raise or lower a log standard deviation
Rows = Mapping[str, Tensor]


class Path(nn.Module, abc.ABC):
    """A classical predictor as a recurrent path.

    Attributes:
        widths: how many numbers each of the readouts adds to.
    """

    widths: tuple[int, ...]

    @abc.abstractmethod
    def forward(self, rows: Rows, added: tuple[Tensor, ...], frozen: bool) -> Tensor:
        """(B, T) log density of each step, with what the units add; with `frozen` the path is the classical model's, worked out before."""

    @abc.abstractmethod
    def departure(self, added: tuple[Tensor, ...]) -> Tensor:
        """(B, T) how far the network departs from the classical model, as a prior counts it."""


class GaussianPath(Path):
    """a[t+1] = A a[t] + B u[t] + b + K[t] v[t],  v[t] = y[t] − C a[t] − D u[t] − d: the Kalman filter with trainable weights.

    ::

        y[t] ~ N(C a[t] + D u[t] + d + sd[t] ∘ c[t],  E F[t] E),  E = diag(exp(s[t] + s₀)),  c = W h,  s = 2 tanh(V h / 2)

    K[t] and F[t] are the classical model's, whatever is missing; every weight is the classical one plus a change that starts at zero,
    in units of the states' and observations' standard deviations.

    Args:
        weights: A, C, b, d, B, D with one more axis in front: one set for all series, or one for each.
        state_size, sd: (G, n) and (G, p) those units.
        input_size: (G, u) standard deviations of the inputs.
    """

    def __init__(
        self, weights: Mapping[str, np.ndarray], state_size: np.ndarray, sd: np.ndarray, input_size: np.ndarray
    ) -> None:
        super().__init__()
        inverse = np.where(state_size > 0, 1.0 / np.where(state_size > 0, state_size, 1.0), 0.0)
        units = {
            "A": state_size[:, :, None] * inverse[:, None, :],
            "C": sd[:, :, None] * inverse[:, None, :],
            "b": state_size,
            "d": sd,
            "B": state_size[:, :, None] / input_size[:, None, :],
            "D": sd[:, :, None] / input_size[:, None, :],
            "K": state_size[:, :, None] / sd[:, None, :],
            "s": np.ones_like(sd),
        }
        for letter, unit in units.items():
            start = weights[letter] if letter in weights else np.zeros_like(unit)
            self.register_buffer(f"start_{letter}", torch.tensor(start))
            self.register_buffer(f"unit_{letter}", torch.tensor(_STEP * unit))
            setattr(self, f"change_{letter}", nn.Parameter(torch.zeros(unit.shape, dtype=torch.float64)))
        self.widths = (sd.shape[1], sd.shape[1])

    def weight(self, letter: str, group: Tensor) -> Tensor:
        """A weight at its present value, for each sequence of the batch."""
        value: Tensor = getattr(self, f"start_{letter}") + getattr(self, f"unit_{letter}") * getattr(
            self, f"change_{letter}"
        )
        return value[group]

    def run(self, rows: Rows) -> tuple[Tensor, Tensor]:
        """What the path predicts at each step (B, T, p), and of the state after the last one (B, n)."""
        group = rows["group"][:, 0]
        A, C, gain = (self.weight(letter, group) for letter in "ACK")
        at_y = self.weight("d", group)[:, None] + rows["u"] @ self.weight("D", group).mT
        at_x = self.weight("b", group)[:, None] + rows["u"] @ self.weight("B", group).mT
        rest = rows["y"] - at_y
        a, found = rows["state"][:, 0, :, None], []
        gains = rows["gain"] + gain[:, None]
        held, given = rows["held"][..., None, None] > 0, rows["next_state"][..., None]
        any_held = rows["held"].amax(dim=0) > 0
        for t in range(rest.shape[1]):
            expected = C @ a
            found.append(expected[..., 0])
            v = (rest[:, t] - expected[..., 0]) * rows["seen"][:, t]
            a = A @ a + at_x[:, t, :, None] + gains[:, t] @ v[..., None]
            if any_held[t]:
                a = torch.where(held[:, t], given[:, t], a)
        return torch.stack(found, dim=1) + at_y, a[..., 0]

    def law(self, rows: Rows, added: tuple[Tensor, ...], frozen: bool) -> tuple[Tensor, Tensor]:
        """Means and changes of the log standard deviations, (B, T, p) each."""
        mean = rows["mean"] if frozen else self.run(rows)[0]
        swing = SWING * torch.tanh(added[1] / SWING)
        if not frozen:
            swing = swing + self.weight("s", rows["group"][:, 0])[:, None]
        return mean + rows["sd"] * added[0], swing

    def forward(self, rows: Rows, added: tuple[Tensor, ...], frozen: bool) -> Tensor:
        mean, swing = self.law(rows, added, frozen)
        rest = (rows["y"] - mean) * torch.exp(-swing) * rows["seen"]
        z = torch.linalg.solve_triangular(rows["root"], rest[..., None], upper=False)[..., 0]
        log_det = rows["log_det"] + (swing * rows["seen"]).sum(dim=-1)
        density = -0.5 * (z * z).sum(dim=-1) - log_det - 0.5 * math.log(2 * math.pi) * rows["seen"].sum(dim=-1)
        return torch.where(rows["held"] > 0, rows["constant"], density)

    def departure(self, added: tuple[Tensor, ...]) -> Tensor:
        swing = SWING * torch.tanh(added[1] / SWING)
        return (5.0 * added[0] ** 2 + 10.0 * swing**2).sum(dim=-1)


class StartedNetwork(nn.Module):
    """torch.nn.RNN, GRU or LSTM whose readout is added to that of a classical path, in float64.

    Args:
        cell, input_size, hidden, layers: of the gated units.
        path: the classical predictor.
        frozen: keep the path as it is.
    """

    def __init__(self, cell: str, input_size: int, hidden: int, layers: int, path: Path, frozen: bool) -> None:
        super().__init__()
        self.rnn = _LAYERS[cell](input_size, hidden, num_layers=layers, batch_first=True).double()
        self.path = path
        self.frozen = frozen
        self._begin = [p.detach().clone() for p in path.parameters()]
        self.readouts = nn.ParameterList([torch.zeros(width, hidden, dtype=torch.float64) for width in path.widths])

    def added(self, rows: Rows) -> tuple[Tensor, ...]:
        """What the units add to each readout of the path."""
        if all(not weight.any() for weight in self.readouts) and not torch.is_grad_enabled():
            shape = rows["x"].shape[:2]
            return tuple(rows["x"].new_zeros(*shape, len(weight)) for weight in self.readouts)
        h, _ = self.rnn(rows["x"])
        return tuple(h @ weight.T for weight in self.readouts)

    def forward(self, rows: Rows) -> tuple[Tensor, Tensor]:
        """(B, T) log densities and departures."""
        added = self.added(rows)
        return self.path(rows, added, self.frozen), self.path.departure(added)

    def groups(self, weight_decay: float) -> list[dict[str, Any]]:
        """Parameters for the optimiser; what decays goes back to the classical model."""
        own = [*self.rnn.parameters(), *self.readouts]
        if self.frozen:
            return [{"params": own, "weight_decay": weight_decay}]
        return [{"params": [*own, *self.path.parameters()], "weight_decay": weight_decay}]

    def arrays(self) -> dict[str, np.ndarray]:
        """All that training changes, by name."""
        return {name: p.detach().numpy().copy() for name, p in self.named_parameters()}

    def load(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Take those parameters that `arrays` has."""
        with torch.no_grad():
            for name, p in self.named_parameters():
                p.copy_(torch.tensor(np.asarray(arrays[name])))

    def is_start(self) -> bool:
        """Whether nothing has been added to the classical model."""
        return not any(bool(weight.any()) for weight in self.readouts) and self.path_unchanged()

    def path_unchanged(self) -> bool:
        """Whether the path's weights are still the classical model's."""
        return self.frozen or all(
            torch.equal(p, begin) for p, begin in zip(self.path.parameters(), self._begin, strict=True)
        )
