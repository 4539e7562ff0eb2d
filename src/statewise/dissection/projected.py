"""The LSTM with a projected output (Sak, Senior & Beaufays 2014), torch's proj_size."""

from __future__ import annotations

import numpy as np

from statewise.cells import Linearised
from statewise.dissection.gated import GatedSystem, applied, gathered, scattered


class ProjectedSystem(GatedSystem):
    """The state is (h, c), P + H numbers, with h = W_hr r and r = o tanh(c): the LSTM's equations with r in the place of h.

    The parameters are the cell's with `weight_hh_l0` (4H, P), and `weight_hr_l0` (P, H).
    """

    @property
    def hidden_size(self) -> int:
        return self.params["weight_hr_l0"].shape[1]

    @property
    def readout_size(self) -> int:
        return self.params["weight_hr_l0"].shape[0]

    def _replay(self, initial: np.ndarray | None) -> np.ndarray:
        batch, steps = self.inputs.shape[:2]
        states = np.zeros((batch, steps + 1, self.readout_size + self.hidden_size), self.inputs.dtype)
        if initial is not None:
            states[:, 0] = initial
        for t in range(steps):
            states[:, t + 1] = self.step(self.inputs[:, t], states[:, t])
        return states

    def advance(self, t: int, state: np.ndarray, x: np.ndarray | None = None) -> np.ndarray:
        return self.step(self.inputs[:, t] if x is None else x, state)

    def step(self, x: np.ndarray, state: np.ndarray) -> np.ndarray:
        params, before = self._unprojected(state)
        return self._lower(self.cell.step(params, x, before))

    def _unprojected(self, state: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """The cell's parameters and state for which it sees W_hh h: with h in the place of r, and columns of zeros where r is longer."""
        P, H = self.readout_size, self.hidden_size
        weight = np.zeros((4 * H, H), self.weight.dtype)
        weight[:, :P] = self.weight
        padded = np.zeros((*state.shape[:-1], 2 * H), state.dtype)
        padded[..., :P], padded[..., H:] = state[..., :P], state[..., P:]
        return self.params | {"weight_hh_l0": weight}, padded

    def _lower(self, unprojected: np.ndarray) -> np.ndarray:
        """(…, P + H) from (r, c)."""
        H = self.hidden_size
        return np.concatenate([unprojected[..., :H] @ self.params["weight_hr_l0"].T, unprojected[..., H:]], axis=-1)

    def linearised_at(self, x: np.ndarray, state: np.ndarray) -> Linearised:
        params, before = self._unprojected(state)
        return self.cell.linearise(params, x, before)

    def push(self, t: int, tangents: np.ndarray) -> np.ndarray:
        parts, P, H = self.parts_at(t), self.readout_size, self.hidden_size
        found = gathered(parts.recurrent, applied(self.weight, tangents[:, :P]))
        found[:, :H] += parts.direct[:, 0, 1, :, None] * tangents[:, P:]
        found[:, H:] += parts.direct[:, 1, 1, :, None] * tangents[:, P:]
        return self._project(found)

    def push_input(self, t: int, tangents: np.ndarray) -> np.ndarray:
        return self._project(super().push_input(t, tangents))

    def pull(self, t: int, cotangents: np.ndarray) -> np.ndarray:
        parts, H = self.parts_at(t), self.hidden_size
        lifted = self._lift(cotangents)
        by_h = scattered(parts.recurrent, lifted) @ self.weight
        by_c = lifted[:, :, :H] * parts.direct[:, None, 0, 1] + lifted[:, :, H:] * parts.direct[:, None, 1, 1]
        return np.concatenate([by_h, by_c], axis=2)

    def pull_input(self, t: int, cotangents: np.ndarray) -> np.ndarray:
        return super().pull_input(t, self._lift(cotangents))

    def _project(self, tangents: np.ndarray) -> np.ndarray:
        """(B, P + H, k) tangents of (h, c) from those of (r, c)."""
        H = self.hidden_size
        return np.concatenate([self.params["weight_hr_l0"] @ tangents[:, :H], tangents[:, H:]], axis=1)

    def _lift(self, cotangents: np.ndarray) -> np.ndarray:
        """(B, r, 2H) cotangents of (r, c) from those of (h, c)."""
        P = self.readout_size
        return np.concatenate([cotangents[:, :, :P] @ self.params["weight_hr_l0"], cotangents[:, :, P:]], axis=2)

    def jacobian(self, t: int) -> np.ndarray:
        identity = np.broadcast_to(np.eye(self.size, dtype=self.dtype), (self.batch, self.size, self.size))
        return self.push(t, identity)

    def jacobian_at(self, x: np.ndarray, state: np.ndarray) -> np.ndarray:
        return self._here(x, state).jacobian(0)

    def input_jacobian_at(self, x: np.ndarray, state: np.ndarray) -> np.ndarray:
        identity = np.broadcast_to(np.eye(x.shape[1]), (len(x), x.shape[1], x.shape[1]))
        return self._here(x, state).push_input(0, identity)

    def _here(self, x: np.ndarray, state: np.ndarray) -> ProjectedSystem:
        """The system at places x (M, d) and s (M, n), for one step."""
        start = np.concatenate([state[:, None], state[:, None]], axis=1)  # where the step leads is not read
        return ProjectedSystem(self.cell, self.params, x[:, None], np.ones(len(x), int), None, self.label, None, start)

    def direct(self, t: int) -> np.ndarray:
        parts, P, H = self.parts_at(t), self.readout_size, self.hidden_size
        result = np.zeros((self.batch, P + H, P + H), self.dtype)
        units = np.arange(H)
        result[:, P + units, P + units] = parts.direct[:, 1, 1]
        result[:, :P, P:] = self.params["weight_hr_l0"] * parts.direct[:, 0, 1, None, :]
        return result

    def pull_direct(self, t: int, cotangents: np.ndarray) -> np.ndarray:
        return cotangents @ self.direct(t)
