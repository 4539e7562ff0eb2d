"""One step of an explicit solver of dh/dt = f(h) as a recurrent cell, as a torch module."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from statewise._core.errors import InputError

Field = Callable[[Tensor], Tensor]
METHODS = ("euler", "midpoint", "rk4", "exponential-euler")


class ODECell(nn.Module):
    """h ← h + dt Φ(h): Euler is the residual network Φ = f; midpoint and the classical fourth-order Runge–Kutta rule nest f in itself.

    'exponential-euler' is h ← h + dt φ₁(dt J) f(h), φ₁(z) = (eᶻ − 1)/z, J the Jacobian of f at h: exact where f is linear, of order 2 else
    (Hochbruck & Ostermann, *Exponential integrators*, Acta Numerica 19 (2010), §2.4).

    Args:
        f: a torch callable of states (N, n), such as a module, whose weights are then trained with the cell; or a matrix A (n, n), f(h) = A h.
        method: one of `METHODS`.
        dt: the step.

    `forward(h, steps)` takes states (N, n) and gives those after 1 … steps steps, (N, steps, n); `step(h)` is one step.
    """

    def __init__(self, f: Field | Tensor, method: str, dt: float) -> None:
        super().__init__()
        self.field: Field | None = None
        if isinstance(f, Tensor):
            self.matrix = nn.Parameter(f.clone())
        else:
            self.field = f
        self.method, self.dt = method, dt

    def f(self, h: Tensor) -> Tensor:
        """dh/dt."""
        if h.ndim != 2 or (self.field is None and h.shape[1] != len(self.matrix)):
            n = "n" if self.field is not None else len(self.matrix)
            raise InputError(f"the states have shape {tuple(h.shape)}; pass (N, {n})")
        if self.field is None:
            return h @ self.matrix.T
        rate = self.field(h)
        if rate.shape != h.shape:
            raise InputError(
                f"`f` gave rates of shape {tuple(rate.shape)} for states of shape {tuple(h.shape)}; return one rate for each state"
            )
        return rate

    def step(self, h: Tensor) -> Tensor:
        """The state after one step of the solver."""
        dt = self.dt
        if self.method == "euler":
            return h + dt * self.f(h)
        if self.method == "midpoint":
            return h + dt * self.f(h + dt / 2 * self.f(h))
        if self.method == "rk4":
            k1 = self.f(h)
            k2 = self.f(h + dt / 2 * k1)
            k3 = self.f(h + dt / 2 * k2)
            k4 = self.f(h + dt * k3)
            return h + dt / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        return h + dt * (_phi(dt * self._jacobian(h)) @ self.f(h)[..., None])[..., 0]

    def _jacobian(self, h: Tensor) -> Tensor:
        """(N, n, n) ∂f/∂h."""
        if self.field is None:
            return self.matrix.expand(len(h), -1, -1)
        rows = [torch.func.jacrev(lambda one: self.f(one[None])[0])(one) for one in h]
        return torch.stack(rows)

    def forward(self, h: Tensor, steps: int) -> Tensor:
        found = []
        for _ in range(steps):
            h = self.step(h)
            found.append(h)
        return torch.stack(found, dim=1)

    def weight(self) -> Tensor:
        """(n, n) the recurrent weight of the linear cell that f(h) = A h gives."""
        return self.step(torch.eye(len(self.matrix), dtype=self.matrix.dtype)).T


def _phi(z: Tensor) -> Tensor:
    """φ₁ of matrices: the upper right block of exp [[z, I], [0, 0]]."""
    n = z.shape[-1]
    both = z.new_zeros(*z.shape[:-2], 2 * n, 2 * n)
    both[..., :n, :n] = z
    both[..., :n, n:] = torch.eye(n, dtype=z.dtype)
    return torch.linalg.matrix_exp(both)[..., :n, n:]
