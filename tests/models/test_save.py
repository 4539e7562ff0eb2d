"""Model files. Oracles: the saved model itself, bit for bit; planted damage; every moment of an overwrite, looked at from outside."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from tests.reference import kalman as ref

import statewise as sw
from statewise._core.errors import InputError, ModelFileError, NotFittedError
from statewise.models import save as saving


@cache
def data() -> sw.Sequences:
    rng = np.random.default_rng(0)
    return sw.Sequences.from_arrays(
        [5 + rng.standard_normal(60).cumsum(), rng.standard_normal(20)], columns="Zufluß m³", ids=["a", "b"], season=4
    )


def with_inputs() -> sw.Sequences:
    return data().replace(inputs=np.random.default_rng(1).standard_normal((80, 1)), input_columns=("oil",))


def system(p: int = 1) -> sw.StateSpace:
    return sw.StateSpace(**ref.words(ref.random_system(np.random.default_rng(p), 2, p)))


MAKERS = {
    "naive": lambda: sw.Naive(season=4).fit(data()),
    "varma": lambda: sw.VARMA(p=1, q=1).fit(data(), restarts=0),
    "varma with inputs": lambda: sw.VARMA(p=1, trend="n").fit(with_inputs()),
    "structural": lambda: sw.Structural(trend=True, seasonal=True).fit(data()),
    "cycle": lambda: sw.Structural(trend="damped", cycle=(4.0, 20.0), fixed=("level",)).fit(data()),
    "arima": lambda: sw.ARIMA((0, 1, 1), (0, 1, 1), trend="c").fit(data()),
    "state-space": system,
    "diffuse": lambda: sw.StateSpace([[1.0]], [[1.0]], [[1.0]], [[2.0]], state_intercept=[0.1]),
    "exact rnn": lambda: sw.convert(system(), to="rnn"),
    "steady rnn": lambda: sw.convert(sw.VARMA(p=1, q=1).fit(data(), restarts=0), to="rnn", gain="steady"),
}


@cache
def model(name: str):
    return MAKERS[name]()


def sequences_of(name: str) -> sw.Sequences:
    return with_inputs() if "inputs" in name else data()


# --- there and back ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MAKERS)
def test_a_loaded_model_is_the_one_that_was_saved(name, tmp_path):
    """Class, options, parameters, fit, names and every number that it says, bit for bit."""
    before, seqs = model(name), sequences_of(name)
    before.save(tmp_path / "model")
    after = sw.load(tmp_path / "model")
    assert type(after) is type(before)
    assert repr(after) == repr(before)
    assert after.parameters.keys() == before.parameters.keys()
    for key, value in before.parameters.items():
        np.testing.assert_array_equal(after.parameters[key], value)
        assert after.parameters[key].dtype == value.dtype
    for key, value in before.get_params().items():
        np.testing.assert_array_equal(after.get_params()[key], value) if isinstance(value, np.ndarray) else None
        assert isinstance(value, np.ndarray) or after.get_params()[key] == value
    np.testing.assert_array_equal(after.log_prob(seqs, per_step=True), before.log_prob(seqs, per_step=True))
    future = np.ones((3, 1)) if "inputs" in name else None
    one, two = (each.forecast(seqs, steps=3, inputs=future) for each in (before, after))
    np.testing.assert_array_equal(two.mean, one.mean)
    np.testing.assert_array_equal(two.variance, one.variance)
    drawn = [
        each.sample(length=4, seed=0, inputs=np.ones((4, 1)) if "inputs" in name else None) for each in (before, after)
    ]
    assert drawn[0].equals(drawn[1])
    assert (after.n_parameters, after.memory()) == (before.n_parameters, before.memory())
    assert after.summary() == before.summary()


@pytest.mark.parametrize("name", ["varma", "naive", "structural"])
def test_how_the_fit_went_is_kept(name, tmp_path):
    before = model(name)
    before.save(tmp_path)
    after = sw.load(tmp_path).fit_result
    for field in ("outcome", "log_prob", "n_steps", "seconds", "notes", "details", "reason"):
        assert getattr(after, field) == getattr(before.fit_result, field), field
    np.testing.assert_array_equal(after.trace, before.fit_result.trace)
    assert sw.load(tmp_path).bic == before.bic


def test_a_loaded_model_can_be_fitted_again(tmp_path):
    before = model("varma")
    before.save(tmp_path)
    again = sw.load(tmp_path).fit(data(), restarts=0)
    np.testing.assert_array_equal(again.ar, before.ar)
    assert sw.load(tmp_path).clone().get_params() == before.get_params()


def test_names_in_any_script_survive(tmp_path):
    model("varma").save(tmp_path / "Modell für Zuflüsse")
    assert sw.load(tmp_path / "Modell für Zuflüsse").sample(length=1).columns == ("Zufluß m³",)
    assert "Zufluß" in (tmp_path / "Modell für Zuflüsse" / "model.json").read_text(encoding="utf-8")


def test_paths_may_be_texts_and_folders_are_made(tmp_path):
    model("naive").save(str(tmp_path / "deep" / "down" / "model"))
    assert sw.load(str(tmp_path / "deep" / "down" / "model")).is_fitted


def test_only_two_files_are_left(tmp_path):
    for name in ("varma", "naive", "varma"):
        model(name).save(tmp_path)
    files = sorted(path.name for path in tmp_path.iterdir())
    assert len(files) == 2
    assert files[1] == "model.json"
    assert saving._ARRAYS_NAME.fullmatch(files[0])


def test_other_files_in_the_folder_are_left_alone(tmp_path):
    for other in ("notes.txt", "arrays-old.safetensors", "arrays.safetensors"):
        (tmp_path / other).write_text("mine")
    model("naive").save(tmp_path)
    model("varma").save(tmp_path)
    for other in ("notes.txt", "arrays-old.safetensors", "arrays.safetensors"):
        assert (tmp_path / other).read_text() == "mine"


def test_nothing_in_the_file_is_code(tmp_path):
    """JSON and safetensors alone; the arrays are readable by the safetensors package."""
    from safetensors.numpy import load_file

    model("varma").save(tmp_path)
    record = json.loads((tmp_path / "model.json").read_text(encoding="utf-8"))
    arrays = load_file(tmp_path / record["arrays"]["file"])
    np.testing.assert_array_equal(arrays["ar"], model("varma").ar)
    assert (record["format"], record["kind"]) == (1, "varma")


# --- damage -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def saved(tmp_path):
    model("varma").save(tmp_path / "model")
    return tmp_path / "model"


def arrays_file(folder: Path) -> Path:
    return folder / json.loads((folder / "model.json").read_text(encoding="utf-8"))["arrays"]["file"]


def rewrite(folder: Path, change, seal: bool = False) -> None:
    """Change the record; `seal` recomputes its checksum, as a forger would."""
    file = folder / "model.json"
    record = json.loads(file.read_text(encoding="utf-8"))
    change(record)
    if seal:
        record["sha256"] = saving._digest(record)
    file.write_text(json.dumps(record), encoding="utf-8")


@pytest.mark.parametrize("keep", [0.0, 0.3, 0.999])
def test_a_truncated_record_is_refused(saved, keep):
    text = (saved / "model.json").read_bytes()
    (saved / "model.json").write_bytes(text[: int(keep * (len(text) - 2))])
    with pytest.raises(ModelFileError, match=r"model\.json: truncated or not JSON.*save the model again"):
        sw.load(saved)


@pytest.mark.parametrize("keep", [0, 7, 8, 100, -1])
def test_truncated_arrays_are_refused(saved, keep):
    file = arrays_file(saved)
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(ModelFileError, match=r"truncated or altered.*save the model again"):
        sw.load(saved)


@pytest.mark.parametrize("change", [
    lambda r: r.update(kind="naive"),
    lambda r: r["options"].update(p=2),
    lambda r: r["schema"].update(columns=["other"]),
    lambda r: r["fit"].update(log_prob=0.0),
    lambda r: r["arrays"].update(sha256="0" * 64),
    lambda r: r.update(extra=1),
    lambda r: r.pop("fit"),
    lambda r: r.pop("sha256"),
    lambda r: r.update(format=0),
])  # fmt: skip
def test_an_altered_record_is_refused(saved, change):
    rewrite(saved, change)
    with pytest.raises(ModelFileError, match="altered since it was saved"):
        sw.load(saved)


def test_one_flipped_bit_in_the_arrays_is_refused(saved):
    file = arrays_file(saved)
    blob = bytearray(file.read_bytes())
    blob[-1] ^= 1
    file.write_bytes(bytes(blob))
    with pytest.raises(ModelFileError, match="truncated or altered"):
        sw.load(saved)


def test_arrays_of_another_model_are_refused(saved, tmp_path):
    model("naive").save(tmp_path / "other")
    shutil.copy(arrays_file(tmp_path / "other"), arrays_file(saved))
    with pytest.raises(ModelFileError, match="truncated or altered"):
        sw.load(saved)


def test_missing_arrays_are_named(saved):
    file = arrays_file(saved)
    file.unlink()
    with pytest.raises(ModelFileError, match=f"{file.name}: cannot be read.*incomplete"):
        sw.load(saved)


def test_a_newer_format_says_what_to_do(saved):
    rewrite(saved, lambda r: r.update(format=2, statewise="9.1.0"), seal=True)
    with pytest.raises(
        ModelFileError,
        match=r"format 2 by statewise 9\.1\.0, and this version reads up to 1; upgrade with: pip install",
    ):
        sw.load(saved)
    rewrite(saved, lambda r: r.update(format=99))  # its checksum may be made in a way that this version does not know
    with pytest.raises(ModelFileError, match="upgrade"):
        sw.load(saved)


@pytest.mark.parametrize("change", [
    lambda r: r.pop("options"),
    lambda r: r.pop("arrays"),
    lambda r: r.pop("kind"),
    lambda r: r.pop("schema"),
    lambda r: r.pop("fit"),
    lambda r: r["options"].update(order=3),
    lambda r: r["options"].update(p=-1),
    lambda r: r["options"].update(p={"array": "option:p"}),
    lambda r: r["fit"].update(outcome="WONDERFUL"),
    lambda r: r["fit"].pop("notes"),
    lambda r: r.update(options=[1]),
    lambda r: r.update(fit=7),
    lambda r: r.update(arrays="file"),
])  # fmt: skip
def test_a_record_that_makes_no_sense_is_refused_even_if_sealed(saved, change):
    rewrite(saved, change, seal=True)
    with pytest.raises(ModelFileError):
        sw.load(saved)


def test_an_unknown_kind_lists_the_known_ones(saved):
    rewrite(saved, lambda r: r.update(kind="transformer"), seal=True)
    with pytest.raises(ModelFileError, match=r"unknown model kind 'transformer'; this version has .*varma"):
        sw.load(saved)


@pytest.mark.parametrize(
    "name", ["../../secret", "/etc/passwd", "arrays-0123456789abcdef.safetensors/../x", "model.json", 7]
)
def test_the_arrays_cannot_be_anywhere_else(saved, name):
    rewrite(saved, lambda r: r["arrays"].update(file=name), seal=True)
    with pytest.raises(ModelFileError):
        sw.load(saved)


def test_arrays_that_are_no_safetensors_are_refused_even_if_sealed(saved):
    file = arrays_file(saved)
    file.write_bytes(b"not tensors")
    rewrite(saved, lambda r: r["arrays"].update(sha256=hashlib.sha256(b"not tensors").hexdigest()), seal=True)
    with pytest.raises(ModelFileError, match="not a valid safetensors file"):
        sw.load(saved)


@pytest.mark.parametrize("text", ["[]", "null", "{}", '{"format": "1"}', "\x00\x01", '"model"', '{"format": true}'])
def test_a_json_that_is_no_model_is_refused(tmp_path, text):
    (tmp_path / "model.json").write_text(text)
    with pytest.raises(ModelFileError):
        sw.load(tmp_path)


def test_a_record_that_is_not_text_is_refused(tmp_path):
    (tmp_path / "model.json").write_bytes(b"\xff\xfe\x00{")
    with pytest.raises(ModelFileError, match="truncated or not JSON"):
        sw.load(tmp_path)


# --- paths ------------------------------------------------------------------------------------------------------------


def test_there_is_nothing_there(tmp_path):
    for folder in (tmp_path, tmp_path / "no" / "where"):
        with pytest.raises(
            ModelFileError, match=r"there is no model here \(no model.json\); pass the folder that `save` wrote"
        ):
            sw.load(folder)


def test_a_path_that_is_a_file(tmp_path):
    file = tmp_path / "model.bin"
    file.write_text("mine")
    with pytest.raises(InputError, match=r"`path` is the existing file .*model\.bin.*pass the name of a folder"):
        model("naive").save(file)
    assert file.read_text() == "mine"
    with pytest.raises(ModelFileError, match="pass the folder"):
        sw.load(file)


def test_a_model_without_parameters_cannot_be_saved(tmp_path):
    with pytest.raises(NotFittedError, match="fit"):
        sw.VARMA().save(tmp_path / "model")
    assert not (tmp_path / "model").exists()


# --- a crash while an old model is replaced ---------------------------------------------------------------------------


class Crash(BaseException):
    """What a power cut looks like to the program: nothing catches it."""


def which(folder: Path) -> str:
    return sw.load(folder).kind


@pytest.mark.parametrize("call", [1, 2])
def test_a_crash_before_either_write_leaves_the_old_model(saved, monkeypatch, call):
    calls = []

    def write(path, content):
        calls.append(path)
        if len(calls) == call:
            raise Crash
        return original(path, content)

    original = saving.write_atomically
    monkeypatch.setattr(saving, "write_atomically", write)
    with pytest.raises(Crash):
        model("naive").save(saved)
    assert which(saved) == "varma"
    monkeypatch.undo()
    model("naive").save(saved)
    assert which(saved) == "naive"
    assert len(list(saved.iterdir())) == 2  # what the crash left behind is gone


@pytest.mark.parametrize("call", [1, 2])
def test_a_crash_in_the_middle_of_a_write_leaves_the_old_model_and_no_half_file(saved, monkeypatch, call):
    """The disk is full, or the process dies, before the temporary file is renamed."""
    calls = []

    def replace(source, target):
        calls.append(target)
        if len(calls) == call:
            raise Crash
        return original(source, target)

    original = os.replace
    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(Crash):
        model("naive").save(saved)
    assert which(saved) == "varma"
    assert not [path.name for path in saved.iterdir() if path.name.startswith(".")]


def test_at_each_moment_there_is_one_valid_model(saved, monkeypatch):
    """After every rename and every removal the folder is loaded from outside: varma, varma, naive, naive."""
    seen = []

    def watched(original):
        def operation(*arguments, **options):
            seen.append(which(saved))
            result = original(*arguments, **options)
            seen.append(which(saved))
            return result

        return operation

    monkeypatch.setattr(os, "replace", watched(os.replace))
    monkeypatch.setattr(Path, "unlink", watched(Path.unlink))
    model("naive").save(saved)
    assert seen == ["varma", "varma", "varma", "naive", "naive", "naive"]  # arrays, record, removal of the old arrays


def test_a_crash_before_the_old_arrays_are_removed_leaves_the_new_model(saved, monkeypatch):
    def unlink(self, missing_ok=False):
        raise Crash

    monkeypatch.setattr(Path, "unlink", unlink)
    with pytest.raises(Crash):
        model("naive").save(saved)
    assert which(saved) == "naive"
    assert len(list(saved.iterdir())) == 3
    monkeypatch.undo()
    model("naive").save(saved)
    assert len(list(saved.iterdir())) == 2


def test_saving_the_same_model_twice_keeps_it(saved):
    """The arrays' name comes from their content: the file that is written is the one that is kept."""
    before = sw.load(saved).parameters["ar"]
    model("varma").save(saved)
    np.testing.assert_array_equal(sw.load(saved).parameters["ar"], before)
    assert len(list(saved.iterdir())) == 2
