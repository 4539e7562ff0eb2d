"""Log-likelihoods that other programs or books printed, at parameters that they printed.

The data and figures are read from statsmodels' installed test results, which name their sources: GAUSS code of Kim & Nelson (1999), Stata's
`arima`, `var` and `dfactor`, and R's KFAS 1.3.1. Where one of those references is itself wrong, the case says so. A tolerance is half a unit of
the last digit printed, or the effect of the rounding of the printed parameters (second order at a maximum, so below 1e-4 nats).
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from statsmodels.tsa.statespace.tests import results as folder
from statsmodels.tsa.statespace.tests.results import results_kalman_filter, results_sarimax, results_varmax

import statewise as sw
from statewise.inference import varma as algebra
from statewise.inference.varma import VarmaParameters

KFAS = Path(str(folder.__file__)).parent
FLAT = np.r_[10.2394, 4.2039, 6.123123, np.ones(7)]  # the series of those KFAS runs


def vector_model(ar, ma, mean, cov):
    """A state-space model of the VARMA with these coefficients, from its stationary start."""
    k = len(mean)
    ar, ma = (np.array(blocks, dtype=float).reshape(-1, k, k) for blocks in (ar, ma))
    parameters = VarmaParameters(ar, ma, np.array(mean, dtype=float), np.zeros((k, 0)), np.array(cov, dtype=float))
    return sw.StateSpace.from_system(algebra.innovations_system(parameters))


def log_prob(model, y):
    return float(model.log_prob(np.asarray(y, dtype=float))[0])


def printed_by_kfas(name):
    with open(KFAS / f"results_exact_initial_{name}_R.csv", encoding="utf-8") as file:
        return float(next(csv.DictReader(file))["llf"])


def test_clark_1987_trend_and_cycle_of_us_gdp():
    """Kim & Nelson (1999), ch. 3, UC_UNI: 578.520887 over the steps from the 21st, at parameters with six decimals; prior variance 100."""
    true = results_kalman_filter.uc_uni
    trend, cycle, drift, phi1, phi2 = true["parameters"]
    model = sw.StateSpace(
        transition=[[1, 0, 0, 1], [0, phi1, phi2, 0], [0, 1, 0, 0], [0, 0, 0, 1]],
        observation=[[1, 1, 0, 0]],
        state_noise=np.diag([trend**2, cycle**2, 0, drift**2]),
        observation_noise=[[0.0]],
        **prior([[1, 0, 0, 1], [0, phi1, phi2, 0], [0, 1, 0, 0], [0, 0, 0, 1]]),
    )
    steps = model.log_prob(np.log(true["data"]), per_step=True)
    assert steps[true["start"] :].sum() == pytest.approx(true["loglike"], abs=1e-5)


def test_clark_1989_gdp_and_unemployment():
    """Kim & Nelson (1999), ch. 3, UC_BI: their likelihood lacks a power of 2π; 1485.41934 is what R's FKF gives for it."""
    true = results_kalman_filter.uc_bi
    v, e, w, vl, ec, phi1, phi2, a1, a2, a3 = true["parameters"]
    A = np.zeros((6, 6))
    A[[0, 0, 2, 3, 4, 5], [0, 4, 1, 2, 4, 5]] = 1
    A[1, 1:3] = phi1, phi2
    model = sw.StateSpace(
        transition=A,
        observation=[[1, 1, 0, 0, 0, 0], [0, a1, a2, a3, 0, 1]],
        state_noise=np.diag(np.square([v, e, 0, 0, w, vl])),
        observation_noise=np.diag([0, ec**2]),
        **prior(A),
    )
    gdp, unemployment = np.array(true["data"])[4:].T
    assert log_prob(model, np.column_stack([np.log(gdp), unemployment / 100])) == pytest.approx(
        true["loglike"], abs=1e-4
    )


def prior(A):
    """Covariance 100 A A' of x[1], with mean 0: how those programs start."""
    A = np.array(A, dtype=float)
    return {"initial_mean": np.zeros(len(A)), "initial_cov": 100 * A @ A.T}


def test_arima_of_wholesale_prices():
    """Stata's `arima wpi, arima(1,1,1)` (Time-Series manual, arima, example 1): −135.35131."""
    true = results_sarimax.wpi1_stationary
    y = np.diff(np.ravel(true["data"]))
    model = vector_model([true["params_ar"]], [true["params_ma"]], true["params_mean"], [true["params_variance"]])
    assert log_prob(model, y) == pytest.approx(true["loglike"], abs=1e-5)


def test_airline_model():
    """Stata's `arima lnair, arima(0,1,1) sarima(0,1,1,12) noconstant` (manual, arima, example 3): 244.69651.

    Stata keeps a new variable in single precision unless told otherwise: with its logarithms in double precision the value is 244.696487.
    """
    true = results_sarimax.air2_stationary
    log_air = np.log(true["data"]).astype(np.float32).astype(float)
    y = np.diff(log_air[12:] - log_air[:-12])
    ma, season = true["params_ma"][0], true["params_seasonal_ma"][0]
    blocks = [ma, *[0.0] * 10, season, ma * season]
    model = vector_model([], blocks, [0.0], [true["params_variance"]])
    assert log_prob(model, y) == pytest.approx(true["loglike"], abs=1e-5)


@pytest.mark.parametrize(("name", "order", "k"), [("lutkepohl_var1", 1, 3), ("lutkepohl_var2", 2, 2)])
def test_vector_autoregressions_of_german_macro_data(name, order, k):
    """Stata's `dfactor` on Lütkepohl's (1993) series, differences of logarithms 1960Q2 to 1978Q4, no constant.

    The coefficients are printed with eight decimals; the Cholesky factor of the VAR(1) is said to be that of a covariance with eight decimals,
    .00199294, of four digits: 1e-3 nats.
    """
    true = getattr(results_varmax, name)
    y = np.diff(np.log(np.array(results_varmax.lutkepohl_data)), axis=0)[:75, :k]
    ar, root = np.array(true["params"][: order * k * k]), np.zeros((k, k))
    root[np.tril_indices(k)] = true["params"][order * k * k :]
    blocks = ar.reshape(k, order, k).transpose(1, 0, 2)
    assert log_prob(vector_model(blocks, [], np.zeros(k), root @ root.T), y) == pytest.approx(true["loglike"], abs=1e-3)


@pytest.mark.parametrize("name", ["local_level", "local_linear_trend", "local_linear_trend_missing"])
def test_exact_diffuse_starts_of_kfas(name):
    """KFAS 1.3.1 at variances (1.993, 8.253, 2.334); it omits −½ log 2π for each observation that settles the start, so that is added."""
    trend = name != "local_level"
    y = FLAT.copy() if trend else np.r_[10.2394, np.ones(9)]
    if name.endswith("missing"):
        y[1] = np.nan
    model = sw.StateSpace(
        transition=[[1.0, 1.0], [0.0, 1.0]] if trend else [[1.0]],
        observation=[[1.0, 0.0]] if trend else [[1.0]],
        state_noise=np.diag([8.253, 2.334] if trend else [8.253]),
        observation_noise=[[1.993]],
        initial="diffuse",
    )
    settled_by = 2 if trend else 1
    assert log_prob(model, y) == pytest.approx(printed_by_kfas(name) - settled_by / 2 * np.log(2 * np.pi), abs=1e-10)
