"""Oracles for linear systems: one sequence as one Gaussian, made from its noises by one huge matrix.

Nothing here calls the library; only its NamedTuple is used, to carry numbers. The state at every step
is a matrix times (z_0, w_1, ..., w_T), found by running the recursion on unit vectors; an output adds v_t.
There is no recursion over covariances, no gain and no mask: what is not seen is left out of the vector.
Written in torch, so that autograd can differentiate it.
"""

from types import SimpleNamespace

import numpy as np
import torch

from rnncourse.lds_params import LDSParams


def system(seed=0, H=3, O=2, D=2, radius=0.9, offset=1.0):
    """A random system; nothing in it is zero, one or diagonal."""
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((H, H))
    A *= radius / np.abs(np.linalg.eigvals(A)).max()

    def covariance(n):
        root = rng.standard_normal((n, n))
        return root @ root.T / n + 0.2 * np.eye(n)

    W, C = rng.standard_normal((H, D)), rng.standard_normal((O, H))
    return LDSParams(A, W, C, covariance(H), covariance(O), offset * rng.standard_normal(H), covariance(H))


def problem(seed=0, T=6, B=3, H=3, O=2, D=2, **options):
    """A system, inputs, and outputs of about the right size that need not come from it."""
    rng = np.random.default_rng(seed + 1000)
    params = system(seed, H, O, D, **options)
    x, y = rng.standard_normal((T, B, D)), 2 * rng.standard_normal((T, B, O))
    return SimpleNamespace(params=params, x=x, y=y, rng=rng, T=T, B=B, H=H, O=O, D=D)


def varying(p):
    """The same problem with matrices that change from step to step."""

    def spread(matrix):
        scale = 1 + 0.3 * p.rng.standard_normal((p.T, 1, 1)) ** 2
        return matrix * scale

    p.params = p.params._replace(**{name: spread(getattr(p.params, name)) for name in LDSParams._fields[:5]})
    return p


def joint(params, x):
    """Mean and covariance of (z_0, ..., z_T) and of (y_1, ..., y_T) with them, as torch tensors."""
    A, W, C, Q, R, m, P = (torch.as_tensor(part) for part in params)
    x = torch.as_tensor(x)
    T, H = len(x), len(m)
    O = C.shape[-2]
    at = lambda M, t: M[t] if M.ndim == 3 else M  # noqa: E731
    blocks = [torch.eye(H, dtype=m.dtype)] + [torch.zeros(H, H, dtype=m.dtype)] * T
    rows, means = [torch.cat(blocks, 1)], [m]
    for t in range(T):
        unit = torch.zeros(H, (T + 1) * H, dtype=m.dtype)
        unit[:, (t + 1) * H : (t + 2) * H] = torch.eye(H, dtype=m.dtype)
        rows.append(at(A, t) @ rows[-1] + unit)
        means.append(at(A, t) @ means[-1] + at(W, t) @ x[t])
    Z = torch.cat(rows)
    noise = torch.block_diag(P, *(at(Q, t) for t in range(T)))
    look = torch.block_diag(*(at(C, t) for t in range(T)))
    look = torch.cat([torch.zeros(T * O, H, dtype=m.dtype), look], 1)
    S_zz = Z @ noise @ Z.T
    S_yz = look @ S_zz
    S_yy = S_yz @ look.T + torch.block_diag(*(at(R, t) for t in range(T)))
    mean = torch.cat(means)
    return mean, look @ mean, S_zz, S_yz, S_yy


def given(params, x, y, seen):
    """Moments of all states given the outputs that were seen, and the log density of those.

    Returns:
        means (T + 1, H), the dense covariance ((T + 1) H, (T + 1) H), and a number.
    """
    mean, out, S_zz, S_yz, S_yy = joint(params, x)
    y, pick = torch.as_tensor(y).reshape(-1), torch.as_tensor(np.asarray(seen).reshape(-1))
    H = params.initial_mean.shape[0]
    if not pick.any():
        return mean.reshape(-1, H), S_zz, mean.sum() * 0
    error, S, S_z = (y - out)[pick], S_yy[pick][:, pick], S_yz[pick]
    solved = torch.linalg.solve(S, torch.cat([error[:, None], S_z], 1))
    log = -0.5 * (error @ solved[:, 0] + torch.linalg.slogdet(S)[1] + len(error) * np.log(2 * np.pi))
    return (mean + S_z.T @ solved[:, 0]).reshape(-1, H), S_zz - S_z.T @ solved[:, 1:], log


def filtered(params, x, y, seen, t):
    """Mean and covariance of z_t given what was seen up to step t."""
    seen = np.asarray(seen).copy()
    seen[t:] = False
    means, S, _ = given(params, x, y, seen)
    H = means.shape[1]
    return means[t].numpy(), S[t * H : (t + 1) * H, t * H : (t + 1) * H].numpy()


def smoothed(params, x, y, seen):
    """Means (T + 1, H), covariances (T + 1, H, H), and those of z_t with z_{t-1} (T, H, H)."""
    means, S, _ = given(params, x, y, seen)
    T, H = len(means) - 1, means.shape[1]
    S = S.reshape(T + 1, H, T + 1, H).numpy()
    own = np.stack([S[t, :, t] for t in range(T + 1)])
    return means.numpy(), own, np.stack([S[t + 1, :, t] for t in range(T)])


def likelihood_gradients(params, x, y, seen, weights):
    """The gradient of the weighted log-likelihoods of a batch by everything, covariances kept symmetric."""
    leaves = [torch.tensor(part, requires_grad=True) for part in params]
    halves = lambda S: 0.5 * (S + S.transpose(-1, -2))  # noqa: E731
    A, W, C, Q, R, m, P = leaves
    used = LDSParams(A, W, C, halves(Q), halves(R), m, halves(P))
    x, y = (torch.tensor(part, requires_grad=True) for part in (x, y))
    total = sum(weights[b] * given(used, x[:, b], y[:, b], seen[:, b])[2] for b in range(y.shape[1]))
    found = torch.autograd.grad(total, [*leaves, x, y], allow_unused=True, materialize_grads=True)
    *d_params, d_x, d_y = (part.numpy() for part in found)
    return LDSParams(*d_params), d_x, d_y
