"""Exercise 10-ekf: what is graded, mutants of its solution, and rewrites that are as right."""

POINTS = 20
GRADED = ["test-line", "test-update", "test-honest", "test-seats", "test-crowd", "test-both"]
WAITING = []

REST = """            means.append(z.mean())
            continue
        fits = -0.5 * (look - z) ** 2 / r - 0.5 * np.log(2 * np.pi * r)
        weights = np.exp(fits - fits.max())
        log_likelihood += fits.max() + np.log(weights.mean())
        means.append((weights * z).sum() / weights.sum())
        z = z[systematic(fits, len(z), place)]
"""
KEPT = """            means.append((np.exp(logs) * z).mean())
            continue
        fits = locals().get("logs", 0) - 0.5 * (look - z) ** 2 / r - 0.5 * np.log(2 * np.pi * r)
        weights = np.exp(fits - fits.max())
        logs = np.log(weights / weights.mean())
        log_likelihood += fits.max() + np.log(weights.mean())
        means.append((weights * z).sum() / weights.sum())
"""

MUTANTS = {
    ("linearise", "test-line"): [
        (
            "alpha * (1 - unit**2)",
            "alpha * (1 - np.tanh(A @ p + W_x @ x) ** 2)",
            "is the transition linearised at p? It starts from m.",
        ),
        ("2 * C * p", "2 * C * m", "is the output linearised at m?"),
        ("C @ p**2, 2 * C * p", "C @ m**2, 2 * C * m", "does the output come from m?"),
        ("(1 - alpha) * np.eye(len(m)) + alpha", "alpha", "is the leak missing from the Jacobian?"),
        ("(1 - unit**2)[:, None]", "(1 - unit**2)", "does the slope scale columns?"),
        ("(1 - unit**2)[:, None]", "(1 - p**2)[:, None]", "is the slope read off p?"),
        ("return p,", "return A_tilde @ m,", "did the mean go through the Jacobian?"),
        ("p = (1 - alpha) * m + alpha * unit", "p = alpha * m + (1 - alpha) * unit", "are alpha and 1 - alpha exch"),
        ("2 * C * p", "C * p", "did you forget the 2 in the derivative of a square?"),
        ("C @ p**2,", "2 * C * p @ p,", "did you push a mean through the Jacobian?"),
        ("C @ p**2, 2 * C * p", "C @ p**2, 2 * C.T * p[:, None]", "Is it the transpose?"),
    ],
    ("ekf-update", "test-update"): [
        (
            "    seen = ~np.isnan(y)\n",
            "    y = np.where(np.isnan(y), 0, y)\n    seen = ~np.isnan(y)\n",
            "did you put zero where nothing was seen?",
        ),
        (
            "    seen = ~np.isnan(y)\n",
            "    seen = ~np.isnan(y)\n    if not seen.all():\n        return p, P, 0.0\n",
            "one entry that is missing does not make the others worthless.",
        ),
        (
            "    seen = ~np.isnan(y)\n",
            "    y = np.where(np.isnan(y), output, y)\n    seen = ~np.isnan(y)\n",
            "a surprise of zero is not no surprise",
        ),
        ("    S = C @ P @ C.T + R\n", "    R = 0 * R\n    S = C @ P @ C.T\n", "did you forget R?"),
        ("y[seen] - output[seen]", "output[seen] - y[seen]", "is the sign of the surprise wrong?"),
        ("return p + K @ e, V", "return p + K @ e, P", "is this the covariance before the look?"),
        ("return p + K @ e, V", "return K @ e, V", "did you forget p?"),
        (" + np.linalg.slogdet(S)[1]", "", "did you forget the log-determinant?"),
        ("-0.5 * (e", "-(e", "did you forget the factor one half?"),
        ("len(e) * np.log", "len(y) * np.log", "log 2 pi counts the entries that were seen."),
        ("V = keep @ P @ keep.T + K @ R @ K.T", "V = P @ keep", "on the wrong side of P?"),
        ("V = keep @ P @ keep.T + K @ R @ K.T", "V = P - K @ C @ P", "V is not symmetric, and no covariance any more."),
        (
            "V = keep @ P @ keep.T + K @ R @ K.T",
            "V = P - K @ C @ P\n    V = (V + V.T) / 2",
            "V is symmetric and made of rounding",
        ),
        ("V = keep @ P @ keep.T + K @ R @ K.T", "V = np.diag(np.diag(keep @ P))", "V is off by"),
        ("    S = C @ P", "    if not seen.any():\n        return p, P\n    S = C @ P", "expected 3 arrays"),
    ],
    ("honesty", "test-honest"): [
        ("squares(z - m, V)", "squares(z - p, P)", "do p and P judge nu?"),
        ("squares(z - m, V)", "squares(z - m, np.linalg.inv(V))", "did you multiply by V?"),
        (
            "squares(z - m, V)",
            "((z - m) ** 2 / np.diagonal(V, axis1=1, axis2=2)).sum(axis=1)",
            "is this the variances alone?",
        ),
        ("squares(z - m, V)", "squares(z - m, V) / z.shape[1]", "did you divide by H?"),
        (
            "squares(y - p @ C.T, C @ P @ C.T + R)",
            "squares(y - m @ C.T, C @ V @ C.T + R)",
            "filtered moments have seen",
        ),
        ("squares(y - p @ C.T, C @ P", "squares(y - m @ C.T, C @ P", "is the mean filtered?"),
        ("C @ P @ C.T + R", "C @ V @ C.T + R", "is the covariance filtered?"),
        ("C @ P @ C.T + R", "C @ P @ C.T", "did you forget R?"),
        ("2 * O / T", "2 * O", "is this the interval of a single step?"),
        ("2 * O / T", "O / T", "did you forget the 2?"),
        ("np.sqrt(2 * O / T)", "2 * O / T", "did you add the variance?"),
        ("np.array([O - half, O + half])", "np.array([3 - half, 3 + half])", "is the interval about H?"),
    ],
    ("systematic", "test-seats"): [
        ("np.arange(n) + u", "np.arange(n)", "is u left out?"),
        ("np.arange(n) + u", "np.arange(n) + 0.5", "is u always one half?"),
        ("(np.arange(n) + u) / n", "(np.arange(n) + u) / len(ends)", "divide by the number of particles?"),
        ("(np.arange(n) + u) / n", "np.arange(n) / n + u", "did you add u to k / n?"),
        ("weights / weights.sum()", "np.exp(log_weights)", "are the weights not divided by their sum?"),
        ("len(ends) - 1)", "len(ends) - 1) - 1", "is it the particle before?"),
        (
            "weights = np.exp(log_weights - log_weights.max())",
            "weights = log_weights",
            "are log-weights taken for weights?",
        ),
        ("np.exp(log_weights - log_weights.max())", "np.exp(log_weights)", "log-weights 1000 lower"),
        ("(np.arange(n) + u) / n", "(np.arange(len(ends)) + u) / len(ends)", "parents: expected shape"),
        (
            "    return np.minimum(",
            "    return np.repeat(np.arange(len(ends)), np.round(n * np.diff(ends, prepend=0)).astype(int))[:n]\n"
            "    return np.minimum(",
            "parents",
        ),
    ],
    ("bootstrap", "test-crowd"): [
        ("np.log(weights.mean())", "np.log(weights.sum())", "did you sum over the crowd?"),
        ("np.sqrt(q) * move", "q * move", "q is a variance"),
        (" - 0.5 * np.log(2 * np.pi * r)", "", "did you forget 2 pi r in the density?"),
        ("z[systematic(fits, len(z), place)]", "z + 0 * place", "did you resample by equal weights, or not at all?"),
        (
            "        means.append((weights * z).sum() / weights.sum())\n"
            "        z = z[systematic(fits, len(z), place)]\n",
            "        z = z[systematic(fits, len(z), place)]\n        means.append(z.mean())\n",
            "is this the mean after resampling?",
        ),
        (
            "        if np.isnan(look):\n            means.append(z.mean())\n            continue\n",
            "        look = 0.0 if np.isnan(look) else look\n",
            "did you put zero where nothing was seen?",
        ),
        ("np.tanh(a * z) + np.sqrt(q) * move", "np.tanh(a * z + np.sqrt(q) * move)", "is the noise inside tanh?"),
        (
            "        z = np.tanh(a * z) + np.sqrt(q) * move\n",
            "        z = z if np.isnan(look) else np.tanh(a * z) + np.sqrt(q) * move\n",
            "does time stand still at a gap?",
        ),
        (REST, KEPT, "did you keep the weights in the place of resampling?"),
        (REST, KEPT + REST.splitlines()[-1] + "\n", "do weights live on after resampling?"),
        (
            "z = z[systematic(fits, len(z), place)]",
            "z = z[systematic(weights, len(z), place)]",
            "are weights taken for log-weights?",
        ),
        (
            "weights = np.exp(fits - fits.max())\n        log_likelihood += fits.max() + np.log(weights.mean())",
            "weights = np.exp(fits)\n        log_likelihood += np.log(weights.mean())",
            "Stay with logarithms until the largest is taken off.",
        ),
    ],
    ("joint-filter", "test-both"): [
        ("slope * w, slope * z]", "slope * w, 0.0]", "is the derivative of the state by the weight missing?"),
        ("slope = 1 - p[0] ** 2", "slope = 1.0", "did you forget the slope of tanh?"),
        ("slope * w, slope * z]", "slope * w, slope * p[0]]", "is the derivative by the weight taken at z_t?"),
        ("[0.0, 1.0]]", "[0.0, 0.0]]", "does the weight forget itself?"),
        ("np.diag([q, drift])", "np.diag([q, 0.0])", "did you forget the drift of the weight?"),
        (
            "        means.append(m)\n",
            "        V = np.diag(np.diag(V))\n        means.append(m)\n",
            "did you drop the covariance of state and weight?",
        ),
        ("K = P @ C / (C @ P @ C + r)", "K = V @ C / (C @ V @ C + r)", "is the gain made of the filtered V?"),
        (
            "        P = J @ V",
            "        p = J @ m\n        P = J @ V",
            "did the mean go through the Jacobian?",
        ),
        ("return np.array(means), V", "return np.array(means), P", "V is off by"),
        ("means.append(m)", "means.append(m[0])", "means: expected shape (10, 2), got (10,)."),
    ],
}

REWRITES = {
    ("linearise", "test-line"): """
def linearise(A, W_x, C, alpha, m, x):
    def follow(z):
        return (1 - alpha) * z + alpha * np.tanh(A @ z + W_x @ x)

    def look(z):
        return C @ (z * z)

    def columns(f, at):
        return np.array([(f(at + 1e-5 * e) - f(at - 1e-5 * e)) / 2e-5 for e in np.eye(len(at))]).T

    p = follow(m)
    return p, columns(follow, m), look(p), columns(look, p)
""",
    ("ekf-update", "test-update"): """
def ekf_update(p, P, output, C_tilde, R, y):
    there = np.flatnonzero(~np.isnan(y))
    if not len(there):
        return p, P, 0
    e, C, R = (y - output)[there], C_tilde[there], R[there][:, there]
    V = np.linalg.inv(np.linalg.inv(P) + C.T @ np.linalg.inv(R) @ C)
    S = R + C @ P @ C.T
    m = p + V @ C.T @ np.linalg.inv(R) @ e
    L = np.linalg.cholesky(S)
    return m, V, -0.5 * (np.linalg.solve(L, e) ** 2 + np.log(2 * np.pi)).sum() - np.log(np.diag(L)).sum()
""",
    ("honesty", "test-honest"): """
def honesty(z, y, m, V, p, P, C, R):
    nu, nu_y = [], []
    for t in range(len(z)):
        nu.append((z[t] - m[t]) @ np.linalg.inv(V[t]) @ (z[t] - m[t]))
        e = y[t] - C @ p[t]
        nu_y.append(e @ np.linalg.inv(R + C @ P[t] @ C.T) @ e)
    O, T = len(R), len(y)
    return nu, nu_y, O + np.array([-1, 1]) * 1.96 * (2 * O) ** 0.5 / T**0.5
""",
    ("systematic", "test-seats"): """
def systematic(log_weights, n, u):
    shares = np.exp(log_weights - np.logaddexp.reduce(log_weights))
    parents, end, i = [], shares[0], 0
    for k in range(n):
        while (k + u) / n > end and i < len(shares) - 1:
            i += 1
            end += shares[i]
        parents.append(i)
    return parents
""",
    ("bootstrap", "test-crowd"): """
def bootstrap(a, q, r, z, moves, u, y):
    means, logs = np.empty(len(y)), []
    for t in range(len(y)):
        z = np.tanh(a * z) + q**0.5 * moves[t]
        if np.isfinite(y[t]):
            fits = -((y[t] - z) ** 2) / (2 * r)
            total = np.logaddexp.reduce(fits)
            means[t] = np.exp(fits - total) @ z
            logs.append(total - np.log(len(z)) - 0.5 * np.log(2 * np.pi * r))
            z = z[np.array(systematic(fits - total, len(z), u[t]))]
        else:
            means[t] = sum(z) / len(z)
    return means, sum(logs)
""",
    ("joint-filter", "test-both"): """
def joint_filter(m, V, x, y, q, drift, r):
    (z, w), (a, b, c) = m, (V[0, 0], V[0, 1], V[1, 1])
    means = []
    for t in range(len(x)):
        h = np.tanh(w * z + x[t])
        by_z, by_w = (1 - h * h) * w, (1 - h * h) * z
        across = by_z * b + by_w * c
        a = by_z**2 * a + 2 * by_z * by_w * b + by_w**2 * c + q
        b, c = across, c + drift
        gain = np.array([a, b]) / (a + r)
        z, w = np.array([h, w]) + gain * (y[t] - h)
        a, b, c = a - gain[0] * a, b - gain[0] * b, c - gain[1] * b
        means.append([z, w])
    return means, np.array([[a, b], [b, c]])
""",
}
NARROW = {("linearise", "test-line"): ("W_x @ x", "W_x[:, 0] * x[0]")}
