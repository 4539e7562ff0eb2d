"""Files from which an interrupted training run goes on exactly: weights, optimiser, schedule, random states and position.

One safetensors file (never pickle), written whole or not at all. The schedule is a function of the epoch, and the order of the batches
one of the generator's state at the epoch's beginning, so that both are restored by numbers.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from statewise._core.errors import InputError
from statewise._core.files import write_atomically

if TYPE_CHECKING:
    from statewise.fitting.sgd import Run

_INTERVAL_S = 5.0  # an interrupt loses no more work than this
_KEYS = ("step", "exp_avg", "exp_avg_sq")  # what Adam keeps of each parameter


class Checkpoint:
    """A file that a run writes now and then, and goes on from if it is there.

    Args:
        path: the file.
        fingerprint: says which data, options and settings the run is for; a file with another one is refused.
    """

    def __init__(self, path: str | Path, fingerprint: str) -> None:
        self.path, self.fingerprint = Path(path), fingerprint
        self._written = time.monotonic()
        if self.path.is_dir():
            raise InputError(f"`checkpoint` is the folder {str(path)!r}; pass the name of a file")

    def write(self, run: Run, always: bool = False) -> None:
        """Write the run's state if the last time is long ago, or `always`."""
        if not always and time.monotonic() - self._written < _INTERVAL_S:
            return
        tensors = {f"module:{name}": value for name, value in run.snapshot().items()}
        best = run.stopping.best or {}
        tensors |= {f"best:{name}": value for name, value in best.items()}
        for index, kept in run.optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser:{index}:{key}": kept[key] for key in _KEYS}
        tensors |= {f"carried:{k}": part for k, part in enumerate(run.carried.tensors())}
        tensors |= {"epoch_draws": run.epoch_draws, "torch": torch.get_rng_state()}
        record = {
            "fingerprint": self.fingerprint,
            "epoch": run.epoch,
            "position": run.position,
            "loss_sum": run.loss_sum,
            "trace": run.trace,
            "losses": run.losses,
            "start_score": run.start_score,
            "best_score": run.stopping.best_score,
            "best_epoch": run.stopping.best_epoch,
            "finished": run.finished,
        }
        plain = {name: value.detach().contiguous().clone() for name, value in tensors.items()}
        write_atomically(self.path, save(plain, metadata={"run": json.dumps(record)}))
        self._written = time.monotonic()

    def read_into(self, run: Run) -> bool:
        """Put the file's state into a run that has just been made; False if there is no file.

        Raises:
            InputError: the file is of another run, or no checkpoint.
        """
        if not self.path.exists():
            return False
        try:
            with safe_open(str(self.path), framework="pt") as file:
                record = json.loads((file.metadata() or {})["run"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # not a dict
        except (SafetensorError, KeyError, ValueError, OSError):
            raise InputError(
                f"`checkpoint` {str(self.path)!r} is not a checkpoint of a fit; delete it or pass another name"
            ) from None
        if record["fingerprint"] != self.fingerprint:
            raise InputError(
                f"`checkpoint` {str(self.path)!r} belongs to a fit with other data, options or settings; "
                "pass what it was begun with, or delete it to begin anew"
            )
        _restore(run, record, tensors)
        return True


def _restore(run: Run, record: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
    run.module.load_state_dict(_under("module:", tensors))
    kept: dict[int, dict[str, torch.Tensor]] = {}
    for name, value in _under("optimiser:", tensors).items():
        index, key = name.split(":")
        kept.setdefault(int(index), {})[key] = value
    run.optimiser.load_state_dict({"state": kept, "param_groups": run.optimiser.state_dict()["param_groups"]})
    carried = _under("carried:", tensors)
    run.carried.restore([carried[str(k)] for k in range(len(carried))])
    run.epoch_draws = tensors["epoch_draws"]
    if run.draws:
        torch.set_rng_state(tensors["torch"])
    for name in ("epoch", "position", "loss_sum", "trace", "losses", "start_score", "finished"):
        setattr(run, name, record[name])
    run.stopping.best_score, run.stopping.best_epoch = record["best_score"], record["best_epoch"]
    run.stopping.best = _under("best:", tensors)


def _under(prefix: str, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
