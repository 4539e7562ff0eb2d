"""Fuzzing of every file reader and of `load`: damaged, cut, forged and foreign files give sequences, a model, or an error of ours."""

from __future__ import annotations

import copy
import hashlib
import json
import shutil
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.hostile import judge
from tests.hostile.files import GOOD, damages
from tests.hostile.subjects import FITTED, fitted
from tests.hostile.test_hostile_entries import often

import statewise as sw
from statewise.models import save as saving
from statewise.models.registry import MODELS
from statewise.sequences.read import _TABLES, _WHOLE


def test_every_format_has_a_good_file():
    suffixes = {Path(name).suffix for name in GOOD}
    readers = {reader for suffix, reader in (_TABLES | _WHOLE).items() if suffix in suffixes}
    assert readers == set((_TABLES | _WHOLE).values())
    for name, blob in GOOD.items():
        Path(name).write_bytes(blob)
        assert sw.read(name).rows > 1


@often(1000)
@given(st.sampled_from(sorted(GOOD)), damages())
def test_a_damaged_file_is_read_or_refused(name, harm):
    blob = GOOD[name]
    for one in harm:
        blob = one.apply(blob)
    Path(name).write_bytes(blob)
    judge.ends_well(lambda: sw.read(name), seconds=20)


@often(300)
@given(st.sampled_from(sorted(GOOD)), st.binary(max_size=400))
def test_noise_under_any_suffix_is_read_or_refused(name, blob):
    Path(name).write_bytes(blob)
    judge.ends_well(lambda: sw.read(name), seconds=20)


# --- models ---------------------------------------------------------------------------------------------------------------


@cache
def saved() -> dict[str, Path]:
    """One good folder of every kind that can be saved."""
    kept: dict[str, Path] = {}
    for name in FITTED:
        kind = fitted(name).kind
        folder = Path("models").absolute() / kind
        if kind not in kept:
            try:
                fitted(name).save(folder)
            except sw.UnsupportedError:
                continue
            kept[kind] = folder
    return kept


def copied(kind: str) -> Path:
    target = Path("damaged").absolute()
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(saved()[kind], target)
    return target


def test_nearly_every_kind_is_loaded():
    """Those that are not are made by `convert` from a model that is."""
    assert set(MODELS) - set(saved()) <= {"ode-rnn"}
    assert all(judge.ends_well(lambda folder=folder: sw.load(folder)).kind == kind for kind, folder in saved().items())


@often(300)
@given(st.data())
def test_a_damaged_model_is_refused(draw):
    """Whatever is changed in either file, the checksums see it; only spaces between the words of the record mean nothing."""
    kind = draw.draw(st.sampled_from(sorted(saved())))
    folder = copied(kind)
    file = folder / draw.draw(st.sampled_from(sorted(path.name for path in folder.iterdir())))
    before = file.read_bytes()
    blob = before
    for one in draw.draw(damages()):
        blob = one.apply(blob)
    file.write_bytes(blob)
    answer = judge.ends_well(lambda: sw.load(folder))
    if isinstance(answer, sw.StatewiseError):
        assert isinstance(answer, sw.ModelFileError)
        assert "damaged" in str(answer), "the file is named"
    else:
        assert blob == before or (file.suffix == ".json" and json.loads(blob) == json.loads(before))


_ODD: tuple[Any, ...] = (
    None, 0, -1, 1.5, 10**30, True, "", "x", "../../secret", [], {}, [1], {"a": 1}, "é" * 500, float("inf"), [None] * 3, {"array": "x"},
    {"arrays": {}}, {"model": {}}, {"model": {}, "prefix": ""}, [[[]]],
)  # fmt: skip


def _forged(record: Any, path: list[int], value: Any, drop: bool) -> None:
    """Replace or drop a value somewhere in nested dicts and lists; `path` says where, in positions."""
    at = record
    while True:
        keys = list(at) if isinstance(at, dict) else list(range(len(at)))
        if not keys:
            return
        key = keys[path.pop() % len(keys)]
        if path and isinstance(at[key], dict | list) and at[key]:
            at = at[key]
            continue
        if drop:
            del at[key]
        else:
            at[key] = value
        return


@often(400)
@given(st.data())
def test_a_forged_and_sealed_record_is_refused_or_makes_a_model(draw):
    """A checksum keeps off accidents, not forgers: what they write may be refused, never run, never a bare error."""
    folder = copied(draw.draw(st.sampled_from(sorted(saved()))))
    file = folder / "model.json"
    record = json.loads(file.read_text(encoding="utf-8"))
    for _ in range(draw.draw(st.integers(1, 2))):
        path = draw.draw(st.lists(st.integers(0, 30), min_size=1, max_size=4))
        _forged(record, path, copy.deepcopy(draw.draw(st.sampled_from(_ODD))), draw.draw(st.booleans()))
    if isinstance(record, dict):
        record["sha256"] = saving._digest(record)
    file.write_text(json.dumps(record), encoding="utf-8")
    answer = judge.ends_well(lambda: sw.load(folder))
    assert not isinstance(answer, sw.StatewiseError) or isinstance(answer, sw.ModelFileError)


@pytest.mark.parametrize(
    "header",
    [2**63 - 1, 2**64 - 1, 2**31, 10**9, 0, 1],
    ids=["2**63", "2**64", "2**31", "1e9", "0", "1"],
)
def test_an_oversized_header_is_refused_without_its_memory(header):
    """The first eight bytes of a safetensors file are the size of its header."""
    folder = copied("varma")
    arrays = next(folder.glob("arrays-*"))
    blob = int(header).to_bytes(8, "little") + arrays.read_bytes()[8:]
    arrays.write_bytes(blob)
    record = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    record["arrays"]["sha256"] = hashlib.sha256(blob).hexdigest()
    record["sha256"] = saving._digest(record)
    (folder / "model.json").write_text(json.dumps(record), encoding="utf-8")
    with pytest.raises(sw.ModelFileError, match="not a valid safetensors file"):
        sw.load(folder)


@pytest.mark.parametrize("kind", sorted(set(MODELS) - {"ode-rnn"}))
def test_arrays_of_the_wrong_shape_or_type_are_refused_or_make_a_model(kind):
    """Sealed: every array in turn replaced by none, by one number, by words of another type."""
    from safetensors.numpy import load_file, save

    for swap in (
        lambda a: a[:0],
        lambda a: np.zeros((1, 1, 1, 1, 1)),
        lambda a: np.full(a.shape, np.nan),
        lambda a: np.zeros(a.shape, np.int8),
    ):
        folder = copied(kind)
        arrays = next(folder.glob("arrays-*"))
        held = load_file(arrays)
        for name in held:
            changed = {each: value for each, value in held.items() if each != name}
            if held[name].ndim:
                changed[name] = np.ascontiguousarray(swap(held[name]))
            blob = save(changed)
            record = json.loads((saved()[kind] / "model.json").read_text(encoding="utf-8"))
            record["arrays"]["sha256"] = hashlib.sha256(blob).hexdigest()
            record["sha256"] = saving._digest(record)
            (folder / record["arrays"]["file"]).write_bytes(blob)
            (folder / "model.json").write_text(json.dumps(record), encoding="utf-8")
            answer = judge.ends_well(lambda folder=folder: sw.load(folder))
            assert not isinstance(answer, sw.StatewiseError) or isinstance(answer, sw.ModelFileError), (name, answer)
