"""Every public entry with a call that works, so that one argument at a time can be spoilt."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from tests.contract.cases import CASES, data
from tests.hostile.subjects import FITTED, UNFITTED, fitted, labelled

import statewise as sw
from statewise.models.registry import MODELS, model_class

_DIM = {case.name: case.dim for case in CASES} | {"state-space-2": 2}

# What a method's argument is in a call that works.
_GOOD: dict[str, Any] = {
    "steps": 3,
    "length": 4,
    "count": 2,
    "lags": 3,
    "states": 1,
    "x": [1.0, 0.5],
    "start": [1.0],
    "omega": [0.1],
}
# Makers from parts that are no user's: `convert` calls them.
_INNER = {"from_arrays", "from_hmm", "from_schedule", "from_system", "from_weights"}
# Sizes that are allowed to be as large as a patient user wants: spoilt ones above this are left out, since they would only take long.
PATIENCE = {
    "epochs": 20, "max_iter": 300, "restarts": 20, "patience": 10**9, "windows": 4, "horizon": 4, "layers": 2, "hidden": 64, "steps": 10**4,
    "length": 10**4, "count": 10**3, "lags": 50, "p": 3, "q": 3, "season": 24, "seasonal": 24, "period": 24, "states": 12, "components": 12,
    "embedding": 64, "window": 10**9, "batch": 10**9, "lag": 24, "order": 3,
}  # fmt: skip
_BASE: dict[str, dict[str, Any]] = {
    "ode": {"f": [[-0.5]]},
    "leaky-integrator": {"tau": 1.0},
    "state-space": {
        "transition": [[0.5]],
        "observation": [[1.0]],
        "state_noise": [[1.0]],
        "observation_noise": [[1.0]],
    },
    "started-recurrent": {"start": sw.VARMA(p=1)},
}


@dataclass(frozen=True)
class Entry:
    """A public callable, arguments with which it works, and the names of all those that it takes."""

    name: str
    call: Callable[..., Any]
    good: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def arguments(self) -> list[str]:
        parameters = inspect.signature(self.call).parameters.values()
        return [each.name for each in parameters if each.kind not in (each.VAR_KEYWORD, each.VAR_POSITIONAL)]

    def spoilt(self, argument: str, value: Any) -> Any:
        """The call's answer with one argument replaced."""
        return self.call(**(self.good | {argument: value}))


def subject_data(name: str) -> Any:
    """Good data for a subject."""
    if name.startswith("tagger"):
        return labelled()
    if name == "classifier":
        return labelled("sequence")
    if name.endswith(("symbols", "poisson", "counts")):
        return np.arange(30.0) % 3
    return data(_DIM.get(name, 1), steps=30)


def makers() -> Iterator[Entry]:
    """The constructor of every kind in the registry."""
    for kind in MODELS:
        cls = model_class(kind)
        if kind not in _BASE and len(inspect.signature(cls.__init__).parameters) == 1:
            continue
        yield Entry(f"make {kind}", _maker(cls), _BASE.get(kind, {}))


def _maker(cls: type) -> Callable[..., Any]:
    def make(**options: Any) -> None:
        model = cls(**options)
        assert repr(model)
        assert type(model.clone()) is type(model)

    parameters = list(inspect.signature(cls.__init__).parameters.values())[1:]
    make.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # functions may have one
    return make


def fits() -> Iterator[Entry]:
    for name, (make, options) in UNFITTED.items():
        yield Entry(f"fit {name}", make().fit, {"data": subject_data(name)} | options)


def verbs() -> Iterator[Entry]:
    """Every public method of every fitted subject but `fit`."""
    for name in FITTED:
        model = fitted(name)
        for verb in dir(type(model)):
            static = inspect.getattr_static(type(model), verb)
            if (
                verb.startswith("_")
                or verb in _INNER | {"fit", "set_params", "save", "cell"}
                or isinstance(static, property)
            ):
                continue
            method = getattr(model, verb)
            if not callable(method) or not (wanted := inspect.signature(method).parameters):
                continue
            good = {each: _GOOD[each] for each in wanted if each in _GOOD}
            yield Entry(f"{name}.{verb}", method, good | ({"data": subject_data(name)} if "data" in wanted else {}))


def streams() -> Iterator[Entry]:
    for name in FITTED:
        if not hasattr(fitted(name), "stream"):
            continue
        y = subject_data(name)
        y = (y.values if isinstance(y, sw.Sequences) else np.asarray(y))[0]
        yield Entry(f"{name}.stream.update", _update_of(name), {"y": y})
        if not isinstance(fitted(name), (sw.Tagger, sw.Classifier)):  # whose readers have no forecast
            yield Entry(f"{name}.stream.forecast", _forecast_of(name, y), {})


def _update_of(name: str) -> Callable[..., Any]:
    return lambda y, inputs=None: fitted(name).stream().update(y, inputs)


def _forecast_of(name: str, y: Any) -> Callable[..., Any]:
    def forecast(steps: Any = 1, level: Any = (80, 95), inputs: Any = None) -> Any:
        stream = fitted(name).stream()
        for _ in range(12):
            stream.update(y)
        return stream.forecast(steps, level, inputs)

    return forecast


def _seqs() -> sw.Sequences:
    return data(1, steps=24)


def _frame() -> pd.DataFrame:
    return pd.DataFrame({"id": ["a"] * 3 + ["b"] * 3, "t": [1, 2, 3] * 2, "y": np.arange(6.0), "u": np.arange(6.0)})


def others() -> Iterator[Entry]:
    """Functions, and the methods of `Sequences`."""
    two = [np.arange(3.0), np.arange(4.0)]
    seqs = _seqs()
    yield Entry("Sequences", sw.Sequences, {"values": np.arange(5.0), "lengths": [2, 3]})
    yield Entry("Sequences.from_arrays", _from_arrays, {"arrays": two})
    yield Entry("Sequences.from_frame", _from_frame, {"frame": _frame(), "values": "y", "id": "id", "time": "t"})
    yield Entry("Sequences.replace", _replaced)
    yield Entry("Sequences.split", lambda fraction=0.5, date=None, by="time": seqs.split(fraction, date=date, by=by))
    yield Entry("Sequences.rolling", lambda horizon=2, windows=2, stride=None: seqs.rolling(horizon, windows, stride))
    yield Entry("Sequences.steps", lambda start=None, stop=None: seqs.steps(start, stop))
    yield Entry("Sequences.cut", lambda spans=((0, 2), (1, 3)): seqs.cut(spans))
    yield Entry("Sequences[]", _picked, {"which": 0})
    yield Entry("datasets.load", sw.datasets.load, {"name": "nile"})
    yield Entry("convert", sw.convert, {"model": fitted("ar"), "to": "state-space"})
    yield Entry("compare", _compared, {"models": [sw.Naive()], "data": _seqs(), "horizon": 2, "windows": 2})
    yield Entry("select_states", sw.select_states, {"data": _seqs(), "states": (1, 2)})
    yield Entry("read", sw.read, {"path": "series.csv"})
    yield Entry("load", sw.load, {"path": "model"})
    yield Entry("save", lambda path: fitted("ar").save(path), {"path": "model"})
    yield Entry("export_onnx", sw.export_onnx, {"what": fitted("gru"), "path": "model.onnx"})
    yield Entry("set_params", lambda p=1, q=0, trend="c": sw.VARMA(p=1).set_params(p=p, q=q, trend=trend))


def _from_arrays(
    arrays: Any, inputs: Any = None, times: Any = None, labels: Any = None, ids: Any = None, columns: Any = None, input_columns: Any = None,
    season: Any = None,
) -> Any:  # fmt: skip
    return sw.Sequences.from_arrays(
        arrays, inputs, times, labels, ids=ids, columns=columns, input_columns=input_columns, season=season
    )


def _from_frame(
    frame: Any,
    values: Any = None,
    time: Any = None,
    id: Any = None,
    inputs: Any = None,
    label: Any = None,
    sort: Any = False,
    season: Any = None,
) -> Any:
    return sw.Sequences.from_frame(
        frame, values, time=time, id=id, inputs=inputs, label=label, sort=sort, season=season
    )


def _replaced(
    values: Any = None,
    lengths: Any = None,
    inputs: Any = None,
    times: Any = None,
    labels: Any = None,
    ids: Any = (),
    symbols: Any = None,
) -> Any:
    given = {"values": values, "lengths": lengths}
    changed = {name: value for name, value in given.items() if value is not None}
    return _seqs().replace(**changed, inputs=inputs, times=times, labels=labels, ids=ids, symbols=symbols)


def _picked(which: Any) -> Any:
    try:
        return _seqs()[which]
    except IndexError:  # what Python's own sequences raise, and what ends a loop over them
        return None


def _compared(models: Any, data: Any, horizon: Any, windows: Any, level: Any = (80, 95), seed: Any = 0) -> Any:
    return sw.compare(models, data, horizon=horizon, windows=windows, level=level, seed=seed)
