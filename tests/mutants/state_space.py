"""Exercise 14-state-space-vae: what is graded, mutants of its solution, and rewrites that are as right."""

POINTS = 20
GRADED = ["test-bound", "test-slopes", "test-draw", "test-best", "test-chain"]
WAITING = []

MUTANTS = {
    ("two-halves", "test-bound"): [
        (
            "        if t:\n            kl += np.diagonal(A.T @ P @ A) @ var[t - 1]\n",
            "",
            "did you put the previous mean",
        ),
        ("k.append(0.5 * kl)", "k.append(0.5 * kl if t else 0.0)", "did you forget the prior of the first step?"),
        ("k.append(0.5 * kl)", "k.append(-0.5 * kl)", "is the sign of the divergence wrong?"),
        ("        fit += np.diagonal(C.T @ R_inv @ C) @ var[t]\n", "", "did you forget the trace"),
        ("d = mu[t] - A @ before", "d = mu[t]", "a prior of mean zero?"),
        (
            "        r.append(-0.5 * fit)",
            """        kl = np.sum(d**2 / var[t]) + np.sum(np.diagonal(Q) / var[t])
        kl += np.log(var[t]).sum() - np.linalg.slogdet(Q)[1] - H
        r.append(-0.5 * fit)""",
            "is the divergence the other way round?",
        ),
        ("np.array(r), np.array(k)", "np.array(r) - np.array(k)", "expected 2 arrays"),
    ],
    ("gradients", "test-slopes"): [
        ("return by_A, by_mu", "return 0 * A, by_mu", "did you stop the gradient at the prior?"),
        ("            by_A -= P @ A @ np.diag(var[t - 1])\n", "", "as exactly known?"),
        ("            by_mu[t - 1] += A.T @ u\n", "", "what the next step is compared with?"),
        ("by_A += np.outer(u, before)", "by_A += np.outer(u, before) * (t > 0)", "did you forget the first step"),
        ("return by_A, by_mu", "return -by_A, -by_mu", "is the sign wrong?"),
        ("np.outer(u, before)", "np.outer(before, u)", "by_A is off"),
    ],
    ("one-draw", "test-draw"): [
        ("before = z[t - 1] if t", "before = mu[t - 1] if t", "the previous mean instead of the previous draw?"),
        ("np.sqrt(var) * noise", "var * noise", "by the variance?"),
        ("total -= 0.5 * kl", "total -= 0.5 * kl * (t > 0)", "did you forget the prior of the first step?"),
        ("total -= 0.5 * kl", "total += 0.5 * kl", "is the sign of the divergence wrong?"),
    ],
    ("best-product", "test-best"): [
        ("1 / np.diagonal(Lambda)", "np.diagonal(np.linalg.inv(Lambda))", "The best ones are narrower."),
        ("return variances, W", "return variances, W_star * seen", "did you only put zeros into W*?"),
        ("return variances, W", "return variances, W_star", "did you leave the zeros out of account?"),
        (
            "i, j = np.nonzero(seen)",
            "H = 3\n    i, j = np.nonzero(np.concatenate([0 * seen[:H], seen[:-H]]))",
            "did you hide the present frame?",
        ),
        (
            "    i, j = np.nonzero(seen)\n",
            "    i, j = np.nonzero(np.arange(seen.shape[1]) < seen.sum(axis=1)[:, None])\n",
            "did you count what may be seen",
        ),
        ("np.nonzero(seen)", "np.nonzero(np.logical_or.accumulate(seen, axis=0))", "W is off"),
        (
            "return variances, W",
            """for row, may in enumerate(seen):
        (j,) = np.nonzero(may)
        W[row, j] = np.linalg.solve(S[np.ix_(j, j)], (W_star @ S)[row, j])
    return variances, W""",
            "is this what is known of each state by itself?",
        ),
    ],
    ("exact-chain", "test-chain"): [
        ("look @ x[t]", "look @ x[T - 1 - t]", "from the first to the last?"),
        ("            b[t] += G[t] @ P @ A @ m_0", "            pass", "where the walk starts"),
        (
            "            b[t] += G[t] @ P @ A @ m_0",
            "            F[t] = G[t] @ P @ A",
            "let F_1 be zero and put what m_0 says into b_1",
        ),
        ("        Omega = Omega + look @ C\n", "", "what the present frame adds to Omega?"),
        ("eta = eta + look @ x[t]", "eta = eta + look @ x[t] * (t < T - 1)", "b is off"),
        ("return F, b, G", "return F, b", "expected 3 arrays"),
    ],
}

REWRITES = {
    ("two-halves", "test-bound"): """
def two_halves(A, C, Q, R, m_0, mu, var, x):
    before = np.vstack([m_0, mu[:-1]])
    spread = np.vstack([np.zeros(len(m_0)), var[:-1]])
    e, d = x - mu @ C.T, mu - before @ A.T
    r, k = np.empty(len(x)), np.empty(len(x))
    for t in range(len(x)):
        S = np.outer(e[t], e[t]) + C @ np.diag(var[t]) @ C.T
        r[t] = -0.5 * (np.trace(np.linalg.solve(R, S)) + np.log(np.linalg.det(2 * np.pi * R)))
        M = np.outer(d[t], d[t]) + np.diag(var[t]) + A @ np.diag(spread[t]) @ A.T
        k[t] = 0.5 * (np.trace(np.linalg.solve(Q, M)) + np.log(np.linalg.det(Q) / var[t].prod()) - len(A))
    return [r, k]
""",
    ("gradients", "test-slopes"): """
def gradients(A, C, Q, R, m_0, mu, var, x):
    before = np.vstack([m_0, mu[:-1]])
    u = np.linalg.solve(Q, (mu - before @ A.T).T).T
    by_mu = (x - mu @ C.T) @ np.linalg.solve(R, C) - u
    by_mu[:-1] = by_mu[:-1] + u[1:] @ A
    return u.T @ before - np.linalg.solve(Q, A * var[:-1].sum(axis=0)), by_mu
""",
    ("one-draw", "test-draw"): """
def one_draw(A, C, Q, R, m_0, mu, var, x, noise):
    z = mu + var**0.5 * noise
    e, d = x - z @ C.T, mu - np.vstack([m_0, z[:-1]]) @ A.T
    T, H = mu.shape
    fit = np.sum(e * np.linalg.solve(R, e.T).T) + T * np.linalg.slogdet(2 * np.pi * R)[1]
    kl = np.sum(d * np.linalg.solve(Q, d.T).T) + np.sum(var * np.diag(np.linalg.inv(Q))) - np.log(var).sum()
    return np.array(-0.5 * (fit + kl + T * (np.log(np.linalg.det(Q)) - H)))
""",
    ("best-product", "test-best"): """
def best_product(Lambda, W_star, S, seen):
    mask = seen.ravel()
    both = np.kron(Lambda, S)
    W = np.zeros(mask.size)
    W[mask] = np.linalg.solve(both[mask][:, mask], (both @ W_star.ravel())[mask])
    return np.diag(Lambda) ** -1.0, W.reshape(seen.shape)
""",
    ("exact-chain", "test-chain"): """
def exact_chain(A, C, Q, R, m_0, x):
    P, Omega, eta, links = np.linalg.inv(Q), 0, 0, []
    for row in x[::-1]:
        Omega, eta = Omega + C.T @ np.linalg.solve(R, C), eta + C.T @ np.linalg.solve(R, row)
        G = np.linalg.inv(P + Omega)
        links.insert(0, [G @ P @ A, G @ eta, G])
        back = A.T @ P @ G
        Omega, eta = A.T @ P @ A - back @ P @ A, back @ eta
    links[0][1] = links[0][1] + links[0][0] @ m_0
    links[0][0] = 0 * A
    return tuple(np.array(part) for part in zip(*links))
""",
}
NARROW = {("two-halves", "test-bound"): ("H, r, k = len(A), [], []", "H, r, k = 3, [], []")}
