"""`Scaling`. Oracles: NumPy's nanmean and nanstd, the closed form of a scaled normal density, exact arithmetic."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from statewise import InputError, Sequences
from statewise.sequences.scaling import Scaling, refuse_tiny, standardise
from tests.sequences.strategies import sequences


@given(sequences())
def test_standardise_and_undo_is_the_identity(seqs):
    """The tolerance is a few roundings of the largest number in the column."""
    scaled, scaling = seqs.standardise()
    back = scaling.undo(scaled)
    size = np.nanmax(np.abs(seqs.values), axis=0, initial=0.0)
    np.testing.assert_array_less(
        np.abs(back.values - seqs.values)[~np.isnan(seqs.values)],
        (8e-16 * size + 1e-300 + 0 * seqs.values)[~np.isnan(seqs.values)],
    )
    assert back.replace(values=seqs.values).equals(seqs)
    assert np.array_equal(np.isnan(scaled.values), np.isnan(seqs.values))
    np.testing.assert_array_equal(scaling.undo_values(scaled.values), back.values)


def test_mean_0_and_deviation_1_over_what_is_observed():
    rng = np.random.default_rng(0)
    values = rng.normal(5.0, 3.0, (200, 2)) * [1.0, 1e6]
    values[rng.random((200, 2)) < 0.2] = np.nan
    scaled, scaling = standardise(Sequences(values, [150, 50]))
    np.testing.assert_allclose(scaling.mean, np.nanmean(values, axis=0), rtol=1e-13)
    np.testing.assert_allclose(scaling.scale, np.nanstd(values, axis=0), rtol=1e-13)
    np.testing.assert_allclose(np.nanmean(scaled.values, axis=0), 0.0, atol=1e-14)
    np.testing.assert_allclose(np.nanstd(scaled.values, axis=0), 1.0, rtol=1e-13)


@pytest.mark.parametrize("size", [1e-300, 1e-150, 1.0, 1e50, 1e99])
@pytest.mark.parametrize("shift", [0.0, 3.0])
def test_extreme_sizes_neither_overflow_nor_vanish(size, shift):
    """Scaling by a power of ten scales mean and deviation by it."""
    plain = np.array([1.0, -2.0, 4.0, 0.5]) + shift
    scaled, scaling = Sequences(plain * size, [4]).standardise()
    reference, unit = Sequences(plain, [4]).standardise()
    np.testing.assert_allclose(scaled.values, reference.values, rtol=1e-13, atol=1e-14)
    np.testing.assert_allclose(scaling.scale / size, unit.scale, rtol=1e-13)
    assert np.isfinite(scaling.log_jacobian(scaled)).all()


@pytest.mark.parametrize("column", [[0.1] * 7, [0.0] * 3, [-1e99] * 5, [5.0], [5.0, np.nan], [1e-320, 2e-320, 0.0]])
def test_constant_columns_get_scale_1(column):
    scaled, scaling = Sequences(column, [len(column)]).standardise()
    assert scaling.scale.tolist() == [1.0]
    np.testing.assert_allclose(scaled.values[~np.isnan(scaled.values)], 0.0, atol=1e-300)


@pytest.mark.parametrize("size", [1e101, 1e150, -1e300])
def test_numbers_whose_square_overflows_are_refused(size):
    with pytest.raises(InputError, match="give the column in larger units"):
        Sequences([1.0, size], [2])


def test_a_column_without_observations_is_left_alone():
    _, scaling = Sequences([[1.0, np.nan], [3.0, np.nan]], [2]).standardise()
    assert (scaling.mean.tolist(), scaling.scale.tolist()) == ([2.0, 0.0], [1.0, 1.0])


def test_log_jacobian_makes_densities_agree():
    """log N(y; m, s²) = log N(z; 0, 1) − log s for the observed entries of a row: closed form."""
    scaling = Scaling([1.0, -2.0], [3.0, 0.5])
    seqs = Sequences([[0.3, 1.0], [np.nan, 2.0], [np.nan, np.nan]], [3])
    direct = np.nansum(norm.logpdf(seqs.values, scaling.mean, scaling.scale), axis=1)
    scaled = np.nansum(norm.logpdf(scaling.apply(seqs).values), axis=1) + scaling.log_jacobian(seqs)
    np.testing.assert_allclose(scaled, direct, rtol=1e-14)
    assert scaling.log_jacobian(seqs)[2] == 0.0


@given(sequences(), st.integers(0, 3))
def test_only_values_change(seqs, seed):
    rng = np.random.default_rng(seed)
    scaling = Scaling(rng.normal(size=seqs.dim), rng.uniform(0.5, 2.0, seqs.dim))
    assert scaling.apply(seqs).replace(values=seqs.values).equals(seqs)


def test_undo_values_broadcasts_over_leading_axes():
    scaling = Scaling([1.0, 2.0], [10.0, 100.0])
    assert scaling.undo_values(np.ones((4, 3, 2))).shape == (4, 3, 2)
    assert scaling.undo_values([[1.0, 1.0]]).tolist() == [[11.0, 102.0]]


def test_scaling_is_read_only_and_judged():
    scaling = Scaling([0.0], [1.0])
    assert not scaling.mean.flags.writeable
    for arguments, message in [
        (([0.0], [0.0]), "`scale` has the entry 0; pass positive numbers"),
        (([0.0], [1.0, 2.0]), "`scale` has shape (2,); pass shape (1)"),
        (([np.nan], [1.0]), "`mean` has 1 NaN"),
    ]:
        with pytest.raises(InputError) as caught:
            Scaling(*arguments)
        assert message in str(caught.value)
    with pytest.raises(InputError, match="the sequences have 2 columns but the scaling has 1"):
        scaling.apply(Sequences(np.zeros((3, 2)), [3]))


@pytest.mark.parametrize("row", [1, 150])
def test_a_column_whose_variance_is_out_of_range_is_refused_wherever_it_varies(row):
    values = np.zeros((200, 2))
    values[:, 0] = np.arange(200)
    values[row, 1] = 1e-120
    with pytest.raises(InputError, match="column 'y2' varies by 1e-120 in all"):
        refuse_tiny(Sequences(values, [200]))
    values[:, 1] = [np.nan, *np.zeros(198), np.nan]
    refuse_tiny(Sequences(values, [200]))  # a constant column is the model's affair
