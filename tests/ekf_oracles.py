"""Oracles for filters of nonlinear networks: one sequence, plain loops, Jacobians by autograd, sums on a grid.

Nothing here calls the library.
"""

import numpy as np
import torch

FUNCTIONS = {"tanh": torch.tanh, "identity": lambda a: a, "sigmoid": torch.sigmoid}
DENSITY = {"tanh": np.tanh, "identity": lambda a: a, "sigmoid": lambda a: 1 / (1 + np.exp(-a))}


def step_of(matrix, t):
    return matrix[t] if matrix.ndim == 3 else matrix


def extended(params, x, y, seen, functions, lag=False):
    """The extended filter in its textbook form, P - K C P, on the entries that are seen alone.

    Returns means and covariances after each step, the log-likelihood, and the Jacobians of the transition.
    """
    A, W, C, Q, R, m, P = (torch.as_tensor(part) for part in params)
    g, f = (FUNCTIONS[name] for name in functions)
    means, spreads, jacobians, total, previous = [], [], [], torch.zeros(()), None
    for t in range(len(y)):
        At, Wt, Ct, Qt, Rt = (step_of(matrix, t) for matrix in (A, W, C, Q, R))

        def move(z, At=At, Wt=Wt, t=t):
            return g(At @ z + Wt @ torch.as_tensor(x[t]))

        here = torch.autograd.functional.jacobian(move, m)
        F = previous if lag and previous is not None else here
        previous, p, P = here, move(m), F @ P @ F.T + Qt
        keep = torch.as_tensor(np.flatnonzero(seen[t]))

        def look(z, Ct=Ct, keep=keep):
            return f(Ct @ z)[keep]

        m = p
        if len(keep):
            H = torch.autograd.functional.jacobian(look, p)
            S, e = H @ P @ H.T + Rt[keep][:, keep], torch.as_tensor(y[t])[keep] - look(p)
            K = P @ H.T @ torch.linalg.inv(S)
            m, P = p + K @ e, P - K @ H @ P
            total = total + torch.distributions.MultivariateNormal(torch.zeros_like(e), S).log_prob(e)
        means.append(m), spreads.append(P), jacobians.append(F)
    return (*tuple(np.stack([part.numpy() for part in parts]) for parts in (means, spreads)), float(total), jacobians)


def smoothed(params, x, y, functions):
    """The extended smoother by brute force: one Gaussian of all states and outputs along the lines, conditioned.

    Returns means and covariances of z_0..z_T given all outputs.
    """
    A, W, C, Q, R, m0, P0 = params
    means, _, _, jacobians = extended(params, x, y, np.ones(y.shape, bool), functions)
    T, H, O = len(y), len(m0), len(R)
    g, f = (DENSITY[name] for name in functions)
    read = lambda z: FUNCTIONS[functions[1]](torch.from_numpy(C) @ z)  # noqa: E731
    at = np.vstack([m0[None], means])
    mean, covariance = [m0], np.zeros(((T + 1) * H, (T + 1) * H))
    covariance[:H, :H] = P0
    look, seen = np.zeros((T * O, (T + 1) * H)), np.zeros(T * O)
    for t, F in enumerate(np.asarray(J) for J in jacobians):
        old, new = slice(t * H, (t + 1) * H), slice((t + 1) * H, (t + 2) * H)
        p = g(A @ at[t] + W @ x[t])
        mean.append(p + F @ (mean[t] - at[t]))  # the line, with its constant
        covariance[new, : (t + 1) * H] = F @ covariance[old, : (t + 1) * H]
        covariance[: (t + 1) * H, new] = covariance[new, : (t + 1) * H].T
        covariance[new, new] = F @ covariance[old, old] @ F.T + Q
        G = torch.autograd.functional.jacobian(read, torch.from_numpy(p)).numpy()
        look[t * O : (t + 1) * O, new] = G
        seen[t * O : (t + 1) * O] = f(C @ p) - G @ p
    mean = np.concatenate(mean)
    S = look @ covariance @ look.T + np.kron(np.eye(T), R)
    K = np.linalg.solve(S, look @ covariance).T
    mean, covariance = mean + K @ (y.ravel() - seen - look @ mean), covariance - K @ look @ covariance
    blocks = [covariance[k : k + H, k : k + H] for k in range(0, (T + 1) * H, H)]
    return mean.reshape(T + 1, H), np.stack(blocks)


def mode(mean, covariance, C, R, y, f):
    """Where the posterior of one Gaussian and one nonlinear look is highest, by Newton's method."""
    p, P, C, R, y = (torch.as_tensor(part) for part in (mean, covariance, C, R, y))

    def cost(z):
        a, b = z - p, y - FUNCTIONS[f](C @ z)
        return 0.5 * (a @ torch.linalg.solve(P, a) + b @ torch.linalg.solve(R, b))

    z = p.clone()
    for _ in range(200):
        slope = torch.autograd.functional.jacobian(cost, z)
        step = torch.linalg.solve(torch.autograd.functional.hessian(cost, z), slope)
        size = 1.0
        while cost(z - size * step) > cost(z) and size > 1e-8:
            size /= 2
        z = z - size * step
    assert slope.abs().max() < 1e-8
    return z.numpy()


def on_a_grid(a, c, q, r, mean, spread, y, functions, drive=None, reach=8.0, points=4001):
    """The exact filter of a network with one state and one output: densities as sums over a grid.

    Returns mean and variance after each step, the log-likelihood, the grid, and the last density.
    """
    g, f = (DENSITY[name] for name in functions)
    z = np.linspace(-reach, reach, points)
    h = z[1] - z[0]

    def normal(x, m, v):
        return np.exp(-0.5 * (x - m) ** 2 / v) / np.sqrt(2 * np.pi * v)

    drive = np.zeros(len(y)) if drive is None else drive
    density, total, found = normal(z, mean, spread), 0.0, []
    for t in range(len(y)):
        density = h * normal(z[:, None], g(a * z + drive[t])[None, :], q) @ density
        if np.isfinite(y[t]):
            density = density * normal(y[t], f(c * z), r)
        size = h * density.sum()
        total, density = total + np.log(size), density / size
        m = h * (z * density).sum()
        found.append((m, h * ((z - m) ** 2 * density).sum()))
    return *np.array(found).T, total, z, density
