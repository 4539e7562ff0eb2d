"""Watching a network while it is trained: how far gradients reach, how stable it is, and the first step that is not finite."""

from __future__ import annotations

import csv
import os
import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from statewise._core import checks
from statewise._core.errors import InputError, NumericalError, StatewiseError
from statewise._core.optional import require
from statewise.dissection import registry
from statewise.dissection.diagnostic import Diagnostic, Status
from statewise.dissection.gradient_flow import gradient_flow
from statewise.dissection.gradient_half_life import gradient_half_life
from statewise.dissection.not_finite import bad_gradients, bad_weights, listed
from statewise.dissection.open_module import open_module
from statewise.dissection.reach import reach
from statewise.dissection.spectrum import means, spectra, standard_errors
from statewise.dissection.subject import Subject

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Reading:
    """What was seen at one step of training; NaN where it was not to be had.

    Attributes:
        step: of training, from 0.
        loss: of that step.
        gradient_norm: of all parameters together, where they have gradients.
        gradient_half_life, half_life_low, half_life_high: in steps of time, with the interval.
        gradient_left: the share of the gradient that is left where the task needs it.
        lambda_1, lambda_1_error: the leading Lyapunov exponent and its standard error.
        saturation: share of steps and units that are saturated.
    """

    step: int
    loss: float
    gradient_norm: float
    gradient_half_life: float
    half_life_low: float
    half_life_high: float
    gradient_left: float
    lambda_1: float
    lambda_1_error: float
    saturation: float


class Monitor:
    """A callback for training loops: a dissection in small, once every so many steps, written to a file as it goes.

    ::

        monitor = sw.dissection.Monitor("run/monitor.csv", every=100, needs=40)
        for x, y in batches:
            loss = criterion(net(x), y)
            loss.backward()
            monitor.step(net, x, loss)
            optimiser.step(); optimiser.zero_grad()

    Between the steps at which it looks, it only asks whether the loss is finite. The first time that it is not, `first_not_finite` says at
    which step of training, where in the network it began and what helps; a warning says the same, or with ``stop=True`` an error.

    Args:
        path: the CSV file, one line a reading, written at once; None for none.
        every: steps of training between two readings.
        needs: steps of memory that the task needs.
        probe: a small batch, the same at every reading, so that readings can be compared; default the first `sequences` of the batch at hand.
        loss: of what the module returns for the probe, as for `dissect`; it needs a probe. Default ½‖output‖² per step.
        sequences: of a batch that are looked at where there is no probe.
        window: steps, at the end of the sequences, over which gradients are followed back.
        layer: the one layer inside the module to look at.
        tensorboard: a folder for TensorBoard, beside the CSV; needs the extra `tensorboard`.
        stop: raise an error at the first loss that is not finite.

    Attributes:
        readings: all so far.
        first_not_finite: (step, message), or None.

    Raises:
        InputError: an argument is wrong.
        MissingDependencyError: `tensorboard` is asked for and not installed.
        NumericalError: from `step`, with ``stop=True``.

    Example:
        >>> import torch
        >>> lstm = torch.nn.LSTM(3, 8, batch_first=True)
        >>> monitor = sw.dissection.Monitor(every=1)
        >>> monitor.step(lstm, torch.ones(4, 30, 3), torch.tensor(0.5))
        >>> len(monitor.to_frame())
        1
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        every: int = 100,
        needs: float | None = None,
        probe: Any = None,
        loss: Callable[[Any], Tensor] | None = None,
        sequences: int = 2,
        window: int = 64,
        layer: str | None = None,
        tensorboard: str | os.PathLike[str] | None = None,
        stop: bool = False,
    ) -> None:
        self.path = None if path is None else Path(path)
        self.every = checks.Integer(1).check("every", every)
        self.needs = checks.Optional(checks.Real(0.0, open_low=True)).check("needs", needs)
        self.sequences = checks.Integer(1).check("sequences", sequences)
        self.window = checks.Integer(2).check("window", window)
        self.stop = checks.Flag().check("stop", stop)
        if loss is not None and probe is None:
            raise InputError("`loss` is given but `probe` is None; pass the batch whose output the loss takes")
        self.probe, self.loss, self.layer = probe, loss, layer
        self.readings: list[Reading] = []
        self.first_not_finite: tuple[int, str] | None = None
        self._step = -1
        self._board: Any = None
        if tensorboard is not None:
            require("tensorboard", "tensorboard", "`tensorboard=`")
            self._board = require("torch.utils.tensorboard", "tensorboard", "`tensorboard=`").SummaryWriter(
                str(tensorboard)
            )
        if self.path is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("w", newline="", encoding="utf-8") as file:
                csv.writer(file).writerow([each.name for each in fields(Reading)])

    def step(self, module: nn.Module, batch: Any, loss: Tensor | float) -> None:
        """Tell of one step of training: before or after the optimiser's; gradients that are there are read.

        Args:
            module: the network; it is left as it is.
            batch: what it is called with: a tensor, a tuple of arguments, or a mapping of named ones.
            loss: of this step.
        """
        self._step += 1
        value = float(loss.detach()) if isinstance(loss, Tensor) else float(loss)
        if not np.isfinite(value):
            self._not_finite(module, batch)
            return
        if self._step % self.every:
            return
        bad = bad_gradients(module)
        if bad and self.first_not_finite is None:
            self._report(
                f"at training step {self._step} the gradient of {listed(bad)} is not finite while the loss still is; leave the step out, "
                "and clip the gradient or lower the learning rate"
            )
        self._keep(self._read(module, batch, value))

    def to_frame(self) -> pd.DataFrame:
        """All readings, one row each."""
        import pandas as pd

        return pd.DataFrame(
            [asdict(reading) for reading in self.readings], columns=[each.name for each in fields(Reading)]
        )

    def close(self) -> None:
        """Close TensorBoard's file, if there is one."""
        if self._board is not None:
            self._board.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read(self, module: nn.Module, batch: Any, loss: float) -> Reading:
        norm = _gradient_norm(module)
        nothing = float("nan")
        empty = Reading(self._step, loss, norm, *[nothing] * 7)
        shown = _some(batch, self.sequences, module) if self.probe is None else self.probe
        try:
            subject = open_module(module, shown, self.loss, layer=self.layer)
        except NumericalError as error:
            self._report(f"at training step {self._step} {error}")
            return empty
        except InputError:
            if not self.readings and self.first_not_finite is None:
                raise  # the first time it is the caller's to know
            return empty
        flow = gradient_flow(subject, window=self.window)
        half = gradient_half_life(subject, window=self.window)
        rate, spread = _leading(subject)
        far = reach(flow, half)
        known = half.status is not Status.REFUSED and far is not None and bool(far.curve[0] > 0)
        low, high = half.interval if known and half.interval is not None else (nothing, nothing)
        return Reading(
            self._step,
            loss,
            norm,
            float(half.value) if known else nothing,
            float(low),
            float(high),
            far.left(self.needs) if self.needs is not None and far is not None and known else nothing,
            rate,
            spread,
            _saturation(subject),
        )

    def _keep(self, reading: Reading) -> None:
        self.readings.append(reading)
        values = asdict(reading)
        if self.path is not None:
            with self.path.open("a", newline="", encoding="utf-8") as file:
                csv.writer(file).writerow(
                    ["" if isinstance(each, float) and np.isnan(each) else each for each in values.values()]
                )
        if self._board is not None:
            for name, value in values.items():
                if name != "step" and np.isfinite(value):
                    self._board.add_scalar(f"dissection/{name}", value, reading.step)
            self._board.flush()

    def _not_finite(self, module: nn.Module, batch: Any) -> None:
        if self.first_not_finite is not None:
            return
        weights = bad_weights(module)
        if weights:
            where = (
                f"the weights {listed(weights)} are not finite, so it was the update of the step before that did it; go back to a checkpoint, and "
                "clip the gradient or lower the learning rate"
            )
        else:
            where = self._where(module, batch)
        self._report(f"the loss became NaN or infinite at training step {self._step}: {where}")

    def _where(self, module: nn.Module, batch: Any) -> str:
        """Which step, layer and unit, found by running the whole batch once more."""
        try:
            open_module(module, batch, None, layer=self.layer)
        except NumericalError as error:
            return str(error)
        except StatewiseError:
            pass
        return "the recurrent layers' outputs are finite, so it arose after them; look at the loss and at what it takes logarithms or quotients of"

    def _report(self, message: str) -> None:
        first = self.first_not_finite is None
        if first:
            self.first_not_finite = (self._step, message)
        if self.stop:
            raise NumericalError(message)
        if first:
            warnings.warn(message, RuntimeWarning, stacklevel=4)


def _gradient_norm(module: nn.Module) -> float:
    norms = [torch.linalg.vector_norm(each.grad) for each in module.parameters() if each.grad is not None]
    return float(torch.linalg.vector_norm(torch.stack(norms))) if norms else float("nan")


def _some(batch: Any, count: int, module: nn.Module) -> Any:
    """The first sequences of a batch: along the second axis of a bare layer that takes time first, else along the first axis of all tensors."""
    if isinstance(batch, Tensor | np.ndarray):
        if isinstance(module, nn.RNNBase | nn.RNNCellBase):
            first = bool(getattr(module, "batch_first", False))
            return batch if batch.ndim == 2 else batch[:count] if first else batch[:, :count]
        return batch[:count]
    if isinstance(batch, PackedSequence) or not isinstance(batch, tuple | Mapping) or isinstance(module, nn.RNNBase):
        return batch
    parts = batch.values() if isinstance(batch, Mapping) else batch
    sizes = [len(each) for each in parts if isinstance(each, Tensor | np.ndarray) and each.ndim]
    if not sizes:
        return batch

    def cut(each: Any) -> Any:
        return each[:count] if isinstance(each, Tensor | np.ndarray) and each.ndim and len(each) == sizes[0] else each

    if isinstance(batch, Mapping):
        return {name: cut(each) for name, each in batch.items()}
    return tuple(cut(each) for each in batch)


def _leading(subject: Subject) -> tuple[float, float]:
    """λ₁ of the layer that has the largest, and its standard error; without the checks that `lyapunov` makes beside."""
    found = [(float(means(each)[0]), float(standard_errors(each)[0])) for each in spectra(subject, 1, None, 0).values()]
    return max(found) if found else (float("nan"), float("nan"))


def _saturation(subject: Subject) -> float:
    """The share of steps and units that are saturated, where that analysis is to be had for the network."""
    if "saturation" not in registry.names():
        return float("nan")
    found: Diagnostic = registry.analysis("saturation").compute(subject)
    return float("nan") if found.status is Status.REFUSED else float(np.mean(found.value))
