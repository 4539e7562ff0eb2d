"""What a fitted model asks of the sequences that it is given later."""

from __future__ import annotations

import numpy as np
import pytest

import statewise as sw


def test_columns_in_another_order_are_refused() -> None:
    """The same names in another order would be scored as the wrong columns; other names of the same number are the user's business."""
    rng = np.random.default_rng(0)
    seqs = sw.Sequences.from_arrays([rng.standard_normal((50, 2))], columns=["a", "b"])
    model = sw.VARMA(p=1).fit(seqs)
    turned = sw.Sequences.from_arrays([seqs.values[:, ::-1]], columns=["b", "a"])
    with pytest.raises(sw.InputError, match="order"):
        model.log_prob(turned)
    renamed = sw.Sequences.from_arrays([seqs.values], columns=["c", "d"])
    assert model.log_prob(renamed) == model.log_prob(seqs)
