"""The Kalman filter: what the outputs so far say about the state now."""

import math
from typing import NamedTuple

import numpy as np

from rnncourse import doors
from rnncourse.lds_params import LDSParams
from rnncourse.reference import gaussians
from rnncourse.reference.gaussians import symmetric
from rnncourse.reference.lds_entry import Problem, apply, enter, grouped

FORMS = ("joseph", "short")
SINGULAR = "output_noise: expected a positive definite covariance of the outputs, C P C^T + R; it is singular"


class Filtered(NamedTuple):
    """What the filter knows after each step.

    Attributes:
        means: of z_t given y_1..y_t, shape (T, B, H); zero in padding.
        covariances: the same, shape (T, G, H, H): G is 1 where all sequences share them, else B. Those
            of padding mean nothing.
        log_likelihood: log p(y_1..y_T) of what was seen of each sequence, in nats, shape (B,).
    """

    means: np.ndarray
    covariances: np.ndarray
    log_likelihood: np.ndarray


class Tape(NamedTuple):
    """What the filter leaves for the smoother and for gradients. Matrices: (T, ., .) if shared, else (T, B, ., .).

    Attributes:
        problem: the system and its data.
        means: of z_0..z_T given the past and the present, shape (T + 1, B, H); in padding as before it.
        covariances: the same, T + 1 matrices.
        predicted_means: of z_1..z_T given the past, shape (T, B, H).
        predicted_covariances: the same, T matrices.
        surprises: e_t = y_t - C p_t, zero where not seen, shape (T, B, O).
        precisions: S_t^{-1}, inverse covariances of the surprises, T matrices.
        gains: K_t, T matrices.
    """

    problem: Problem
    means: np.ndarray
    covariances: np.ndarray
    predicted_means: np.ndarray
    predicted_covariances: np.ndarray
    surprises: np.ndarray
    precisions: np.ndarray
    gains: np.ndarray


def predict(mean, covariance, A, Q, drive=0.0):
    """One step without an observation, :eq:`eq-kalman-predict`.

    Args:
        mean: of z_{t-1}, shape (B, H).
        covariance: of z_{t-1}, shape (H, H) if shared, else (B, H, H).
        A: transition, shape (H, H) or (B, H, H).
        Q: covariance of the noise, likewise.
        drive: what is added to the mean, W_x x_t, shape (B, H).

    Returns:
        ``(mean, covariance)`` of z_t.
    """
    return apply(A, mean) + drive, symmetric(A @ covariance @ A.mT + Q)


def update(mean, covariance, C, R, surprise, form: str = "joseph"):
    """Take in an observation, :eq:`eq-kalman-update`.

    Args:
        mean: p_t, of z_t before, shape (B, H).
        covariance: P_t, of z_t before, shape (H, H) if shared, else (B, H, H).
        C: emission, shape (O, H) or (B, O, H).
        R: covariance of the noise, shape (O, O) or (B, O, O).
        surprise: e_t = y_t - C p_t, shape (B, O).
        form: as in :func:`weigh`.

    Returns:
        ``(mean, covariance, K, S)``: of z_t after; the gain; the covariance of the surprise.

    Raises:
        ValueError: as :func:`weigh`.
    """
    after, K, S = weigh(covariance, C, R, form)
    return mean + apply(K, surprise), after, K, S


def weigh(covariance, C, R, form: str = "joseph"):
    """How much to trust an observation, whatever it says; a sum of squares, :eq:`eq-kalman-joseph`.

    Args:
        covariance: P_t, of z_t before, shape (H, H) or (B, H, H).
        C: emission, shape (O, H) or (B, O, H).
        R: covariance of the noise, shape (O, O) or (B, O, O).
        form: "joseph", or "short": P - K C P, which rounding makes indefinite sooner.

    Returns:
        ``(after, K, S)``: the covariance of z_t after; the gain; the covariance of the surprise.

    Raises:
        ValueError: if S is singular, or there is no such form.
    """
    doors.one_of("form", form, FORMS)
    CP = C @ covariance
    S = CP @ C.mT + R
    K = _divided(S, CP).mT
    if form == "short":
        return covariance - K @ CP, K, S
    keep = np.eye(K.shape[-2], dtype=K.dtype) - K @ C
    return keep @ covariance @ keep.mT + K @ R @ K.mT, K, S


def one_step(mean, covariance, A, C, Q, R, surprise, drive=0.0):
    """Both in one, from one prediction to the next, :eq:`eq-kalman-one-step`.

    Args:
        mean: p_t, of z_t given y_1..y_{t-1}, shape (B, H).
        covariance: P_t, likewise, shape (H, H) if shared, else (B, H, H).
        A: transition, shape (H, H) or (B, H, H).
        C: emission, shape (O, H) or (B, O, H).
        Q: covariance of the noise of the state, shape (H, H) or (B, H, H).
        R: covariance of the noise of the output, shape (O, O) or (B, O, O).
        surprise: e_t = y_t - C p_t, shape (B, O).
        drive: what is added to the mean, W_x x_{t+1}, shape (B, H).

    Returns:
        ``(mean, covariance)`` of z_{t+1} given y_1..y_t.

    Raises:
        ValueError: if the surprise has a singular covariance.
    """
    CP = C @ covariance
    gain = A @ _divided(CP @ C.mT + R, CP).mT
    closed = A - gain @ C
    spread = closed @ covariance @ closed.mT + gain @ R @ gain.mT + Q
    return apply(A, mean) + apply(gain, surprise) + drive, symmetric(spread)


def forward(params: LDSParams, outputs, inputs=None, observed=None, lengths=None):
    """Filter a batch of sequences by predicting and updating in turn.

    Args:
        params: the system; its matrices may change with time, and from sequence to sequence.
        outputs: y, shape (T, B, O). Where not observed, and in padding, it may hold anything, NaN included.
        inputs: x, shape (T, B, D); may be left out where D is 0.
        observed: booleans, shape (T, B) or (T, B, O): what was seen; all unless given.
        lengths: real steps of each sequence, shape (B,); all T unless given.

    Returns:
        ``(filtered, tape)``: what is known after each step, and what the smoother needs.

    Raises:
        ValueError: if a shape does not fit, a covariance is none, an entry that counts is not finite, or
            the outputs have a singular covariance.
    """
    given = enter(params, outputs, inputs, observed, lengths)
    V, P, K, S = covariances(given)
    precisions = inverse(S)
    m, p, e = means(given, K)
    tape = Tape(given, m, V, p, P, e, precisions, K)
    shown = m[1:] if given.real is None else np.where(given.real, m[1:], 0)
    return Filtered(shown, grouped(V[1:]), log_likelihood(given, e, S, precisions)), tape


def covariances(given: Problem) -> tuple:
    """What the filter will know, before it has seen a thing: this half does not depend on the outputs.

    Where nothing changes from step to step and the covariances have come to rest, the rest is copied.
    Not where they carry derivatives: these come to rest later.

    Args:
        given: the system and its data.

    Returns:
        ``(V, P, K, S)``: covariances of z_0..z_T after each update; before it; gains; of the surprises.

    Raises:
        ValueError: if a surprise has a singular covariance.
    """
    _, A, C, Q, R, _, first, *_ = given
    lead, (O, H) = first.shape[:-2], C.shape[-2:]
    dtype = np.result_type(first, A, C, Q, R)
    V = np.empty((len(A) + 1, *lead, H, H), dtype)
    P, K, S = (np.empty((len(A), *lead, *size), dtype) for size in ((H, H), (H, O), (O, O)))
    V[0] = first
    constant = dtype.kind != "c" and all(matrix.strides[0] == 0 for matrix in (A, C, Q, R))
    for t in range(len(A)):
        P[t] = symmetric(A[t] @ V[t] @ A[t].mT + Q[t])
        if constant and t and at_rest(P[t], P[t - 1]):
            for stack in (P, K, S, V[1:]):
                stack[t:] = stack[t - 1]
            break
        V[t + 1], K[t], S[t] = weigh(P[t], C[t], R[t])
    return V, P, K, S


def at_rest(now, before, tolerance: float = 1e-14) -> bool:
    """Whether a covariance has stopped moving, each entry on the scale of its own two units.

    Args:
        now: P_t, shape (..., H, H).
        before: P_{t-1}.
        tolerance: the change that counts as none.

    Returns:
        Whether no entry moved by more.
    """
    size = np.sqrt(np.abs(np.diagonal(now, axis1=-2, axis2=-1)))
    return bool((np.abs(now - before) <= tolerance * size[..., :, None] * size[..., None, :]).all())


def means(given: Problem, gains) -> tuple:
    """What the filter believes: the half that looks at the outputs.

    Args:
        given: the system and its data.
        gains: K, from :func:`covariances`.

    Returns:
        ``(m, p, e)``: means of z_0..z_T after each update; before it; the surprises.
    """
    _, A, C, _, _, first, _, y, _, drive, seen, real, _ = given
    m = np.empty((len(y) + 1, *first.shape), np.result_type(first, gains, y, drive))
    p, e = np.empty_like(m[1:]), np.empty(y.shape, m.dtype)
    m[0], whole = first, bool(seen.all())
    for t in range(len(y)):
        p[t] = apply(A[t], m[t]) + drive[t]
        e[t] = y[t] - apply(C[t], p[t])
        if not whole:
            e[t][~seen[t]] = 0
        m[t + 1] = p[t] + apply(gains[t], e[t])
        if real is not None:
            m[t + 1] = np.where(real[t], m[t + 1], m[t])
    return m, p, e


def inverse(S) -> np.ndarray:
    """Invert the covariances of the surprises of all steps.

    Args:
        S: shape (T, ..., O, O).

    Returns:
        The inverses.

    Raises:
        ValueError: if one is not positive definite, naming the step.
    """
    try:
        gaussians.check_definite("S", S)
    except ValueError:
        lowest = np.linalg.eigvalsh(np.real(S)).min(axis=-1).reshape(len(S), -1).min(axis=1)
        step = int(np.argmax(lowest <= lowest.clip(0).min())) + 1
        raise ValueError(f"{SINGULAR} at step {step}") from None
    return np.linalg.inv(S)


def log_likelihood(given: Problem, surprises, S, precisions) -> np.ndarray:
    """The sum over the steps of the surprises' log density, :eq:`eq-kalman-likelihood`.

    Args:
        given: the system and its data.
        surprises: e, shape (T, B, O).
        S: their covariances, shape (T, O, O) or (T, B, O, O).
        precisions: their inverses.

    Returns:
        One number for each sequence, shape (B,).
    """
    distance = (surprises * (grouped(precisions) @ surprises[..., None])[..., 0]).sum(axis=-1)
    entries = given.seen.sum(axis=-1).astype(np.real(distance).dtype)
    terms = -0.5 * (distance + gaussians.log_determinant(grouped(S)) + entries * math.log(2 * math.pi))
    return terms.sum(axis=0) if given.real is None else np.where(given.real[:, :, 0], terms, 0).sum(axis=0)


def _divided(S, CP) -> np.ndarray:
    try:
        return np.linalg.solve(S, CP)
    except np.linalg.LinAlgError:
        raise ValueError(SINGULAR) from None
