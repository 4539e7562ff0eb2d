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


def _codes(source: Any, values: np.ndarray) -> np.ndarray:
    return values.astype(np.int64) if hasattr(source, "emissionprob_") or hasattr(source, "lambdas_") else values
