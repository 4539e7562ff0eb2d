"""A state-space model in innovations form, as a VARMA, and a linear RNN back as a state-space model."""

from __future__ import annotations

from typing import TypeVar

import numpy as np

from statewise._core.errors import UnsupportedError
from statewise.inference import innovations as algebra
from statewise.inference.system import System, stationary_start, system
from statewise.models.base import Model
from statewise.models.linear_rnn import LinearRNN
from statewise.models.state_space import StateSpace
from statewise.models.varma import VARMA

M = TypeVar("M", bound=Model)


def state_space_to_innovations(model: StateSpace) -> StateSpace:
    """The innovations form: Q = K F K', R = F, S = K F, so that one disturbance drives state and observation (exact).

    Raises:
        UnsupportedError: the matrices change with the step, the gain does not settle, or the start is more certain than the steady filter.
    """
    converted = StateSpace.from_system(_form(_constant(model)))
    return _named_as(model, converted)


def state_space_to_varma(model: StateSpace) -> VARMA:
    """The VARMA(r, r) with the same law of the observations, r the observability index, or more where so few lags would cost digits (exact).

    Raises:
        UnsupportedError: the start is not the stationary law, inputs move the state, or there is no innovations form.
    """
    sys = _constant(model)
    start = stationary_start(sys.A, sys.Q, sys.b)
    if start is None:
        raise UnsupportedError(
            "the transition has a root on or outside the unit circle, and a VARMA is stationary; difference the data"
        )
    mean, cov = start
    size = np.sqrt(np.maximum(np.diag(cov), np.finfo(float).tiny))
    if not np.allclose(sys.P0 / size / size[:, None], cov / size / size[:, None], rtol=0, atol=1e-9) or not np.allclose(
        sys.m0 / size, mean / size, rtol=1e-9, atol=1e-9
    ):
        raise UnsupportedError(
            "the model starts elsewhere than in its stationary law, where a VARMA starts; make it with initial='stationary'"
        )
    if sys.B.any():
        raise UnsupportedError(
            "the model has input_to_state, and a VARMA's inputs enter the observation only; keep the state-space form"
        )
    par = algebra.varma_of(_form(sys))
    converted = VARMA(p=len(par.ar), q=len(par.ma))
    converted._set_parameters(
        {
            "ar": par.ar,
            "ma": par.ma,
            "mean": par.mean,
            "input_weights": par.weights,
            "innovation_cov": par.cov,
        }
    )
    return _named_as(model, converted)


def rnn_to_state_space(model: LinearRNN) -> StateSpace:
    """The state-space model whose Kalman filter the network is (exact).

    Raises:
        UnsupportedError: the schedule of gains belongs to no filter with constant matrices, as after training its entries apart.
    """
    own = model._weights()
    roots = np.tril(own["innovation_chol"])
    covariances = roots @ roots.transpose(0, 2, 1)
    A, C, n = own["transition"], own["observation"], len(own["transition"])
    zero = np.zeros((n, n))
    sys = system(
        A, C, zero, covariances[-1], own["initial_state"], zero, b=own["state_intercept"], d=own["observation_intercept"],
        B=own["input_to_state"], D=own["input_to_observation"],
    )  # fmt: skip
    P0 = algebra.start_of_schedule(sys, own["gain"], covariances)
    if P0 is None:
        raise UnsupportedError(
            "the network's gains are those of no state-space model with constant matrices and a start no more certain than the steady filter; "
            "convert the model it came from with gain='steady', which always leads back"
        )
    converted = StateSpace.from_system(algebra.with_innovations(sys, own["gain"][-1], covariances[-1], P0, zero))
    return _named_as(model, converted)


def _named_as(model: Model, converted: M) -> M:
    """The converted model, for the columns of the model that it came from."""
    converted._schema = None if model._schema is None else dict(model._schema)
    return converted


def _constant(model: StateSpace) -> System:
    sys = model.system
    if sys.which is not None:
        raise UnsupportedError(
            "the matrices change with the step, so no constant gain exists; only a model with constant matrices converts"
        )
    return sys


def _form(sys: System) -> System:
    """The innovations form, or why there is none."""
    try:
        found = algebra.innovations_form(sys)
    except ValueError:
        raise UnsupportedError(
            "the Kalman gain does not settle (a root of A − K C is on the unit circle), so there is no innovations form"
        ) from None
    if found is None:
        raise UnsupportedError(
            "the start is more certain than the steady filter, and an innovations form with constant matrices cannot be; make the model with "
            "initial='stationary', or convert to 'rnn'"
        )
    return found
