"""`Tagger` and `Classifier`: what they learn, masks, weights, symbols, both directions, files. Small networks and few epochs."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

import statewise as sw
from statewise._core.errors import InputError, ModelFileError, NotFittedError, UnsupportedError
from statewise.inference import labelling as inference
from statewise.models.labeller import known_labels
from statewise.nn.labeller import Labeller

CELLS = ["gru", "rnn", "lstm", "diagonal"]
QUICK = {"epochs": 3, "lr": 0.02}


def tagged(count: int = 12, seed: int = 0, missing: float = 0.1) -> sw.Sequences:
    """Two noisy columns; the label says whether a step's first column is above that of the step before."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(5, 25, size=count)
    arrays, labels = [], []
    for length in lengths:
        y = rng.normal(size=(length, 2))
        rise = np.diff(y[:, 0], prepend=0.0) > 0
        y[rng.random(y.shape) < missing] = np.nan
        arrays.append(y)
        labels.append(np.where(rise, "up", "down"))
    return sw.Sequences.from_arrays(arrays, labels=labels)


def classified(count: int = 40, seed: int = 0) -> sw.Sequences:
    """The label is the sign of the first value; the rest is noise."""
    rng = np.random.default_rng(seed)
    arrays = [rng.normal(size=rng.integers(4, 12)) for _ in range(count)]
    return sw.Sequences.from_arrays(arrays, labels=[int(y[0] > 0) for y in arrays])


# --- what they learn ----------------------------------------------------------------------------------------------------


def test_a_tagger_learns_what_needs_the_step_before():
    """Knowing y[t] alone the best accuracy is 3/4 (P(rise | y) = Φ(y)); with the step before it is 1."""
    train, fresh = tagged(120, missing=0.0), tagged(40, seed=1, missing=0.0)
    model = sw.Tagger(hidden=16).fit(train, epochs=60, lr=0.03)
    scores = model.score(fresh)
    assert scores.accuracy > 0.93
    assert scores.log_loss == pytest.approx(-model.log_prob(fresh).sum() / fresh.rows, rel=1e-12)
    assert scores.log_loss < 0.25


def test_both_directions_see_the_next_step():
    """The label is the sign of the *next* value: forwards alone it is a coin, with both directions it is known."""
    rng = np.random.default_rng(2)
    arrays = [rng.normal(size=20) for _ in range(80)]
    labels = [(np.append(y[1:], 1.0) > 0).astype(int) for y in arrays]
    train, fresh = (sw.Sequences.from_arrays(arrays[a:b], labels=labels[a:b]) for a, b in ((0, 60), (60, 80)))
    forwards = sw.Tagger(hidden=8).fit(train, epochs=20, lr=0.03).score(fresh).accuracy
    both = sw.Tagger(hidden=8, bidirectional=True).fit(train, epochs=40, lr=0.03).score(fresh).accuracy
    assert forwards < 0.65
    assert both > 0.93


@pytest.mark.parametrize(("pooling", "bidirectional"), [("last", False), ("last", True), ("mean", True)])
def test_a_classifier_remembers_the_first_value(pooling, bidirectional):
    train, fresh = classified(200), classified(100, seed=1)
    model = sw.Classifier(hidden=12, pooling=pooling, bidirectional=bidirectional).fit(train, epochs=60, lr=0.03)
    assert model.score(fresh).accuracy > 0.88


def test_symbols_are_embedded_and_matched_by_name():
    """The label is whether the symbol is a vowel. A text with another order of codes is the same text, and new symbols are missing."""
    words = ["banana", "cobra", "adobe", "decide", "bead", "cocoa"] * 6
    alphabet = tuple("abcdenori")
    codes = [np.array([alphabet.index(c) for c in word], dtype=float) for word in words]
    labels = [[c in "aeio" for c in word] for word in words]

    def coded(arrays, symbols, names=None):
        seqs = sw.Sequences.from_arrays(arrays, labels=names)
        return seqs.replace(symbols=symbols)

    seqs = coded(codes, alphabet, labels)
    for embedding in (3, None):
        model = sw.Tagger(hidden=6, embedding=embedding).fit(seqs, epochs=40, lr=0.05)
        assert model.score(seqs).accuracy == 1.0
        assert ("embedding_weight" in model.parameters) == (embedding is not None)
        turned = tuple(reversed(alphabet))
        again = coded([np.array([turned.index(c) for c in word], dtype=float) for word in words], turned, labels)
        np.testing.assert_array_equal(model.predict(again).probs, model.predict(seqs).probs)
        new = coded([np.array([0.0, 1.0])], ("z", "a"))
        want = coded([np.array([np.nan, 0.0])], alphabet)
        np.testing.assert_array_equal(model.predict(new).probs, model.predict(want).probs)


# --- what is computed -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pooling", [None, "last", "mean"])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_numpy_computes_what_torch_trains(cell, bidirectional, pooling):
    """Oracle: the module in float64 on a padded batch of ragged sequences, with an embedding and two layers; 1e-12."""
    module = Labeller(cell, 4, 2, bidirectional, 9, 3, 2, 6, pooling=pooling).double().eval()
    with torch.no_grad():
        for p in module.parameters():
            p.normal_(generator=torch.Generator().manual_seed(0))
    lengths = np.array([7, 1, 4])
    rng = np.random.default_rng(3)
    x = rng.normal(size=(12, 9))
    padded = np.zeros((3, 7, 9))
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    for i in range(3):
        padded[i, : lengths[i]] = x[offsets[i] : offsets[i + 1]]
    logits = module(torch.from_numpy(padded), torch.from_numpy(lengths)).log_softmax(-1).detach().numpy()
    want = logits if pooling else np.concatenate([logits[i, : lengths[i]] for i in range(3)])
    np.testing.assert_allclose(inference.log_probs(cell, module.arrays(), x, lengths, pooling), want, atol=1e-12)


@pytest.mark.parametrize("bidirectional", [False, True])
def test_a_forward_tagger_does_not_see_the_future_and_a_batch_is_a_loop(bidirectional):
    seqs = tagged()
    model = sw.Tagger(hidden=4, bidirectional=bidirectional).fit(seqs, **QUICK)
    probs = model.predict(seqs).probs
    np.testing.assert_allclose(probs, np.concatenate([model.predict(one).probs for one in seqs]), atol=1e-13)
    np.testing.assert_allclose(probs.sum(axis=1), 1.0, atol=1e-13)
    short = np.concatenate([p[:4] for p in np.split(probs, seqs.offsets[1:-1])])
    same = np.allclose(model.predict(seqs.steps(0, 4)).probs, short, atol=1e-12)
    assert same != bidirectional


def test_log_prob_adds_up_the_known_labels():
    seqs = tagged()
    model = sw.Tagger(hidden=4).fit(seqs, **QUICK)
    probs, codes = model.predict(seqs).probs, (seqs.labels == "up").astype(int)
    want = np.log(probs[np.arange(seqs.rows), codes])
    np.testing.assert_allclose(model.log_prob(seqs, per_step=True), want, rtol=1e-12)
    np.testing.assert_allclose(model.log_prob(seqs), np.add.reduceat(want, seqs.offsets[:-1]), rtol=1e-12)
    assert model.fit_result.log_prob == pytest.approx(want.sum(), rel=1e-12)
    assert model.decode(seqs).labels.tolist() == np.array(["down", "up"])[probs.argmax(axis=1)].tolist()


def test_unlabelled_steps_are_seen_and_not_scored():
    """Oracle: what the label of a masked step says does not matter, to the last bit."""
    seqs = tagged()
    mask = np.random.default_rng(4).random(seqs.rows) < 0.4
    models = [
        sw.Tagger(hidden=4).fit(seqs.replace(labels=np.where(mask, fill, seqs.labels).astype(object)), **QUICK)
        for fill in ("", None)
    ]
    third = sw.Tagger(hidden=4).fit(seqs.replace(labels=np.where(mask, "?", seqs.labels)), unlabelled="?", **QUICK)
    assert third.classes.tolist() == ["down", "up"]
    for model in (models[1], third):
        assert all(np.array_equal(model.parameters[k], models[0].parameters[k]) for k in model.parameters)
    assert models[0].fit_result.n_steps == (~mask).sum()
    assert models[0].score(seqs.replace(labels=np.where(mask, "", seqs.labels))).count == (~mask).sum()


@pytest.mark.parametrize(
    ("labels", "known", "values"),
    [
        (np.array([1.0, np.nan, 2.0]), [True, False, True], [1.0, 2.0]),
        (np.array(["a", "", "b"]), [True, False, True], ["a", "b"]),
        (np.array([3, None, float("nan")], dtype=object), [True, False, False], [3]),
        (np.array([True, False]), [True, True], [True, False]),
    ],
)
def test_known_labels(labels, known, values):
    found, kept = known_labels(labels)
    assert found.tolist() == known
    assert kept[found].tolist() == values


def test_balanced_weights_lift_a_rare_label():
    """Five per cent of noise labels: unweighted the share is kept, balanced both labels are as likely. Oracle: the shares."""
    rng = np.random.default_rng(5)
    arrays = [rng.normal(size=40) for _ in range(30)]
    labels = [(rng.random(40) < 0.05).astype(int) for _ in arrays]
    seqs = sw.Sequences.from_arrays(arrays, labels=labels)
    plain = sw.Tagger(hidden=2).fit(seqs, epochs=1, lr=1e-6).predict(seqs).probs[:, 1]
    even = sw.Tagger(hidden=2, class_weight="balanced").fit(seqs, epochs=1, lr=1e-6).predict(seqs).probs[:, 1]
    share = np.concatenate(labels).mean()
    np.testing.assert_allclose(plain, share, atol=1e-3)
    np.testing.assert_allclose(even, 0.5, atol=1e-3)
    given = sw.Tagger(hidden=2, class_weight={0: 1.0, 1: (1 - share) / share}).fit(seqs, epochs=1, lr=1e-6)
    np.testing.assert_allclose(given.predict(seqs).probs[:, 1], 0.5, atol=1e-3)
    with pytest.raises(InputError, match="`class_weight` has no weight for 1"):
        sw.Tagger(class_weight={0: 1.0}).fit(seqs)


def test_scores_by_hand():
    from statewise.results.labels import LabelScores

    scores = LabelScores(np.array(["a", "b", "c"]), np.array([[3, 1, 0], [0, 4, 0], [0, 0, 0]]), 0.5)
    assert (scores.count, scores.accuracy) == (8, 7 / 8)
    np.testing.assert_array_equal(scores.recall, [0.75, 1.0, np.nan])
    np.testing.assert_array_equal(scores.precision, [1.0, 0.8, np.nan])
    np.testing.assert_allclose(scores.f1, [6 / 7, 8 / 9, np.nan])
    assert scores.balanced_accuracy == 0.875


# --- no leakage, reproducibility, resume ----------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [3, 12])
def test_what_is_held_out_teaches_nothing(count):
    """Oracle: other values in the held-out part change nothing that is trained on: windows and scaling."""
    from statewise.models.labeller_training import LabelPlan

    seqs = tagged(count)
    known, codes = np.ones(seqs.rows, dtype=bool), (seqs.labels == "up").astype(int)
    given = {"validation": 0.3, "seed": 0, "window": None}
    plan = LabelPlan(seqs, known, codes, 2, "step", None, given)
    rows = lambda windows: {int(r) for k in range(len(windows)) for r in windows.gather(np.array([k]))[0].ravel()}  # noqa: E731  # two uses
    teach, judge = rows(plan.training), rows(plan.validation)
    assert not teach & judge
    assert teach | judge == set(range(seqs.rows))
    spoiled = seqs.values.copy()
    spoiled[sorted(judge)] = 1e6
    other = LabelPlan(seqs.replace(values=spoiled), known, codes, 2, "step", None, given)
    assert all(np.array_equal(plan.scaling[k], other.scaling[k]) for k in plan.scaling)


def test_every_label_keeps_a_training_sequence():
    from statewise.models.labeller_training import LabelPlan

    seqs = classified(7).replace(labels=np.array([0, 0, 0, 0, 0, 0, 1]))
    plan = LabelPlan(
        seqs, np.ones(7, dtype=bool), seqs.labels, 2, "sequence", None, {"validation": 0.5, "seed": 0, "window": None}
    )
    first = np.searchsorted(seqs.offsets, plan.training.first)
    assert set(seqs.labels[first]) == {0, 1}


@pytest.mark.parametrize("kind", ["tagger", "classifier"])
def test_the_same_seed_and_a_resumed_fit_give_the_same_model(kind, tmp_path, monkeypatch):
    """To the last bit, with dropout, from an interrupt in the middle of an epoch."""
    from statewise.fitting import checkpoint

    make, seqs = (sw.Tagger, tagged()) if kind == "tagger" else (sw.Classifier, classified(20))
    fit = lambda **more: make(hidden=3, dropout=0.3, bidirectional=True).fit(seqs, batch=4, **QUICK, **more)  # noqa: E731  # used thrice
    want = fit()
    monkeypatch.setattr(checkpoint, "_INTERVAL_S", 0.0)
    step, calls = torch.optim.AdamW.step, []

    def interrupted(self, *given):
        calls.append(0)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return step(self, *given)

    monkeypatch.setattr(torch.optim.AdamW, "step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fit(checkpoint=tmp_path / "c")
    found = fit(checkpoint=tmp_path / "c")
    assert all(np.array_equal(found.parameters[k], want.parameters[k]) for k in want.parameters)
    assert np.array_equal(found.fit_result.trace, want.fit_result.trace)


# --- the house --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["tagger", "classifier"])
def test_files_results_and_words(kind, tmp_path):
    make, seqs = (sw.Tagger, tagged()) if kind == "tagger" else (sw.Classifier, classified(20))
    model = make("lstm", hidden=3, class_weight="balanced").fit(seqs, **QUICK)
    model.save(tmp_path / "model")
    again = sw.load(tmp_path / "model")
    assert again.get_params() == model.get_params() == model.clone().get_params()
    assert np.array_equal(again.predict(seqs).probs, model.predict(seqs).probs)
    assert again.classes.tolist() == model.classes.tolist()
    assert again.decode(seqs).labels.dtype.kind == model.decode(seqs).labels.dtype.kind
    for result in (model.predict(seqs), model.decode(seqs), model.score(seqs), model.fit_result, model.memory(seqs)):
        assert len(result.to_frame()) > 0
        assert result.plot().get_axes()
    assert model.name in model.summary()
    assert 0 < model.memory().rate < 2
    assert not hasattr(model, "forecast")
    assert not hasattr(model, "aic")


def test_verbs_by_direction():
    seqs = tagged()
    forwards = sw.Tagger(hidden=3).fit(seqs, **QUICK)
    both = sw.Tagger(hidden=3, bidirectional=True).fit(seqs, **QUICK)
    assert np.array_equal(forwards.filter(seqs).probs, forwards.predict(seqs).probs)
    assert np.array_equal(both.smooth(seqs).probs, both.predict(seqs).probs)
    with pytest.raises(UnsupportedError, match="both directions has no `filter`"):
        both.filter(seqs)
    with pytest.raises(UnsupportedError, match="one direction has no `smooth`"):
        forwards.smooth(seqs)


def test_misuse_says_what_to_do():
    seqs = tagged()
    with pytest.raises(InputError, match="have no labels; a Tagger needs one a step"):
        sw.Tagger().fit(seqs.replace(labels=None))
    with pytest.raises(InputError, match="one label a step; a Classifier needs one a sequence"):
        sw.Classifier().fit(seqs)
    with pytest.raises(InputError, match="every known label is 'up'"):
        sw.Tagger().fit(seqs.replace(labels=np.full(seqs.rows, "up")))
    with pytest.raises(InputError, match="no label is known"):
        sw.Tagger().fit(seqs.replace(labels=np.full(seqs.rows, "")))
    with pytest.raises(InputError, match="symbols are coded"):
        sw.Tagger(embedding=2).fit(seqs)
    with pytest.raises(NotFittedError):
        sw.Tagger().predict(seqs)
    model = sw.Tagger(hidden=2).fit(seqs, **QUICK)
    with pytest.raises(InputError, match="label 'flat' was not in the training data"):
        model.score(seqs.replace(labels=np.full(seqs.rows, "flat")))
    with pytest.raises(ModelFileError, match="classes"):
        model.clone()._restore(dict(model.parameters), {})
    for name, rule in sw.Classifier.options.items():
        for value in rule.bad:
            with pytest.raises(InputError, match=name):
                sw.Classifier(**{name: value})
    for name, value in {"epochs": 0, "lr": 0.0, "validation": 1.0, "window": 1, "seed": -1}.items():
        with pytest.raises(InputError, match=f"`{name}`"):
            sw.Tagger().fit(seqs, **{name: value})


def test_windows_of_long_sequences():
    model = sw.Tagger(hidden=3).fit(tagged(), window=6, **QUICK)
    assert np.isfinite(model.fit_result.log_prob)


def test_a_fitted_tagger_is_used_without_torch(tmp_path):
    seqs = tagged()
    sw.Tagger(hidden=3, bidirectional=True).fit(seqs, **QUICK).save(tmp_path / "model")
    code = (
        "import sys, numpy as np, statewise as sw\n"
        f"sw.load({str(tmp_path / 'model')!r}).decode(np.zeros((5, 2)))\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_table_may_say_a_sequences_label_in_each_of_its_rows():
    """A long table has one label a row; where a sequence's rows agree, that is its label."""
    arrays, labels = [np.full(4, k % 2 * 2.0) + 0.1 * k for k in range(8)], [k % 2 for k in range(8)]
    whole = sw.Sequences.from_arrays(arrays, labels=labels)
    by_row = sw.Sequences.from_arrays(arrays, labels=[[label] * 4 for label in labels])
    one, other = (sw.Classifier(hidden=2).fit(seqs, epochs=2, seed=0) for seqs in (whole, by_row))
    np.testing.assert_array_equal(one.log_prob(whole), other.log_prob(by_row))
