"""What objects of other packages say of sequences, for `verify`."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from statewise.models.base import Density
from statewise.sequences.build import as_sequences


def log_densities(source: Any, converted: Any, data: Any) -> tuple[np.ndarray, np.ndarray]:
    """Log densities of the converted and the given model: of every step from statsmodels, of every sequence from hmmlearn."""
    assert isinstance(converted, Density)
    seqs = as_sequences(data)
    if not hasattr(source, "filter_results"):
        want = [source.score(np.asarray(_codes(source, one.values))) for one in seqs]
        return converted.log_prob(seqs), np.array(want)
    found = []
    for one in seqs:
        exog = {} if one.inputs is None else {"exog": one.inputs}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what it says of making the model anew
            found.append(source.apply(one.values if one.dim > 1 else one.values[:, 0], **exog).llf_obs)
    # Both count a step without observation as 0, and statsmodels leaves its burn-in out of the sum only.
    return converted.log_prob(seqs, per_step=True), np.concatenate(found)


def layer_outputs(source: Any, converted: Any, data: Any) -> list[tuple[np.ndarray, np.ndarray]]:
    """Outputs and last states of two layers for each sequence of inputs, as a batch of one."""
    import torch

    pairs, dtype = [], next(source.parameters()).dtype
    with torch.no_grad():
        for one in as_sequences(data):
            x = torch.tensor(one.values, dtype=dtype)[None if source.batch_first else slice(None)]
            x = x if source.batch_first else x[:, None]
            (left, left_state), (right, right_state) = converted(x), source(x)
            states = zip(*(s if isinstance(s, tuple) else (s,) for s in (left_state, right_state)), strict=True)
            pairs += [(a.double().numpy(), b.double().numpy()) for a, b in [(left, right), *states]]
    return pairs


def _codes(source: Any, values: np.ndarray) -> np.ndarray:
    return values.astype(np.int64) if hasattr(source, "emissionprob_") or hasattr(source, "lambdas_") else values
