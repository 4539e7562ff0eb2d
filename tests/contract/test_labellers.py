"""What every model of labels must do, by value. A model that joins `MODELS` is checked by all of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pytest

import statewise as sw


@dataclass(frozen=True)
class Case:
    """A way to make a model, and what it labels: 'step' or 'sequence'."""

    name: str
    make: Callable[[], Any]
    per: str
    bidirectional: bool = False


MODELS = (
    Case("tagger", lambda: sw.Tagger(hidden=4), "step"),
    Case("tagger-lstm-2", lambda: sw.Tagger(cell="lstm", hidden=4, layers=2, class_weight="balanced"), "step"),
    Case("tagger-both-ways", lambda: sw.Tagger(cell="rnn", hidden=4, bidirectional=True), "step", True),
    Case("tagger-time-aware", lambda: sw.Tagger(hidden=4, time_aware=True), "step"),
    Case("tagger-diagonal", lambda: sw.Tagger(cell="diagonal", hidden=4, time_aware=True), "step"),
    Case("classifier", lambda: sw.Classifier(hidden=4), "sequence"),
    Case("classifier-mean", lambda: sw.Classifier(cell="lstm", hidden=4, pooling="mean"), "sequence"),
    Case(
        "classifier-both-ways", lambda: sw.Classifier(hidden=4, bidirectional=True, time_aware=True), "sequence", True
    ),
)
FIT = {"epochs": 8, "lr": 0.05}
pytestmark = pytest.mark.parametrize("case", MODELS, ids=lambda case: case.name)


@cache
def data(per: str) -> sw.Sequences:
    """Eight sequences of two columns at irregular times; a label says whether the first column, or the whole sequence, is high."""
    rng = np.random.default_rng(1)
    lengths = [20, 7, 12, 9, 15, 6, 11, 8]
    arrays = [50 + 10 * (rng.standard_normal((n, 2)) + (-1) ** k * (per == "sequence")) for k, n in enumerate(lengths)]
    times = [np.cumsum(rng.uniform(0.5, 2.0, size=n)) for n in lengths]
    labels: list[Any] = [np.where(y[:, 0] > 50, "high", "low") for y in arrays]
    return sw.Sequences.from_arrays(arrays, times=times, labels=labels if per == "step" else ["high", "low"] * 4)


@cache
def fitted(name: str) -> Any:
    case = next(case for case in MODELS if case.name == name)
    model = case.make().fit(data(case.per), **FIT)
    assert model.parameters["label_weight"].any()  # else much of what follows would hold whatever the network does
    return model


def test_same_seed_same_answer(case: Case) -> None:
    """Invariance: two fits on the same data agree bit for bit."""
    again = case.make().fit(data(case.per), **FIT)
    assert np.array_equal(again.predict(data(case.per)).probs, fitted(case.name).predict(data(case.per)).probs)


def test_batch_equals_loop(case: Case) -> None:
    """Invariance: labelling sequences together or one by one is the same."""
    seqs, model = data(case.per), fitted(case.name)
    alone = np.concatenate([model.predict(one).probs for one in seqs])
    np.testing.assert_allclose(model.predict(seqs).probs, alone, rtol=1e-12)


def test_probabilities_add_up(case: Case) -> None:
    """Closed form: each row sums to 1, `decode` takes the largest, and `log_prob` the known label's."""
    seqs, model = data(case.per), fitted(case.name)
    probs, decoded = model.predict(seqs).probs, model.decode(seqs)
    np.testing.assert_allclose(probs.sum(axis=1), 1.0, rtol=1e-12)
    assert np.array_equal(decoded.labels, model.classes[probs.argmax(axis=1)])
    chosen = np.log(probs[np.arange(len(probs)), np.searchsorted(model.classes, seqs.labels)])
    np.testing.assert_allclose(model.log_prob(seqs, per_step=True), chosen, rtol=1e-12)
    assert model.log_prob(seqs).sum() == pytest.approx(model.fit_result.log_prob, rel=1e-12)


def test_causality_by_direction(case: Case) -> None:
    """Forwards, labels of the first steps do not change when data are appended; with both directions they do."""
    seqs, model = data(case.per)[0], fitted(case.name)
    if case.per == "sequence":
        return
    short, whole = model.predict(seqs.steps(0, 8)).probs, model.predict(seqs).probs[:8]
    if case.bidirectional:
        assert np.abs(short - whole).max() > 1e-9
    else:
        np.testing.assert_allclose(short, whole, rtol=1e-12)


def test_missing_values(case: Case) -> None:
    """A step without values leaves everything finite, in labelling and in a fit."""
    seqs, model = data(case.per), fitted(case.name)
    values = seqs.values.copy()
    values[3:6] = np.nan
    values[10, 0] = np.nan
    holed = seqs.replace(values=values)
    assert np.isfinite(model.predict(holed).probs).all()
    assert np.isfinite(case.make().fit(holed, **FIT).fit_result.log_prob)


def test_scale_equivariance(case: Case) -> None:
    """In other units of the values the fit is the same model: float32 training, so to some 1e-3 of a probability."""
    seqs = data(case.per)
    other = case.make().fit(seqs.replace(values=seqs.values * 1e-4), **FIT)
    found = other.predict(seqs.replace(values=seqs.values * 1e-4)).probs
    np.testing.assert_allclose(found, fitted(case.name).predict(seqs).probs, atol=1e-3)


def test_data_are_not_mutated(case: Case) -> None:
    seqs = data(case.per)
    before = seqs.values.copy()
    case.make().fit(seqs, **FIT).predict(seqs)
    assert np.array_equal(seqs.values, before)


def test_save_and_load(case: Case, tmp_path) -> None:
    """Round trip: the loaded model gives bit-identical answers and remembers its fit."""
    model, seqs = fitted(case.name), data(case.per)
    model.save(tmp_path / "model")
    loaded = sw.load(tmp_path / "model")
    assert type(loaded) is type(model)
    assert loaded.get_params() == model.get_params()
    assert np.array_equal(loaded.predict(seqs).probs, model.predict(seqs).probs)
    assert loaded.fit_result.log_prob == model.fit_result.log_prob
    assert loaded.n_parameters == model.n_parameters


def test_a_stream_is_the_prefix(case: Case) -> None:
    """One step at a time gives what the whole prefix gives; a network that needs the future says so."""
    model, one = fitted(case.name), data(case.per)[1]
    if case.bidirectional:
        with pytest.raises(sw.UnsupportedError, match="stream"):
            model.stream()
        return
    stream, gaps = model.stream(), np.diff(one.times, prepend=one.times[0])
    for t in range(int(one.lengths[0])):
        found = stream.update(one.values[t], elapsed=gaps[t])
        np.testing.assert_allclose(found, model.predict(one.steps(0, t + 1)).probs[-1], rtol=1e-12)


def test_what_it_says_of_itself(case: Case) -> None:
    model = fitted(case.name)
    assert model.clone().get_params() == model.get_params()
    assert not model.clone().is_fitted
    assert model.name in model.summary()
    assert model.memory(data(case.per)).half_life >= 0
    assert model.score(data(case.per)).confusion.sum() == len(data(case.per).labels)


def test_bad_options_are_refused(case: Case) -> None:
    """Every value that an option's rule calls bad is refused with the option's name in the message."""
    kind = type(case.make())
    for name, rule in kind.options.items():
        for value in rule.bad:
            with pytest.raises(sw.InputError, match=name):
                kind(**{name: value})
    with pytest.raises(TypeError):
        kind(no_such_option=1)


def test_unfitted_model_says_so(case: Case) -> None:
    model = case.make()
    for verb in (model.predict, model.decode, model.log_prob, model.score):
        with pytest.raises(sw.NotFittedError, match="fit"):
            verb(data(case.per))


def test_wrong_number_of_columns(case: Case) -> None:
    with pytest.raises(sw.InputError, match="columns"):
        fitted(case.name).predict(np.zeros((5, 3)))
