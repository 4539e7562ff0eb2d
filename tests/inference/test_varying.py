"""Systems that change from row to row, and continuous time, against the dense joint Gaussian, the constant system and differences."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.linalg
from tests.inference import problems
from tests.reference import kalman as ref

import statewise as sw
from statewise.inference import filtering, simulation, smoothing, varying
from statewise.inference.system import system as make_system
from statewise.sequences.sequences import Sequences

LETTERS = "ACQRSbdBD"


def changing(seed=0, lengths=(7, 4), n=3, p=2, u=1, groups=3, diffuse=False):
    """A system of a few parts in turn, and sequences with gaps."""
    rng = np.random.default_rng(seed)
    parts = [make_system(**ref.random_system(rng, n, p, u)) for _ in range(groups)]
    start = {"P0": np.zeros((n, n)), "Pinf": np.eye(n)} if diffuse else {}
    which = rng.integers(0, groups, sum(lengths))
    stack = {letter: np.stack([getattr(each, letter) for each in parts]) for letter in LETTERS}
    sys = replace(parts[0], which=which, **stack, **start)
    values = rng.standard_normal((sum(lengths), p))
    values[rng.random(values.shape) < 0.2] = np.nan
    seqs = Sequences(values, np.array(lengths), inputs=rng.standard_normal((sum(lengths), u)) if u else None)
    return sys, seqs


def dense(sys, seqs, i):
    """Joint mean and covariance of (x[1…T], y[1…T]) of sequence i, by running the noises through the equations."""
    start, stop = seqs.offsets[i], seqs.offsets[i + 1]
    n, p, T = sys.n, sys.p, stop - start
    mean, rows = sys.m0, np.hstack([np.eye(n), np.zeros((n, T * (n + p)))])
    means_x, rows_x, means_y, rows_y = [], [], [], []
    blocks = [sys.P0]
    for t in range(T):
        g, u = sys.which[start + t], seqs.inputs[start + t]
        blocks.append(np.block([[sys.Q[g], sys.S[g]], [sys.S[g].T, sys.R[g]]]))
        noise = np.zeros((n + p, rows.shape[1]))
        noise[:, n + t * (n + p) : n + (t + 1) * (n + p)] = np.eye(n + p)
        means_x.append(mean)
        rows_x.append(rows)
        means_y.append(sys.C[g] @ mean + sys.d[g] + sys.D[g] @ u)
        rows_y.append(sys.C[g] @ rows + noise[n:])
        mean, rows = sys.A[g] @ mean + sys.b[g] + sys.B[g] @ u, sys.A[g] @ rows + noise[:n]
    cov = scipy.linalg.block_diag(*blocks)
    X, Y = np.vstack(rows_x), np.vstack(rows_y)
    return np.concatenate(means_x), np.concatenate(means_y), X @ cov @ X.T, X @ cov @ Y.T, Y @ cov @ Y.T


@pytest.mark.parametrize("seed", range(5))
def test_likelihood_and_smoother_are_those_of_the_joint_gaussian(seed):
    sys, seqs = changing(seed)
    found = problems.log_prob(sys, seqs)
    mean, cov = smoothing.smooth(sys, seqs)
    for i in range(len(seqs)):
        mx, my, xx, xy, yy = dense(sys, seqs, i)
        rows = slice(seqs.offsets[i], seqs.offsets[i + 1])
        y = seqs.values[rows].ravel()
        seen = ~np.isnan(y)
        F = yy[np.ix_(seen, seen)]
        error = y[seen] - my[seen]
        np.testing.assert_allclose(found[i], ref.gaussian_log_density(error, F), rtol=1e-10)
        gain = np.linalg.solve(F, xy[:, seen].T).T
        np.testing.assert_allclose(mean[rows].ravel(), mx + gain @ error, rtol=1e-8, atol=1e-9)
        full = xx - gain @ xy[:, seen].T
        for t in range(rows.stop - rows.start):
            block = slice(t * sys.n, (t + 1) * sys.n)
            np.testing.assert_allclose(cov[rows.start + t], full[block, block], rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("diffuse", [False, True])
def test_the_same_matrices_in_every_row_are_the_constant_system(diffuse):
    _, sys, seqs, _, _ = problems.draw(3, lengths=(12, 9), u=1, diffuse=diffuse)
    which = np.random.default_rng(0).integers(0, 2, seqs.rows)
    twice = varying.stacked(sys, which, 2)
    np.testing.assert_allclose(problems.log_prob(twice, seqs), problems.log_prob(sys, seqs), rtol=1e-12)
    for ours, theirs in zip(
        smoothing.smooth_with_lag_one(twice, seqs), smoothing.smooth_with_lag_one(sys, seqs), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-10)
    ours, theirs = smoothing.smooth_noise(twice, seqs), smoothing.smooth_noise(sys, seqs)
    np.testing.assert_allclose(ours.state_mean, theirs.state_mean, atol=1e-10)
    np.testing.assert_allclose(ours.cov, theirs.cov, atol=1e-10)
    value, g = smoothing.log_prob_gradient(sys, seqs)
    value_twice, g_twice = smoothing.log_prob_gradient(twice, seqs)
    assert value_twice == pytest.approx(value, rel=1e-12)
    for letter in LETTERS:
        np.testing.assert_allclose(
            getattr(g_twice, letter).sum(axis=0), getattr(g, letter), rtol=1e-8, atol=1e-8, err_msg=letter
        )


@pytest.mark.parametrize("diffuse", [False, True])
def test_gradient_in_each_copy_of_each_part_is_that_of_differences(diffuse):
    sys, seqs = changing(4, lengths=(8, 7), diffuse=diffuse)
    _, g = smoothing.log_prob_gradient(sys, seqs)

    def value(letter, part):
        if letter in "QR":
            part = 0.5 * (part + part.swapaxes(1, 2))
        return problems.log_prob(replace(sys, **{letter: part}), seqs).sum()

    for letter in LETTERS:
        expected = ref.differences(lambda part, letter=letter: value(letter, part), getattr(sys, letter))
        np.testing.assert_allclose(getattr(g, letter), expected, rtol=2e-5, atol=2e-6, err_msg=letter)


def test_gradient_in_the_input_weights_of_a_constant_system():
    _, sys, seqs, _, _ = problems.draw(5, lengths=(60, 9), u=2, missing=0.0)
    _, g = smoothing.log_prob_gradient(sys, seqs)
    for letter in "BD":
        expected = ref.differences(
            lambda part, letter=letter: problems.log_prob(replace(sys, **{letter: part}), seqs).sum(),
            getattr(sys, letter),
        )
        np.testing.assert_allclose(getattr(g, letter), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("gap", [1e-6, 0.3, 7.0, 500.0])
@pytest.mark.parametrize("seed", [0, 1])
def test_flow_is_the_block_exponential_of_van_loan(gap, seed):
    """Van Loan, IEEE Trans. Automatic Control 23 (1978), in steps that its e^(−FΔ) stays in range for."""
    rng = np.random.default_rng(seed)
    n = 3
    F = rng.standard_normal((n, n)) - 2.0 * np.eye(n)
    root = rng.standard_normal((n, n))
    Q = root @ root.T
    steps = int(np.ceil(gap))
    small = gap / steps
    block = scipy.linalg.expm(np.block([[-F, Q], [np.zeros((n, n)), F.T]]) * small)
    step = block[n:, n:].T
    A, total = np.eye(n), np.zeros((n, n))
    for _ in range(steps):
        total = step @ total @ step.T + step @ block[:n, n:]
        A = step @ A
    found_A, J, found_Q = varying.flow(np, F, Q, np.array([gap]))
    np.testing.assert_allclose(found_A[0], A, rtol=1e-9, atol=1e-13)
    np.testing.assert_allclose(found_Q[0], total, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(F @ J[0], A - np.eye(n), rtol=1e-9, atol=1e-9)


def test_gaps_that_differ_by_rounding_are_one():
    times = np.concatenate([0.1 * np.arange(50), [5.5, 6.0]])
    gaps, which = varying.gaps_of(Sequences(np.zeros(52), np.array([52]), times=times), "D")
    np.testing.assert_allclose(gaps, [0.1, 0.5, 0.6])
    assert (which[-2:] == 1).all() and which[48] == 0 and which[49] == 2


def continuous(seed=0, **options):
    rng = np.random.default_rng(seed)
    F = np.array([[-0.3, 1.0], [-1.0, -0.4]])
    times = np.cumsum(rng.choice([0.25, 0.5, 1.75], 40))
    u = rng.standard_normal((40, 1))
    model = sw.StateSpace(
        F,
        [[1.0, 0.0]],
        np.diag([0.5, 0.2]),
        [[0.3]],
        state_intercept=[0.2, -0.1],
        input_to_state=[[0.5], [0.3]],
        time="continuous",
        **options,
    )
    return model, Sequences(rng.standard_normal(40), np.array([40]), times=times, inputs=u)


def test_a_row_that_is_missing_is_a_longer_gap():
    """Without inputs: a sequence with a missing row has the likelihood of one without that row."""
    model, seqs = continuous()
    model = (
        model.configure(input_to_state=None)
        if hasattr(model, "configure")
        else sw.StateSpace(
            [[-0.3, 1.0], [-1.0, -0.4]],
            [[1.0, 0.0]],
            np.diag([0.5, 0.2]),
            [[0.3]],
            state_intercept=[0.2, -0.1],
            time="continuous",
        )
    )
    values = seqs.values.copy()
    values[[7, 8, 20]] = np.nan
    kept = ~np.isnan(values[:, 0])
    gappy = Sequences(values, np.array([40]), times=seqs.times)
    short = Sequences(values[kept], np.array([37]), times=seqs.times[kept])
    np.testing.assert_allclose(model.log_prob(gappy), model.log_prob(short), rtol=1e-11)
    np.testing.assert_allclose(model.smooth(gappy).mean[kept], model.smooth(short).mean, rtol=1e-9, atol=1e-10)


def test_equal_gaps_are_the_discrete_model():
    model, _ = continuous()
    seqs = Sequences(
        np.random.default_rng(1).standard_normal(30), np.array([30]), times=np.arange(30.0), inputs=np.ones((30, 1))
    )
    discrete = sw.StateSpace.from_system(model.system)
    np.testing.assert_allclose(model.log_prob(seqs), discrete.log_prob(seqs), rtol=1e-12)
    ahead = model.forecast(seqs, steps=4, inputs=np.ones((4, 1)))
    np.testing.assert_allclose(ahead.mean, discrete.forecast(seqs, steps=4, inputs=np.ones((4, 1))).mean, rtol=1e-10)
    np.testing.assert_allclose(
        ahead.variance, discrete.forecast(seqs, steps=4, inputs=np.ones((4, 1))).variance, rtol=1e-10
    )


def test_stationary_start_of_continuous_time_is_left_unchanged_by_every_gap():
    model, _ = continuous()
    base = model._given
    for gap in (0.1, 2.0, 30.0):
        parts = varying.discretised(base, np.array([gap]))
        np.testing.assert_allclose(parts["A"][0] @ base.P0 @ parts["A"][0].T + parts["Q"][0], base.P0, rtol=1e-10)
        np.testing.assert_allclose(parts["A"][0] @ base.m0 + parts["b"][0], base.m0, rtol=1e-10)


@pytest.mark.parametrize("initial", ["stationary", "diffuse"])
def test_gradient_in_continuous_time_is_that_of_differences(initial):
    model, seqs = continuous(initial=initial)
    clock, base = model._clock, model._given

    def started(sys):
        start = clock.stationary_start(sys)
        return sys if initial == "diffuse" else replace(sys, m0=start[0], P0=start[1])

    g = clock.back(base, seqs, smoothing.log_prob_gradient(clock.at(base, seqs), seqs)[1])
    g = g if initial == "diffuse" else clock.through_start(base, g)

    def value(letter, part):
        part = 0.5 * (part + part.T) if letter in "QR" else part
        sys = started(replace(base, **{letter: part}))
        return filtering.run_filter(clock.at(sys, seqs), seqs, store=False).log_prob.sum()

    for letter in "ACQRbdB":
        expected = ref.differences(lambda part, letter=letter: value(letter, part), getattr(base, letter))
        np.testing.assert_allclose(getattr(g, letter), expected, rtol=2e-5, atol=2e-6, err_msg=letter)


def test_an_ornstein_uhlenbeck_process_is_found_again():
    """Rate .5 and variance .8 per unit of time, 3000 irregular times: the estimates within four of their approximate standard errors."""
    rng = np.random.default_rng(2)
    times = np.cumsum(rng.exponential(1.0, 3000))
    truth = sw.StateSpace([[-0.5]], [[1.0]], [[0.8]], [[0.1]], time="continuous")
    sys = truth._system_for(Sequences(np.zeros(3000), np.array([3000]), times=times))
    y = filtering.sample(sys, 3000, 1, rng)[0]
    seqs = Sequences(y, np.array([3000]), times=times)
    model = sw.StateSpace([[-1.0]], [[1.0]], [[1.0]], [[1.0]], time="continuous").fit(
        seqs, method="mle", fix="observation"
    )
    assert model.fit_result.log_prob >= truth.log_prob(seqs)[0]
    assert model.parameters["transition"][0, 0] == pytest.approx(-0.5, abs=0.15)
    assert model.parameters["state_noise"][0, 0] == pytest.approx(0.8, abs=0.2)
    again = sw.StateSpace([[-1.0]], [[1.0]], [[1.0]], [[1.0]], time="continuous").fit(
        seqs[:1], method="mle", fix="observation", max_iter=1
    )
    assert again.fit_result.log_prob <= model.fit_result.log_prob


def test_steps_forecast_with_the_matrices_of_the_steps_ahead():
    """y[t] = x[t] c[t] with a constant x: the forecast is that of a regression on c."""
    rng = np.random.default_rng(3)
    c = rng.standard_normal(25)
    y = 2.0 * c[:20] + 0.1 * rng.standard_normal(20)
    model = sw.StateSpace([[1.0]], c[:, None, None], [[0.0]], [[0.01]], initial="diffuse")
    ahead = model.forecast(y, steps=5)
    slope = c[:20] @ y / (c[:20] @ c[:20])
    np.testing.assert_allclose(ahead.mean.ravel(), slope * c[20:], rtol=1e-9)
    np.testing.assert_allclose(ahead.variance.ravel(), 0.01 + c[20:] ** 2 * 0.01 / (c[:20] @ c[:20]), rtol=1e-9)
    with pytest.raises(sw.InputError, match="26 steps"):
        model.forecast(y, steps=6)
    with pytest.raises(sw.InputError, match="one step"):
        model.memory()
    fitted = sw.StateSpace([[1.0]], c[:20, None, None], [[0.0]], [[1.0]], initial="diffuse").fit(
        y, method="mle", fix=("transition", "state_noise")
    )
    residual = y - slope * c[:20]
    assert fitted.parameters["observation_noise"][0, 0] == pytest.approx(residual @ residual / 19, rel=1e-4)
    with pytest.raises(sw.InputError, match="method='mle'"):
        fitted.fit(y)


def test_wrong_arguments_of_time_are_named():
    one = [[1.0]]
    with pytest.raises(sw.InputError, match="differ in length"):
        sw.StateSpace(np.ones((3, 1, 1)), np.ones((4, 1, 1)), one, one)
    with pytest.raises(sw.InputError, match="time axis"):
        sw.StateSpace(np.ones((3, 1, 1)), one, one, one, time="continuous")
    with pytest.raises(sw.InputError, match="noise_cross"):
        sw.StateSpace([[-1.0]], one, one, one, noise_cross=[[0.5]], time="continuous")
    with pytest.raises(sw.InputError, match="real part"):
        sw.StateSpace(one, one, one, one, time="continuous", initial="stationary")
    with pytest.raises(sw.InputError, match=r"state_noise\[1\]"):
        sw.StateSpace(one, one, [one, [[-1.0]]], one)
    with pytest.raises(sw.InputError, match="continuous time"):
        sw.StateSpace([[-1.0]], one, one, one, time="continuous").stream()


def test_dates_count_in_the_unit_asked_for():
    dates = np.array(["2020-01-01", "2020-01-03", "2020-01-10"], dtype="datetime64[D]")
    seqs = Sequences(np.array([1.0, 2.0, 0.5]), np.array([3]), times=dates)
    by_day, by_week = (
        sw.StateSpace([[-rate]], [[1.0]], [[rate]], [[1.0]], time="continuous", time_unit=unit)
        for rate, unit in ((0.1, "day"), (0.7, "week"))
    )
    np.testing.assert_allclose(by_day.log_prob(seqs), by_week.log_prob(seqs), rtol=1e-12)
    assert by_day.forecast(seqs, steps=2).mean.shape == (1, 2, 1)


def test_drawn_states_have_the_smoothed_moments_of_a_system_that_changes():
    sys, seqs = changing(6, lengths=(5, 4))
    draws = simulation.simulate_states(sys, seqs, 4000, np.random.default_rng(0))
    mean, cov = smoothing.smooth(sys, seqs)
    sd = np.sqrt(np.diagonal(cov, axis1=1, axis2=2))
    assert np.abs((draws.mean(axis=0) - mean) / sd).max() < 4.5 / np.sqrt(4000)
    assert np.abs(draws.var(axis=0) / sd**2 - 1.0).max() < 4.5 * np.sqrt(2.0 / 4000)
