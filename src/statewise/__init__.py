"""statewise: state-space models, VARMA, hidden Markov models, RNNs, LSTMs and GRUs as one family.

    >>> import statewise as sw
    >>> seqs = sw.datasets.load("nile")
    >>> model = sw.Structural(level=True).fit(seqs)
    >>> model.forecast(seqs, steps=5).mean.shape
    (1, 5, 1)

Names are imported on first use, so that `import statewise` stays fast and a VARMA never loads torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# Public name -> module that defines it ("" for the module itself). Sorted; the public-API test compares this with `__all__`.
_EXPORTS = {
    "ARIMA": "statewise.models.arima",
    "Classifier": "statewise.models.classifier",
    "DataError": "statewise._core.errors",
    "HMM": "statewise.models.hmm",
    "InputError": "statewise._core.errors",
    "LeakyIntegrator": "statewise.models.leaky",
    "MissingDependencyError": "statewise._core.errors",
    "ModelFileError": "statewise._core.errors",
    "Naive": "statewise.models.naive",
    "NotFittedError": "statewise._core.errors",
    "NumericalError": "statewise._core.errors",
    "ODE": "statewise.models.ode",
    "Outcome": "statewise._core.outcome",
    "PrecisionWarning": "statewise._core.errors",
    "Recurrent": "statewise.models.recurrent",
    "Sequences": "statewise.sequences.sequences",
    "StateSpace": "statewise.models.state_space",
    "StatewiseError": "statewise._core.errors",
    "Structural": "statewise.models.structural",
    "Tagger": "statewise.models.tagger",
    "UnsupportedError": "statewise._core.errors",
    "VARMA": "statewise.models.varma",
    "compare": "statewise.evaluate.compare",
    "conversions": "statewise.conversion.graph",
    "convert": "statewise.conversion.graph",
    "datasets": "",
    "dissect": "statewise.dissection.dissection",
    "dissection": "",
    "export_onnx": "statewise.models.onnx",
    "load": "statewise.models.save",
    "nn": "",
    "read": "statewise.sequences.read",
    "select_states": "statewise.models.hmm_selection",
}

_MODULES = {"datasets": "statewise.sequences.datasets", "dissection": "statewise.dissection", "nn": "statewise.nn"}

__all__ = [
    "ARIMA",
    "HMM",
    "ODE",
    "VARMA",
    "Classifier",
    "DataError",
    "InputError",
    "LeakyIntegrator",
    "MissingDependencyError",
    "ModelFileError",
    "Naive",
    "NotFittedError",
    "NumericalError",
    "Outcome",
    "PrecisionWarning",
    "Recurrent",
    "Sequences",
    "StateSpace",
    "StatewiseError",
    "Structural",
    "Tagger",
    "UnsupportedError",
    "__version__",
    "compare",
    "conversions",
    "convert",
    "datasets",
    "dissect",
    "dissection",
    "export_onnx",
    "load",
    "nn",
    "read",
    "select_states",
]

if TYPE_CHECKING:
    from statewise import dissection, nn
    from statewise._core.errors import (
        DataError,
        InputError,
        MissingDependencyError,
        ModelFileError,
        NotFittedError,
        NumericalError,
        PrecisionWarning,
        StatewiseError,
        UnsupportedError,
    )
    from statewise._core.outcome import Outcome
    from statewise.conversion.graph import conversions, convert
    from statewise.dissection.dissection import dissect
    from statewise.evaluate.compare import compare
    from statewise.models.arima import ARIMA
    from statewise.models.classifier import Classifier
    from statewise.models.hmm import HMM
    from statewise.models.hmm_selection import select_states
    from statewise.models.leaky import LeakyIntegrator
    from statewise.models.naive import Naive
    from statewise.models.ode import ODE
    from statewise.models.onnx import export_onnx
    from statewise.models.recurrent import Recurrent
    from statewise.models.save import load
    from statewise.models.state_space import StateSpace
    from statewise.models.structural import Structural
    from statewise.models.tagger import Tagger
    from statewise.models.varma import VARMA
    from statewise.sequences import datasets
    from statewise.sequences.read import read
    from statewise.sequences.sequences import Sequences


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module 'statewise' has no attribute {name!r}")
    if name in _MODULES:
        value: Any = importlib.import_module(_MODULES[name])
    else:
        value = getattr(importlib.import_module(_EXPORTS[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
