"""Model files: a folder with `model.json` and a safetensors file. Never pickle; loading never runs code.

`model.json` holds the format version, the kind, the options, how the fit went, the name and SHA-256 of the arrays' file, and its own
SHA-256. The arrays' file is named after its content and written first; renaming `model.json` into place is the moment at which
the new model replaces the old one, so a crash leaves one of the two.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np

from statewise import __version__
from statewise._core import checks
from statewise._core.errors import InputError, ModelFileError, StatewiseError
from statewise._core.files import write_atomically
from statewise._core.outcome import Outcome
from statewise.models.base import Model
from statewise.models.registry import MODELS, model_class
from statewise.results.fit import FitResult

FORMAT = 1
_ARRAYS_NAME = re.compile(r"arrays-[0-9a-f]{16}\.safetensors")


def save(model: Model, path: str | os.PathLike[str]) -> None:
    """Write `model` to the folder `path`, replacing a model that is there."""
    from safetensors.numpy import save as to_safetensors

    folder = Path(checks.File().check("path", path))
    if folder.exists() and not folder.is_dir():
        raise InputError(f"`path` is the existing file {str(folder)!r}; pass the name of a folder for the model")
    _ = model.parameters  # a model without any has nothing to save
    arrays, options = _contents(model)
    if model.fit_result is not None:
        arrays["fit:trace"] = model.fit_result.trace
    blob = to_safetensors({name: np.ascontiguousarray(array) for name, array in arrays.items()})
    digest = hashlib.sha256(blob).hexdigest()
    file = f"arrays-{digest[:16]}.safetensors"
    record: dict[str, Any] = {
        "format": FORMAT,
        "statewise": __version__,
        "kind": model.kind,
        "options": options,
        "schema": model._schema,
        "fit": _fit_record(model.fit_result),
        "arrays": {"file": file, "sha256": digest, "names": list(arrays)},
    }
    record["sha256"] = _digest(record)
    write_atomically(folder / file, blob)
    write_atomically(folder / "model.json", json.dumps(record, indent=2, ensure_ascii=False) + "\n")
    for old in folder.glob("arrays-*.safetensors"):
        if old.name != file and _ARRAYS_NAME.fullmatch(old.name):
            with contextlib.suppress(OSError):
                old.unlink()


def _contents(model: Model) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Parameters and arrays among the options by name, and the options with references in their place."""
    arrays, options = dict(model.parameters) if model.is_fitted else {}, {}
    for name, value in model.get_params().items():
        if isinstance(value, np.ndarray):
            arrays[f"option:{name}"] = value
            value = {"array": f"option:{name}"}
        elif isinstance(value, dict):
            arrays |= {f"option:{name}:{key}": array for key, array in value.items()}
            value = {"arrays": {key: f"option:{name}:{key}" for key in value}}
        elif isinstance(value, Model):
            inner, own = _contents(value)
            arrays |= {f"model:{name}:{key}": array for key, array in inner.items()}
            fit = {"kind": value.kind, "options": own, "schema": value._schema, "fit": None}
            value = {"model": fit | {"fitted": value.is_fitted}, "prefix": f"model:{name}:"}
        options[name] = value
    return arrays, options


def load(path: str | os.PathLike[str]) -> Model:
    """Read a model from the folder that `save` wrote.

    Raises:
        ModelFileError: the folder has no model, or it is truncated, altered, or from a newer format.
    """
    folder = Path(checks.File().check("path", path))
    record = _read_record(folder)
    try:
        arrays = _read_arrays(folder, record)
    except (LookupError, TypeError, AttributeError) as error:
        raise ModelFileError(
            f"{folder}: the record does not say which arrays there are ({error}); save the model again"
        ) from error
    try:
        with np.errstate(divide="raise", invalid="raise"):  # of numbers that no fit leaves
            return _rebuild(record, arrays)
    except (
        LookupError,
        TypeError,
        AttributeError,
        ValueError,
        ArithmeticError,
        RuntimeError,
        MemoryError,
        StatewiseError,
    ) as error:
        raise ModelFileError(f"{folder}: the model file is inconsistent ({error}); save the model again") from error


def _rebuild(record: dict[str, Any], arrays: dict[str, np.ndarray]) -> Model:
    options = {
        name: _option(value, arrays) if isinstance(value, dict) else value for name, value in record["options"].items()
    }
    trace = arrays.pop("fit:trace", np.empty(0))
    model = model_class(record["kind"])(**options)
    if record.get("fitted", True):
        model._restore(arrays, record["schema"])
    if record["fit"] is not None:
        fit = record["fit"] | {"outcome": Outcome[record["fit"]["outcome"]], "notes": tuple(record["fit"]["notes"])}
        model.fit_result = FitResult(trace=trace, **fit)
    return model


def _option(value: dict[str, Any], arrays: dict[str, np.ndarray]) -> Any:
    """An option that is an array, arrays by name, or a model."""
    if "model" in value:
        prefix = value["prefix"]
        inner = {name: arrays.pop(name) for name in list(arrays) if name.startswith(prefix)}
        return _rebuild(value["model"], {name.removeprefix(prefix): array for name, array in inner.items()})
    if "arrays" in value:
        return {key: arrays.pop(name) for key, name in value["arrays"].items()}
    return arrays.pop(value["array"])


def _fit_record(fit: FitResult | None) -> dict[str, Any] | None:
    if fit is None:
        return None
    return {
        "outcome": fit.outcome.name,
        "log_prob": fit.log_prob,
        "n_steps": fit.n_steps,
        "seconds": fit.seconds,
        "notes": list(fit.notes),
        "details": fit.details,
    }


def _digest(record: dict[str, Any]) -> str:
    content = {key: value for key, value in record.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _read_record(folder: Path) -> dict[str, Any]:
    file = folder / "model.json"
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise ModelFileError(
            f"{folder}: there is no model here (no model.json); pass the folder that `save` wrote"
        ) from None
    except (OSError, ValueError) as error:
        raise ModelFileError(f"{file}: truncated or not JSON ({error}); save the model again") from None
    if not isinstance(record, dict) or not isinstance(record.get("format"), int):
        raise ModelFileError(f"{file}: not a statewise model file; pass the folder that `save` wrote")
    if record["format"] > FORMAT:
        raise ModelFileError(
            f"{file}: written in format {record['format']} by statewise {record.get('statewise')}, and this version reads up to {FORMAT}; "
            "upgrade with: pip install --upgrade statewise"
        )
    if record.get("sha256") != _digest(record):
        raise ModelFileError(f"{file}: altered since it was saved (its checksum does not match); save the model again")
    if str(record.get("kind")) not in MODELS:
        raise ModelFileError(
            f"{file}: unknown model kind {record.get('kind')!r}; this version has {', '.join(sorted(MODELS))}"
        )
    return record


def _read_arrays(folder: Path, record: dict[str, Any]) -> dict[str, np.ndarray]:
    from safetensors import SafetensorError
    from safetensors.numpy import load as from_safetensors

    name = record["arrays"]["file"]
    if not _ARRAYS_NAME.fullmatch(str(name)):
        raise ModelFileError(f"{folder}: the arrays' file name {name!r} is not one that `save` writes")
    try:
        blob = (folder / name).read_bytes()
    except OSError as error:
        raise ModelFileError(
            f"{folder / name}: cannot be read ({error.strerror}); the model is incomplete: save it again"
        ) from None
    if hashlib.sha256(blob).hexdigest() != record["arrays"]["sha256"]:
        raise ModelFileError(
            f"{folder / name}: truncated or altered (its checksum does not match); save the model again"
        )
    try:
        arrays = from_safetensors(blob)
    except (SafetensorError, ValueError) as error:
        raise ModelFileError(f"{folder / name}: not a valid safetensors file ({error})") from None
    return {name: arrays[name] for name in record["arrays"]["names"]}  # safetensors has an order of its own
