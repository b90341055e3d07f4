"""The particle filter against the Kalman filter, sums on a grid, and what resampling must do on average."""

import ekf_oracles as oracles
import lds_oracles
import numpy as np
import pytest
import torch
from lds_battery import alone, both_floors, draw, on
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
    mean, spread, total, *_ = oracles.on_a_grid(2, 1, 0.1, 1, 0, 1, y[:, 0, 0], ("tanh", "identity"), points=1201)
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
@pytest.mark.parametrize("threshold", [0.0, 0.65, 2.0])
@pytest.mark.parametrize("case", ["plain", "varying", "by sequence", "missing entries", "ragged, missing"])
@verifies("eq-particles", oracle="one particle after the other, by a loop written out")
def test_several_steps_by_hand(floor, case, threshold):
    """The weights are carried from step to step, and let go where the crowd is resampled."""
    (p, options), functions, N = draw(case), ("tanh", "sigmoid"), 8
    draws = particles.draw(np.random.default_rng(4), p.T, p.B, N, p.H)
    found = on(floor, "particles.forward")(
        p.params, p.y, draws, p.x, functions=functions, threshold=threshold, **options
    )
    shares = []
    for b in np.flatnonzero(p.lengths):
        n = p.lengths[b]
        means, spreads, effective, gained, z, w = oracles.crowd(*alone(p, b), draws, b, functions, threshold)
        agree(found.means[:n, b], means, 1e-11)
        agree(found.covariances[:n, b], spreads, 1e-11)
        agree(found.effective[:n, b], effective, 1e-11)
        agree(found.log_likelihood[b], gained.sum(), 1e-11)
        agree(found.particles[b], z, 1e-11)
        agree(found.weights[b], w, 1e-11)
        shares.extend(effective / N)
    shares = np.array(shares)  # some of them tell this threshold from one half, and this one from always
    other = {0.0: shares < 0.5, 0.65: (shares > 0.5) & (shares < 0.65), 2.0: shares > 0.5}[threshold]
    assert (other.any() or case == "ragged, missing") and (threshold != 0.65 or (shares > 0.65).any())


@both_floors
@pytest.mark.filterwarnings("ignore:overflow", "ignore:invalid")
def test_weights_of_what_is_very_unlikely(floor):
    """A thousand standard deviations off, every density is zero in floating point, and the weights are right."""
    system = stochastic_rnn.two_wells()
    draws, y = particles.draw(np.random.default_rng(0), 1, 1, 6, 1), np.full((1, 1, 1), 1000.0)
    crowd = on(floor, "particles.forward")(system, y, draws, threshold=0.0)
    fits = torch.from_numpy(-0.5 * (1000 - crowd.particles[0, :, 0]) ** 2 - 0.5 * np.log(2 * np.pi))
    assert fits.max() < -490_000
    agree(crowd.weights[0], torch.softmax(fits, 0), 1e-9)
    agree(crowd.log_likelihood[0], torch.logsumexp(fits, 0) - np.log(6), 1e-14)
    with pytest.raises(ValueError, match=r"^outputs: so far off at step 1 "):
        on(floor, "particles.forward")(system, 0 * y + 1e200, draws)


@both_floors
def test_resampling_at_the_edges(floor):
    """The last place that a uniform can name, after which nothing has weight; shares that rounding makes too small."""
    last = np.full(4, np.nextafter(1, 0))
    weights = np.array([0.5, 0.5, 0.0, 0.0])
    for scheme in particles.SCHEMES:
        assert on(floor, "particles.resample")(weights, last, scheme).max() == 1
    assert 49 * (1 / 49) < 1
    kept = on(floor, "particles.resample")(np.full(49, 1 / 49), np.zeros(49), "residual")
    assert np.array_equal(kept, np.arange(49))


@both_floors
def test_a_crowd_keeps_its_type(floor):
    p, options = draw("ragged, missing")
    draws = particles.draw(np.random.default_rng(1), p.T, p.B, 30, p.H)
    single = type(p.params)(*(part.astype(np.float32) for part in p.params))
    y, x = p.y.astype(np.float32), p.x.astype(np.float32)
    small = on(floor, "particles.forward")(single, y, draws, x, threshold=0.0, **options)
    right = particles.forward(p.params, p.y, draws, p.x, threshold=0.0, **options)
    assert {part.dtype for part in small} == {np.dtype(np.float32)}
    agree(type(small)(*(part.astype(float) for part in small)), right, 1e-3)
    for scheme in particles.SCHEMES:
        again = on(floor, "particles.forward")(single, y, draws, x, threshold=2.0, scheme=scheme, **options)
        assert again.particles.dtype == np.float32 and np.isfinite(again.log_likelihood).all()


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
        ({"functions": ("tanh",)}, "functions"),
        ({"uniforms": 1.0}, "uniforms"),
        ({"uniforms": -0.1}, "uniforms"),
        ({"uniforms": np.nan}, "uniforms"),
        ({"moves": np.inf}, "moves"),
        ({"count": 0}, "start"),
        ({"size": 2}, "start"),
        ({"steps": 2}, "moves"),
        ({"R": np.zeros((2, 2))}, "output_noise"),
    ],
)
def test_doors(floor, change, name):
    p, _ = draw("plain")
    change = dict(change)
    params = p.params._replace(output_noise=change.pop("R")) if "R" in change else p.params
    sizes = {key: change.pop(key, value) for key, value in (("steps", p.T), ("size", p.B))}
    draws = particles.draw(np.random.default_rng(0), **sizes, count=5, states=3)
    for name_of in set(draws._fields) & set(change):
        getattr(draws, name_of).flat[-1] = change.pop(name_of)
    if "count" in change:
        count = change.pop("count")
        draws = draws._replace(start=draws.start[:, :count], moves=draws.moves[:, :, :count])
    options = change
    with pytest.raises(ValueError, match=f"^{name}: "):
        on(floor, "particles.forward")(params, p.y, draws, p.x, **options)


@both_floors
def test_doors_of_resampling(floor):
    third, half = np.ones(3) / 3, np.full(3, 0.5)
    for weights, uniforms, name in (
        (third, np.ones(2), "uniforms"),
        (third, np.array([0.5, 0.5, 1.0]), "uniforms"),
        (third, np.array([-0.1, 0.5, 0.5]), "uniforms"),
        (third, np.full(3, np.nan), "uniforms"),
        (np.ones((3, 1)), np.ones(3), "weights"),
        (np.ones(0), np.ones(0), "weights"),
        (np.ones(3), half, "weights"),
        (np.array([1.5, -0.5, 0.0]), half, "weights"),
        (np.array([np.nan, 0.5, 0.5]), half, "weights"),
    ):
        with pytest.raises(ValueError, match=f"^{name}: "):
            on(floor, "particles.resample")(weights, uniforms)


@both_floors
@pytest.mark.parametrize("name", ["steps", "size", "count", "states"])
def test_doors_of_drawing(floor, name):
    sizes = {"steps": 1, "size": 1, "count": 1, "states": 1} | {name: 0}
    with pytest.raises(ValueError, match=f"^{name}: "):
        on(floor, "particles.draw")(np.random.default_rng(0), **sizes)
