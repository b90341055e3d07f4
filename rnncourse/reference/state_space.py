"""A state-space model and a factorised posterior: the joint density, the evidence lower bound, its gradient.

The system is an ``LDSParams`` without inputs whose matrices do not change; Q and R are positive definite.
z_0 is summed out: the first state has mean A m_0 and covariance A P_0 A^T + Q.
"""

from typing import NamedTuple

import numpy as np

from rnncourse import doors, latent_params, lds_params
from rnncourse.latent_params import Diagonal
from rnncourse.lds_params import LDSParams
from rnncourse.reference import gaussians, lds_joint
from rnncourse.reference.gaussians import log_determinant

# The first step; the later ones; the later ones with the states before them.
_PAIRS = ((slice(1), slice(1)), (slice(1, None), slice(1, None)), (slice(1, None), slice(-1)))


class Steps(NamedTuple):
    """The two halves of the bound, step by step, in nats.

    Attributes:
        reconstruction: mean of log p(x_t | z_t) over q, shape (T, B).
        kl: mean over z_{t-1} of the divergence of p(z_t | z_{t-1}) from q(z_t), shape (T, B).
    """

    reconstruction: np.ndarray
    kl: np.ndarray


class Tape(NamedTuple):
    """What the gradient needs.

    Attributes:
        params: the system.
        variances: s_t, of q, shape (T, B, H).
        means: m_t, of q, shape (T, B, H).
        errors: x_t - C m_t, shape (T, B, O).
        moves: m_t less what the prior expects after m_{t-1}, shape (T, B, H).
        precisions: inverses of the prior's covariances, of the first step and of the others, shape (2, H, H).
    """

    params: LDSParams
    variances: np.ndarray
    means: np.ndarray
    errors: np.ndarray
    moves: np.ndarray
    precisions: np.ndarray


class Gradients(NamedTuple):
    """Total derivatives of the weighted sum of the terms.

    Attributes:
        params: in the form of the parameters. Of a covariance, the gradient is symmetric.
        posterior: by mean and log variance, each of shape (T, B, H).
        outputs: by x, shape (T, B, O).
    """

    params: LDSParams
    posterior: Diagonal
    outputs: np.ndarray


def log_joint(params: LDSParams, states, outputs) -> np.ndarray:
    """log p(z_1..z_T, x_1..x_T), prior dynamics plus emission, :eq:`eq-ssm-joint`.

    Args:
        params: the system.
        states: z, shape (T, B, H).
        outputs: x, shape (T, B, O).

    Returns:
        One number for each sequence, shape (B,).

    Raises:
        ValueError: if a shape does not fit, an entry is not finite, or a covariance is singular.
    """
    H, O = checked(params)
    doors.sequences("states", states, H)
    doors.finite("states", states)
    doors.shape("outputs", outputs, (*states.shape[:2], O))
    doors.finite("outputs", outputs)
    A, _, C, Q, R, m_0, _ = params
    prior = gaussians.log_density(states[1:], states[:-1] @ A.T, Q).sum(axis=0)
    first = gaussians.log_density(states[0], A @ m_0, first_covariance(params))
    return first + prior + gaussians.log_density(outputs, states @ C.T, R).sum(axis=0)


def forward(params: LDSParams, q: Diagonal, outputs):
    """The bound in its per-step form, every mean over q taken exactly, :eq:`eq-ssm-steps`.

    Args:
        params: the system.
        q: mean and log variance of every state, each of shape (T, B, H).
        outputs: x, shape (T, B, O).

    Returns:
        ``(steps, tape)``: the two halves of the bound, and what :func:`backward` needs.

    Raises:
        ValueError: if a shape does not fit, an entry is not finite, or a covariance is singular.
    """
    m, s = entered(params, q, outputs)
    A, _, C, Q, R, m_0, _ = params
    first, R_inv = first_covariance(params), np.linalg.inv(R)
    e, d = outputs - m @ C.T, m.copy()
    d[1:] -= m[:-1] @ A.T
    d[0] -= A @ m_0
    P = np.stack([np.linalg.inv(first), np.linalg.inv(Q)])
    spread = s @ np.diagonal(C.T @ R_inv @ C)
    fit = -0.5 * (_square(e, R_inv) + spread + log_determinant(2 * np.pi * R))
    size = np.empty(s.shape[:2], s.dtype)
    size[0] = _square(d[0], P[0]) + s[0] @ np.diagonal(P[0]) + log_determinant(first)
    size[1:] = _square(d[1:], P[1]) + s[1:] @ np.diagonal(P[1]) + log_determinant(Q)
    size[1:] += s[:-1] @ np.diagonal(A.T @ P[1] @ A)
    kl = 0.5 * (size - q.log_variance.sum(axis=-1) - s.shape[-1])
    return Steps(fit, kl), Tape(params, s, m, e, d, P)


def backward(tape: Tape, d_reconstruction=1.0, d_kl=-1.0) -> Gradients:
    """The gradient of the bound, or of a part of it, :eq:`eq-ssm-gradient-posterior`, :eq:`eq-ssm-gradient-prior`.

    Args:
        tape: from :func:`forward`.
        d_reconstruction: the weight of each first half, a number or shape (T, B).
        d_kl: of each second half; zero drops it.

    Returns:
        The gradients.
    """
    g, k = (
        np.broadcast_to(np.asarray(w, tape.means.dtype), tape.means.shape[:2])[..., None]
        for w in (d_reconstruction, d_kl)
    )
    d_C, d_R, by_fit, narrow_fit, d_x = pull_reconstruction(tape, g)
    d_A, d_Q, d_m_0, d_P_0, by_prior, narrow_prior = pull_divergence(tape, k)
    d_W = np.zeros_like(tape.params.input_weights)
    by_params = LDSParams(d_A, d_W, d_C, d_Q, d_R, d_m_0, d_P_0)
    by_q = Diagonal(by_fit + by_prior, tape.variances * (narrow_fit + narrow_prior))
    return Gradients(by_params, by_q, d_x)


def pull_reconstruction(tape: Tape, g) -> tuple:
    """The way back through the first halves.

    Args:
        tape: from :func:`forward`.
        g: the weight of each, shape (T, B, 1).

    Returns:
        Gradients by C and R, by the means and variances of q, shape (T, B, H), and by x.
    """
    params, s, m, e, _, _ = tape
    C, R_inv = params.emission, np.linalg.inv(params.output_noise)
    shut, r = R_inv @ C, e @ R_inv
    spread = shut * (g * s).sum(axis=(0, 1))
    d_C = _outer(g * r, m) - spread
    d_R = -0.5 * (g.sum() * R_inv - _outer(g * r, r) - spread @ shut.T)
    return d_C, d_R, g * (r @ C), -0.5 * g * np.diagonal(C.T @ shut), -g * r


def pull_divergence(tape: Tape, k) -> tuple:
    """The way back through the second halves.

    Args:
        tape: from :func:`forward`.
        k: the weight of each, shape (T, B, 1).

    Returns:
        Gradients by A, Q, m_0 and P_0, and by the means and variances of q, shape (T, B, H).
    """
    params, s, m, _, d, (P_1, P) = tape
    A, m_0, P_0 = params.transition, params.initial_mean, params.initial_covariance
    u = np.concatenate([d[:1] @ P_1, d[1:] @ P])
    by_mean, by_variance = k * u, 0.5 * k * (np.diagonal(P) - 1 / s)
    by_variance[0] += 0.5 * k[0] * np.diagonal(P_1 - P)
    by_mean[:-1] -= k[1:] * (u[1:] @ A)
    by_variance[:-1] += 0.5 * k[1:] * np.diagonal(A.T @ P @ A)
    start, here, before = ((k[i] * s[j]).sum(axis=(0, 1)) for i, j in _PAIRS)
    first = _divergence(k[:1], u[:1], P_1, np.diag(start))
    later = _divergence(k[1:], u[1:], P, np.diag(here) + (A * before) @ A.T)
    d_A = P @ (A * before) - _outer(k[1:] * u[1:], m[:-1])
    d_A = d_A + 2 * first @ A @ P_0 - np.outer((k[0] * u[0]).sum(axis=0), m_0)
    return d_A, first + later, -A.T @ (k[0] * u[0]).sum(axis=0), A.T @ first @ A, by_mean, by_variance


def joint_form(params: LDSParams, q: Diagonal, outputs) -> np.ndarray:
    """The bound in its joint form, with one divergence between two Gaussians of T H entries, :eq:`eq-ssm-elbo`.

    Args:
        params: the system.
        q: mean and log variance of every state, each of shape (T, B, H).
        outputs: x, shape (T, B, O).

    Returns:
        One number for each sequence, shape (B,).

    Raises:
        ValueError: as :func:`forward`.
    """
    m, s = entered(params, q, outputs)
    T, B, H = m.shape
    whole = lds_joint.dense(params, T)
    prior = slice(H, (T + 1) * H)
    m, s = (np.swapaxes(part, 0, 1).reshape(B, T * H) for part in (m, s))
    P = np.linalg.inv(whole.covariance[prior, prior])
    away = _square(m - whole.mean[prior], P) + s @ np.diagonal(P) - np.log(s).sum(axis=-1)
    kl = 0.5 * (away - T * H - log_determinant(P))
    return forward(params, q, outputs)[0].reconstruction.sum(axis=0) - kl


def one_draw(params: LDSParams, q: Diagonal, outputs, noise) -> np.ndarray:
    """The bound estimated from one draw of all states, :eq:`eq-ssm-draw`: each divergence starts from the draw before.

    Args:
        params: the system.
        q: mean and log variance of every state, each of shape (T, B, H).
        outputs: x, shape (T, B, O).
        noise: standard normal, shape (T, B, H).

    Returns:
        One number for each sequence, shape (B,).

    Raises:
        ValueError: as :func:`forward`, or if the noise does not fit.
    """
    m, s = entered(params, q, outputs)
    doors.shape("noise", noise, m.shape)
    A, _, C, Q, R, m_0, _ = params
    z, first = m + np.sqrt(s) * noise, first_covariance(params)
    fit = gaussians.log_density(outputs, z @ C.T, R)
    kl = _kl(m[0], s[0], A @ m_0, first)
    later = _kl(m[1:], s[1:], z[:-1] @ A.T, Q)
    return fit.sum(axis=0) - kl - later.sum(axis=0)


def first_covariance(params: LDSParams) -> np.ndarray:
    """The prior's covariance of z_1, A P_0 A^T + Q.

    Args:
        params: the system.

    Returns:
        The matrix, shape (H, H).
    """
    A = params.transition
    return A @ params.initial_covariance @ A.T + params.state_noise


def entered(params: LDSParams, q: Diagonal, outputs) -> tuple:
    """Check everything at the door.

    Args:
        params: the system.
        q: mean and log variance of every state, each of shape (T, B, H).
        outputs: x, shape (T, B, O).

    Returns:
        ``(means, variances)`` of q.

    Raises:
        ValueError: if a shape does not fit, an entry is not finite, or a covariance is singular.
    """
    H, O = checked(params)
    latent_params.check("q", q)
    mean, log_variance = q
    doors.sequences("q.mean", mean, H)
    doors.shape("outputs", outputs, (*mean.shape[:2], O))
    doors.finite("outputs", outputs)
    return mean, np.exp(log_variance)


def checked(params: LDSParams) -> tuple[int, int]:
    """Check that a system has no inputs, does not change, and that both noises are positive definite.

    Args:
        params: the system.

    Returns:
        H and O.

    Raises:
        ValueError: if it has inputs, changes with time, or Q or R is singular.
    """
    H, _, O = lds_params.check(params, 1, 1)
    doors.shape("input_weights", params.input_weights, (H, 0))
    doors.shape("transition", params.transition, (H, H))
    doors.shape("emission", params.emission, (O, H))
    for name in ("state_noise", "output_noise"):
        gaussians.check_definite(name, getattr(params, name))
    gaussians.check_covariance("initial_covariance", params.initial_covariance)
    return H, O


def _square(rows, P) -> np.ndarray:
    return ((rows @ P) * rows).sum(axis=-1)


def _outer(rows, columns) -> np.ndarray:
    return np.einsum("tbi,tbj->ij", rows, columns)


def _divergence(k, u, P, spread) -> np.ndarray:
    """The gradient of the divergences by the covariance of the prior, symmetric."""
    return 0.5 * (k.sum() * P - _outer(k * u, u) - P @ spread @ P)


def _kl(mean, variances, centre, covariance) -> np.ndarray:
    """KL of N(centre, covariance) from N(mean, diag(variances)), shape (...)."""
    P = np.linalg.inv(covariance)
    size = _square(mean - centre, P) + variances @ np.diagonal(P) - np.log(variances).sum(axis=-1)
    return 0.5 * (size + log_determinant(covariance) - mean.shape[-1])
