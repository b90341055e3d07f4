"""A state-space model and a factorised posterior: the joint density, the evidence lower bound, its gradient.

The system is an ``LDSParams`` without inputs whose matrices do not change; Q and R are positive definite.
z_0 is summed out: the first state has mean A m_0 and covariance A P_0 A^T + Q.
"""

import math
from typing import NamedTuple

import torch

from rnncourse import doors, latent_params, lds_params
from rnncourse.gpu import gaussians, graph, lds_joint
from rnncourse.gpu.gaussians import log_determinant
from rnncourse.latent_params import Diagonal
from rnncourse.lds_params import LDSParams


class Steps(NamedTuple):
    """The two halves of the bound, step by step, in nats.

    Attributes:
        reconstruction: mean of log p(x_t | z_t) over q, shape (T, B).
        kl: mean over z_{t-1} of the divergence of p(z_t | z_{t-1}) from q(z_t), shape (T, B).
    """

    reconstruction: torch.Tensor
    kl: torch.Tensor


class Tape(NamedTuple):
    """What the gradient needs.

    Attributes:
        given: parameters, posterior and outputs, as they were recorded.
        steps: the two halves of the bound.
    """

    given: tuple
    steps: Steps


class Gradients(NamedTuple):
    """Total derivatives of the weighted sum of the terms.

    Attributes:
        params: in the form of the parameters. Of a covariance, the gradient is symmetric.
        posterior: by mean and log variance, each of shape (T, B, H).
        outputs: by x, shape (T, B, O).
    """

    params: LDSParams
    posterior: Diagonal
    outputs: torch.Tensor


def log_joint(params: LDSParams, states, outputs) -> torch.Tensor:
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
    doors.finite("states", states.detach())
    doors.shape("outputs", outputs, (*states.shape[:2], O))
    doors.finite("outputs", outputs.detach())
    A, _, C, Q, R, m_0, _ = params
    prior = gaussians.log_density(states[1:], states[:-1] @ A.T, Q).sum(dim=0)
    first = gaussians.log_density(states[0], A @ m_0, first_covariance(params))
    return first + prior + gaussians.log_density(outputs, states @ C.T, R).sum(dim=0)


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
    given = graph.tracked((params, Diagonal(*q), outputs))
    steps = _steps(*given)
    return graph.returned(steps, params, q, outputs), Tape(given, steps)


def backward(tape: Tape, d_reconstruction=1.0, d_kl=-1.0) -> Gradients:
    """The gradient of the bound, or of a part of it, by autograd.

    Args:
        tape: from :func:`forward`.
        d_reconstruction: the weight of each first half, a number or shape (T, B).
        d_kl: of each second half; zero drops it.

    Returns:
        The gradients.
    """
    total = (d_reconstruction * tape.steps.reconstruction + d_kl * tape.steps.kl).sum()
    return Gradients(*graph.pull(total, torch.ones_like(total), tape.given))


def joint_form(params: LDSParams, q: Diagonal, outputs) -> torch.Tensor:
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
    m, s = (torch.transpose(part, 0, 1).reshape(B, T * H) for part in (m, s))
    P = torch.linalg.inv(whole.covariance[prior, prior])
    away = _square(m - whole.mean[prior], P) + s @ torch.diagonal(P) - torch.log(s).sum(dim=-1)
    kl = 0.5 * (away - T * H - log_determinant(P))
    return forward(params, q, outputs)[0].reconstruction.sum(dim=0) - kl


def one_draw(params: LDSParams, q: Diagonal, outputs, noise) -> torch.Tensor:
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
    z, first = m + torch.sqrt(s) * noise, first_covariance(params)
    fit = gaussians.log_density(outputs, z @ C.T, R)
    kl = _kl(m[0], s[0], A @ m_0, first)
    later = _kl(m[1:], s[1:], z[:-1] @ A.T, Q)
    return fit.sum(dim=0) - kl - later.sum(dim=0)


def first_covariance(params: LDSParams) -> torch.Tensor:
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
    latent_params.check("q", graph.cut(q))
    mean, log_variance = q
    doors.sequences("q.mean", mean, H)
    doors.shape("outputs", outputs, (*mean.shape[:2], O))
    doors.finite("outputs", outputs.detach())
    return mean, torch.exp(log_variance)


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
    gaussians.check_covariance("initial_covariance", params.initial_covariance.detach())
    return H, O


def _steps(params: LDSParams, q: Diagonal, outputs) -> Steps:
    m, s = entered(params, q, outputs)
    A, _, C, Q, R, m_0, _ = params
    first, R_inv, P = first_covariance(params), torch.linalg.inv(R), torch.linalg.inv(Q)
    e = outputs - m @ C.T
    spread = s @ torch.diagonal(C.T @ R_inv @ C)
    fit = -0.5 * (_square(e, R_inv) + spread + log_determinant(2 * math.pi * R))
    start = _kl(m[:1], s[:1], A @ m_0, first)
    later = _kl(m[1:], s[1:], m[:-1] @ A.T, Q) + 0.5 * (s[:-1] @ torch.diagonal(A.T @ P @ A))
    return Steps(fit, torch.cat([start, later]))


def _square(rows, P) -> torch.Tensor:
    return ((rows @ P) * rows).sum(dim=-1)


def _kl(mean, variances, centre, covariance) -> torch.Tensor:
    """KL of N(centre, covariance) from N(mean, diag(variances)), shape (...)."""
    P = torch.linalg.inv(covariance)
    size = _square(mean - centre, P) + variances @ torch.diagonal(P) - torch.log(variances).sum(dim=-1)
    return 0.5 * (size + log_determinant(covariance) - mean.shape[-1])
