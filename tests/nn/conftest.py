"""Fixtures of the layers' tests."""

from __future__ import annotations

import pytest


@pytest.fixture
def kernels_at_every_size(monkeypatch):
    """Small sizes and large ones alike go through the kernels."""
    monkeypatch.setattr("statewise.nn.recurrent.torch_is_faster", lambda *_: False)
