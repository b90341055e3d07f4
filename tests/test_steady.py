"""The settled filter against the one that counts every step, and its recurrence against a plain loop."""

import lds_oracles as oracles
import numpy as np
import pytest
from proof import agree

from rnncourse.data import linear_systems
from rnncourse.reference import kalman, square_root, steady


@pytest.mark.parametrize(("T", "B", "D"), [(500, 3, 2), (61, 1, 0), (1, 1, 1), (5, 2, 2)])
@pytest.mark.parametrize("ragged", [False, True])
def test_the_same_estimates(T, B, D, ragged):
    p = oracles.problem(0, T=T, B=B, D=D)
    lengths = np.linspace(T, 0, B).astype(int) if ragged else None
    found = steady.forward(p.params, p.y, p.x, lengths)
    spelt = p.params._replace(transition=np.tile(p.params.transition, (T, 1, 1)))
    right, _ = kalman.forward(spelt, p.y, p.x, lengths=lengths)
    agree(found.means, right.means, 1e-11)
    agree(found.log_likelihood, right.log_likelihood, 1e-11)
    n = len(found.covariances)
    agree(found.covariances, right.covariances[:n, 0], 1e-11)
    agree(np.broadcast_to(found.covariances[-1], (T - n + 1, 3, 3)), right.covariances[n - 1 :, 0], 1e-11)
    assert n < 80


@pytest.mark.parametrize("radius", [0.999, 1.2])
def test_slow_and_unstable_systems(radius):
    p = oracles.problem(2, T=3000, B=2, radius=radius)
    p.y = linear_systems.sample(p.rng, p.params, 100, 2, p.x[:100]).observations
    found, right = steady.forward(p.params, p.y, p.x[:100]), square_root.forward(p.params, p.y, p.x[:100])
    agree(found.means, right.means, 1e-10)
    agree(found.log_likelihood, right.log_likelihood, 1e-10)


@pytest.mark.parametrize("block", [None, 1, 3, 7, 50])
def test_the_recurrence(block):
    rng = np.random.default_rng(0)
    M, push, h = 0.3 * rng.standard_normal((3, 3)), rng.standard_normal((20, 2, 3)), rng.standard_normal((2, 3))
    found = steady.recurrence(M, push, h, block)
    for t in range(20):
        h = h @ M.T + push[t]
        agree(found[t], h, 1e-13)


def test_settling():
    p = oracles.problem(1)
    found = steady.settle(p.params, 1000)
    assert len(found.gains) < 100 and len(steady.settle(p.params, 5).gains) == 5
    A, C, Q, R = (p.params[i] for i in (0, 2, 3, 4))
    P = found.predicted[-1]
    after = P - P @ C.T @ np.linalg.inv(C @ P @ C.T + R) @ C @ P
    agree(A @ after @ A.T + Q, P, 1e-12)


def test_doors():
    p = oracles.varying(oracles.problem(0))
    for call in (lambda: steady.forward(p.params, p.y, p.x), lambda: steady.settle(p.params, 3)):
        with pytest.raises(ValueError):
            call()
    with pytest.raises(ValueError, match=r"^steps: "):
        steady.settle(oracles.system(0), 0)
