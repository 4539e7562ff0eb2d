"""Layers from checkpoints: the same outputs as the layer that was saved, and nothing that is not numbers is opened."""

from __future__ import annotations

import pytest
import torch

import statewise as sw
from statewise.dissection.checkpoint import load_layer

KINDS = [
    (torch.nn.LSTM, {"num_layers": 2}),
    (torch.nn.LSTM, {"proj_size": 3}),
    (torch.nn.GRU, {"bidirectional": True, "num_layers": 2}),
    (torch.nn.GRU, {"bias": False}),
    (torch.nn.RNN, {}),
]


@pytest.mark.filterwarnings("ignore:LSTM with projections")  # torch says how it computes them
@pytest.mark.parametrize(("kind", "options"), KINDS)
def test_the_kind_and_the_sizes_follow_from_the_shapes(kind, options, tmp_path):
    layer = kind(4, 6, batch_first=True, **options)
    torch.save({"epoch": 3, "model": {f"encoder.rnn.{k}": v for k, v in layer.state_dict().items()}}, tmp_path / "c.pt")
    prefix, loaded = load_layer(tmp_path / "c.pt")
    assert prefix == "model.encoder.rnn."
    x = torch.randn(2, 9, 4)
    assert torch.equal(loaded(x)[0], layer(x)[0])


def test_a_cell_and_safetensors(tmp_path):
    from safetensors.torch import save_file

    cell = torch.nn.GRUCell(3, 5)
    save_file(cell.state_dict(), tmp_path / "c.safetensors")
    _, layer = load_layer(tmp_path / "c.safetensors")
    x = torch.randn(1, 1, 3)
    torch.testing.assert_close(layer(x)[0][0], cell(x[0]))


def test_a_relu_network_has_to_be_named(tmp_path):
    layer = torch.nn.RNN(3, 5, nonlinearity="relu", batch_first=True)
    torch.save(layer.state_dict(), tmp_path / "c.pt")
    x = torch.randn(2, 4, 3)
    assert torch.equal(load_layer(tmp_path / "c.pt", nonlinearity="relu")[1](x)[0], layer(x)[0])


def test_of_several_layers_one_is_chosen_by_its_name(tmp_path):
    net = torch.nn.ModuleDict({"a": torch.nn.GRU(2, 3), "b": torch.nn.LSTM(4, 5)})
    torch.save(net.state_dict(), tmp_path / "c.pt")
    with pytest.raises(sw.InputError, match=r"2 recurrent layers; pass `prefix`, one of 'a\.', 'b\.'"):
        load_layer(tmp_path / "c.pt")
    assert load_layer(tmp_path / "c.pt", "b")[1].hidden_size == 5
    with pytest.raises(sw.InputError, match="begin with"):
        load_layer(tmp_path / "c.pt", "c")


class Dangerous:
    """An object whose unpickling would write a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_code_in_a_checkpoint_is_never_run(tmp_path):
    harm = tmp_path / "harm"
    torch.save({"w": torch.ones(2), "x": Dangerous(harm)}, tmp_path / "c.pt")
    with pytest.raises(sw.DataError, match="state_dict"):
        load_layer(tmp_path / "c.pt")
    assert not harm.exists()


def test_a_whole_module_is_refused_with_the_fix(tmp_path):
    torch.save(torch.nn.LSTM(2, 3), tmp_path / "c.pt")
    with pytest.raises(sw.DataError, match=r"torch\.save\(model\.state_dict\(\), path\)"):
        load_layer(tmp_path / "c.pt")


def test_other_files_say_what_they_are_not(tmp_path):
    (tmp_path / "junk.pt").write_bytes(b"hello world")
    (tmp_path / "junk.safetensors").write_bytes(b"hello world")
    (tmp_path / "empty.pt").write_bytes(b"")
    for name in ("junk.pt", "junk.safetensors", "empty.pt"):
        with pytest.raises(sw.DataError, match=name):
            load_layer(tmp_path / name)
    torch.save(torch.nn.Linear(2, 3).state_dict(), tmp_path / "c.pt")
    with pytest.raises(sw.DataError, match=r"no weights of a recurrent layer.*bias, weight"):
        load_layer(tmp_path / "c.pt")
    with pytest.raises(sw.InputError, match="not a file"):
        load_layer(tmp_path / "nowhere.pt")
    torch.save({"weight_ih_l0": torch.ones(10, 2), "weight_hh_l0": torch.ones(10, 5)}, tmp_path / "c.pt")
    with pytest.raises(sw.DataError, match=r"10 rows for 5 units"):
        load_layer(tmp_path / "c.pt")
    torch.save({"weight_ih_l0": torch.ones(10, 2)}, tmp_path / "c.pt")
    with pytest.raises(sw.DataError, match="no weight_hh_l0"):
        load_layer(tmp_path / "c.pt")
    torch.save({"weight_ih_l0": torch.ones(5, 2), "weight_hh_l0": torch.ones(7, 5)}, tmp_path / "c.pt")
    with pytest.raises(sw.DataError, match="do not fit together"):
        load_layer(tmp_path / "c.pt")


def test_loading_moves_no_generator(tmp_path):
    torch.save(torch.nn.LSTM(2, 3).state_dict(), tmp_path / "c.pt")
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    load_layer(tmp_path / "c.pt")
    assert torch.equal(torch.rand(3), expected)
