"""The outputs to come, against the conditioning of one dense Gaussian, on both floors."""

import lds_oracles as oracles
import numpy as np
import pytest
import torch
from lds_battery import both_floors, group, on
from proof import agree, verifies

from rnncourse import bridge
from rnncourse.gpu import kalman as twin_filter
from rnncourse.gpu import kalman_ahead as twin
from rnncourse.reference import kalman, kalman_ahead


@both_floors
@verifies("eq-kalman-ahead", oracle="conditioning of the dense joint")
@pytest.mark.parametrize("case", [{}, {"T": 2, "B": 1, "H": 1, "O": 1, "seed": 1}, {"radius": 1.3, "seed": 4}])
def test_the_outputs_to_come(floor, case):
    p = oracles.problem(**{"T": 6, **case, "D": 0})
    now, h = p.T // 2, 3
    known, _ = on(floor, "kalman.forward")(p.params, p.y)
    found = on(floor, "kalman_ahead.forward")(p.params, known.means[now - 1], known.covariances[now - 1], h)
    seen = np.ones((now + h, p.O), bool)
    seen[now:] = False
    for b in range(p.B):
        y = np.concatenate([p.y[:now, b], np.zeros((h, p.O))])
        for j in range(1, h + 1):
            mean, covariance = oracles.filtered(p.params, np.zeros((now + h, 0)), y, seen, now + j)
            C, R = p.params.emission, p.params.output_noise
            agree(found.means[j - 1, b], C @ mean, 1e-10)
            agree(group(found.covariances, b)[j - 1], C @ covariance @ C.T + R, 1e-10)


def test_each_sequence_may_have_its_own_covariance():
    p = oracles.problem(D=0)
    observed = np.ones(p.y.shape, bool)
    observed[:, 1] = False
    known, _ = kalman.forward(p.params, p.y, observed=observed)
    found = kalman_ahead.forward(p.params, known.means[-1], known.covariances[-1], 2)
    assert found.covariances.shape == (2, 3, 2, 2)
    alone, _ = kalman.forward(p.params, p.y[:, 1:2], observed=observed[:, 1:2])
    one = kalman_ahead.forward(p.params, alone.means[-1], alone.covariances[-1], 2)
    agree(found.covariances[:, 1], one.covariances[:, 0], 1e-12)
    torch_known, _ = twin_filter.forward(bridge.to_torch(p.params), bridge.to_torch(p.y))
    assert isinstance(
        twin.forward(bridge.to_torch(p.params), torch_known.means[-1], torch_known.covariances[-1], 1).means,
        torch.Tensor,
    )


@both_floors
def test_bad_input(floor):
    p = oracles.problem(D=0)
    m, V = np.zeros((3, 3)), np.eye(3)[None]
    forward = on(floor, "kalman_ahead.forward")
    bad = {
        "steps": (p.params, m, V, 0),
        "mean": (p.params, m[:, :2], V, 1),
        "covariance": (p.params, m, V[:, :2], 1),
        "input_weights": (oracles.system(), m, V, 1),
        "transition": (p.params._replace(transition=V), m, V, 1),
    }
    for name, arguments in bad.items():
        with pytest.raises(ValueError, match=rf"^{name}: expected"):
            forward(*arguments)
    with pytest.raises(ValueError, match=r"^covariance: expected a symmetric"):
        forward(p.params, m, -V, 1)
    with pytest.raises(ValueError, match=r"^mean: 1 of 9"):
        forward(p.params, np.where(np.arange(9).reshape(3, 3) == 4, np.nan, m), V, 1)
