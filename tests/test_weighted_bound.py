"""The importance-weighted bound against plain arithmetic, autograd, and the likelihood that it rises to."""

import lds_oracles
import numpy as np
import pytest
import ssm_oracles as oracles
import torch
from lds_battery import both_floors, on
from proof import agree, verifies

from rnncourse.gpu import weighted_bound as twin
from rnncourse.latent_params import Diagonal
from rnncourse.reference import latent, state_space, weighted_bound


@both_floors
@pytest.mark.parametrize("shape", [(1,), (7,), (5, 3), (2, 3, 4)])
@verifies("eq-ssm-importance", oracle="plain arithmetic in the linear domain")
def test_the_mean_of_the_weights(floor, shape):
    logs = np.random.default_rng(0).standard_normal(shape)
    bound, _ = on(floor, "weighted_bound.forward")(logs)
    agree(bound, np.log(np.exp(logs).mean(axis=0)), 1e-13)
    far, _ = on(floor, "weighted_bound.forward")(logs - 5000)
    agree(far + 5000, np.log(np.exp(logs).mean(axis=0)), 1e-11)


@verifies("eq-ssm-importance-gradient", oracle="autograd on the other floor")
def test_the_gradient_is_the_weight():
    logs = np.random.default_rng(1).standard_normal((6, 4))
    d_bound = np.array([1.0, -2.0, 0.5, 3.0])
    ours = weighted_bound.backward(weighted_bound.forward(logs)[1], d_bound)
    given = torch.tensor(logs, requires_grad=True)
    (twin.forward(given)[0] * torch.tensor(d_bound)).sum().backward()
    agree(ours, given.grad, 1e-13)
    agree(twin.backward(twin.forward(torch.tensor(logs))[1], torch.tensor(d_bound)), ours, 1e-13)
    agree(ours.sum(axis=0), d_bound, 1e-13)


def test_it_rises_to_the_likelihood():
    """More draws, a higher bound on average, never above log p(x) on average; by exact groups of the same draws."""
    p = lds_oracles.problem(seed=3, T=4, B=1, H=1, O=1, D=0)
    many = 2**15
    q = Diagonal(np.repeat(p.y, many, axis=1) * 0.4, np.full((4, many, 1), -0.7))
    z = latent.sample(q, p.rng.standard_normal((4, many, 1)))
    joint = state_space.log_joint(p.params, z, np.repeat(p.y, many, axis=1))
    logs = joint - latent.log_density(z, q).sum(axis=0)
    means = [weighted_bound.forward(logs.reshape(N, -1))[0].mean() for N in (1, 8, 64, 512)]
    right = float(oracles.log_likelihood(p.params, p.y[:, 0]))
    assert np.all(np.diff(means) > 0) and means[0] < right - 0.2 and abs(means[-1] - right) < 0.02


@both_floors
def test_doors(floor):
    forward = on(floor, "weighted_bound.forward")
    for bad in (np.zeros((0, 3)), np.array([1.0, np.nan]), np.array([-np.inf, 0])):
        with pytest.raises(ValueError, match=r"^log_weights: "):
            forward(bad)
