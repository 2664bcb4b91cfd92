"""The Gaussian process against dense algebra and finite differences."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import approx_fprime

from searchers.gp import Data, GaussianProcess, cholesky, fit, negative_log_posterior
from searchers.kernel import Hyperparameters, Layout, kernel, matern, prior_variance
from searchers.noise import SHARED, Noise

HYPER = Hyperparameters(np.array([0.5, 2.0]), 1.5, 0.4, 0.7, 0.1)
LAYOUT = Layout(np.array([0, 1]), length=1)
X = np.array([[-0.5, 0.1], [0.2, 0.9], [0.7, -0.3]])
Y = np.array([0.3, -1.0, 0.8])
DATA = Data(X, Noise(np.array([1.0, 1.0, 3.0]), np.array([0, 1, 1]), np.array([0.0, 0.2, 0.4])), LAYOUT)


def test_matern_at_zero_and_at_distance_one() -> None:
    value = matern(np.array([0.0, 1.0]), 2.0)
    assert value == pytest.approx([2.0, 2.0 * (1 + np.sqrt(5) + 5 / 3) * np.exp(-np.sqrt(5))])


def test_posterior_of_three_points_is_the_dense_solution() -> None:
    gp = GaussianProcess.condition(DATA, HYPER)
    gp.set_targets(Y)
    query = np.array([[0.0, 0.0], [0.2, 0.9]])
    covariance = kernel(X, X, HYPER, LAYOUT) + 0.1 * np.array([[1.0, 0.0, 0.0], [0.0, 1.0, SHARED], [0.0, SHARED, 3.0]])
    covariance += np.diag([0.0, 0.2, 0.4])
    cross = kernel(X, query, HYPER, LAYOUT)
    mean, std = gp.mean_std(query)
    assert mean == pytest.approx(cross.T @ np.linalg.solve(covariance, Y), rel=1e-8)
    assert std**2 == pytest.approx(
        np.diag(kernel(query, query, HYPER, LAYOUT)) - np.diag(cross.T @ np.linalg.solve(covariance, cross)), rel=1e-8
    )


@pytest.mark.parametrize("length", [None, 3])
def test_gradient_is_that_of_finite_differences(length: int | None) -> None:
    rng = np.random.default_rng(0)
    noise = Noise(1 + rng.random(20), np.arange(20) // 3, 0.1 * rng.random(20))
    data = Data(rng.uniform(-1, 1, (20, 4)), noise, Layout(np.array([0, 1, 1, 2]), length))
    y = rng.standard_normal(20)
    at = Hyperparameters(np.array([0.7, 1.3, 2.0]), 1.2, 0.3, 0.6, 0.1).to_vector()
    numeric = approx_fprime(at, lambda v: negative_log_posterior(v, data, y)[0], 1e-6)  # type: ignore[misc]
    gradient = negative_log_posterior(at, data, y)[1]
    if (
        length is None
    ):  # nothing grows without a training length: only the prior would pull on it, and its bounds hold it at 0
        gradient, numeric = np.delete(gradient, -2), np.delete(numeric, -2)
    assert gradient == pytest.approx(numeric, abs=2e-5)


def test_growing_row_by_row_equals_starting_over() -> None:
    grown = GaussianProcess.condition(DATA.rows(np.array([0])), HYPER)
    grown = grown.extended(X[1:], DATA.noise.rows(np.array([1, 2])))
    assert grown.factor == pytest.approx(GaussianProcess.condition(DATA, HYPER).factor, abs=1e-9)


def test_believing_a_pending_point_keeps_the_mean_and_lowers_the_variance_there() -> None:
    gp = GaussianProcess.condition(DATA, HYPER)
    gp.set_targets(Y)
    pending, far = np.array([[0.1, 0.2]]), np.array([[0.9, 0.9]])
    believed = gp.believe(pending)
    assert believed.mean(far) == pytest.approx(gp.mean(far))
    prior = gp.mean_std(pending)[1][0] ** 2
    noise = 0.1 + 0.1  # of seeds, and the median of what the finished runs' evaluations have
    assert believed.mean_std(pending)[1][0] ** 2 == pytest.approx(prior * noise / (prior + noise), rel=1e-6)


def test_pairs_have_the_posterior_of_dense_algebra() -> None:
    gp = GaussianProcess.condition(DATA, HYPER)
    gp.set_targets(Y)
    a, b = np.array([[0.0, 0.0], [0.4, -0.9]]), np.array([[0.3, 1.0], [0.4, 1.0]])
    inverse = np.linalg.inv(kernel(X, X, HYPER, LAYOUT) + 0.1 * DATA.noise.covariance() + np.diag(DATA.noise.known))
    dense = kernel(a, b, HYPER, LAYOUT) - kernel(a, X, HYPER, LAYOUT) @ inverse @ kernel(X, b, HYPER, LAYOUT)
    pairs, same = gp.paired(a, b), gp.paired(a, a)
    assert pairs.covariance == pytest.approx(np.diag(dense), rel=1e-7)
    assert pairs.other_mean == pytest.approx(gp.mean(b))
    assert same.covariance == pytest.approx(gp.mean_std(a)[1] ** 2, rel=1e-9)
    assert same.other_mean == pytest.approx(same.mean)


def test_the_rough_mean_is_the_mean_in_single_precision() -> None:
    gp = GaussianProcess.condition(DATA, HYPER)
    gp.set_targets(Y)
    query = np.array([[0.0, 0.0], [0.4, -0.9]])
    assert gp.rough_mean(query) == pytest.approx(gp.mean(query), abs=1e-5)


def test_new_evidence_is_the_same_as_having_had_it() -> None:
    partial = GaussianProcess.condition(DATA.rows(np.array([0])), HYPER)
    partial.set_targets(Y[:1])
    informed = partial.informed(X[1:], DATA.noise.rows(np.array([1, 2])), Y[1:])
    whole = GaussianProcess.condition(DATA, HYPER)
    whole.set_targets(Y)
    assert informed.mean(np.zeros((1, 2))) == pytest.approx(whole.mean(np.zeros((1, 2))), rel=1e-6)


def test_noise_times_a_vector_is_the_covariance_times_it() -> None:
    noise = Noise(np.array([1.0, 2.0, 1.5, 1.0]), np.array([4, 4, 2, 4]), np.array([0.0, 0.5, 1.0, 0.0]))
    vector = np.array([0.3, -1.0, 2.0, 0.7])
    assert noise.times(vector, 0.3) == pytest.approx((0.3 * noise.covariance() + np.diag(noise.known)) @ vector)


def test_a_lucky_run_with_a_curve_is_no_peak() -> None:
    x = np.linspace(-1, 1, 12)[:, None]
    luck = np.where(np.arange(12) == 5, 1.5, 0.0)
    rows, run = np.repeat(x, 4, axis=0), np.repeat(np.arange(12), 4)
    layout, hyper = Layout(np.array([0])), Hyperparameters(np.array([0.3]), 1.0, 1e-3, 0.0, 0.3)
    as_one = GaussianProcess.condition(Data(rows, Noise(np.ones(48), run, np.zeros(48)), layout), hyper)
    as_many = GaussianProcess.condition(Data(rows, Noise.independent(48), layout), hyper)
    for gp in (as_one, as_many):
        gp.set_targets(np.repeat(luck, 4))
    assert float(as_one.mean(x[5:6])[0]) < 0.85 * float(as_many.mean(x[5:6])[0])


def test_the_fit_finds_noise_and_what_matters() -> None:
    rng = np.random.default_rng(1)
    x = rng.uniform(-1, 1, (120, 3))
    y = np.sin(4 * x[:, 0]) + 0.3 * rng.standard_normal(120)
    hyper = fit(
        Data(x, Noise.independent(120), Layout(np.arange(3))),
        (y - y.mean()) / y.std(),
        Hyperparameters.prior(Layout(np.arange(3))),
    )
    assert hyper.noise * y.var() == pytest.approx(0.09, rel=0.35)
    assert hyper.lengths[0] < 0.5 * hyper.lengths[1:].min()


def test_what_hyperparameters_change_grows_with_training_and_the_shared_level_does_not() -> None:
    short, long = np.array([[0.4, -1.0]]), np.array([[0.4, 1.0]])
    level = 1.0 + 1.0  # of either length: 1 + t^2
    spread = [float(prior_variance(row, HYPER, LAYOUT)[0]) - level for row in (short, long)]
    trend = 0.4 * ((0.4 / 0.5) ** 2 + (0.4**2 / 0.5) ** 2 + (1 / 2.0) ** 2 + (1 / 2.0) ** 2)
    assert spread[1] == pytest.approx(1.5 + trend)
    assert spread[0] / spread[1] == pytest.approx(np.exp(-2.0 * 2.0 * 0.7))


def test_a_parabola_is_found_with_few_runs_in_many_dimensions() -> None:
    rng = np.random.default_rng(3)
    best = rng.uniform(-0.6, 0.6, 8)
    x = rng.uniform(-1, 1, (32, 8))
    y = -((x - best) ** 2).sum(axis=1)
    data = Data(x, Noise.independent(32), Layout(np.arange(8)))
    targets = (y - y.mean()) / y.std()
    gp = GaussianProcess.condition(data, fit(data, targets, Hyperparameters.prior(data.layout)))
    gp.set_targets(targets)
    fresh = rng.uniform(-1, 1, (200, 8))
    assert np.corrcoef(gp.mean(fresh), -((fresh - best) ** 2).sum(axis=1))[0, 1] > 0.99


def test_equal_rows_need_jitter_and_get_it() -> None:
    assert np.isfinite(cholesky(np.ones((4, 4)))).all()


def test_a_matrix_that_is_no_covariance_is_refused() -> None:
    with pytest.raises(np.linalg.LinAlgError, match="is not positive definite with jitter"):
        cholesky(-np.eye(3))


def test_targets_can_be_set_again_without_a_new_factorisation() -> None:
    factor = cholesky(kernel(X, X, HYPER, LAYOUT) + 0.1 * np.eye(3))
    gp = GaussianProcess(HYPER, DATA, factor)
    gp.set_targets(Y)
    once = gp.alpha
    gp.set_targets(2 * Y)
    assert gp.alpha == pytest.approx(2 * once)
    assert gp.factor is factor
