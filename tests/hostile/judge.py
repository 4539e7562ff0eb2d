"""What hostile input may end in: a sound answer, or an error of ours that says the fix. Nothing else, and soon."""

from __future__ import annotations

import dataclasses
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

import statewise as sw

SECONDS = 60  # far above any honest case, the compilation of its kernels included


class Hang(BaseException):
    """A call went on for longer than any honest one; nothing catches it."""


@contextmanager
def limited(seconds: float = SECONDS) -> Iterator[None]:
    """Raise `Hang` if the block takes longer (where the system has alarms)."""
    if not hasattr(signal, "setitimer"):
        yield
        return

    def stop(*_: Any) -> None:
        raise Hang(f"still running after {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def ends_well(call: Callable[[], Any], seconds: float = SECONDS) -> Any:
    """What `call` returned, judged to be sound, or the error of ours that it raised, judged to be helpful.

    Every other exception goes through, warnings too where pytest makes errors of them.
    """
    with limited(seconds):
        try:
            answer = call()
        except sw.StatewiseError as error:
            helpful(str(error))
            return error
    sound(answer)
    return answer


def helpful(message: str) -> None:
    """A message with what is wrong and, after a semicolon, colon or comma, what to do."""
    assert len(message) >= 20, f"too short to help: {message!r}"
    assert any(mark in message for mark in ";:,"), f"only half a message: {message!r}"


def sound(answer: Any) -> None:
    """No NaN where a number is promised: a mean may be unknown only where its variance says so."""
    for name, array in named_arrays(answer):
        if array.dtype.kind not in "fc":
            continue
        assert not np.isnan(array).any() or _said(answer, name, array), f"NaN in {type(answer).__name__}.{name}"


def arrays(answer: Any) -> list[np.ndarray]:
    """The arrays of an answer, in order."""
    return [array for _, array in named_arrays(answer)]


def named_arrays(answer: Any) -> Iterator[tuple[str, np.ndarray]]:
    if isinstance(answer, sw.Sequences):
        return
    if isinstance(answer, np.ndarray | float | np.floating):
        yield "", np.asarray(answer)
    elif isinstance(answer, dict):
        for key, value in answer.items():
            yield from ((f"{key}{name}", array) for name, array in named_arrays(value))
    elif isinstance(answer, tuple | list):
        for key, value in enumerate(answer):
            yield from ((f"[{key}]{name}", array) for name, array in named_arrays(value))
    elif dataclasses.is_dataclass(answer):
        for field in dataclasses.fields(answer):
            value = getattr(answer, field.name)
            if isinstance(value, np.ndarray):
                yield field.name, value


# Where the documentation says that NaN stands for what there is none of.
_DOCUMENTED = {
    ("Predicted", "residuals"),
    ("StateSelection", "held_out"),
    ("ImpulseResponse", "lower"),
    ("ImpulseResponse", "upper"),
}


def _said(answer: Any, name: str, array: np.ndarray) -> bool:
    """Whether a NaN is said to be one: by the documentation, or by an infinite variance beside an unknown mean."""
    kind = type(answer).__name__
    if kind in ("Diagnosis", "Comparison", "Estimates") or (kind, name) in _DOCUMENTED:
        return True
    spread = getattr(answer, "variance", None) if hasattr(answer, "variance") else getattr(answer, "cov", None)
    if spread is None or name not in ("mean", "cov", "variance"):
        return False
    unknown, gone = ~np.isfinite(np.asarray(spread)), np.isnan(array)
    if unknown.ndim == gone.ndim:
        return bool((~gone | unknown).all())
    return bool((~gone.any(axis=-1) | unknown.any(axis=(-1, -2))).all())
