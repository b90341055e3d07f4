"""The extended Kalman filter: a Kalman filter along a nonlinear network, linearised where the filter stands."""

import torch

from rnncourse import doors
from rnncourse.gpu import kalman
from rnncourse.gpu.gaussians import check_definite, symmetric
from rnncourse.gpu.lds_entry import Problem, apply, enter, pair
from rnncourse.lds_params import LDSParams

POINTS = ("present", "past")


def forward(
    params: LDSParams,
    outputs,
    inputs=None,
    observed=None,
    lengths=None,
    functions: tuple = ("tanh", "identity"),
    passes: int = 1,
    points: str = "present",
):
    """Filter a batch of sequences of a stochastic RNN, :eq:`def-stochastic-rnn`.

    With two identities this is the Kalman filter, number for number. The tape is for ``smoother.rts``
    alone, which then is the extended smoother, :eq:`eq-ekf-smoother`: the gradients and the EM steps of
    linear systems do not hold here, and refuse it. Autograd differentiates the likelihood.

    Args:
        params: the matrices of the network and its noises; they may change with time.
        outputs: y, shape (T, B, O). Where not observed, and in padding, it may hold anything, NaN included.
        inputs: x, shape (T, B, D); may be left out where D is 0.
        observed: booleans, shape (T, B) or (T, B, O): what was seen; all unless given.
        lengths: real steps of each sequence, shape (B,); all T unless given.
        functions: names of g, which makes the state, and of f, which makes the output.
        passes: how often an output is linearised; more than once is the iterated filter.
        points: "present" linearises the transition at m_{t-1}, from where it starts; "past" at m_{t-2},
            as a slip of the index has it.

    Returns:
        ``(filtered, tape)`` as ``kalman.forward``; every sequence has covariances of its own. The
        tape's problem holds the Jacobians in place of A and C; likelihood, surprises and precisions are
        those of the first linearisation; covariances, gains and emissions those of the last.

    Raises:
        ValueError: as ``kalman.forward``; if there is no such function or point, or no pass.
    """
    doors.at_least("passes", passes, 1)
    doors.one_of("points", points, POINTS)
    g, f = pair(functions)
    given = enter(params, outputs, inputs, observed, lengths)
    (B, H), real = given.mean.shape, given.real
    before, kept = None, [[] for _ in range(7)]
    m, V = [given.mean], [torch.broadcast_to(given.covariance, (B, H, H))]
    for t in range(len(given.outputs)):
        p, P, A, before = predict(m[t], V[t], given.A[t], given.Q[t], given.drive[t], g, before, points)
        after, spread, *rest = update(p, P, given.C[t], given.R[t], given.outputs[t], given.seen[t], f, passes)
        m.append(after if real is None else torch.where(real[t], after, m[t]))
        V.append(spread)
        for stack, value in zip(kept, (p, P, A, *rest), strict=True):
            stack.append(value)
    return _finish(given, torch.stack(m), torch.stack(V), *map(torch.stack, kept))


def predict(mean, covariance, A, Q, drive, g, before=None, points: str = "present"):
    """One step without an observation, :eq:`eq-ekf-predict`.

    Args:
        mean: m_{t-1}, shape (B, H).
        covariance: V_{t-1}, shape (B, H, H).
        A: transition, shape (H, H) or (B, H, H).
        Q: covariance of the noise, likewise.
        drive: W_x x_t, shape (B, H).
        g: an activation of ``activations``.
        before: the Jacobian of the step before, for "past"; None at the first step.
        points: "present" or "past".

    Returns:
        ``(p, P, Jacobian used, Jacobian at the mean)``.
    """
    p = g.function(apply(A, mean) + drive)
    here = slope(g, apply(A, mean) + drive)[:, :, None] * A
    used = before if points == "past" and before is not None else here
    return p, symmetric(used @ covariance @ used.mT + Q), used, here


def update(mean, covariance, C, R, y, seen, f, passes: int = 1):
    """Take in an observation, :eq:`eq-ekf-update`; with more passes, :eq:`eq-ekf-iterated`.

    Args:
        mean: p_t, shape (B, H).
        covariance: P_t, shape (B, H, H).
        C: emission, shape (O, H) or (B, O, H).
        R: covariance of the noise, shape (O, O) or (B, O, O).
        y: y_t, shape (B, O).
        seen: which entries count, shape (B, O).
        f: an activation of ``activations``.
        passes: at how many points to linearise, each where the last one led.

    Returns:
        ``(m, V, Jacobian, surprise, S, K)``: the surprise and S of the first pass, the rest of the last.

    Raises:
        ValueError: as ``kalman.weigh``.
    """
    at, first = mean, None
    for _ in range(passes):
        output = f.function(apply(C, at))
        J = slope(f, apply(C, at))[:, :, None] * C
        e = torch.where(seen, y - output - apply(J, mean - at), 0)
        after, K, S = kalman.weigh(covariance, J, R)
        first = (e, S) if first is None else first
        at = mean + apply(K, e)
    return at, after, J, *first, K


def slope(function, a):
    """The derivative of an elementwise function, by autograd, and differentiable itself.

    Args:
        function: an activation of ``activations``.
        a: pre-activations, any shape.

    Returns:
        phi'(a), the shape of ``a``.
    """
    return torch.func.jvp(function.function, (a,), (torch.ones_like(a),))[1]


def nees(states, means, covariances):
    """Normalised squared error of estimates, :eq:`def-nees`: H on average if they and the covariances are right.

    Args:
        states: what is true, shape (T, B, H).
        means: the estimates, likewise.
        covariances: what they claim, shape (T, B, H, H) or (T, 1, H, H).

    Returns:
        (z - m)^T V^{-1} (z - m), shape (T, B).

    Raises:
        ValueError: if a shape does not fit, or a covariance is singular or has a negative eigenvalue.
    """
    doors.sequences("states", states, "H")
    T, B, H = states.shape
    doors.shape("means", means, (T, B, H))
    doors.shape("covariances", covariances, (T, 1 if covariances.shape[1:2] == (1,) else B, H, H))
    check_definite("covariances", covariances)
    error = states - means
    solved = torch.linalg.solve(torch.broadcast_to(covariances, (*error.shape, error.shape[-1])), error[..., None])
    return (error * solved[..., 0]).sum(dim=-1)


def _finish(given: Problem, m, V, p, P, A, C, e, S, K):
    precisions = kalman.inverse(S)
    tape = kalman.Tape(given._replace(A=A, C=C, linearised=True), m, V, p, P, e, precisions, K)
    shown = m[1:] if given.real is None else torch.where(given.real, m[1:], 0)
    return kalman.Filtered(shown, V[1:], kalman.log_likelihood(given, e, S, precisions)), tape
