"""The Kalman log-likelihood as a differentiable operation, so that any parametrisation of the matrices can be trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np
import torch

from statewise._core.errors import InputError, NumericalError
from statewise.inference.smoothing import Gradient, log_prob_gradient
from statewise.inference.system import System
from statewise.ops.scalar import scalar
from statewise.sequences.sequences import Sequences

LETTERS = tuple(field.name for field in fields(Gradient))


def log_prob(sys: System, seqs: Sequences, tensors: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Log-likelihood of all sequences with some of the system's parts replaced by tensors, differentiable in them.

    The gradient is exact, by one backward pass; Q, R and P0 are differentiated as if all their entries were free. Use float64.

    Args:
        sys: the other parts.
        seqs: the observations; NaN is missing.
        tensors: parts by letter (A, C, Q, R, S, b, d, B, D, m0, P0), in the shapes of the `System`.

    Raises:
        InputError: a letter that is not known, or a shape that is not the system's.
        NumericalError: an innovation covariance is singular, or a sequence does not identify its diffuse start.
    """
    names = tuple(tensors)
    for name in names:
        if name not in LETTERS:
            raise InputError(f"tensors has no part {name!r}; use letters of {', '.join(LETTERS)}")
        if tuple(tensors[name].shape) != getattr(sys, name).shape:
            raise InputError(
                f"tensors[{name!r}] has shape {tuple(tensors[name].shape)}; pass the shape {getattr(sys, name).shape}"
            )
    if not names:
        raise InputError("tensors is empty; pass at least one part of the system as a tensor")

    def evaluate(arrays: Sequence[np.ndarray]) -> tuple[float, list[np.ndarray]]:
        parts: dict[str, Any] = dict(zip(names, arrays, strict=True))
        found = log_prob_gradient(replace(sys, **parts), seqs)
        if found is None:
            raise NumericalError(
                "the log-likelihood has no gradient here: an observation has no variance given the others, or a sequence does not identify "
                "its diffuse start; add observation noise, or give a known start"
            )
        return found[0], [getattr(found[1], name) for name in names]

    return scalar(evaluate, *(tensors[name] for name in names))
