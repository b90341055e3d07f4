"""EM: each iteration is the optimum it claims to be, the likelihood rises, and a planted system is found."""

import lds_oracles as oracles
import numpy as np
import pytest
import torch
from lds_battery import alone, both_floors, draw, on
from proof import agree, verifies

from rnncourse.data import linear_systems
from rnncourse.lds_params import LDSParams, init_lds
from rnncourse.reference import kalman, lds_em, lds_joint, lds_likelihood, smoother

CASES = [
    "plain",
    "missing entries",
    "missing steps",
    "ragged",
    "ragged, missing",
    "one step",
    "wide outputs, no inputs",
]


def expected_log_density(p, new):
    """E[log p_new(z, y) | what was seen], the expectation under the old system, from the dense posterior alone."""
    A, W, C, Q, R, m0, P0 = new
    halves = lambda S: 0.5 * (S + S.T)  # noqa: E731
    Q, R, P0 = halves(Q), halves(R), halves(P0)

    def half(noise, square):
        return -0.5 * (torch.trace(torch.linalg.solve(noise, square)) + torch.linalg.slogdet(noise)[1])

    first = torch.tensor(p.params.initial_mean) - m0  # an empty sequence has a start, of which it says nothing
    unseen = half(P0, torch.tensor(p.params.initial_covariance) + first[:, None] * first)
    total = int((p.lengths == 0).sum()) * unseen
    for b in np.flatnonzero(p.lengths):
        params, x, y, seen = alone(p, b)
        T, H, O = len(x), p.H, p.O
        mean, out, S_zz, S_yz, S_yy = oracles.joint(params, x)
        whole_mean, S = torch.cat([mean, out]), torch.cat([torch.cat([S_zz, S_yz.T], 1), torch.cat([S_yz, S_yy], 1)])
        known = torch.cat([torch.zeros(len(mean), dtype=torch.bool), torch.tensor(seen.reshape(-1))])
        gain = torch.linalg.solve(S[known][:, known], S[known]).T if known.any() else S[:, :0]
        y = torch.tensor(y.reshape(-1))[known[len(mean) :]]
        e = whole_mean + gain @ (y - whole_mean[known])
        V = S - gain @ S[known]  # zero, but for rounding, where something is known
        second = V + e[:, None] * e
        at = [slice(i * H, (i + 1) * H) for i in range(T + 1)]
        look = [slice((T + 1) * H + t * O, (T + 1) * H + (t + 1) * O) for t in range(T)]
        first = e[at[0]] - m0
        total = total + half(P0, V[at[0], at[0]] + first[:, None] * first)
        for t in range(T):
            drive = W @ torch.tensor(x[t])
            push = torch.zeros(H, len(e)).to(e)
            push[:, at[t + 1]] = torch.eye(H).to(e)
            push = push - torch.nn.functional.pad(A, (t * H, len(e) - (t + 1) * H))
            moved = push @ e - drive
            total = total + half(Q, push @ V @ push.T + moved[:, None] * moved)
            miss = torch.zeros(O, len(e)).to(e)
            miss[:, look[t]] = torch.eye(O).to(e)
            miss = miss - torch.nn.functional.pad(C, ((t + 1) * H, len(e) - (t + 2) * H))
            total = total + half(R, miss @ second @ miss.T)
    return total


@both_floors
@pytest.mark.parametrize("case", CASES)
@verifies("eq-em-regressions", oracle="autograd of the expected density, from the dense posterior")
@verifies("eq-em-noises", oracle="autograd of the expected density, from the dense posterior")
@verifies("eq-em-start", oracle="autograd of the expected density, from the dense posterior")
@verifies("eq-em-missing", oracle="autograd of the expected density, from the dense posterior")
def test_an_iteration_is_the_optimum(floor, case):
    """A Newton step from what was found leads nowhere: it solves the optimum's equations."""
    p, options = draw(case)
    if case == "wide outputs, no inputs":
        p.y = p.truth = np.random.default_rng(0).standard_normal(p.y.shape)
    new = on(floor, "lds_em.fit")(p.params, p.y, p.x, iterations=1, **options).params
    leaves = [torch.tensor(part, requires_grad=True) for part in new]
    slopes = torch.autograd.grad(expected_log_density(p, leaves), leaves, allow_unused=True, materialize_grads=True)
    old = [torch.tensor(part, requires_grad=True) for part in p.params]
    sizes = torch.autograd.grad(expected_log_density(p, old), old, allow_unused=True, materialize_grads=True)
    _A, _W, _C, Q, R, _m, P = new
    step = {  # what the slope asks for, in the units of the parameter itself
        "transition": Q @ slopes[0].numpy(),
        "input_weights": Q @ slopes[1].numpy(),
        "emission": R @ slopes[2].numpy(),
        "state_noise": Q @ slopes[3].numpy() @ Q,
        "output_noise": R @ slopes[4].numpy() @ R,
        "initial_mean": P @ slopes[5].numpy(),
        "initial_covariance": P @ slopes[6].numpy() @ P,
    }
    for name, change in step.items():
        if not change.size:
            continue
        agree(getattr(new, name) + change, getattr(new, name), 1e-10)
    assert any(float(size.abs().max()) > 0.1 for size in sizes if size.numel())  # the old system was no optimum


@both_floors
@pytest.mark.parametrize("case", ["plain", "missing entries", "ragged, missing"])
@pytest.mark.parametrize("keep", [(), ("transition", "output_noise"), ("input_weights", "emission", "initial_mean")])
@verifies("eq-em-bound", oracle="density of the dense joint")
def test_the_likelihood_rises_by_what_the_bound_promises(floor, case, keep):
    p, options = draw(case)
    found = on(floor, "lds_em.fit")(p.params, p.y, p.x, iterations=4, keep=keep, **options)
    assert (np.diff(found.log_likelihood) > -1e-9).all()
    for name in keep:
        assert np.array_equal(getattr(found.params, name), getattr(p.params, name))
    new = on(floor, "lds_em.fit")(p.params, p.y, p.x, iterations=1, keep=keep, **options)
    bound = expected_log_density(p, [torch.tensor(part) for part in new.params])
    bound = bound - expected_log_density(p, [torch.tensor(part) for part in p.params])
    total = [
        sum(float(oracles.given(params, *alone(p, b)[1:])[2]) for b in np.flatnonzero(p.lengths))
        for params in (p.params, new.params)
    ]
    agree(new.log_likelihood, total, 1e-10)
    assert total[1] - total[0] > float(bound) > 0


def planted(seed=0):
    rng = np.random.default_rng(seed)
    turn = np.array([[np.cos(0.5), -np.sin(0.5)], [np.sin(0.5), np.cos(0.5)]])
    truth = LDSParams(
        *(0.95 * turn, np.array([[1.0], [0.5]]), rng.standard_normal((3, 2)), 0.2 * np.eye(2), 0.3 * np.eye(3)),
        *(np.zeros(2), np.eye(2)),
    )
    x = rng.standard_normal((200, 20, 1))
    return truth, x, linear_systems.sample(rng, truth, 200, 20, x).observations, rng


def responses(params, count=8):
    """What an input does to the outputs k steps later: the same for all systems that differ in coordinates only."""
    A, W, C, *_ = params
    return np.stack([C @ np.linalg.matrix_power(A, k) @ W for k in range(count)])


def test_a_planted_system_is_found_up_to_coordinates():
    truth, x, y, rng = planted()
    start = init_lds(rng, 2, 3, 1)
    found = lds_em.fit(start, y, x, iterations=150)
    assert (np.diff(found.log_likelihood) > -1e-7).all()
    best = kalman.forward(truth, y, x)[0].log_likelihood.sum()
    assert best < found.log_likelihood[-1] < best + 40  # above the truth, by half a unit a parameter or so
    assert np.abs(responses(found.params) - responses(truth)).max() < 0.05
    roots = np.linalg.eigvals(found.params.transition)
    assert np.abs(np.sort_complex(roots) - np.sort_complex(np.linalg.eigvals(truth.transition))).max() < 0.01
    assert np.abs(found.params.transition - truth.transition).max() > 0.1  # in coordinates of its own
    assert np.abs(found.params.output_noise - truth.output_noise).max() < 0.03
    lag = [
        params.emission @ params.transition @ lds_joint.stationary(params) @ params.emission.T
        for params in (truth, found.params)
    ]
    assert np.abs(lag[0] - lag[1]).max() < 0.1 * np.abs(lag[0]).max()


@verifies("eq-lds-symmetry", oracle="density of the dense joint")
def test_coordinates_do_not_matter():
    p, _ = draw("plain")
    S = p.rng.standard_normal((3, 3)) + 2 * np.eye(3)
    A, W, C, Q, R, m, P = p.params
    back = np.linalg.inv(S)
    other = LDSParams(S @ A @ back, S @ W, C @ back, S @ Q @ S.T, R, S @ m, S @ P @ S.T)
    ours = kalman.forward(other, p.y, p.x)[0]
    agree(ours.log_likelihood, [oracles.given(*alone(p, b))[2].item() for b in range(p.B)], 1e-10)
    agree(ours.means, kalman.forward(p.params, p.y, p.x)[0].means @ S.T, 1e-10)


def test_where_em_stops_the_gradient_is_zero():
    p = oracles.problem(0, T=20, B=4, H=1, O=2, D=1)
    found = lds_em.fit(p.params, p.y, p.x, iterations=600).params
    slopes = lds_likelihood.backward(lds_likelihood.forward(found, p.y, p.x)[1]).params
    before = lds_likelihood.backward(lds_likelihood.forward(p.params, p.y, p.x)[1]).params
    for name in ("transition", "input_weights", "emission"):
        assert np.abs(getattr(slopes, name)).max() < 0.02 * np.abs(getattr(before, name)).max(), name


@pytest.mark.parametrize("T", [60])
def test_the_filters_moments_are_biased(T):
    truth = LDSParams(
        *(np.full((1, n), v) for n, v in ((1, 0.9), (0, 0), (1, 1), (1, 0.5), (1, 2.0))),
        np.zeros(1),
        np.full((1, 1), 2.6),
    )
    y = linear_systems.sample(np.random.default_rng(0), truth, T, 60).observations
    start = truth._replace(transition=np.array([[0.5]]))
    keep = LDSParams._fields[1:]
    grid = np.linspace(0.6, 1.0, 81)
    likelihood = [kalman.forward(truth._replace(transition=np.array([[a]])), y)[0].log_likelihood.sum() for a in grid]
    best = grid[np.argmax(likelihood)]
    right = lds_em.fit(start, y, iterations=60, keep=keep)
    wrong = lds_em.fit(start, y, iterations=60, keep=keep, moments=smoother.filtered)
    assert abs(right.params.transition[0, 0] - best) < 0.01
    assert wrong.params.transition[0, 0] < best - 0.1
    assert wrong.log_likelihood[-1] < right.log_likelihood[-1] - 50


@both_floors
def test_a_mean_far_from_zero_costs_no_digits(floor):
    """Sums of squares would: the states lie near a million, and their noise is one."""
    offset = 1e6
    p = oracles.problem(0, T=30, B=6, D=1)
    eye = np.eye(3)
    params = p.params._replace(transition=eye, initial_mean=np.full(3, offset))
    x = p.x
    y = linear_systems.sample(np.random.default_rng(1), params, 30, 6, x).observations
    keep = ("transition", "emission")
    found = on(floor, "lds_em.fit")(params, y, x, iterations=3, keep=keep)
    near = params._replace(initial_mean=np.zeros(3))
    moved = on(floor, "lds_em.fit")(near, y - params.emission @ params.initial_mean, x, iterations=3, keep=keep)
    for name in ("input_weights", "state_noise", "output_noise", "initial_covariance"):
        agree(getattr(found.params, name), getattr(moved.params, name), 1e-8)
    assert (np.linalg.eigvalsh(found.params.state_noise) > 0).all()


@both_floors
def test_doors(floor):
    p, _ = draw("plain")
    fit = on(floor, "lds_em.fit")
    for call, name in [
        (lambda: fit(p.params, p.y, p.x, iterations=-1), "iterations"),
        (lambda: fit(p.params, p.y, p.x, iterations=1, keep=("A",)), "keep"),
        (
            lambda: fit(p.params._replace(emission=np.tile(p.params.emission, (6, 1, 1))), p.y, p.x, iterations=1),
            "params",
        ),
    ]:
        with pytest.raises(ValueError, match=f"^{name}: "):
            call()
