"""The Kalman log-likelihood under autograd. Oracle: PyTorch's gradcheck (central differences, its default tolerances) and the filter."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.reference import kalman as ref

from statewise._core.errors import InputError, NumericalError
from statewise.inference import differentiable, filtering
from statewise.inference.system import system as make_system
from statewise.sequences.sequences import Sequences


def setting(diffuse=False):
    rng = np.random.default_rng(3)
    sys = ref.random_system(rng, 2, 2, 0, diffuse=diffuse)
    arrays = [rng.standard_normal((T, 2)) for T in (8, 5)]
    arrays[0][2, 1] = np.nan
    return make_system(**sys), Sequences.from_arrays(arrays)


@pytest.mark.parametrize("diffuse", [False, True])
def test_gradcheck_through_a_parametrisation(diffuse):
    """Covariances by factors, so that every point that differences visit is a covariance."""
    system, seqs = setting(diffuse)
    names = ("A", "C", "b", "d") if diffuse else ("A", "C", "b", "d", "m0")
    free = [torch.tensor(getattr(system, name), requires_grad=True) for name in names]
    both = np.block([[system.Q, system.S], [system.S.T, system.R]])
    factors = [torch.tensor(np.linalg.cholesky(both), requires_grad=True)]
    if not diffuse:
        factors.append(torch.tensor(np.linalg.cholesky(system.P0), requires_grad=True))

    def value(*parts):
        noise = parts[len(names)] @ parts[len(names)].T
        tensors = dict(zip(names, parts, strict=False)) | {
            "Q": noise[:2, :2],
            "S": noise[:2, 2:],
            "R": noise[2:, 2:],
        }
        if not diffuse:
            tensors["P0"] = parts[-1] @ parts[-1].T
        return differentiable.log_prob(system, seqs, tensors)

    want = filtering.run_filter(system, seqs, store=False).log_prob.sum()
    np.testing.assert_allclose(value(*free, *factors).item(), want, rtol=1e-10)
    assert torch.autograd.gradcheck(value, (*free, *factors))


def test_bad_parts_are_named():
    system, seqs = setting()
    with pytest.raises(InputError, match="no part 'Z'"):
        differentiable.log_prob(system, seqs, {"Z": torch.zeros(1)})
    with pytest.raises(InputError, match="shape"):
        differentiable.log_prob(system, seqs, {"A": torch.zeros(3, 3)})
    with pytest.raises(InputError, match="empty"):
        differentiable.log_prob(system, seqs, {})
    with pytest.raises(NumericalError, match="no variance"):
        zero = torch.zeros(2, 2, dtype=torch.float64)
        differentiable.log_prob(system, seqs, {"C": zero, "R": zero})
