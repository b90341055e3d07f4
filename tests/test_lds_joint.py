"""Moments and the dense joint against the map of all noises, and against the fixed point of a long run."""

import lds_oracles as oracles
import numpy as np
import pytest
from lds_battery import both_floors, draw, on
from proof import agree, verifies


@both_floors
@pytest.mark.parametrize("case", ["plain", "varying", "unstable", "one step", "singular noise", "large mean"])
@verifies("eq-lds-moments", oracle="the map from all noises")
@verifies("eq-lds-covariances", oracle="the map from all noises")
def test_moments_and_joint(floor, case):
    p, _ = draw(case)
    mean, out, S, S_yz, S_yy = (part.numpy() for part in oracles.joint(p.params, p.x[:, 0]))
    joint = on(floor, "lds_joint.dense")(p.params, p.T, p.x[:, 0])
    agree(joint.mean, np.concatenate([mean, out]), 1e-12)
    agree(joint.covariance, np.block([[S, S_yz.T], [S_yz, S_yy]]), 1e-12)
    one, H, O = on(floor, "lds_joint.moments")(p.params, p.T, p.x[:, 0]), p.H, p.O
    agree(one.means.ravel(), mean, 1e-12)
    agree(one.output_means.ravel(), out, 1e-12)
    for t in range(p.T + 1):
        agree(one.covariances[t], S[t * H : (t + 1) * H, t * H : (t + 1) * H], 1e-12)
    for t in range(p.T):
        agree(one.output_covariances[t], S_yy[t * O : (t + 1) * O, t * O : (t + 1) * O], 1e-12)


@both_floors
@verifies("eq-lds-stationary", oracle="a long run of the recursion")
def test_what_a_step_leaves_as_it_is(floor):
    params = oracles.system(3, radius=0.8)
    P = params.initial_covariance
    for _ in range(400):
        P = params.transition @ P @ params.transition.T + params.state_noise
    agree(on(floor, "lds_joint.stationary")(params), P, 1e-12)


@both_floors
def test_without_inputs_there_are_none(floor):
    p, _ = draw("plain")
    moments = on(floor, "lds_joint.moments")
    assert np.array_equal(moments(p.params, 4).means, moments(p.params, 4, np.zeros((4, p.D))).means)


@both_floors
def test_doors(floor):
    params = oracles.system(0)
    moments, stationary = on(floor, "lds_joint.moments"), on(floor, "lds_joint.stationary")
    for call, name in [
        (lambda: moments(params, 0), "steps"),
        (lambda: moments(params, 4, np.zeros((3, 2))), "inputs"),
        (lambda: moments(params, 4, np.full((4, 2), np.nan)), "inputs"),
        (lambda: moments(params._replace(emission=np.ones((5, 2, 3))), 4), "emission"),
        (lambda: stationary(params._replace(transition=1.01 * np.eye(3))), "transition"),
        (lambda: stationary(params._replace(transition=np.ones((4, 3, 3)))), "transition"),
    ]:
        with pytest.raises(ValueError, match=f"^{name}: "):
            call()


@both_floors
@pytest.mark.parametrize("function", ["moments", "dense"])
def test_a_covariance_must_be_one(floor, function):
    params = oracles.system(0)._replace(state_noise=np.triu(np.ones((3, 3))))
    with pytest.raises(ValueError, match=r"^state_noise: "):
        on(floor, f"lds_joint.{function}")(params, 3)
