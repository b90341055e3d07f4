"""The bound of a state-space model against dense Gaussians, autograd, grids and sampling."""

import warnings

import lds_oracles
import numpy as np
import pytest
import ssm_oracles as oracles
import torch
from lds_battery import both_floors, on
from proof import agree, verifies
from torch.distributions import MultivariateNormal, Normal

from rnncourse import bridge
from rnncourse.gpu import state_space as twin
from rnncourse.latent_params import Diagonal
from rnncourse.reference import bounds, latent, state_space, structured_posterior

CASES = {
    "plain": {},
    "one step": {"T": 1, "B": 1, "H": 1, "O": 1, "seed": 1},
    "wide outputs": {"H": 2, "O": 4, "seed": 2},
    "unstable": {"radius": 1.2, "T": 8, "seed": 3},
    "long": {"T": 40, "B": 1, "seed": 4},
}
cases = pytest.mark.parametrize("case", CASES)
COVARIANCES = ("state_noise", "output_noise", "initial_covariance")


def draw(case):
    p = lds_oracles.problem(**{"D": 0, **CASES[case]})
    shape = (p.T, p.B, p.H)
    p.q = Diagonal(p.rng.standard_normal(shape), 0.5 * p.rng.standard_normal(shape))
    p.z = p.rng.standard_normal(shape)
    return p


@both_floors
@cases
@verifies("eq-ssm-joint", oracle="one dense Gaussian")
def test_prior_times_emission(floor, case):
    p = draw(case)
    ours = on(floor, "state_space.log_joint")(p.params, p.z, p.y)
    agree(ours, np.array([oracles.log_joint(p.params, p.z[:, b], p.y[:, b]) for b in range(p.B)]), 1e-10)


@both_floors
@cases
@verifies("eq-ssm-evidence", oracle="one dense Gaussian")
def test_the_kalman_likelihood_is_joint_less_posterior(floor, case):
    """Row 63: for any states at all, log p(z, x) - log p(z | x) is what the filter calls log p(x)."""
    p = draw(case)
    joint = on(floor, "state_space.log_joint")(p.params, p.z, p.y)
    found, _ = on(floor, "kalman.forward")(p.params, p.y)
    after = [MultivariateNormal(*oracles.exact(p.params, p.y[:, b])) for b in range(p.B)]
    posterior = np.array([one.log_prob(torch.tensor(p.z[:, b].ravel())) for b, one in enumerate(after)])
    agree(joint - posterior, found.log_likelihood, 1e-10)
    agree(joint - posterior, np.array([oracles.log_likelihood(p.params, p.y[:, b]) for b in range(p.B)]), 1e-10)


@both_floors
@cases
@verifies("eq-ssm-elbo", oracle="log p(x) less the divergence from the exact posterior")
@verifies("eq-ssm-steps", oracle="log p(x) less the divergence from the exact posterior")
def test_both_forms_of_the_bound(floor, case):
    p = draw(case)
    steps, _ = on(floor, "state_space.forward")(p.params, p.q, p.y)
    m, s = torch.tensor(p.q.mean), torch.tensor(np.exp(p.q.log_variance))
    right = np.array([
        oracles.log_likelihood(p.params, p.y[:, b]) - oracles.divergence(m[:, b], s[:, b], p.params, p.y[:, b])
        for b in range(p.B)
    ])  # fmt: skip
    agree((steps.reconstruction - steps.kl).sum(axis=0), right, 1e-10)
    agree(on(floor, "state_space.joint_form")(p.params, p.q, p.y), right, 1e-10)


@both_floors
@verifies("eq-ssm-steps", oracle="integration on a grid of states")
@verifies("eq-ssm-terms", oracle="integration on a grid of states")
def test_each_step_has_its_own_two_halves(floor):
    """Every reconstruction and every divergence by itself, in one dimension, by sums over fine grids."""
    p = lds_oracles.problem(seed=6, T=3, B=1, H=1, O=1, D=0)
    q = Diagonal(np.array([0.3, -0.7, 1.1])[:, None, None], np.array([-0.5, 0.2, -1.0])[:, None, None])
    steps, _ = on(floor, "state_space.forward")(p.params, q, p.y)
    A, _, C, Q, R, m_0, P_0 = (torch.tensor(part).squeeze() for part in p.params)
    grid = torch.linspace(-9, 9, 1801, dtype=torch.float64)
    m, s = (torch.tensor(part).ravel() for part in q)
    every = [Normal(m[t], torch.exp(s[t] / 2)) for t in range(3)]
    x = torch.tensor(p.y).ravel()
    mass = [torch.exp(one.log_prob(grid)) * (grid[1] - grid[0]) for one in every]
    emit = [(mass[t] * Normal(C * grid, R.sqrt()).log_prob(x[t])).sum() for t in range(3)]
    agree(steps.reconstruction.ravel(), np.array(emit), 1e-9)
    first = Normal(A * m_0, (A * P_0 * A + Q).sqrt())
    kl = [(mass[0] * (every[0].log_prob(grid) - first.log_prob(grid))).sum()]
    for t in (1, 2):
        after = Normal((A * grid)[:, None], Q.sqrt()).log_prob(grid)
        kl.append((mass[t - 1][:, None] * mass[t] * (every[t].log_prob(grid) - after)).sum())
    agree(steps.kl.ravel(), np.array(kl), 1e-9)


@cases
@verifies("eq-ssm-gradient-posterior", oracle="autograd through the dense bound")
@verifies("eq-ssm-gradient-prior", oracle="autograd through the dense bound")
def test_gradients_of_the_whole_bound(case):
    p = draw(case)
    _, tape = state_space.forward(p.params, p.q, p.y)
    ours = state_space.backward(tape)
    given = bridge.to_torch((p.params, p.q, p.y))
    for tensor in (*given[0], *given[1], given[2]):
        tensor.requires_grad_()
    system, q, x = given
    total = 0
    for b in range(p.B):
        s = q.log_variance[:, b].exp()
        total = total + oracles.log_likelihood(system, x[:, b]) - oracles.divergence(q.mean[:, b], s, system, x[:, b])
    wanted = [part for part in (*system, *q, x) if part.numel()]
    found = iter(torch.autograd.grad(total, wanted, materialize_grads=True))
    for name, mine in zip(p.params._fields, ours.params, strict=True):
        if mine.size:
            right = next(found)
            agree(mine, 0.5 * (right + right.T) if name in COVARIANCES else right, 1e-9)
    agree(ours.posterior, Diagonal(next(found), next(found)), 1e-9)
    agree(ours.outputs, next(found), 1e-9)


@pytest.mark.parametrize("half", ["reconstruction", "kl"])
@cases
@verifies("eq-ssm-gradient-posterior", oracle="autograd through means over sigma points")
@verifies("eq-ssm-gradient-prior", oracle="autograd through means over sigma points")
def test_gradients_of_each_half(half, case):
    """Every step with a weight of its own; a mean over sigma points is exact for a quadratic."""
    p = draw(case)
    weight = p.rng.standard_normal((p.T, p.B))
    weights = {"d_reconstruction": 0.0, "d_kl": 0.0, f"d_{half}": weight}
    ours = state_space.backward(state_space.forward(p.params, p.q, p.y)[1], **weights)
    given = bridge.to_torch((p.params, p.q, p.y))
    for tensor in (*given[0], *given[1], given[2]):
        tensor.requires_grad_()
    system, q, x = given
    A, _, C, Q, R, m_0, P_0 = system
    kicks = torch.cat([torch.eye(p.H), -torch.eye(p.H)]).double() * p.H**0.5
    points = q.mean[..., None, :] + torch.exp(q.log_variance / 2)[..., None, :] * kicks  # (T, B, 2 H, H)
    if half == "reconstruction":
        each = MultivariateNormal(points @ C.T, R).log_prob(x[:, :, None]).mean(dim=-1)
    else:
        S = torch.diag_embed(q.log_variance.exp())
        first = oracles.kl(q.mean[:1], S[:1], A @ m_0, A @ P_0 @ A.T + Q)
        each = first
        if p.T > 1:
            later = oracles.kl(q.mean[1:, :, None], S[1:, :, None], points[:-1] @ A.T, Q)
            each = torch.cat([first, later.mean(dim=-1)])
    wanted = [part for part in (*system, *q, x) if part.numel()]
    found = iter(torch.autograd.grad((torch.tensor(weight) * each).sum(), wanted, materialize_grads=True))
    for name, mine in zip(p.params._fields, ours.params, strict=True):
        if mine.size:
            right = next(found)
            agree(mine, 0.5 * (right + right.T) if name in COVARIANCES else right, 1e-9)
    agree(ours.posterior, Diagonal(next(found), next(found)), 1e-9)
    agree(ours.outputs, next(found), 1e-9)


@pytest.mark.parametrize("half", ["reconstruction", "kl"])
@cases
def test_the_floors_agree_on_the_gradients_of_each_half(half, case):
    p = draw(case)
    weight = p.rng.standard_normal((p.T, p.B))
    weights = {"d_reconstruction": 0.0, "d_kl": 0.0, f"d_{half}": weight}
    ours = state_space.backward(state_space.forward(p.params, p.q, p.y)[1], **weights)
    _, tape = twin.forward(*bridge.to_torch((p.params, p.q, p.y)))
    theirs = twin.backward(tape, **{k: torch.as_tensor(v, dtype=torch.float64) for k, v in weights.items()})
    keep = [name for name in p.params._fields if getattr(p.params, name).size]
    for name in keep:
        agree(getattr(ours.params, name), getattr(theirs.params, name), 1e-10)
    agree(tuple(ours.posterior), tuple(theirs.posterior), 1e-10)
    agree(ours.outputs, theirs.outputs, 1e-10)


@verifies("eq-ssm-gradient-posterior", oracle="autograd through the dense bound")
@verifies("eq-ssm-gradient-prior", oracle="autograd through the dense bound")
def test_the_gradients_as_they_are_printed():
    """For P_0 = 0, with the sums written out; the library's form is another and also does P_0."""
    p = draw("plain")
    p.params = p.params._replace(initial_covariance=np.zeros((p.H, p.H)))
    A, _, C, Q, R, m_0, _ = p.params
    P, R_inv, b = np.linalg.inv(Q), np.linalg.inv(R), 0
    mu, s, x = p.q.mean[:, b], np.exp(p.q.log_variance[:, b]), p.y[:, b]
    past, spread = np.concatenate([m_0[None], mu[:-1]]), np.concatenate([np.zeros((1, p.H)), s[:-1]])
    d = mu - past @ A.T
    by_mu, by_s, by_A, by_Q = np.zeros_like(mu), np.zeros_like(mu), 0, 0
    for t in range(p.T):
        on_t = t + 1 < p.T
        by_mu[t] = C.T @ R_inv @ (x[t] - C @ mu[t]) - P @ d[t] + (A.T @ P @ d[t + 1] if on_t else 0)
        by_s[t] = 0.5 / s[t] - 0.5 * np.diagonal(C.T @ R_inv @ C + P + on_t * A.T @ P @ A)
        by_A = by_A + P @ (np.outer(d[t], past[t]) - A @ np.diag(spread[t]))
        M = np.outer(d[t], d[t]) + np.diag(s[t]) + A @ np.diag(spread[t]) @ A.T
        by_Q = by_Q + 0.5 * P @ (M - Q) @ P
    system = bridge.to_torch(p.params)
    wanted = system.transition, system.state_noise, torch.tensor(mu), torch.tensor(s)
    for tensor in wanted:
        tensor.requires_grad_()
    value = oracles.log_likelihood(system, torch.tensor(x))
    value = value - oracles.divergence(wanted[2], wanted[3], system, torch.tensor(x))
    right = torch.autograd.grad(value, wanted)
    agree((by_A, by_Q, by_mu, by_s), (right[0], 0.5 * (right[1] + right[1].T), *right[2:]), 1e-9)


@verifies("eq-ssm-dynamics-gradient", oracle="autograd through the prior's density at draws")
def test_only_the_divergence_teaches_the_dynamics():
    """The reconstruction does not read A, Q, m_0 or P_0; the divergence's gradient is minus the mean of the prior's."""
    p = draw("plain")
    _, tape = state_space.forward(p.params, p.q, p.y)
    silent = state_space.backward(tape, d_kl=0.0).params
    for name in ("transition", "state_noise", "initial_mean", "initial_covariance"):
        assert not getattr(silent, name).any()
    ours = state_space.backward(tape, d_reconstruction=0.0, d_kl=1.0).params
    # E_q over pairs of neighbours: quadrature points that carry the first two moments exactly
    names = ("transition", "state_noise", "initial_mean", "initial_covariance")
    A, Q, m_0, P_0 = leaves = [torch.tensor(getattr(p.params, name), requires_grad=True) for name in names]
    m, s = torch.tensor(p.q.mean), torch.tensor(np.exp(p.q.log_variance / 2))
    N = 2 * p.T * p.H  # sigma points: m +- sqrt(N / 2) s e_i
    kicks = torch.cat([torch.eye(N // 2), -torch.eye(N // 2)]).double().reshape(N, p.T, 1, p.H) * (N / 2) ** 0.5
    z = m + kicks * s
    first = MultivariateNormal(A @ m_0, A @ P_0 @ A.T + Q).log_prob(z[:, 0])
    later = MultivariateNormal(torch.zeros(p.H).double(), Q).log_prob(z[:, 1:] - z[:, :-1] @ A.T).sum(dim=1)
    (first + later).mean(dim=0).sum().backward()
    for name, leaf in zip(names, leaves, strict=True):
        right = 0.5 * (leaf.grad + leaf.grad.T) if name in COVARIANCES else leaf.grad
        agree(getattr(ours, name), -right, 1e-10)
    assert np.abs(ours.transition).max() > 0.1


@both_floors
@verifies("eq-ssm-draw", oracle="the exact bound, its mean over noise taken exactly")
def test_one_draw_is_right_on_average(floor):
    """Of a quadratic function of the noise, steps of one to both sides of zero give the mean exactly."""
    p = draw("plain")
    unit = np.eye(p.T * p.H).reshape(-1, p.T, p.H).transpose(1, 0, 2)
    noise = np.concatenate([np.zeros((p.T, 1, p.H)), unit, -unit], axis=1)
    many = noise.shape[1]
    q = Diagonal(*(np.repeat(part[:, :1], many, axis=1) for part in p.q))
    x = np.repeat(p.y[:, :1], many, axis=1)
    values = on(floor, "state_space.one_draw")(p.params, q, x, noise)
    s = torch.tensor(np.exp(p.q.log_variance[:, 0]))
    right = oracles.log_likelihood(p.params, p.y[:, 0])
    right = float(right - oracles.divergence(torch.tensor(p.q.mean[:, 0]), s, p.params, p.y[:, 0]))
    agree(values[0] + (values[1:] - values[0]).sum() / 2, right, 1e-9)
    assert abs(values[0] - right) > 0.1  # the mean in the place of the draw is another number


@both_floors
def test_draws_are_what_they_say(floor):
    p = draw("plain")
    noise = p.rng.standard_normal(p.q.mean.shape)
    ours = on(floor, "state_space.one_draw")(p.params, p.q, p.y, noise)
    z = p.q.mean + np.exp(p.q.log_variance / 2) * noise
    A, _, C, Q, R, m_0, P_0 = p.params
    first = A @ P_0 @ A.T + Q
    for b in range(p.B):
        total = 0.0
        for t in range(p.T):
            centre = A @ z[t - 1, b] if t else A @ m_0
            S = torch.diag(torch.tensor(np.exp(p.q.log_variance[t, b])))
            mean = torch.tensor(p.q.mean[t, b])
            total -= oracles.kl(mean, S, torch.tensor(centre), torch.tensor(Q if t else first))
            seen = MultivariateNormal(torch.tensor(C @ z[t, b]), torch.tensor(R))
            total += seen.log_prob(torch.tensor(p.y[t, b]))
        assert abs(float(total) - ours[b]) < 1e-9 * abs(ours[b])


@both_floors
@pytest.mark.parametrize("function", ["forward", "joint_form", "log_joint", "one_draw"])
def test_doors(floor, function):
    p = draw("plain")
    call = on(floor, f"state_space.{function}")

    def run(params=p.params, q=p.q, x=p.y, noise=p.z):
        if function == "log_joint":
            return call(params, q.mean, x)
        return call(params, q, x, noise) if function == "one_draw" else call(params, q, x)

    bad = {
        "input_weights": lambda: run(lds_oracles.system()),
        "state_noise": lambda: run(p.params._replace(state_noise=np.zeros((3, 3)))),
        "output_noise": lambda: run(p.params._replace(output_noise=np.zeros((2, 2)))),
        "initial_covariance": lambda: run(p.params._replace(initial_covariance=-np.eye(3))),
        "transition": lambda: run(p.params._replace(transition=np.ones((6, 3, 3)))),
        "outputs": lambda: run(x=p.y[:-1]),
        "states" if function == "log_joint" else "q.mean": lambda: run(q=Diagonal(p.z[:, :, :2], p.z[:, :, :2])),
        "params": lambda: run(tuple(p.params)),
    }
    if function != "log_joint":
        bad["q.log_variance"] = lambda: run(q=Diagonal(p.z, p.z[:1]))
    if function == "one_draw":
        bad["noise"] = lambda: run(noise=p.z[1:])
    for name, wrong in bad.items():
        with pytest.raises(ValueError, match=f"^{name}: "):
            wrong()
    with pytest.raises(ValueError, match=r"^outputs: 1 of"):
        run(x=np.where(np.arange(p.y.size).reshape(p.y.shape) == 3, np.nan, p.y))


@both_floors
def test_states_far_away_and_states_that_are_none(floor):
    p = draw("plain")
    call = on(floor, "state_space.log_joint")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isfinite(call(p.params, p.z + 1000, p.y)).all()
    with pytest.raises(ValueError, match=r"^states: "):
        call(p.params, p.z * np.nan, p.y)


def test_single_precision_stays_single():
    p = draw("plain")
    single = [np.asarray(part, np.float32) for part in (*p.params, *p.q, p.y)]
    params, q = type(p.params)(*single[:7]), Diagonal(*single[7:9])
    steps, tape = state_space.forward(params, q, single[9])
    found = state_space.backward(tape)
    chain = structured_posterior.forward(params, single[9])
    parts = (*steps, *found.params, *found.posterior, found.outputs, *chain)
    assert {part.dtype for part in parts} == {np.dtype(np.float32)}


@verifies("eq-ssm-importance", oracle="one dense Gaussian, the mean weight by Gauss-Hermite quadrature")
def test_many_draws_rise_to_the_likelihood():
    """More draws, a higher bound on average, by groups of the same draws; all of them together, nearly log p(x)."""
    p = lds_oracles.problem(seed=3, T=4, B=1, H=1, O=1, D=0)
    many, (mean, S) = 2**15, oracles.exact(p.params, p.y[:, 0])
    wide = np.log(2 * np.diagonal(S.numpy()))
    q = Diagonal(*(np.repeat(part.reshape(4, 1, 1), many, axis=1) for part in (mean.numpy() + 0.3, wide)))
    z = latent.sample(q, p.rng.standard_normal((4, many, 1)))
    joint = state_space.log_joint(p.params, z, np.repeat(p.y, many, axis=1))
    logs = joint - latent.log_density(z, q).sum(axis=0)
    means = [bounds.importance(logs.reshape(N, -1)).mean() for N in (1, 8, 64, 512)]
    right = float(oracles.log_likelihood(p.params, p.y[:, 0]))
    assert np.all(np.diff(means) > 0) and means[0] < right - 0.2
    assert abs(means[-1] / right - 1) < 0.01
    nodes, shares = np.polynomial.hermite_e.hermegauss(20)
    noise = np.stack(np.meshgrid(*[nodes] * 4, indexing="ij")).reshape(4, -1, 1)
    share = np.prod(np.meshgrid(*[shares / shares.sum()] * 4, indexing="ij"), axis=0).ravel()
    q = Diagonal(*(np.repeat(part[:, :1], noise.shape[1], axis=1) for part in q))
    z = latent.sample(q, noise)
    joint = state_space.log_joint(p.params, z, np.repeat(p.y, noise.shape[1], axis=1))
    weights = joint - latent.log_density(z, q).sum(axis=0)
    # As the mean weight is p(x), so is that of many draws: each draw is counted as often as it comes up.
    agree(bounds.importance((weights + np.log(share * share.size))[:, None])[0], right, 1e-5)
