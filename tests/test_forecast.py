"""Forecasts several steps ahead, against companion matrices, dense Gaussians and every coin."""

from itertools import product

import numpy as np
import pytest
import torch
from proof import agree, verifies

from rnncourse.reference import forecast

rng = np.random.default_rng(0)


def model(p=3, O=2, seed=0):
    draw = np.random.default_rng(seed)
    root = draw.standard_normal((O, O))
    return forecast.AR(draw.standard_normal(O), 0.4 * draw.standard_normal((p, O, O)), root @ root.T + np.eye(O))


def companion(ar):
    """One state that holds the last p values and a one: its matrix, shape (p O + 1, p O + 1)."""
    p, O, _ = ar.weights.shape
    F = np.zeros((p * O + 1, p * O + 1))
    F[:O, -1] = ar.constant
    F[:O, :-1] = np.concatenate(list(ar.weights), axis=1)
    F[O:-1, : -O - 1] = np.eye((p - 1) * O)
    F[-1, -1] = 1
    return F


@verifies("eq-ar-ahead", oracle="powers of the companion matrix")
@pytest.mark.parametrize(("p", "O"), [(1, 1), (3, 2), (4, 1)])
def test_forecasts_are_powers(p, O):
    ar, history = model(p, O), rng.standard_normal((p + 2, 5, O))
    found, F = forecast.ahead(ar, history, 6), companion(ar)
    for b in range(5):
        state = np.concatenate([history[::-1, b][:p].ravel(), [1.0]])
        expected = [(np.linalg.matrix_power(F, h) @ state)[:O] for h in range(1, 7)]
        agree(found[:, b], np.array(expected), 1e-12)


@verifies("eq-ar-spread", oracle="dense covariance of the noise")
@pytest.mark.parametrize(("p", "O"), [(1, 1), (3, 2)])
def test_spreads_are_those_of_the_whole_future(p, O):
    ar, h = model(p, O, 1), 5
    lag = np.eye(h * O)  # (I - L) y = noise, for all steps at once
    for i in range(h):
        for k in range(min(p, i)):
            lag[i * O : (i + 1) * O, (i - 1 - k) * O : (i - k) * O] = -ar.weights[k]
    answer = np.linalg.inv(lag)
    dense = answer @ np.kron(np.eye(h), ar.noise) @ answer.T
    expected = np.stack([dense[i * O : (i + 1) * O, i * O : (i + 1) * O] for i in range(h)])
    agree(forecast.spreads(ar, h), expected, 1e-12)


@verifies("eq-ar1-spread", oracle="dense Gaussian of eight years")
@verifies("eq-persistence-error", oracle="dense Gaussian of eight years")
@pytest.mark.parametrize("phi", [0.9, -0.5, 0.3])
def test_one_lag(phi):
    sigma2, T = 1.7, 8
    inverse = np.zeros((T, T))  # the precision matrix of a stationary AR(1) is tridiagonal
    for t in range(T):
        inverse[t, t] = 1 + phi**2 if 0 < t < T - 1 else 1.0
        if t:
            inverse[t, t - 1] = inverse[t - 1, t] = -phi
    S = sigma2 * np.linalg.inv(inverse)
    ar = forecast.AR(np.zeros(1), np.array([[[phi]]]), np.array([[sigma2]]))
    found = forecast.spreads(ar, T - 1)[:, 0, 0]
    h = np.arange(1, T)
    agree(found, S[h, h] - S[h, 0] ** 2 / S[0, 0], 1e-12)
    agree(sigma2 * (1 - phi ** (2 * h)) / (1 - phi**2), found, 1e-12)
    v = sigma2 / (1 - phi**2)
    agree(2 * v * (1 - phi**h), S[h, h] + S[0, 0] - 2 * S[h, 0], 1e-12)


@verifies("eq-walk-error", oracle="enumeration of every coin")
def test_nobody_beats_the_last_value_of_a_walk():
    known, h, sigma = 3, 5, 1.3
    paths = np.array(list(product([-sigma, sigma], repeat=known + h))).cumsum(axis=1)
    pasts = [tuple(path[:known]) for path in paths]
    best = np.zeros(h)
    for past in sorted(set(pasts)):  # the best function of the past is its conditional mean
        future = paths[[one == past for one in pasts]][:, known:]
        best += ((future - future.mean(axis=0)) ** 2).sum(axis=0) / len(paths)
    for seed in range(3):  # any other function of the past pays for what it does differently
        draw = np.random.default_rng(seed)
        other = {past: draw.standard_normal(h) for past in sorted(set(pasts))}
        f = np.array([other[past] for past in pasts]) + paths[:, known - 1 : known]
        error = ((paths[:, known:] - f) ** 2).mean(axis=0)
        paid = ((f - paths[:, known - 1 : known]) ** 2).mean(axis=0)
        agree(sigma**2 * np.arange(1, h + 1) + paid, error, 1e-12)
    walk = forecast.AR(np.zeros(1), np.ones((1, 1, 1)), np.full((1, 1), sigma**2))
    agree(forecast.spreads(walk, h)[:, 0, 0], best, 1e-12)
    stay = forecast.persistence(paths.T[:known, :, None], h)[:, :, 0]
    agree(((stay - paths.T[known:]) ** 2).mean(axis=1), best, 1e-12)


@verifies("eq-ar-fit", oracle="L-BFGS on the squared error")
def test_the_fit_has_the_least_error():
    y = rng.standard_normal((30, 4, 2)).cumsum(axis=0)
    found = forecast.fit(y, 2)
    w = torch.zeros(2, 5, dtype=torch.float64, requires_grad=True)
    data = torch.tensor(y)
    causes = torch.cat([torch.ones(28, 4, 1, dtype=torch.float64), data[1:-1], data[:-2]], dim=2)
    climber = torch.optim.LBFGS(
        [w], max_iter=800, tolerance_grad=1e-13, tolerance_change=0, line_search_fn="strong_wolfe"
    )

    def value():
        climber.zero_grad()
        loss = ((causes @ w.T - data[2:]) ** 2).mean()
        loss.backward()
        return loss

    climber.step(value)
    w = w.detach()
    agree(found.constant, w[:, 0], 1e-6)
    agree(found.weights, torch.stack([w[:, 1:3], w[:, 3:]]), 1e-6)
    left = (data[2:] - causes @ w.T).reshape(-1, 2)
    agree(found.noise, left.T @ left / len(left), 1e-9)


def test_a_model_is_found_again():
    ar = model(2, 2, 3)._replace(noise=0.01 * np.eye(2))
    ar = ar._replace(weights=0.5 * ar.weights)
    y = [rng.standard_normal((50, 2)) for _ in range(2)]
    for _ in range(200):
        noise = 0.1 * rng.standard_normal((50, 2))
        y.append(ar.constant + y[-1] @ ar.weights[0].T + y[-2] @ ar.weights[1].T + noise)
    found = forecast.fit(np.stack(y), 2)
    for ours, true in zip(found, ar, strict=True):
        assert np.abs(ours - true).max() < 0.03


def test_windows():
    y = np.arange(14.0).reshape(7, 2, 1)
    known, asked = forecast.windows(y, 3, 2)
    assert known.shape == (3, 6, 1) and asked.shape == (2, 6, 1)
    assert known[:, 3, 0].tolist() == [3, 5, 7] and asked[:, 3, 0].tolist() == [9, 11]
    assert (forecast.persistence(known, 2)[:, 3, 0] == 7).all()


Y = np.ones((5, 2, 1))
BAD = {
    "series": lambda: forecast.windows(Y, 4, 2),
    "past": lambda: forecast.windows(Y, 0, 1),
    "order": lambda: forecast.fit(Y[:, :1], 3),
    "history": lambda: forecast.ahead(model(3, 1), Y[:2], 1),
    "steps": lambda: forecast.spreads(model(), 0),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input(name):
    with pytest.raises(ValueError, match=rf"^{name}: "):
        BAD[name]()
    with pytest.raises(ValueError, match=r"^steps: "):
        forecast.persistence(Y, 0)
    with pytest.raises(ValueError, match=r"^history: expected shape"):
        forecast.ahead(model(3, 2), Y, 1)
    assert forecast.fit(rng.standard_normal((5, 1, 1)), 2).weights.shape == (2, 1, 1)
    with pytest.raises(ValueError, match=r"^order: expected at least 3"):  # one equation fewer than weights
        forecast.fit(rng.standard_normal((4, 1, 1)), 2)
    with pytest.raises(ValueError, match=r"^series: "):
        forecast.windows(np.where(np.arange(5)[:, None, None] == 3, np.nan, Y), 2, 1)
