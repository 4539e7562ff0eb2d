"""The names of `statewise.dissection`."""

from __future__ import annotations

import importlib
import inspect

import numpy as np
import pytest

import statewise as sw
from statewise.dissection import registry


@pytest.mark.parametrize("name", registry.names())
def test_a_name_means_the_function_before_and_after_its_file_is_imported(name):
    module = importlib.import_module(f"statewise.dissection.{name}")
    alone = getattr(sw.dissection, name)
    assert inspect.isfunction(alone)
    assert alone.__wrapped__ is getattr(module, name)
    assert inspect.getdoc(alone)
    assert name in dir(sw.dissection)


def test_unknown_names():
    with pytest.raises(AttributeError, match="no attribute 'lyapunow'"):
        _ = sw.dissection.lyapunow


def test_every_analysis_gives_a_diagnostic_of_its_name_for_bare_matrices():
    """Those that need more than Jacobians are refused and say why."""
    subject = sw.dissection.dissect(np.tile(np.diag([0.9, 0.5]), (60, 1, 1)))
    for found in subject:
        assert found.name in registry.names()
        assert found.source
        assert found.meaning
        assert bool(found.reason) == (found.status is not sw.dissection.Status.CONVERGED)
        assert found.to_dict()["status"] == found.status.value
        assert len(found.to_frame())
