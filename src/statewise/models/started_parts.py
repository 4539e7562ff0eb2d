"""The part of a started network that fits its classical model: made anew, or from what was saved."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from statewise._core.errors import ModelFileError, UnsupportedError
from statewise.inference.classical_gaussian import Scaling, unstacked, with_inputs
from statewise.inference.system import AXES
from statewise.models.hmm import HMM
from statewise.models.started_gaussian import GaussianPart
from statewise.models.started_markov import MarkovPart
from statewise.models.started_part import SCALING, Part
from statewise.sequences.scaling import standardise, standardise_inputs
from statewise.sequences.sequences import Sequences


def begin(options: Mapping[str, Any], models: list[Any], seqs: Sequences, seed: int) -> Part:
    """An untrained network around classical models that have parameters."""
    groups = list(seqs) if options["per_series"] else [seqs]
    values, inputs = [standardise(one)[1] for one in groups], [standardise_inputs(one)[1] for one in groups]
    width = 0 if seqs.inputs is None else seqs.inputs.shape[1]
    scaling = Scaling(
        np.stack([s.mean for s in values]),
        np.stack([s.scale for s in values]),
        np.stack([s.mean for s in inputs]).reshape(len(groups), width),
        np.stack([s.scale for s in inputs]).reshape(len(groups), width),
    )
    if isinstance(models[0], HMM):
        models[0]._for_columns_of(seqs)
        return MarkovPart(options, models[0], scaling, seed)
    for model in models:
        if model._system_for(seqs).which is not None:
            raise UnsupportedError(
                f"the matrices of {model.name} change with the step, and a recurrent path has constant weights; start at a model with constant ones"
            )
        model._receive(seqs)
    return GaussianPart(options, [with_inputs(model.system, width) for model in models], scaling, seed)


def restored(options: Mapping[str, Any], parameters: Mapping[str, np.ndarray]) -> Part:
    """The network of saved parameters."""
    scaling = Scaling(*(parameters[f"scaling_{name}"] for name in SCALING))
    part: Part
    if isinstance(options["start"], HMM):
        part = MarkovPart(options, options["start"], scaling, 0)
    else:
        for name, axes in (AXES | {"m0": 1, "P0": 2, "Pinf": 2}).items():
            have = parameters[f"start_{name}"].ndim
            if have != axes + 1:
                raise ModelFileError(
                    f"the array start_{name} has {have} axes and needs {axes + 1}; save the model again"
                )
        part = GaussianPart(options, unstacked(parameters, "start_"), scaling, 0)
    part.network.load(parameters)
    return part
