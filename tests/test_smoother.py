"""The smoother in both forms against the conditioning of one dense Gaussian, on both floors."""

import lds_oracles as oracles
import numpy as np
import pytest
import torch
from lds_battery import alone, both_floors, cases, draw, group, on
from proof import agree, verifies

from rnncourse.reference import kalman, kalman_adjoint, lds_entry, smoother


def against_conditioning(floor, form, case):
    p, options = draw(case)
    forward, smooth = on(floor, "kalman.forward"), on(floor, f"smoother.{form}")
    found = smooth(forward(p.params, p.y, p.x, **options)[1])
    for b in np.flatnonzero(p.lengths):
        n = p.lengths[b]
        means, covariances, cross = oracles.smoothed(*alone(p, b))
        agree(found.means[: n + 1, b], means, 1e-10)
        agree(group(found.covariances, b)[: n + 1], covariances, 1e-10)
        agree(group(found.cross_covariances, b)[:n], cross, 1e-10)


@both_floors
@cases
@verifies("eq-rts", oracle="conditioning of the dense joint")
@verifies("eq-rts-cross", oracle="conditioning of the dense joint")
def test_what_all_outputs_say(floor, case):
    against_conditioning(floor, "rts", case)


@both_floors
@cases
@verifies("eq-posterior-gradient", oracle="conditioning of the dense joint")
def test_the_same_from_gradients(floor, case):
    against_conditioning(floor, "adjoint", case)


def log_likelihood_from(p, b, t, mean, spread, seen_now):
    """log p(y_t..y_T) of one sequence by dense conditioning, as a function of z_t's Gaussian and of y_t."""
    A, W, C, Q, R, _, _ = (torch.as_tensor(part) for part in p.params)
    # the Gaussian of z_t is that of z_0 in a system whose first step stands still
    pairs = ((torch.eye(len(A)).to(A), A), (0 * W, W), (C, C), (0 * Q, Q), (R, R))
    still = [torch.stack([first, *[rest] * (p.T - t)]) for first, rest in pairs]
    system = type(p.params)(*still, mean, torch.as_tensor(spread))
    y = torch.cat([seen_now[None], torch.tensor(p.y[t:, b])])
    return oracles.given(system, p.x[t - 1 :, b], y, p.seen[t - 1 :, b])[2]


@both_floors
@verifies("eq-adjoint", oracle="autograd of the dense density")
@verifies("eq-adjoint-curvature", oracle="autograd of the dense density, twice")
def test_the_sweep_differentiates_the_likelihood(floor):
    p, _ = draw("plain")
    tape = on(floor, "kalman.forward")(p.params, p.y, p.x)[1]
    back = on(floor, "kalman_adjoint.sweep")(tape)
    H = p.H
    for t in range(1, p.T + 1):
        for b in range(p.B):
            both = torch.tensor(np.concatenate([tape.predicted_means[t - 1, b], p.y[t - 1, b]]))

            def value(both, b=b, t=t):
                return log_likelihood_from(p, b, t, both[:H], tape.predicted_covariances[t - 1], both[H:])

            slope = torch.autograd.functional.jacobian(value, both)
            bend = torch.autograd.functional.hessian(value, both)
            agree(back.predicted[t - 1, b], slope[:H], 1e-10)
            agree(back.predicted_curvature[t - 1], -bend[:H, :H], 1e-10)
            agree(back.shift[t - 1, b], -slope[H:], 1e-10)  # a shift of C z lowers the surprise, of y raises it
            agree(back.shift_curvature[t - 1], -bend[H:, H:], 1e-10)
            agree(back.mixed_curvature[t - 1], bend[H:, :H], 1e-10)


@pytest.mark.parametrize("case", ["plain", "ragged", "ragged, missing", "by sequence"])
def test_both_floors_sweep_alike(case):
    """And the sweep says the same of a state before its output is seen and after."""
    p, options = draw(case)
    back = [
        on(floor, "kalman_adjoint.sweep")(on(floor, "kalman.forward")(p.params, p.y, p.x, **options)[1])
        for floor in ("reference", "gpu")
    ]
    for ours, twin in zip(*back, strict=True):
        agree(ours, twin, 1e-12)
    tape = kalman.forward(p.params, p.y, p.x, **options)[1]
    smooth, P = smoother.rts(tape), lds_entry.grouped(tape.predicted_covariances)
    lam, L = back[0].predicted, lds_entry.grouped(back[0].predicted_curvature)
    means, spreads = tape.predicted_means + (P @ lam[..., None])[..., 0], P - P @ L @ P
    for b in np.flatnonzero(p.lengths):
        n = p.lengths[b]
        agree(means[:n, b], smooth.means[1 : n + 1, b], 1e-10)
        agree(group(spreads, b)[:n], group(smooth.covariances, b)[1 : n + 1], 1e-10)


def test_the_last_state_is_that_of_the_filter():
    p, _ = draw("plain")
    found, tape = kalman.forward(p.params, p.y, p.x)
    smooth = smoother.rts(tape)
    assert np.array_equal(smooth.means[-1], found.means[-1])
    assert (
        np.trace(smooth.covariances[1:-1, 0], axis1=1, axis2=2) < np.trace(found.covariances[:-1, 0], axis1=1, axis2=2)
    ).all()


def test_without_outputs_nothing_is_learned():
    p = oracles.problem(0)
    nothing = np.zeros((p.T, p.B), bool)
    tape = kalman.forward(p.params, p.y, p.x, observed=nothing)[1]
    for form in (smoother.rts, smoother.adjoint):
        assert np.allclose(form(tape).covariances, tape.covariances[:, None], rtol=1e-12)
        assert np.allclose(form(tape).means, tape.means, rtol=1e-12)
    assert not kalman_adjoint.sweep(tape).predicted.any()


@pytest.mark.parametrize("form", ["rts", "adjoint"])
def test_a_constant_seen_again_and_again(form):
    """No noise in the state: every state has the same estimate, the mean of what was seen, shrunk to the start."""
    system = type(oracles.system())(
        *(np.array([[1.0]]), np.zeros((1, 0)), np.eye(1), np.zeros((1, 1)), np.array([[4.0]])), np.zeros(1), np.eye(1)
    )
    y = np.random.default_rng(0).standard_normal((50, 2, 1)) + 3
    found = getattr(smoother, form)(kalman.forward(system, y)[1])
    assert np.allclose(found.means, y.sum(axis=0) / (50 + 4), rtol=1e-12)
    assert np.allclose(found.covariances, 4 / 54, rtol=1e-12) and np.allclose(
        found.cross_covariances, 4 / 54, rtol=1e-12
    )


@both_floors
def test_the_filters_own_moments(floor):
    p, _ = draw("missing entries")
    tape = on(floor, "kalman.forward")(p.params, p.y, p.x, observed=p.seen)[1]
    found = on(floor, "smoother.filtered")(tape)
    for b in range(p.B):
        for t in range(1, p.T + 1):
            seen = p.seen[:, b].copy()
            seen[t:] = False
            means, covariances, cross = oracles.smoothed(p.params, p.x[:, b], p.truth[:, b], seen)
            agree(found.means[t, b], means[t], 1e-10)
            agree(group(found.covariances, b)[t], covariances[t], 1e-10)
            agree(group(found.cross_covariances, b)[t - 1], cross[t - 1], 1e-10)
