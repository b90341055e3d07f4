"""The best posterior of each family against a search by L-BFGS over every weight, and against torch's divergences."""

import functools

import lds_oracles
import numpy as np
import pytest
import ssm_oracles as oracles
import torch
from lds_battery import both_floors, on
from proof import agree, verifies

from rnncourse.lds_params import LDSParams
from rnncourse.reference import posterior_families as families
from rnncourse.reference import state_space

SYSTEMS = {
    "plain": lambda: (lds_oracles.system(seed=0, H=2, O=2, D=0), 4),
    "one step": lambda: (lds_oracles.system(seed=1, H=1, O=1, D=0), 1),
    "wide outputs": lambda: (lds_oracles.system(seed=2, H=2, O=3, D=0), 3),
    "unstable": lambda: (lds_oracles.system(seed=3, H=1, O=2, D=0, radius=1.3), 5),
    "a walk": lambda: (walk(), 8),
}
systems = pytest.mark.parametrize("case", SYSTEMS)
windows = pytest.mark.parametrize("window", families.WINDOWS)


def walk(a=0.9, q=1.0, r=0.5):
    """One unit that begins at zero: the system of the errata."""
    one = np.ones((1, 1))
    return LDSParams(a * one, np.zeros((1, 0)), one, q * one, r * one, np.zeros(1), 0 * one)


def mask(window, T, H, O):
    rows, columns = np.indices((T * H, T * O))
    t, tau = rows // H, columns // O
    seen = {"all": t >= 0, "filter": tau <= t, "frame": tau == t, "past": tau < t}[window]
    return torch.tensor(seen, dtype=torch.float64)


@both_floors
@systems
@verifies("eq-ssm-posterior", oracle="regression of all states on all outputs")
def test_the_exact_posterior(floor, case):
    params, T = SYSTEMS[case]()
    exact = on(floor, "posterior_families.posterior")(params, T)
    x = np.random.default_rng(0).standard_normal((T, params.emission.shape[0]))
    mean, S = oracles.exact(params, x)
    agree(exact.state_mean + exact.weights @ (x.ravel() - exact.output_mean), mean, 1e-10)
    agree(exact.precision, torch.linalg.inv(S), 1e-9)


@both_floors
@systems
@verifies("eq-posterior-precision", oracle="the inverse of the dense posterior covariance")
def test_the_precision_couples_neighbours_only(floor, case):
    params, T = SYSTEMS[case]()
    A, _, C, Q, R, _, P_0 = params
    H, P = len(A), np.linalg.inv(Q)
    right = np.zeros((T, H, T, H))
    for t in range(T):
        right[t, :, t] = C.T @ np.linalg.inv(R) @ C + (P if t else np.linalg.inv(A @ P_0 @ A.T + Q))
        if t + 1 < T:
            right[t, :, t] += A.T @ P @ A
            right[t + 1, :, t], right[t, :, t + 1] = -P @ A, -A.T @ P
    ours = on(floor, "posterior_families.posterior")(params, T).precision
    agree(right.reshape(T * H, T * H), torch.linalg.inv(oracles.exact(params, np.zeros((T, len(C))))[1]), 1e-9)
    agree(ours, right.reshape(T * H, T * H), 1e-9)


@functools.cache
def searched(case, window):
    """One search for both floors."""
    params, T = SYSTEMS[case]()
    O, H = params.emission.shape
    return oracles.descend(params, T, mask(window, T, H, O))


@both_floors
@systems
@windows
@verifies("eq-best-variance", oracle="L-BFGS over all weights and variances")
@verifies("eq-best-window", oracle="L-BFGS over all weights and variances")
@verifies("eq-ssm-price", oracle="L-BFGS over all weights and variances")
def test_the_best_of_each_family(floor, case, window):
    params, T = SYSTEMS[case]()
    exact = on(floor, "posterior_families.posterior")(params, T)
    seen = on(floor, "posterior_families.visible")(window, T)
    found = on(floor, "posterior_families.best")(exact, seen)
    weights, variances, gap = searched(case, window)
    agree(found.factors + found.window, gap, 1e-8) if gap > 1e-6 else None
    assert abs(found.factors + found.window - gap) < 1e-8
    if window != "past" or T > 1:
        agree(found.weights, weights, 5e-5)  # where the search stops
    agree(found.variances.ravel(), variances, 5e-5)


def test_the_figures_of_the_errata():
    exact = families.posterior(walk(), 8)
    gaps = {window: families.best(exact, families.visible(window, 8)).gap for window in families.WINDOWS}
    assert {name: round(gap, 2) for name, gap in gaps.items()} == {
        "all": 0.22,
        "filter": 0.90,
        "frame": 1.94,
        "past": 12.04,
    }


def averaged(params, T, weights, variances, S):
    """The mean of torch's divergence over x of covariance S, exact for a quadratic; and that of the exact means."""
    middle, S = oracles.prior(params, T)[1], torch.as_tensor(S)
    q = torch.diag(torch.tensor(variances.ravel()))
    centre, after = oracles.exact(params, middle.reshape(T, -1))
    root, gaps = len(S) ** 0.5 * torch.linalg.cholesky(S), []
    for kick in torch.cat([root.T, -root.T]):
        exact, _ = oracles.exact(params, (middle + kick).reshape(T, -1))
        gaps.append(oracles.kl(centre + torch.tensor(weights) @ kick, q, exact, after))
    return torch.stack(gaps).mean(), oracles.kl(centre, q, centre, after)


@both_floors
@systems
@verifies("eq-ssm-price", oracle="torch's divergence, averaged exactly")
def test_the_price_of_any_linear_posterior(floor, case):
    params, T = SYSTEMS[case]()
    rng = np.random.default_rng(1)
    exact = on(floor, "posterior_families.posterior")(params, T)
    weights, variances = rng.standard_normal(exact.weights.shape), rng.random((T, len(params.transition))) + 0.3
    root = rng.standard_normal(exact.output_covariance.shape)
    for S in (None, root @ root.T):
        ours = on(floor, "posterior_families.priced")(exact, weights, variances, S)
        gap, factors = averaged(params, T, weights, variances, exact.output_covariance if S is None else S)
        agree((ours.factors, ours.window), (factors, gap - factors), 1e-10)


@both_floors
def test_the_price_is_what_sequences_pay(floor):
    """Averaged over twenty thousand sequences of the model itself."""
    params, T, many = walk(), 8, 20000
    rng = np.random.default_rng(2)
    z, x, state = np.empty((T, many, 1)), np.empty((T, many, 1)), np.zeros((many, 1))
    for t in range(T):
        state = state @ params.transition.T + rng.standard_normal((many, 1))
        z[t], x[t] = state, state + 0.5**0.5 * rng.standard_normal((many, 1))
    exact = on(floor, "posterior_families.posterior")(params, T)
    found, _ = on(floor, "kalman.forward")(params, x)
    for window in families.WINDOWS:
        family = on(floor, "posterior_families.best")(exact, on(floor, "posterior_families.visible")(window, T))
        q = on(floor, "posterior_families.apply")(family, exact, x)
        steps, _ = on(floor, "state_space.forward")(params, q, x)
        paid = found.log_likelihood - (steps.reconstruction - steps.kl).sum(axis=0)
        error = paid.std() / many**0.5
        assert paid.min() > 0 and abs(paid.mean() - family.factors - family.window) < 4 * error + 1e-9


@both_floors
def test_a_model_that_is_not_the_data(floor):
    """With outputs of another covariance the best weights are others; still those that the search finds."""
    params, T = SYSTEMS["plain"]()
    root = np.random.default_rng(3).standard_normal((8, 8))
    S = root @ root.T / 8
    exact = on(floor, "posterior_families.posterior")(params, T)
    seen = on(floor, "posterior_families.visible")("filter", T)
    found = on(floor, "posterior_families.best")(exact, seen, S)
    weights, _, gap = oracles.descend(params, T, mask("filter", T, 2, 2), torch.tensor(S))
    agree(found.factors + found.window, gap, 1e-8)
    agree(found.weights, weights, 1e-3)
    assert np.abs(found.weights - on(floor, "posterior_families.best")(exact, seen).weights).max() > 0.01


@both_floors
@systems
def test_the_filter_as_a_matrix(floor, case):
    params, T = SYSTEMS[case]()
    x = np.random.default_rng(4).standard_normal((T, 1, params.emission.shape[0]))
    weights, variances = on(floor, "posterior_families.marginals")(params, T)
    exact = families.posterior(params, T)
    for t in range(T):
        seen = np.arange(T * x.shape[2]) < (t + 1) * x.shape[2]
        mean, S = lds_oracles.filtered(
            params, np.zeros((T, 0)), x[:, 0], np.ones(x[:, 0].shape, bool) & (np.arange(T) <= t)[:, None], t + 1
        )
        H = len(params.transition)
        rows = slice(t * H, (t + 1) * H)
        ours = exact.state_mean[rows] + weights[rows] @ (x.ravel() - exact.output_mean)
        agree(ours, mean, 1e-9)
        agree(variances[t], np.diagonal(S), 1e-9)
        assert not weights[rows][:, ~seen].any()


def test_the_filters_marginals_are_not_the_best():
    """H12, and why: the best variance is that of a state whose neighbours are known."""
    exact = families.posterior(walk(), 8)
    plugged = families.priced(exact, *families.marginals(walk(), 8))
    best = families.best(exact, families.visible("filter", 8))
    assert plugged.gap > best.gap + 0.2
    assert (plugged.variances > best.variances).all()
    swapped = families.priced(exact, plugged.weights, best.variances)
    assert best.gap < swapped.gap < plugged.gap


def test_what_is_hidden_counts():
    """The windows in the order of what they show."""
    for make in SYSTEMS.values():
        params, T = make()
        exact = families.posterior(params, T)
        gaps = [families.best(exact, families.visible(name, T)).window for name in ("all", "filter", "frame", "past")]
        assert abs(gaps[0]) < 1e-9 and gaps[1] <= gaps[2] + 1e-12 and gaps[1] < gaps[3] + 1e-12


@both_floors
def test_doors(floor):
    params = walk()
    call = {
        name: on(floor, f"posterior_families.{name}") for name in ("posterior", "visible", "best", "priced", "apply")
    }
    exact = call["posterior"](params, 3)
    family = call["best"](exact, np.tri(3, dtype=bool))
    bad = {
        "steps": lambda: call["posterior"](params, 0),
        "window": lambda: call["visible"]("future", 3),
        "seen": lambda: call["best"](exact, np.ones((2, 2), bool)),
        "output_covariance": lambda: call["best"](exact, np.ones((3, 3), bool), np.eye(2)),
        "weights": lambda: call["priced"](exact, np.ones((2, 3)), np.ones((3, 1))),
        "variances": lambda: call["priced"](exact, np.ones((3, 3)), np.ones((2, 1))),
        "outputs": lambda: call["apply"](family, exact, np.ones((2, 1, 1))),
        "input_weights": lambda: call["posterior"](lds_oracles.system(), 3),
    }
    for name, wrong in bad.items():
        with pytest.raises(ValueError, match=f"^{name}: expected"):
            wrong()
    many = call["posterior"](params, 65)
    with pytest.raises(ValueError, match=r"^seen: expected at most 4096"):
        call["best"](many, np.ones((65, 65), bool))


def test_it_is_the_bound():
    """The family's price, for one sequence, is what the bound of chapter's first half misses."""
    params, T = SYSTEMS["plain"]()
    exact = families.posterior(params, T)
    family = families.best(exact, families.visible("all", T))
    x = np.random.default_rng(5).standard_normal((T, 2, 2))
    steps, _ = state_space.forward(params, families.apply(family, exact, x), x)
    found = [float(oracles.log_likelihood(params, x[:, b])) for b in range(2)]
    agree(np.array(found) - (steps.reconstruction - steps.kl).sum(axis=0), np.full(2, family.gap), 1e-9)
