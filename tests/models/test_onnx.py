"""ONNX files against what wrote them, computed by onnxruntime: 1e-5 for numbers of size one in float32."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import statewise as sw
from statewise._core.errors import InputError, MissingDependencyError, UnsupportedError
from statewise.inference import recurrent as inference

pytest.importorskip("onnx", reason="needs the extra onnx")
runtime = pytest.importorskip("onnxruntime", reason="needs the extra onnx")

LENGTHS = np.array([9, 4, 1])


def run(path, **inputs):
    """Outputs by name."""
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    found = session.run(None, inputs)
    return {output.name: value for output, value in zip(session.get_outputs(), found, strict=True)}


def ragged(batch_first: bool, size: int, seed: int = 0) -> np.ndarray:
    x = np.random.default_rng(seed).normal(size=(3, 9, size)).astype(np.float32)
    return x if batch_first else np.ascontiguousarray(x.swapaxes(0, 1))


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("name", ["RNN", "GRU", "LSTM"])
@pytest.mark.parametrize("package", [torch.nn, sw.nn])
def test_layers(package, name, bidirectional, batch_first, tmp_path):
    """Oracle: the layer on a packed batch with given first states; two layers."""
    layer = getattr(package, name)(5, 6, 2, batch_first=batch_first, bidirectional=bidirectional)
    path = sw.export_onnx(layer, tmp_path / "layer.onnx", initial_state=True)
    x = ragged(batch_first, 5)
    directions = 1 + bidirectional
    states = torch.randn(2, 2 * directions, 3, 6, generator=torch.Generator().manual_seed(1))
    hx = (states[0], states[1]) if name == "LSTM" else states[0]
    packed = torch.nn.utils.rnn.pack_padded_sequence(
        torch.from_numpy(x), torch.from_numpy(LENGTHS), batch_first=batch_first, enforce_sorted=False
    )
    with torch.no_grad():
        output, ends = layer(packed, hx)
    output, _ = torch.nn.utils.rnn.pad_packed_sequence(output, batch_first=batch_first)
    given = {"h_0": states[0].numpy()} | ({"c_0": states[1].numpy()} if name == "LSTM" else {})
    found = run(path, input=x, lengths=LENGTHS, **given)
    np.testing.assert_allclose(found["output"], output.numpy(), atol=1e-5)
    for key, end in zip(("h_n", "c_n"), ends if name == "LSTM" else (ends,), strict=False):
        np.testing.assert_allclose(found[key], end.numpy(), atol=1e-5)


def test_axes_are_free_and_what_is_beyond_a_length_does_not_matter(tmp_path):
    layer = torch.nn.RNN(5, 6, nonlinearity="relu", bias=False)
    path = sw.export_onnx(layer, tmp_path / "layer.onnx")
    for steps, batch in ((1, 1), (7, 4), (30, 2)):
        x = np.random.default_rng(2).normal(size=(steps, batch, 5)).astype(np.float32)
        lengths = np.full(batch, steps)
        with torch.no_grad():
            want = layer(torch.from_numpy(x))[0].numpy()
        np.testing.assert_allclose(run(path, input=x, lengths=lengths)["output"], want, atol=1e-5)
    spoiled = np.concatenate([x, np.full_like(x[:3], 1e3)])
    np.testing.assert_allclose(run(path, input=spoiled, lengths=lengths)["output"][:30], want, atol=1e-5)


def test_a_learned_first_state_is_in_the_file(tmp_path):
    layer = sw.nn.LSTM(5, 6, 2, learn_initial=True)
    with torch.no_grad():
        for name in ("initial_h", "initial_c"):
            getattr(layer, name).normal_(generator=torch.Generator().manual_seed(3))
    x = np.random.default_rng(4).normal(size=(4, 3, 5)).astype(np.float32)
    found = run(sw.export_onnx(layer, tmp_path / "layer.onnx"), input=x, lengths=np.full(3, 4))
    np.testing.assert_allclose(found["output"], layer(torch.from_numpy(x))[0].detach().numpy(), atol=1e-5)


def padded(table: np.ndarray, seqs: sw.Sequences) -> np.ndarray:
    """(batch, time, k) from packed rows, 0 at the end."""
    result = np.zeros((len(seqs), int(seqs.lengths.max()), table.shape[1]), dtype=np.float32)
    for i, part in enumerate(np.split(table, seqs.offsets[1:-1])):
        result[i, : len(part)] = part
    return result


def unpadded(table: np.ndarray, seqs: sw.Sequences) -> np.ndarray:
    return np.concatenate([table[i, :length] for i, length in enumerate(seqs.lengths)])


def series(kind: str, seed: int = 5) -> sw.Sequences:
    rng = np.random.default_rng(seed)
    rows = 90
    y = {"poisson": rng.poisson(3, size=(rows, 2)), "categorical": rng.integers(0, 4, size=(rows, 2))}.get(
        kind, rng.normal(size=(rows, 2)) * [1, 20] + [0, 50]
    )
    y = y.astype(float)
    y[rng.random(y.shape) < 0.1] = np.nan
    return sw.Sequences(y, np.array([40, 29, 20, 1]), inputs=rng.normal(size=(rows, 1)), season=4)


@pytest.mark.parametrize("cell", ["linear", "rnn", "gru", "lstm"])
@pytest.mark.parametrize("output", ["gaussian", "student-t", "mixture", "poisson", "categorical"])
def test_recurrent_models(cell, output, tmp_path):
    """Oracle: the law that `log_prob` and `predict` use, in float64; missing values, inputs and a season's lags. Relative to its size."""
    seqs = series(output)
    model = sw.Recurrent(cell, hidden=4, layers=2, output=output).fit(seqs, epochs=2, lr=0.05)
    path = sw.export_onnx(model, tmp_path / "model.onnx")
    found = run(path, values=padded(seqs.values, seqs), inputs=padded(seqs.inputs, seqs), lengths=seqs.lengths)
    law = inference.laws(cell, model.parameters, seqs, model._output(2))
    for name, want in law._asdict().items():
        assert (name in found) == (want.size > 0)
        if want.size:
            np.testing.assert_allclose(unpadded(found[name], seqs), want, rtol=1e-5, atol=1e-5)
    if output == "gaussian":
        predicted = model.predict(seqs)
        np.testing.assert_allclose(unpadded(found["mean"], seqs), predicted.mean, rtol=1e-5, atol=1e-4)
        np.testing.assert_allclose(unpadded(found["variance"], seqs), predicted.variance, rtol=1e-4)


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("embedding", [None, 3])
@pytest.mark.parametrize("kind", ["tagger", "last", "mean"])
def test_labellers(kind, embedding, bidirectional, tmp_path):
    """Oracle: `predict` in float64."""
    seqs = series("gaussian" if embedding is None else "categorical")
    options = {"hidden": 4, "embedding": embedding, "bidirectional": bidirectional, "layers": 2}
    if kind == "tagger":
        seqs = seqs.replace(labels=np.arange(seqs.rows) % 3)
        model = sw.Tagger("lstm", **options)
    else:
        seqs = seqs.replace(labels=np.array([0, 1, 0, 1]))
        model = sw.Classifier("gru", pooling=kind, **options)
    model.fit(seqs, epochs=2, lr=0.05)
    path = sw.export_onnx(model, tmp_path / "model.onnx")
    found = run(path, values=padded(seqs.values, seqs), inputs=padded(seqs.inputs, seqs), lengths=seqs.lengths)["probs"]
    want = model.predict(seqs).probs
    np.testing.assert_allclose(unpadded(found, seqs) if kind == "tagger" else found, want, atol=1e-5)


def test_what_cannot_be_exported_says_why(tmp_path, monkeypatch):
    y = np.random.default_rng(6).normal(size=20)
    with pytest.raises(InputError, match="a VARMA; pass a Recurrent"):
        sw.export_onnx(sw.VARMA(p=1), tmp_path / "x")
    with pytest.raises(UnsupportedError, match="'diagonal' has no operator"):
        sw.export_onnx(sw.Recurrent("diagonal", hidden=2).fit(y, epochs=1), tmp_path / "x")
    with pytest.raises(UnsupportedError, match="irregular"):
        sw.export_onnx(sw.Recurrent(hidden=2, time_aware=True).fit(y, epochs=1), tmp_path / "x")
    with pytest.raises(UnsupportedError, match="proj_size"):
        sw.export_onnx(torch.nn.LSTM(2, 4, proj_size=2), tmp_path / "x")
    with pytest.raises(UnsupportedError, match="decays with time"):
        sw.export_onnx(sw.nn.GRU(2, 4, time_constant=3.0), tmp_path / "x")
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    with pytest.raises(MissingDependencyError, match=r"statewise\[onnx\]"):
        sw.export_onnx(torch.nn.GRU(2, 4), tmp_path / "x")
