"""The exact posterior as a chain, q(z_t | z_{t-1}, x_t..x_T): read backwards, draw forwards."""

from typing import NamedTuple

import numpy as np

from rnncourse import doors
from rnncourse.lds_params import LDSParams
from rnncourse.reference import gaussians, state_space
from rnncourse.reference.gaussians import symmetric


class Chain(NamedTuple):
    """A Gaussian chain: given z_{t-1}, z_t has mean F_t z_{t-1} + b_t and covariance G_t.

    Attributes:
        matrices: F_t, shape (T, H, H); that of the first step is zero.
        offsets: b_t, shape (T, B, H).
        covariances: G_t, shape (T, H, H).
    """

    matrices: np.ndarray
    offsets: np.ndarray
    covariances: np.ndarray


def forward(params: LDSParams, outputs) -> Chain:
    """Read the outputs from the last to the first, :eq:`eq-backward-reader`, and make the chain, :eq:`eq-structured`.

    Args:
        params: the system.
        outputs: x, shape (T, B, O).

    Returns:
        The exact posterior.

    Raises:
        ValueError: if a shape does not fit, an entry is not finite, or a noise is singular.
    """
    H, O = state_space.checked(params)
    doors.sequences("outputs", outputs, O)
    doors.finite("outputs", outputs)
    A, _, C, Q, R, m_0, _ = params
    look, P = np.linalg.solve(R, C).T, np.linalg.inv(Q)
    bend, h = np.zeros((H, H), A.dtype), np.zeros((outputs.shape[1], H), A.dtype)
    parts = []
    for t in reversed(range(len(outputs))):
        bend, h = bend + look @ C, h + outputs[t] @ look.T
        prior = P if t else np.linalg.inv(state_space.first_covariance(params))
        G = symmetric(np.linalg.inv(prior + bend))
        from_before = prior @ A if t else np.zeros_like(A)
        start = 0 if t else prior @ A @ m_0
        parts.append((G @ from_before, (h + start) @ G, G))
        bend, h = symmetric(A.T @ (P - P @ G @ P) @ A), h @ (G @ P @ A)
    return Chain(*map(np.stack, zip(*parts[::-1], strict=True)))


def sample(chain: Chain, noise) -> np.ndarray:
    """Draw all states of each sequence, from the first to the last.

    Args:
        chain: from :func:`forward`.
        noise: standard normal, shape (T, B, H).

    Returns:
        z, shape (T, B, H).

    Raises:
        ValueError: if the noise does not fit.
    """
    F, b, G = chain
    doors.shape("noise", noise, b.shape)
    roots, z, drawn = np.linalg.cholesky(G), np.zeros_like(b[0]), []
    for t in range(len(b)):
        z = z @ F[t].T + b[t] + noise[t] @ roots[t].T
        drawn.append(z)
    return np.stack(drawn)


def log_density(chain: Chain, states) -> np.ndarray:
    """log q(z_1..z_T | x_1..x_T).

    Args:
        chain: from :func:`forward`.
        states: z, shape (T, B, H).

    Returns:
        One number for each sequence, shape (B,).

    Raises:
        ValueError: if the states do not fit.
    """
    F, b, G = chain
    doors.shape("states", states, b.shape)
    before = np.concatenate([np.zeros_like(states[:1]), states[:-1]])
    return gaussians.log_density(states, before @ F.mT + b, G[:, None]).sum(axis=0)
