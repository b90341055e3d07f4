"""Oracles for filters of nonlinear networks: one sequence, plain loops, Jacobians by autograd, sums on a grid.

Nothing here calls the library.
"""

from types import SimpleNamespace

import numpy as np
import torch

FUNCTIONS = {"tanh": torch.tanh, "identity": lambda a: a, "sigmoid": torch.sigmoid}
DENSITY = {"tanh": np.tanh, "identity": lambda a: a, "sigmoid": lambda a: 1 / (1 + np.exp(-a))}


def step_of(matrix, t):
    return matrix[t] if matrix.ndim == 3 else matrix


def extended(params, x, y, seen, functions, lag=False):
    """The extended filter in its textbook form, P - K C P, on the entries that are seen alone.

    Returns means and covariances after each step, the log-likelihood, and of each step what was on the way:
    the prediction p, the Jacobian F of the transition, and on the entries that are seen (keep) the Jacobian H
    of the output, the surprise e, its covariance S and the gain K.
    """
    A, W, C, Q, R, m, P = (torch.as_tensor(part) for part in params)
    g, f = (FUNCTIONS[name] for name in functions)
    means, spreads, steps, total, previous = [], [], [], torch.zeros(()), None
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

        m, step = p, SimpleNamespace(p=p, F=F, keep=keep)
        steps.append(step)
        if len(keep):
            H = torch.autograd.functional.jacobian(look, p)
            S, e = H @ P @ H.T + Rt[keep][:, keep], torch.as_tensor(y[t])[keep] - look(p)
            K = P @ H.T @ torch.linalg.inv(S)
            step.H, step.e, step.S, step.K = H, e, S, K
            m, P = p + K @ e, P - K @ H @ P
            total = total + torch.distributions.MultivariateNormal(torch.zeros_like(e), S).log_prob(e)
        means.append(m), spreads.append(P)
    return (*tuple(np.stack([part.numpy() for part in parts]) for parts in (means, spreads)), float(total), steps)


def extended_smoother(params, x, y, seen, functions):
    """What all looks say of every state of the linearised network: one least squares problem, solved at once.

    Returns means of z_0..z_T and their covariances.
    """
    Q, R, m, P = (torch.as_tensor(part) for part in params[3:])
    means, _, _, steps = extended(params, x, y, seen, functions)
    H = len(m)
    at = lambda t: slice(t * H, (t + 1) * H)  # noqa: E731
    N, b = torch.zeros(2 * (H * (len(y) + 1),), dtype=m.dtype), torch.zeros(H * (len(y) + 1), dtype=m.dtype)

    def add(rows, target, S):  # a Gaussian factor: rows times all states is the target, plus noise of covariance S
        nonlocal N, b
        N, b = N + rows.T @ torch.linalg.solve(S, rows), b + rows.T @ torch.linalg.solve(S, target)

    eye = torch.eye(len(b), dtype=m.dtype)
    add(eye[at(0)], m, P)
    for t, step in enumerate(steps):
        before = m if t == 0 else torch.as_tensor(means[t - 1])
        add(eye[at(t + 1)] - step.F @ eye[at(t)], step.p - step.F @ before, step_of(Q, t))
        if len(step.keep):
            noise = step_of(R, t)[step.keep][:, step.keep]
            add(step.H @ eye[at(t + 1)], step.e + step.H @ step.p, noise)
    cov = torch.linalg.inv(N)
    return (cov @ b).reshape(-1, H).numpy(), np.stack([cov[at(t), at(t)].numpy() for t in range(len(y) + 1)])


def gauss_newton(mean, covariance, C, R, y, f, passes):
    """Gauss and Newton's steps for one Gaussian and one nonlinear look, in information form.

    Returns of each step where it led, the inverse of the curvature there, and the Jacobian it used.
    """
    p, P, C, R, y = (torch.as_tensor(part) for part in (mean, covariance, C, R, y))
    P, R, z, found = torch.linalg.inv(P), torch.linalg.inv(R), p.clone(), []

    def look(z):
        return FUNCTIONS[f](C @ z)

    for _ in range(passes):
        J = torch.autograd.functional.jacobian(look, z)
        N = P + J.T @ R @ J
        z = z + torch.linalg.solve(N, J.T @ R @ (y - look(z)) - P @ (z - p))
        found.append((z.numpy(), torch.linalg.inv(N).numpy(), J.numpy()))
    return found


def crowd(params, x, y, seen, draws, b, functions, threshold):
    """The bootstrap filter of one sequence, one particle after the other, with systematic resampling.

    Returns means, covariances, effective numbers and gains in log-likelihood of each step, and the last crowd.
    """
    A, W, C, Q, R, m, P = params
    g, f = (DENSITY[name] for name in functions)
    N = len(draws.start[b])

    def root(S):
        values, vectors = np.linalg.eigh(S)
        return vectors @ np.diag(np.sqrt(values)) @ vectors.T

    z, w, found = [m + root(P) @ one for one in draws.start[b]], np.full(N, 1 / N), []
    for t in range(len(y)):
        At, Wt, Ct, Qt, Rt = (step_of(matrix, t) for matrix in (A, W, C, Q, R))
        z = [g(At @ one + Wt @ x[t]) + root(Qt) @ push for one, push in zip(z, draws.moves[t, b], strict=True)]
        Rt = Rt[np.ix_(seen[t], seen[t])]
        errors = [(y[t] - f(Ct @ one))[seen[t]] for one in z]
        fits = [np.exp(-0.5 * e @ np.linalg.inv(Rt) @ e) / np.sqrt(np.linalg.det(2 * np.pi * Rt)) for e in errors]
        total = sum(a * fit for a, fit in zip(w, fits, strict=True))
        w = np.array([a * fit / total for a, fit in zip(w, fits, strict=True)])
        mean = sum(a * one for a, one in zip(w, z, strict=True))
        spread = sum(a * np.outer(one - mean, one - mean) for a, one in zip(w, z, strict=True))
        found.append((mean, spread, 1 / (w**2).sum(), np.log(total)))
        if found[-1][2] < threshold * N:
            ends = np.cumsum(w)
            z = [z[int((ends <= (i + draws.uniforms[t, b, 0]) / N).sum())] for i in range(N)]
            w = np.full(N, 1 / N)
    return *(np.array(part) for part in zip(*found, strict=True)), np.array(z), w


def mode(mean, covariance, C, R, y, f):
    """Where the posterior of one Gaussian and one nonlinear look is highest, by Newton's method."""
    p, P, C, R, y = (torch.as_tensor(part) for part in (mean, covariance, C, R, y))

    def cost(z):
        a, b = z - p, y - FUNCTIONS[f](C @ z)
        return 0.5 * (a @ torch.linalg.solve(P, a) + b @ torch.linalg.solve(R, b))

    z = p.clone()
    for _ in range(200):
        slope = torch.autograd.functional.jacobian(cost, z)
        if slope.abs().max() < 1e-10:
            break
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


def learned(theta, blocks, x, y, seen, noise, drift, hidden):
    """A pass of the weights' filter over B sequences of a tanh network, all weights in one row, a loop written out.

    The maps of one step are differentiated by autograd, the influence by their chain rule. Of the covariance
    only the diagonal blocks are kept.

    Args:
        theta: weights, shape (N,): unit by unit [W_x W_h b_h], then output by output [W_y b_y].
        blocks: a covariance for each group.
        hidden: h_0, shape (B, H).

    Returns:
        weights, blocks, states h_T, influences dh_T by the weights of each sequence, and all predictions.
    """
    theta, noise, x, y = (torch.as_tensor(part) for part in (theta, noise, x, y))
    (T, B, O), H, n = y.shape, len(hidden[0]), len(theta)
    cut, ends = n - O * (H + 1), np.cumsum([len(P) for P in blocks])
    parts = [slice(end - len(P), end) for end, P in zip(ends, blocks, strict=True)]
    P, within = torch.zeros(n, n, dtype=theta.dtype), torch.zeros(n, n, dtype=torch.bool)
    for part, block in zip(parts, blocks, strict=True):
        P[part, part], within[part, part] = torch.as_tensor(block), True
    one, jacobian = torch.ones(1, dtype=theta.dtype), torch.autograd.functional.jacobian
    h = [torch.as_tensor(row) for row in hidden]
    X = [torch.zeros(H, n, dtype=theta.dtype)] * B
    predictions = []
    for t in range(T):
        J, guesses = [], []
        for b in range(B):
            move = lambda w, s, b=b: torch.tanh(w[:cut].reshape(H, -1) @ torch.cat([x[t, b], s, one]))  # noqa: B023, E731
            read = lambda w, s: w[cut:].reshape(O, -1) @ torch.cat([s, one])  # noqa: E731
            by_w, by_h = jacobian(move, (theta, h[b]))
            h[b], X[b] = move(theta, h[b]), by_h @ X[b] + by_w
            by_w, by_h = jacobian(read, (theta, h[b]))
            J.append(by_h @ X[b] + by_w), guesses.append(read(theta, h[b]))
        predictions.append(torch.stack(guesses).numpy())
        keep = torch.as_tensor(seen[t]).ravel()
        J, e = torch.cat(J)[keep], (y[t] - torch.stack(guesses)).ravel()[keep]
        R = torch.block_diag(*[noise] * B)[keep][:, keep]
        K = P @ J.T @ torch.linalg.inv(J @ P @ J.T + R)
        theta = theta + K @ e
        P = torch.where(within, P - K @ J @ P, 0) + drift * torch.eye(n, dtype=theta.dtype)
    blocks = [P[part, part].numpy() for part in parts]
    return theta.numpy(), blocks, np.stack(h), np.stack(X), np.stack(predictions)
