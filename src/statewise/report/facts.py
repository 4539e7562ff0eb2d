"""What a report says in words: facts on the data and the job, remarks, notes, versions, and how to use the run."""

from __future__ import annotations

import datetime
import platform
import shlex
from pathlib import Path

import numpy as np

from statewise import __version__
from statewise._core.errors import StatewiseError
from statewise.models.base import Density
from statewise.report import series
from statewise.report.numbers import count, fixed
from statewise.results.comparison import Comparison
from statewise.results.fit import Memory
from statewise.sequences.sequences import Sequences


def facts(seqs: Sequences, comparison: Comparison, model: Density) -> list[tuple[str, str]]:
    """(name, value) of the key facts, in reading order."""
    found = [("Best model", model.name), ("Sequences", _sizes(seqs)), ("Columns", _listed(seqs.columns))]
    if seqs.inputs is not None:
        found.append(("Given inputs", _listed(seqs.input_columns)))
    if seqs.times is not None:
        ends = series.texts(seqs, np.array([seqs.times.min(), seqs.times.max()]))
        found.append(("From, to", f"{ends[0]} to {ends[1]}"))
    share = fixed(100 * seqs.n_missing / seqs.values.size, 1)
    found += [
        ("Missing values", f"{seqs.n_missing:,} of {seqs.values.size:,} ({share} %)" if seqs.n_missing else "none"),
        ("Season", count(comparison.season, "step") if comparison.season > 1 else "none"),
        ("Horizon", count(comparison.horizon, "step")),
        ("Windows", f"{comparison.windows:,}"),
    ]
    memory = memory_of(seqs, model)
    return found if memory is None else [*found, ("Memory, fitted to all data", _sentence(str(memory)))]


def memory_of(seqs: Sequences, model: Density) -> Memory | None:
    """What the model says of its memory; None where it cannot say."""
    try:
        return model.memory(seqs)
    except StatewiseError:
        return None


def _sizes(seqs: Sequences) -> str:
    shortest, longest = int(seqs.lengths.min()), int(seqs.lengths.max())
    if len(seqs) == 1:
        return f"1 of {count(longest, 'step')}"
    span = f"{longest:,} steps each" if shortest == longest else f"{shortest:,} to {longest:,} steps"
    return f"{len(seqs):,} of {span}, {seqs.rows:,} in all"


def _listed(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - series.MAX_COLUMNS} more" if len(names) > series.MAX_COLUMNS else ""
    return ", ".join(map(str, names[: series.MAX_COLUMNS])) + more


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def drawn_remarks(seqs: Sequences) -> list[str]:
    """What of the data the figures leave out; nothing to say for one short sequence."""
    remarks = []
    if len(seqs) > series.MAX_SEQUENCES:
        remarks.append(f"The first {series.MAX_SEQUENCES} of {len(seqs):,} sequences are drawn.")
    if seqs.dim > series.MAX_COLUMNS:
        remarks.append(f"The first {series.MAX_COLUMNS} of {seqs.dim:,} columns are drawn.")
    longest = int(seqs.lengths.max())
    if longest > series.MAX_POINTS:
        remarks.append(
            f"Long series are thinned for display to about {series.MAX_POINTS:,} of {longest:,} steps; the lowest and "
            "the highest value of every stretch are kept."
        )
    if seqs.symbols is not None:
        remarks.append("The values are codes of symbols; their order means nothing.")
    return remarks


def all_notes(comparison: Comparison, model: Density, notes: tuple[str, ...]) -> list[str]:
    """The caller's notes, the comparison's and the fit's, and the ones that hold for every report; each once."""
    fit = model.fit_result
    of_fit = [] if fit is None else [f"{model.name}: {note}" for note in fit.notes]
    if fit is not None and not fit.converged:
        of_fit.insert(0, f"The last fit of {model.name} {fit.reason}.")
    standing = [
        "The log score counts each step of a window given the steps before it; the forecasts, CRPS, RMSE, MASE "
        "and coverage are made at the origin of the window.",
        "The residuals are those of the winner on the data that it was fitted to, so they flatter it a little.",
    ]
    return list(dict.fromkeys([*notes, *comparison.notes, *of_fit, *standing]))


def python_lines(folder: Path, steps: int, driven: bool = False) -> list[str]:
    """How to load the model and forecast, in Python; a driven model needs the future of its inputs."""
    inputs = ", inputs=future_inputs" if driven else ""
    return [
        "import statewise as sw",
        f"model = sw.load({str(folder / 'model')!r})",
        f"seqs = sw.read({str(folder / 'data.npz')!r})",
        f"model.forecast(seqs, steps={steps}{inputs}).to_frame()",
    ]


def shell_line(folder: Path, steps: int, driven: bool = False) -> str:
    """How to forecast from a shell; a driven model needs a file with the future of its inputs."""
    future = " --future FILE" if driven else ""
    return f"statewise forecast {shlex.quote(str(folder))} --steps {steps}{future}"


def versions() -> dict[str, str]:
    """The versions that made the report."""
    import plotly
    import scipy

    return {
        "statewise": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "plotly": plotly.__version__,
    }


def now() -> str:
    """The time in UTC, ISO 8601 to the second."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
