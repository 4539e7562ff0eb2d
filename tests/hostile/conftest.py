"""A folder of its own for the hostile tests, with a good file and a good model in it."""

from __future__ import annotations

import numpy as np
import pytest

import statewise as sw


@pytest.fixture(autouse=True, scope="module")
def folder(tmp_path_factory):
    """Hostile texts taken as names make files there, and nowhere else."""
    with pytest.MonkeyPatch.context() as patch:
        where = tmp_path_factory.mktemp("hostile")
        patch.chdir(where)
        sw.Sequences.from_arrays([np.arange(12.0) % 5]).to_frame().to_csv("series.csv", index=False)
        sw.VARMA(p=1).fit(np.sin(np.arange(30.0))).save("model")
        yield where
