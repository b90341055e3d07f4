"""The Kalman filter and smoother by scans, against one dense Gaussian and against the loop."""

import lds_oracles
import numpy as np
import pytest
import torch
from proof import agree, verifies

from rnncourse import bridge, gpu, reference
from rnncourse.lds_params import LDSParams
from rnncourse.reference import kalman, kalman_scan, smoother

FLOORS = pytest.mark.parametrize("floor", [reference, gpu], ids=["reference", "gpu"])
LENGTHS = pytest.mark.parametrize("T", [1, 2, 3, 6, 7])


def dense(p, observed=None):
    """Smoothed moments of every state and the log density, sequence by sequence; filtered ones from shorter ones."""
    found = []
    for n in range(p.B):
        seen = np.ones(p.y[:, n].shape, bool) if observed is None else observed[:, n]
        found.append(lds_oracles.given(p.params, p.x[:, n], p.y[:, n], seen))
    return found


def holes(p):
    """Steps of which nothing was seen, and steps of which only a part was; another pattern for each sequence."""
    seen = p.rng.random(p.y.shape) < 0.7
    seen[-1, 0] = False
    return seen


def convert(floor, *arrays):
    return arrays if floor is reference else bridge.to_torch(arrays)


def ran(floor, p, observed=None):
    params, y, x = convert(floor, p.params, p.y, p.x)
    seen = observed if observed is None or floor is reference else torch.tensor(observed)
    return floor.kalman_scan.forward(params, y, x, seen)


@verifies("eq-kalman-combine", oracle="dense conditioning")
@verifies("eq-kalman-element", oracle="dense conditioning")
@FLOORS
@LENGTHS
@pytest.mark.parametrize("changing", [False, True])
@pytest.mark.parametrize("hidden_steps", [False, True])
def test_the_filter(floor, T, changing, hidden_steps):
    p = lds_oracles.problem(T=T)
    p = lds_oracles.varying(p) if changing else p
    observed = holes(p) if hidden_steps else None
    filtered, tape = ran(floor, p, observed)
    H = p.H
    for n in range(p.B):
        for t in range(1, T + 1):  # what is known after t steps: the last state of the sequence that ends there
            seen = np.ones((t, p.O), bool) if observed is None else observed[:t, n]
            short = LDSParams(*(part[:t] if part.ndim == 3 else part for part in p.params[:5]), *p.params[5:])
            means, S, value = lds_oracles.given(short, p.x[:t, n], p.y[:t, n], seen)
            agree(filtered.means[t - 1, n], means[-1], 1e-12)
            covariance = filtered.covariances[t - 1, n if filtered.covariances.shape[1] > 1 else 0]
            agree(covariance, S[-H:, -H:], 1e-12)
        agree(filtered.log_likelihood[n], value, 1e-12)
    assert tape.means.shape == (T + 1, p.B, H)


@verifies("eq-smoother-combine", oracle="dense conditioning")
@FLOORS
@LENGTHS
@pytest.mark.parametrize("hidden_steps", [False, True])
def test_the_smoother(floor, T, hidden_steps):
    p = lds_oracles.varying(lds_oracles.problem(T=T))
    observed = holes(p) if hidden_steps else None
    found = floor.kalman_scan.smooth(ran(floor, p, observed)[1])
    H = p.H
    for n in range(p.B):
        seen = np.ones((T, p.O), bool) if observed is None else observed[:, n]
        means, S, _ = lds_oracles.given(p.params, p.x[:, n], p.y[:, n], seen)
        one = n if found.covariances.shape[1] > 1 else 0
        blocks = np.asarray(S).reshape(T + 1, H, T + 1, H)
        agree(found.means[:, n], means, 1e-11)
        agree(found.covariances[:, one], np.stack([blocks[t, :, t] for t in range(T + 1)]), 1e-11)
        agree(found.cross_covariances[:, one], np.stack([blocks[t + 1, :, t] for t in range(T)]), 1e-11)


def test_the_loop_over_many_steps():
    p = lds_oracles.problem(T=1000)
    filtered, tape = kalman.forward(p.params, p.y, p.x)
    ours, scanned = kalman_scan.forward(p.params, p.y, p.x)
    agree(ours, filtered, 1e-12)
    agree(tuple(scanned)[1:], tuple(tape)[1:], 1e-11)  # all that the smoother and the gradients need
    agree(kalman_scan.smooth(scanned), smoother.rts(tape), 1e-11)
    agree(smoother.rts(scanned), smoother.rts(tape), 1e-11)


def test_a_state_that_is_known_and_noise_that_is_none():
    """P_0 = 0 and a singular Q: no covariance of a state is ever divided by."""
    p = lds_oracles.problem(T=7)
    Q = np.outer(np.arange(3.0), np.arange(3.0))
    p.params = p.params._replace(initial_covariance=np.zeros((3, 3)), state_noise=Q)
    filtered, tape = kalman.forward(p.params, p.y, p.x)
    ours, scanned = kalman_scan.forward(p.params, p.y, p.x)
    agree(ours, filtered, 1e-12)
    agree(kalman_scan.smooth(scanned).means, smoother.rts(tape).means, 1e-10)


def test_combining_is_associative():
    p = lds_oracles.varying(lds_oracles.problem(T=3))
    steps = kalman_scan._steps(ran(reference, p)[1].problem)
    a, b, c = (kalman_scan.Stretch(*(part[t] for part in steps)) for t in range(3))
    both = kalman_scan.combine
    agree(both(both(a, b), c), both(a, both(b, c)), 1e-12)


def test_training_goes_through_the_callers_graph():
    p = lds_oracles.problem(T=5)
    params, y, x = bridge.to_torch((p.params, p.y, p.x))
    A = params.transition.requires_grad_()
    gpu.kalman_scan.forward(params, y, x)[0].log_likelihood.sum().backward()
    theirs = reference.lds_likelihood.backward(reference.lds_likelihood.forward(p.params, p.y, p.x)[1])
    agree(A.grad, theirs.params.transition, 1e-10)


@FLOORS
def test_bad_input(floor):
    p = lds_oracles.problem(T=4)
    params, y, x = convert(floor, p.params, p.y, p.x)
    with pytest.raises(ValueError, match=r"outputs: expected shape \(T, B, 2\)"):
        floor.kalman_scan.forward(params, y[..., :1], x)
    _, padded = floor.kalman.forward(params, y, x, lengths=[4, 2, 3])
    with pytest.raises(ValueError, match="tape: expected sequences without padding"):
        floor.kalman_scan.smooth(padded)
    singular = params._replace(output_noise=0 * params.output_noise, emission=0 * params.emission)
    with pytest.raises(ValueError, match="output_noise: expected a positive definite"):
        floor.kalman_scan.forward(singular, y, x)
