"""The law of every entry of the observations given the whole sequence: missing ones from what surrounds them."""

from __future__ import annotations

import numpy as np

from statewise.inference.system import System, weighted
from statewise.sequences.sequences import Sequences


def entry_moments(sys: System, seqs: Sequences, mean: np.ndarray, cov: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means and variances (rows, p) of y[t] given all of y, from the smoothed states; an observed entry is itself, with variance 0.

    ::

        E y_m = C_m x̂ + d_m + K (y_o − C_o x̂ − d_o)        Var y_m = (C_m − K C_o) P (C_m − K C_o)' + R_mm − K R_om,    K = R_mo R_oo⁻¹

    for the missing entries m and the observed ones o of a step, x̂ and P the smoothed state's. It holds where the noises of state and
    observation are not correlated; with S ≠ 0 later steps know more of v[t] than x[t] says, and the result is NaN.

    Source: Durbin & Koopman (2012), §4.10, with the observation error given the observed entries of its step.
    """
    values = np.array(seqs.values)
    missing = np.isnan(values)
    variances = np.where(missing, np.nan, 0.0)
    lacking = np.flatnonzero(missing.any(axis=1))
    if sys.S.any() or not lacking.size:
        return values, variances
    C, R, level = sys.rows("C"), sys.rows("R"), sys.rows("d")
    if seqs.inputs is not None and sys.D.shape[-1]:
        level = level + weighted(sys.rows("D"), seqs.inputs)
    said = weighted(C, mean) + level
    patterns, pattern_of = np.unique(missing[lacking], axis=0, return_inverse=True)
    for k, gone in enumerate(patterns):
        rows = lacking[np.ravel(pattern_of) == k]
        at = np.ix_(rows, np.flatnonzero(gone))
        C_rows, R_rows = (_of(each, rows) for each in (C, R))
        K = _regression(R_rows, gone)
        lead = C_rows[..., gone, :] - K @ C_rows[..., ~gone, :]
        left = R_rows[..., gone, :][..., gone] - K @ R_rows[..., ~gone, :][..., gone]
        values[at] = said[at] + weighted(K, (values - said)[rows][:, ~gone])
        spread = np.einsum("...pi,...ij,...pj->...p", lead, cov[rows], lead)
        variances[at] = spread + np.diagonal(left, axis1=-2, axis2=-1)
    return values, variances


def _of(matrices: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Those of some rows, where every row has its own."""
    return matrices if matrices.ndim == 2 else matrices[rows]


def _regression(R: np.ndarray, gone: np.ndarray) -> np.ndarray:
    """(…, m, o) R_mo R_oo⁺, of the missing entries' noise on that of the observed ones."""
    return R[..., gone, :][..., ~gone] @ np.linalg.pinv(R[..., ~gone, :][..., ~gone], hermitian=True)
