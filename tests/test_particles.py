"""The particle filter against the Kalman filter, sums on a grid, and what resampling must do on average."""

import ekf_oracles as oracles
import lds_oracles
import numpy as np
import pytest
import torch
from lds_battery import both_floors, draw, on
from proof import agree, verifies

from rnncourse.data import stochastic_rnn
from rnncourse.reference import ekf, kalman, particles

schemes = pytest.mark.parametrize("scheme", particles.SCHEMES)
LINEAR = ("identity", "identity")


def counts(floor, weights, uniforms, scheme):
    return np.bincount(on(floor, "particles.resample")(weights, uniforms, scheme), minlength=len(weights))


@both_floors
@schemes
@pytest.mark.parametrize("whole", [[3, 1, 0, 5, 2], [1, 1, 1, 1], [0, 0, 7], [1], [12, 1, 1, 6]])
@verifies("eq-resampling", oracle="the sum over every place where a draw can fall")
def test_every_particle_is_drawn_as_often_as_it_weighs(floor, scheme, whole):
    """Weights are multiples of 1/K, so what a draw gives is constant between multiples of 1/(K N!).

    On average over the uniforms it does not matter that all are equal here: a count is a sum over the places.
    """
    K, N = sum(whole), len(whole)
    weights, cells = np.array(whole) / K, 60 * K
    u = (np.arange(cells) + 0.5) / cells
    mean = sum(counts(floor, weights, np.full(N, one), scheme) for one in u) / cells
    agree(mean, N * weights, 1e-12)


@both_floors
@schemes
def test_on_average_over_random_numbers(floor, scheme):
    rng = np.random.default_rng(0)
    weights = rng.dirichlet(0.5 * np.ones(20))
    drawn = np.array([counts(floor, weights, rng.random(20), scheme) for _ in range(2000)])
    error = drawn.std(axis=0) / np.sqrt(2000) + 1e-3
    assert (drawn.sum(axis=1) == 20).all() and (np.abs(drawn.mean(axis=0) - 20 * weights) < 4.5 * error).all()


def test_who_scatters_less():
    """Stratified and residual draws never scatter more than independent ones."""
    rng = np.random.default_rng(1)
    weights = rng.dirichlet(np.ones(30))
    spread = {
        s: np.var([counts("reference", weights, rng.random(30), s) for _ in range(3000)], 0) for s in particles.SCHEMES
    }
    for scheme in particles.SCHEMES[1:]:
        assert spread[scheme].sum() < spread["multinomial"].sum()
    drawn = [counts("reference", weights, rng.random(30), "systematic") for _ in range(500)]
    assert (np.abs(np.array(drawn) - 30 * weights) < 1).all()  # the floor of N w or one more


@both_floors
def test_the_bootstrap_filter_on_a_grid(floor):
    """A tanh network with one state: means and likelihood against the exact filter, within what N allows."""
    rng = np.random.default_rng(2)
    system = stochastic_rnn.two_wells()
    y = stochastic_rnn.sample(rng, system, 25, 1).observations
    y[7] = np.nan
    crowd = on(floor, "particles.forward")(system, y, particles.draw(rng, 25, 1, 20000, 1), observed=np.isfinite(y))
    mean, spread, total, *_ = oracles.on_a_grid(2, 1, 0.1, 1, 0, 1, y[:, 0, 0], ("tanh", "identity"))
    assert np.abs(crowd.means[:, 0, 0] - mean).max() < 0.04 and np.abs(crowd.log_likelihood[0] - total) < 0.1
    assert np.abs(crowd.covariances[:, 0, 0, 0] - spread).max() < 0.05


def test_the_likelihood_is_unbiased():
    """Its mean, not that of its logarithm, is the likelihood; with few particles the two differ."""
    rng = np.random.default_rng(3)
    system, T, runs = stochastic_rnn.two_wells(), 6, 4000
    y = stochastic_rnn.sample(rng, system, T, 1).observations
    crowd = particles.forward(system, np.tile(y, (1, runs, 1)), particles.draw(rng, T, runs, 10, 1), threshold=2.0)
    total = oracles.on_a_grid(2, 1, 0.1, 1, 0, 1, y[:, 0, 0], ("tanh", "identity"))[2]
    ratio = np.exp(crowd.log_likelihood - total)
    assert abs(ratio.mean() - 1) < 4 * ratio.std() / np.sqrt(runs)
    assert crowd.log_likelihood.mean() < total - 4 * crowd.log_likelihood.std() / np.sqrt(runs)


@schemes
@verifies("eq-particles", oracle="the exact step on the same particles, by sums written out")
def test_one_step_by_hand(scheme):
    p = lds_oracles.problem(3, T=1, B=1, H=2, O=2, D=0)
    draws = particles.draw(np.random.default_rng(0), 1, 1, 50, 2)
    crowd = particles.forward(p.params, p.y, draws, functions=("tanh", "sigmoid"), scheme=scheme, threshold=0.0)
    A, _, C, Q, R, m, P = p.params

    def roots(S):
        values, vectors = np.linalg.eigh(S)
        return vectors @ np.diag(np.sqrt(values)) @ vectors.T

    z = np.array(
        [np.tanh(A @ (m + roots(P) @ a)) + roots(Q) @ b for a, b in zip(draws.start[0], draws.moves[0, 0], strict=True)]
    )
    seen = torch.distributions.MultivariateNormal(torch.from_numpy(1 / (1 + np.exp(-z @ C.T))), torch.from_numpy(R))
    w = seen.log_prob(torch.from_numpy(p.y[0, 0])).exp().numpy()
    agree(crowd.log_likelihood[0], np.log(w.mean()), 1e-12)
    agree(crowd.means[0, 0], w @ z / w.sum(), 1e-12)
    agree(crowd.effective[0, 0], w.sum() ** 2 / (w**2).sum(), 1e-12)
    agree(crowd.covariances[0, 0], np.cov(z.T, aweights=w, ddof=0), 1e-12)


@both_floors
@pytest.mark.parametrize("threshold", [0.0, 0.8, 2.0])
@verifies("eq-particles", oracle="three steps with inputs and matrices that change, written out particle by particle")
def test_three_steps_written_out(floor, threshold):
    """Weights are carried, unless the crowd is thinned out: then each is drawn by its weight and counts the same."""
    p = lds_oracles.varying(lds_oracles.problem(6, T=3, B=1, H=2, O=2, D=1))
    A, W, C, Q, R, m, P = p.params
    draws, N = particles.draw(np.random.default_rng(0), 3, 1, 30, 2), 30
    crowd = on(floor, "particles.forward")(
        p.params, p.y, draws, p.x, functions=("tanh", "sigmoid"), threshold=threshold
    )

    def root(S):
        values, vectors = np.linalg.eigh(S)
        return vectors @ np.diag(np.sqrt(values)) @ vectors.T

    z, w, total, thinned = [m + root(P) @ a for a in draws.start[0]], np.full(N, 1 / N), 0.0, 0
    for t in range(3):
        z = [
            np.tanh(A[t] @ old + W[t] @ p.x[t, 0]) + root(Q[t]) @ a for old, a in zip(z, draws.moves[t, 0], strict=True)
        ]
        guesses = np.array([1 / (1 + np.exp(-C[t] @ one)) for one in z])
        seen = torch.distributions.MultivariateNormal(torch.from_numpy(guesses), torch.from_numpy(R[t]))
        w = w * seen.log_prob(torch.from_numpy(p.y[t, 0])).exp().numpy()
        total, w = total + np.log(w.sum()), w / w.sum()
        agree(crowd.means[t, 0], w @ np.array(z), 1e-10)
        agree(crowd.effective[t, 0], 1 / (w @ w), 1e-10)
        if 1 / (w @ w) < threshold * N:
            ends, thinned = np.cumsum(w), thinned + 1
            places = (np.arange(N) + draws.uniforms[t, 0, 0]) / N
            z, w = [z[int((ends <= u).sum())] for u in places], np.full(N, 1 / N)
    agree(crowd.log_likelihood[0], total, 1e-10)
    agree(crowd.particles[0], np.array(z), 1e-10)
    agree(crowd.weights[0], w, 1e-10)
    assert thinned == {0.0: 0, 2.0: 3}.get(threshold, thinned) and (threshold == 0 or thinned)


@both_floors
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_an_output_that_is_far_off(floor):
    """Every density is below the smallest number, and still the weights are right; farther, it is said."""
    p = lds_oracles.problem(6, T=1, B=1, H=2, O=1, D=0)
    draws = particles.draw(np.random.default_rng(0), 1, 1, 30, 2)
    crowd = on(floor, "particles.forward")(p.params, p.y + 1e3, draws, functions=LINEAR)
    assert np.isfinite(crowd.log_likelihood).all() and crowd.log_likelihood[0] < -1e4
    agree(crowd.weights.sum(), 1.0, 1e-12)
    with pytest.raises(ValueError, match=r"^outputs: "):
        on(floor, "particles.forward")(p.params, p.y + 1e200, draws, functions=LINEAR)


@both_floors
def test_single_precision_stays_single(floor):
    p, _ = draw("plain")
    params = type(p.params)(*(part.astype(np.float32) for part in p.params))
    y, x = p.y.astype(np.float32), p.x.astype(np.float32)
    draws = particles.draw(np.random.default_rng(0), p.T, p.B, 50, 3)
    crowd = on(floor, "particles.forward")(params, y, draws, x)
    double = on(floor, "particles.forward")(p.params, p.y, draws, p.x)
    assert crowd.means.dtype == np.float32
    assert np.abs(crowd.means[0] - double.means[0]).max() < 1e-4


def test_weights_that_end_in_zeros_and_products_that_rounding_left_short():
    last = np.array([0.7, 0.3 - 1e-17, 0.0])
    for scheme in particles.SCHEMES:
        assert particles.resample(last, np.full(3, 1 - 1e-16), scheme).max() < 2
    tenths = np.array([0.3 - 1e-16, 0.3 - 1e-16, 0.4 + 2e-16, 0, 0, 0, 0, 0, 0, 0])
    assert (10 * tenths[:2] < 3).all()  # by rounding alone
    assert (np.bincount(particles.resample(tenths, np.zeros(10), "residual"))[:3] == [3, 3, 4]).all()


@schemes
def test_both_floors_draw_the_same(scheme):
    for case in ("plain", "ragged, missing", "missing entries", "by sequence", "varying"):
        p, options = draw(case)
        draws = particles.draw(np.random.default_rng(1), p.T, p.B, 40, p.H)
        found = [
            on(floor, "particles.forward")(p.params, p.y, draws, p.x, scheme=scheme, **options)
            for floor in ("reference", "gpu")
        ]
        agree(found[1], found[0], 1e-9)


def test_what_is_missing_is_left_out():
    p, options = draw("missing entries")
    draws = particles.draw(np.random.default_rng(1), p.T, p.B, 20000, p.H)
    crowd = particles.forward(p.params, p.y, draws, p.x, functions=LINEAR, **options)
    right, _ = kalman.forward(p.params, p.y, p.x, **options)
    assert np.abs(crowd.log_likelihood - right.log_likelihood).max() < 0.2
    assert np.abs(crowd.means - right.means).max() < 0.2  # standard deviations are up to two


def test_padding_changes_nothing():
    p, options = draw("ragged")
    draws = particles.draw(np.random.default_rng(1), p.T, p.B, 100, p.H)
    crowd = particles.forward(p.params, p.y, draws, p.x, **options)
    for b in range(p.B):
        n = p.lengths[b]
        own = particles.Draws(draws.start[b : b + 1], draws.moves[:n, b : b + 1], draws.uniforms[:n, b : b + 1])
        alone = particles.forward(p.params, p.y[:n, b : b + 1], own, p.x[:n, b : b + 1])
        agree(crowd.means[:n, b], alone.means[:, 0], 1e-12)
        agree(crowd.particles[b], alone.particles[0], 1e-12)
        agree(crowd.log_likelihood[b], alone.log_likelihood[0], 1e-12)
        assert not crowd.means[n:, b].any()


def test_it_nears_the_kalman_filter_as_one_over_root_n():
    p = lds_oracles.problem(4, T=10, B=1, H=2, O=1, D=0)
    p.params = p.params._replace(output_noise=np.full((1, 1), 4.0))
    p.y = stochastic_rnn.sample(p.rng, p.params, p.T, 1, functions=LINEAR).observations
    right, _ = kalman.forward(p.params, p.y)
    runs, sizes, errors = 60, np.array([100, 400, 1600]), []
    for N in sizes:
        draws = particles.draw(np.random.default_rng(N), p.T, runs, N, 2)
        crowd = particles.forward(p.params, np.tile(p.y, (1, runs, 1)), draws, functions=LINEAR)
        errors.append(np.sqrt(((crowd.means - right.means) ** 2).mean()))
    slope = np.polyfit(np.log(sizes), np.log(errors), 1)[0]
    assert abs(slope + 0.5) < 0.1


def test_two_wells_are_too_many_for_one_gaussian():
    """The extended filter's likelihood against the particles', path by path, and against the exact one."""
    rng = np.random.default_rng(5)
    system = stochastic_rnn.two_wells()
    y = stochastic_rnn.sample(rng, system, 40, 60).observations
    extended, _ = ekf.forward(system, y)
    crowd = particles.forward(system, y, particles.draw(rng, 40, 60, 1000, 1))
    gap = crowd.log_likelihood - extended.log_likelihood
    assert gap.mean() > 4 * gap.std() / np.sqrt(60)
    exact = [oracles.on_a_grid(2, 1, 0.1, 1, 0, 1, y[:, b, 0], ("tanh", "identity"), points=801)[2] for b in range(10)]
    assert np.abs(crowd.log_likelihood[:10] - exact).max() < 0.6


@both_floors
@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"scheme": "random"}, "scheme"),
        ({"functions": ("cube", "tanh")}, "functions"),
        ({"size": 2}, "start"),
        ({"steps": 2}, "moves"),
        ({"R": np.zeros((2, 2))}, "output_noise"),
    ],
)
def test_doors(floor, change, name):
    p, _ = draw("plain")
    change = dict(change)
    params = p.params._replace(output_noise=change.pop("R")) if "R" in change else p.params
    sizes = {"steps": p.T, "size": p.B} | {key: change[key] for key in change if key in ("steps", "size")}
    draws = particles.draw(np.random.default_rng(0), **sizes, count=5, states=3)
    options = {key: value for key, value in change.items() if key not in sizes}
    with pytest.raises(ValueError, match=f"^{name}: "):
        on(floor, "particles.forward")(params, p.y, draws, p.x, **options)


@both_floors
def test_doors_of_resampling(floor):
    with pytest.raises(ValueError, match=r"^uniforms: "):
        on(floor, "particles.resample")(np.ones(3) / 3, np.ones(2))
    with pytest.raises(ValueError, match=r"^weights: "):
        on(floor, "particles.resample")(np.ones((3, 1)), np.ones(3))
    for wrong in (np.ones(3), np.array([1.5, -0.5, 0.0]), np.full(3, np.nan)):
        with pytest.raises(ValueError, match=r"^weights: "):
            on(floor, "particles.resample")(wrong, np.zeros(3))


@both_floors
def test_a_crowd_of_nobody(floor):
    p, _ = draw("plain")
    with pytest.raises(ValueError, match=r"^count: "):
        on(floor, "particles.forward")(p.params, p.y, particles.draw(np.random.default_rng(0), p.T, p.B, 0, 3), p.x)
