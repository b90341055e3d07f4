"""The Kalman filter against the conditioning of one dense Gaussian, on both floors."""

import lds_oracles as oracles
import numpy as np
import pytest
import torch
from lds_battery import FLOORS, alone, both_floors, cases, draw, group, on
from proof import agree, verifies

from rnncourse import lds_params
from rnncourse.gpu import kalman as twin
from rnncourse.lds_params import LDSParams
from rnncourse.reference import kalman, lds_entry, lds_likelihood, steady

SCALAR = LDSParams(*(np.ones((1, n)) for n in (1, 0, 1, 1, 1)), np.zeros(1), np.zeros((1, 1)))


@both_floors
@cases
@verifies("eq-kalman-update", oracle="conditioning of the dense joint")
@verifies("eq-kalman-joseph", oracle="conditioning of the dense joint")
def test_what_is_known_after_each_step(floor, case):
    p, options = draw(case)
    found, _ = on(floor, "kalman.forward")(p.params, p.y, p.x, **options)
    for b in range(p.B):
        for t in range(1, p.lengths[b] + 1):
            mean, covariance = oracles.filtered(*alone(p, b), t)
            agree(found.means[t - 1, b], mean, 1e-10)
            agree(group(found.covariances, b)[t - 1], covariance, 1e-10)
        assert not found.means[p.lengths[b] :, b].any()


@both_floors
@cases
@verifies("eq-kalman-likelihood", oracle="density of the dense joint")
def test_the_likelihood(floor, case):
    p, options = draw(case)
    found, _ = on(floor, "kalman.forward")(p.params, p.y, p.x, **options)
    for b in np.flatnonzero(p.lengths):
        agree(found.log_likelihood[b], oracles.given(*alone(p, b))[2].numpy(), 1e-10)
    assert not found.log_likelihood[p.lengths == 0].any()


@both_floors
@cases
@verifies("eq-kalman-predict", oracle="conditioning of the dense joint")
def test_what_is_known_before_each_step(floor, case):
    p, options = draw(case)
    tape = on(floor, "kalman.forward")(p.params, p.y, p.x, **options)[1]
    spreads = lds_entry.grouped(tape.predicted_covariances)
    for b in range(p.B):
        params, x, y, seen = alone(p, b)
        for t in range(1, p.lengths[b] + 1):
            before = seen.copy()
            before[t - 1 :] = False
            mean, covariance = oracles.filtered(params, x, y, before, t)
            agree(tape.predicted_means[t - 1, b], mean, 1e-10)
            agree(group(spreads, b)[t - 1], covariance, 1e-10)


@both_floors
@verifies("eq-kalman-one-step", oracle="conditioning of the dense joint")
def test_from_one_prediction_to_the_next(floor):
    p, _ = draw("plain")
    A, W, C, Q, R, m, P = p.params
    mean, spread = p.x[0] @ W.T + A @ m, A @ P @ A.T + Q
    step = on(floor, "kalman.one_step")
    for t in range(1, p.T):
        mean, spread = step(mean, spread, A, C, Q, R, p.y[t - 1] - mean @ C.T, p.x[t] @ W.T)
        for b in range(p.B):
            seen = p.seen[:, b].copy()
            seen[t:] = False
            oracle, covariance = oracles.filtered(p.params, p.x[:, b], p.y[:, b], seen, t + 1)
            agree(mean[b], oracle, 1e-10)
            agree(spread, covariance, 1e-10)


@both_floors
@verifies("eq-kalman-riccati", oracle="eigenvectors of the symplectic matrix")
def test_the_covariance_settles_at_a_fixed_point_of_matrices(floor):
    p = oracles.problem(0, T=400, B=1)
    A, _, C, Q, R, *_ = p.params
    seen, back = C.T @ np.linalg.inv(R) @ C, np.linalg.inv(A)
    both = np.block([[A.T + seen @ back @ Q, -seen @ back], [-back @ Q, back]])
    values, vectors = np.linalg.eig(both)
    top, low = np.split(vectors[:, np.abs(values) < 1], 2)
    right = (low @ np.linalg.inv(top)).real
    agree(on(floor, "kalman.forward")(p.params, p.y, p.x)[1].predicted_covariances[-1], right, 1e-10)
    agree(steady.settle(p.params, 2000).predicted[-1], right, 1e-10)


@verifies("eq-kalman-riccati", oracle="the golden ratio")
def test_the_covariance_settles_at_a_fixed_point():
    """A walk with unit steps, seen with unit noise: P = 1 + P / (1 + P)."""
    found, tape = kalman.forward(SCALAR, np.zeros((60, 1, 1)))
    golden = (1 + np.sqrt(5)) / 2
    agree(tape.predicted_covariances[-1], [[golden]], 1e-14)
    agree(found.covariances[-1, 0], [[1 / golden]], 1e-14)
    agree(tape.gains[-1], [[1 / golden]], 1e-14)


def test_by_hand():
    found, _ = kalman.forward(SCALAR, np.array([2.0, 3.0])[:, None, None])
    assert np.allclose(found.means[:, 0, 0], [1, 2.2]) and np.allclose(found.covariances[:, 0, 0, 0], [1 / 2, 3 / 5])


@both_floors
def test_sequences_that_see_alike_share_their_covariance(floor):
    p, _ = draw("plain")
    forward = on(floor, "kalman.forward")
    shared = forward(p.params, p.y, p.x)[0]
    apart = forward(p.params, p.y, p.x, observed=np.arange(p.B) < np.full((p.T, 1), p.B - 1))[0]
    assert shared.covariances.shape[1] == 1 and apart.covariances.shape[1] == p.B
    agree(apart.means[:, : p.B - 1], shared.means[:, : p.B - 1], 1e-13)
    lengths = np.array([p.T, 2, 4])
    ragged = forward(p.params, p.y, p.x, lengths=lengths)[0]
    assert ragged.covariances.shape[1] == 1  # what they see, they see alike; some only stop earlier
    agree(ragged.means[:4, 2], shared.means[:4, 2], 1e-14)


@both_floors
@pytest.mark.parametrize("case", ["ragged", "ragged, missing", "missing entries"])
def test_what_the_tape_holds_where_nothing_was_seen(floor, case):
    p, options = draw(case)
    tape = on(floor, "kalman.forward")(p.params, p.y, p.x, **options)[1]
    assert tape.surprises[p.seen].all() and not tape.surprises[~p.seen].any()
    for b in range(p.B):  # the state stays where it was at the sequence's end
        n = p.lengths[b]
        assert (tape.means[n:, b] == tape.means[n, b]).all()


def test_nobody_sees_the_future_or_a_neighbour():
    p, _ = draw("plain")
    moved = p.y.copy()
    moved[3:, :] += 1
    moved[:, 1] += 1
    one, other = (kalman.forward(p.params, y, p.x)[0].means for y in (p.y, moved))
    assert np.array_equal(one[:3, [0, 2]], other[:3, [0, 2]]) and not np.isclose(one[3:], other[3:]).any()


@both_floors
def test_a_long_run_ends_like_one_that_never_stopped_counting(floor):
    """Where the covariances rest, the rest is copied; a system that changes in name only is run to its end."""
    p = oracles.problem(0, T=400, B=1)
    forward = on(floor, "kalman.forward")
    copied, tape = forward(p.params, p.y, p.x)
    spelt = p.params._replace(transition=np.tile(p.params.transition, (p.T, 1, 1)))
    counted, whole = forward(spelt, p.y, p.x)
    for part in ("predicted_covariances", "gains", "precisions"):
        agree(getattr(tape, part), getattr(whole, part), 1e-12)
    agree(copied.means, counted.means, 1e-12)
    agree(copied.covariances, counted.covariances, 1e-12)
    agree(copied.log_likelihood, counted.log_likelihood, 1e-12)


def test_what_never_rests_is_not_taken_for_resting():
    """A walk that nobody sees grows by the same little at every step; beside it lies a large, settled variance."""
    C, Q, P = np.array([[1.0, 0.0]]), np.diag([1e6, 1e-9]), np.diag([1.0, 0.0])
    system = LDSParams(np.eye(2), np.zeros((2, 0)), C, Q, np.eye(1), np.zeros(2), P)
    found, _ = kalman.forward(system, np.zeros((1000, 1, 1)))
    agree(found.covariances[:, 0, 1, 1], 1e-9 * np.arange(1, 1001), 1e-10)


def test_derivatives_from_a_start_at_rest():
    """There the covariances rest at once, and what they carry does not; in every direction, by every way."""
    p = oracles.problem(0, T=30, B=1)
    rest = steady.settle(p.params, 2000, tolerance=0.0).filtered[-1]
    params = p.params._replace(initial_covariance=rest)
    ours = lds_likelihood.backward(lds_likelihood.forward(params, p.y, p.x)[1]).params
    right = oracles.likelihood_gradients(params, p.x, p.y, np.ones(p.y.shape, bool), np.ones(1))[0]
    y, x = torch.tensor(p.y), torch.tensor(p.x)
    for name, oracle in zip(LDSParams._fields, right, strict=True):
        agree(getattr(ours, name), oracle, 1e-9)
        part = getattr(params, name)
        way = np.eye(3) if part.shape == (3, 3) else np.ones(part.shape)
        along = (oracle * way).sum()
        step = params._replace(**{name: part + 1e-30j * way})
        agree(kalman.forward(step, p.y, p.x)[0].log_likelihood.imag / 1e-30, [along], 1e-9)

        def value(changed, name=name):
            system = params._replace(**{name: changed})
            tensors = LDSParams(*(torch.as_tensor(each) for each in system))
            return twin.forward(tensors, y, x)[0].log_likelihood.sum()

        given = torch.tensor(part)
        agree(torch.func.jvp(value, (given,), (torch.tensor(way),))[1].numpy(), along, 1e-9)
        agree((torch.func.grad(value)(given).numpy() * way).sum(), along, 1e-9)
        tracked = given.clone().requires_grad_()
        value(tracked).backward()
        agree((tracked.grad.numpy() * way).sum(), along, 1e-9)


@both_floors
@verifies("eq-kalman-predict", oracle="conditioning of the dense joint")
@verifies("eq-kalman-update", oracle="conditioning of the dense joint")
@pytest.mark.parametrize("form", kalman.FORMS)
def test_round_by_round(floor, form):
    """The two functions that the chapter shows, without the loop that the library runs."""
    p, _ = draw("plain")
    A, W, C, Q, R, m, V = p.params
    m = np.tile(m, (p.B, 1))
    predict, update = on(floor, "kalman.predict"), on(floor, "kalman.update")
    for t in range(1, p.T + 1):
        m, V = predict(m, V, A, Q, p.x[t - 1] @ W.T)
        before = V
        m, V, K, S = update(m, V, C, R, p.y[t - 1] - m @ C.T, form)
        for b in range(p.B):
            mean, covariance = oracles.filtered(p.params, p.x[:, b], p.y[:, b], p.seen[:, b], t)
            agree(m[b], mean, 1e-10)
            agree(V, covariance, 1e-10)
        agree(K @ S, before @ C.T, 1e-12)


@both_floors
@pytest.mark.parametrize("case", ["plain", "missing entries", "ragged", "wide outputs, no inputs"])
def test_single_precision_stays_single(floor, case):
    p, options = draw(case)
    single = type(p.params)(*(part.astype(np.float32) for part in p.params))
    y, x = p.y.astype(np.float32), p.x.astype(np.float32) if p.D else None
    found, tape = on(floor, "kalman.forward")(single, y, x, **options)
    right, _ = kalman.forward(p.params, p.y, p.x, **options)
    agree(found.means, right.means, 1e-5)
    parts = [*found, *tape[1:]]
    for other in ("smoother.rts", "smoother.adjoint", "smoother.filtered", "kalman_adjoint.sweep"):
        parts += on(floor, other)(tape)
    parts += on(floor, "square_root.forward")(single, y, x, **options)
    parts += on(floor, "lds_em.fit")(single, y, x, iterations=1, **options).params
    if floor == "reference":
        _, tape = lds_likelihood.forward(single, y, x, **options)
        back = lds_likelihood.backward(tape)
        parts += [*back.params, back.outputs]
        if not options:
            parts += steady.forward(single, y, x)
    assert {part.dtype for part in parts} == {np.dtype(np.float32)}


@both_floors
@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"y": np.zeros((6, 3, 3))}, "outputs"),
        ({"y": np.zeros((6, 3))}, "outputs"),
        ({"y": np.full((6, 3, 2), np.nan)}, "outputs"),
        ({"x": None}, "inputs"),
        ({"x": np.zeros((6, 3, 1))}, "inputs"),
        ({"x": np.full((6, 3, 2), np.inf)}, "inputs"),
        ({"observed": np.ones((6, 2), bool)}, "observed"),
        ({"observed": np.ones((6, 3))}, "observed"),
        ({"lengths": np.array([1, 2])}, "lengths"),
        ({"lengths": np.array([1, 2, 7])}, "lengths"),
        ({"transition": np.ones((3, 2))}, "transition"),
        ({"transition": np.ones((5, 3, 3))}, "transition"),
        ({"transition": np.ones((6, 2, 3, 3))}, "transition"),
        ({"emission": np.ones((2, 2))}, "emission"),
        ({"emission": np.full((2, 3), np.nan)}, "emission"),
        ({"input_weights": np.ones((2, 2))}, "input_weights"),
        ({"state_noise": -np.eye(3)}, "state_noise"),
        ({"state_noise": np.triu(np.ones((3, 3)))}, "state_noise"),
        ({"output_noise": np.diag([1.0, -1.0])}, "output_noise"),
        ({"initial_mean": np.ones((1, 3))}, "initial_mean"),
        ({"initial_covariance": np.ones((2, 2))}, "initial_covariance"),
        ({"initial_covariance": np.diag([1.0, 1.0, -1.0])}, "initial_covariance"),
        ({"output_noise": np.zeros((2, 2)), "emission": np.zeros((2, 3))}, "output_noise"),
    ],
)
def test_doors(floor, change, name):
    p, _ = draw("plain")
    fields = {key: value for key, value in change.items() if key in LDSParams._fields}
    arguments = {"y": p.y, "x": p.x} | {key: value for key, value in change.items() if key not in fields}
    y, x = arguments.pop("y"), arguments.pop("x")
    with pytest.raises(ValueError, match=f"^{name}: "):
        on(floor, "kalman.forward")(p.params._replace(**fields), y, x, **arguments)


def test_the_step_where_it_went_wrong_is_named():
    p, _ = draw("varying")
    C, R = p.params.emission.copy(), p.params.output_noise.copy()
    C[3] = 0
    R[3] = 0
    S = C @ np.ones((6, 3, 3)) @ np.swapaxes(C, 1, 2) + R
    S += np.eye(2) * (np.arange(6) != 3)[:, None, None]
    with pytest.raises(ValueError, match="at step 4"):
        kalman.inverse(S)
    with pytest.raises(ValueError, match=r"^form: "):
        kalman.weigh(np.eye(2), np.eye(2), np.eye(2), "long")


def test_floors_are_two():
    assert FLOORS == ("reference", "gpu")
    with pytest.raises(ValueError, match=r"^params: "):
        lds_params.check(tuple(SCALAR), 1, 1)
