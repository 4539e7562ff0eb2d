"""torch's thread count is given back, also after an error."""

from __future__ import annotations

import contextlib

import torch

from statewise.nn.threads import torch_threads


def test_the_count_holds_inside_and_is_given_back():
    before = torch.get_num_threads()
    with torch_threads(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before
    with contextlib.suppress(KeyError), torch_threads(before + 1):
        raise KeyError
    assert torch.get_num_threads() == before


def test_none_changes_nothing():
    before = torch.get_num_threads()
    with torch_threads(None):
        assert torch.get_num_threads() == before
