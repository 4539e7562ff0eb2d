"""Backtests carry a model's state: sequences are read once for all origins, and a forecast is that of the past alone."""

from __future__ import annotations

import numpy as np
import pytest

import statewise as sw
from statewise.inference import recurrent as inference
from statewise.sequences.split import rolling


@pytest.fixture
def seqs():
    rng = np.random.default_rng(0)
    y = [np.cumsum(rng.standard_normal(n)) for n in (60, 45)]
    times = [np.arange(len(a)) * 2.0 for a in y]
    return sw.Sequences.from_arrays(y, times=times)


@pytest.mark.parametrize("time_aware", [False, True])
@pytest.mark.parametrize("method", ["sampling", "moments"])
def test_a_forecast_from_an_origin_is_that_of_the_past(seqs, method, time_aware):
    """Invariance, bit for bit up to rounding: what comes after the origin is not seen, and the carried state is the one a new reading finds."""
    model = sw.Recurrent(hidden=3, layers=2, time_aware=time_aware).fit(seqs, epochs=2)
    reading = model.reading(seqs)
    for window in rolling(seqs, 5, 3):
        carried = reading.forecast(window.future.ids, window.origins, 5, method=method)
        past = window.past[[window.past.ids.index(name) for name in window.future.ids]]
        again = model.forecast(past, steps=5, method=method)
        np.testing.assert_allclose(carried.mean, again.mean, rtol=1e-12)
        np.testing.assert_allclose(carried.variance, again.variance, rtol=1e-10)
        assert np.array_equal(carried.times, again.times)
        assert carried.ids == again.ids
    np.testing.assert_allclose(reading.log_prob_steps, model.log_prob(seqs, per_step=True), rtol=1e-12)


def test_a_network_reads_sequences_once_for_all_windows(seqs, monkeypatch):
    model = sw.Recurrent(hidden=3).fit(seqs, epochs=1)
    before = sw.compare([model], seqs, horizon=4, windows=3, refit=False)
    reads = []
    states = inference.states
    monkeypatch.setattr(inference, "states", lambda *given: reads.append(len(given[2])) or states(*given))
    after = sw.compare([model], seqs, horizon=4, windows=3, refit=False)
    assert len(reads) <= 2 and reads[0] == seqs.rows  # the other is for the memory in the table
    assert after.scores[0].log_score == before.scores[0].log_score


def test_scores_are_those_of_the_joined_sequences(seqs):
    """Chain rule, by hand: the log density of past and future less that of the past, per step."""
    model = sw.Recurrent(hidden=3).fit(seqs, epochs=1)
    table = sw.compare([model], seqs, horizon=4, windows=2, refit=False)
    (mine,) = [score for score in table.scores if not score.is_baseline]
    per_step = np.split(model.log_prob(seqs, per_step=True), [60])
    wanted = []
    for window in rolling(seqs, 4, 2):
        for k, name in enumerate(window.future.ids):
            steps, origin = per_step[seqs.ids.index(name)], int(window.origins[k])
            wanted.append(steps[origin : origin + window.future.lengths[k]])
    assert mine.log_score == pytest.approx(np.concatenate(wanted).mean(), rel=1e-12)
