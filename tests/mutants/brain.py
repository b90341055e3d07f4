"""Exercise 17-brain: what is graded, mutants of its solution, and rewrites that are as right."""

POINTS = 20
GRADED = ["test-back", "test-fire", "test-law", "test-slow", "test-aligned", "test-local"]
WAITING = []

MUTANTS = {
    ("leaky-backward", "test-back"): [
        ("(1 - alpha) * s + W_h.T @ delta[t]", "W_h.T @ delta[t]", "is the leak missing on the way back?"),
        ("alpha * (1 - driven[t] ** 2) * s", "(1 - driven[t] ** 2) * s", "did you forget alpha in delta?"),
        ("W_h.T @ delta[t]", "W_h @ delta[t]", "did you forget the transpose in the recurrence?"),
        ("(1 - driven[t] ** 2)", "(1 - states[t + 1] ** 2)", "is the slope read off h?"),
        ("(1 - driven[t] ** 2) * s", "s", "did you forget the slope of tanh?"),
        ("return delta, s", "return delta, W_h.T @ delta[0]", "does the leak reach h_0, too?"),
        ("s = s + g[t]", "s = s + (t == len(x) - 1) * g[t]", "did you use the last g alone?"),
        ("return delta, s", "return delta", "expected 2 arrays"),
    ],
    ("spikes", "test-fire"): [
        ("wait = round(t_ref / dt)", "wait = 0", "is there no pause after a spike?"),
        ("wait = round(t_ref / dt)", "wait = 2 * round(t_ref / dt)", "is the pause counted twice?"),
        ("wait = round(t_ref / dt)", "wait = round(t_ref / dt) + 1", "is the pause a step too long?"),
        ("wait = round(t_ref / dt)", "wait = round(t_ref / dt) - 1", "is the pause a step too short?"),
        ("v = u[t] + kept * (v - u[t])", "v = v + dt / tau * u[t]", "did you forget the leak?"),
        ("v = u[t] + kept * (v - u[t])", "v = max(u[t] + kept * (v - u[t]), 0)", "does the voltage stop at 0?"),
        ("kept = np.exp(-dt / tau)", "kept = np.exp(-0.5 / tau)", "spikes is off by"),
        ("fired[t], v = 1, 0.0", "fired[t] = 1", "did you forget the reset?"),
        ("kept = np.exp(-dt / tau)", "kept = 1 - dt / tau", "is this Euler's method?"),
    ],
    ("lawful", "test-law"): [
        (
            "return signs * np.log1p(np.exp(M)), signs * d_W / (1 + np.exp(-M))",
            "s = signs[:, None]\n    return s * np.log1p(np.exp(M)), s * d_W / (1 + np.exp(-M))",
            "are the signs on rows?",
        ),
        (" / (1 + np.exp(-M))", "", "did you forget the slope of softplus?"),
        ("signs * d_W", "d_W", "did you forget the signs in the gradient?"),
        ("signs * np.log1p(np.exp(M)), signs * d_W", "np.log1p(np.exp(M)), d_W", "did you forget the signs?"),
        (
            "np.log1p(np.exp(M)), signs * d_W / (1 + np.exp(-M))",
            "np.exp(M), signs * d_W * np.exp(M)",
            "is this exp in the place of log(1 + exp)?",
        ),
        (
            "np.log1p(np.exp(M)), signs * d_W / (1 + np.exp(-M))",
            "abs(M), signs * d_W * np.sign(M)",
            "is this the absolute value",
        ),
        ("(1 + np.exp(-M))", "(2 + np.exp(-M) + np.exp(M))", "is the slope sigma (1 - sigma)?"),
    ],
    ("slow-step", "test-slow"): [
        (
            "    r, A = there - h, J - np.eye(len(h))\n",
            "    r, A = there, J\n",
            "did you forget to take off h?",
        ),
        ("J = (1 - alpha) * np.eye(len(h)) + alpha", "J = alpha", "is the leak missing from the Jacobian?"),
        ("gradient = A.T @ r", "gradient = A @ r", "did you forget to transpose J - I?"),
        ("(1 - driven**2)[:, None] * W_h", "(1 - driven**2) * W_h", "does the slope scale columns?"),
        (" + mu * np.eye(len(h))", "", "did you forget the damping?"),
        ("return 0.5 * r @ r, gradient, step", "return r @ r, 2 * gradient, step", "the factor one half?"),
        ("step = -np.linalg", "step = np.linalg", "does the step go uphill?"),
    ],
    ("aligned-deltas", "test-aligned"): [
        ("B_h.T @ delta[t]", "W_h.T @ delta[t]", "is this W_h^T?"),
        ("B_h.T @ delta[t]", "B_h @ delta[t]", "did you forget to transpose B_h?"),
        ("(1 - alpha) * s + B_h.T", "B_h.T", "is the leak missing on the way back?"),
        ("alpha * (1 - driven[t] ** 2) * s", "(1 - driven[t] ** 2) * s", "did you forget alpha in delta?"),
        ("(1 - driven[t] ** 2)", "(1 - states[t + 1] ** 2)", "is the slope read off h?"),
    ],
    ("local-direction", "test-local"): [
        ("(1 - alpha) * p + np.outer", "np.outer", "did you forget the leak?"),
        ("np.outer(alpha * ", "np.outer(", "did you forget alpha in what comes into the trace?"),
        ("states[t])", "states[t + 1])", "is the sender's rate taken at t?"),
        ("(1 - driven[t] ** 2), states", "(1 - states[t + 1] ** 2), states", "is the slope read off h?"),
        (
            "p = (1 - alpha) * p",
            "p = (1 - alpha + alpha * (1 - driven[t] ** 2) * np.diag(W_h))[:, None] * p",
            "does the trace keep W_ii too?",
        ),
        ("return G\n", "return G / len(x)\n", "is this a mean over the steps?"),
        ("return G\n", "return G[0]\n", "G: expected shape (3, 3)"),
    ],
}

REWRITES = {
    ("leaky-backward", "test-back"): """
def leaky_backward(alpha, W_x, W_h, b, x, h_0, g):
    h, D, J = h_0, [], []
    for row in x:
        driven = np.tanh(W_x @ row + W_h @ h + b)
        h = h + alpha * (driven - h)
        D.append(alpha * (1 - driven**2))
        J.append(np.diag(np.full(len(h), 1 - alpha)) + D[-1][:, None] * W_h)
    s, total = [None] * len(x), np.zeros(len(h_0))
    for t in range(len(x) - 1, -1, -1):
        s[t] = total + g[t]
        total = J[t].T @ s[t]
    return [d * one for d, one in zip(D, s)], total
""",
    ("spikes", "test-fire"): """
def spikes(u, dt, tau, t_ref):
    v, free, fired = 0.0, 0, []
    for t, now in enumerate(u):
        if t < free:
            fired.append(False)
            continue
        v = now - (now - v) * np.exp(-dt / tau)
        fired.append(v >= 1)
        if fired[-1]:
            v, free = 0.0, t + 1 + round(t_ref / dt)
    return np.array(fired)
""",
    ("lawful", "test-law"): """
def lawful(M, signs, d_W):
    S = np.diag(signs)
    return np.logaddexp(0, M) @ S, (np.exp(M) / (1 + np.exp(M)) * d_W) @ S
""",
    ("slow-step", "test-slow"): """
def slow_step(alpha, W_h, b, h, mu):
    a = W_h @ h + b
    r = alpha * (np.tanh(a) - h)
    A = alpha * (np.diag(np.cosh(a) ** -2.0) @ W_h - np.eye(len(h)))
    rows = np.vstack([A, np.sqrt(mu) * np.eye(len(h))])
    step = np.linalg.lstsq(rows, -np.concatenate([r, 0 * r]), rcond=None)[0]
    return (r**2).sum() / 2, r @ A, step
""",
    ("aligned-deltas", "test-aligned"): """
def aligned_deltas(alpha, W_x, W_h, b, x, h_0, e, B_h, B_y):
    h, slopes = h_0, []
    for row in x:
        a = W_x @ row + W_h @ h + b
        h = (1 - alpha) * h + alpha * np.tanh(a)
        slopes.append(alpha / np.cosh(a) ** 2)
    found = [slopes[-1] * (B_y.T @ e[-1])]
    s = B_y.T @ e[-1]
    for t in range(len(x) - 2, -1, -1):
        s = (1 - alpha) * s + found[0] @ B_h + B_y.T @ e[t]
        found.insert(0, slopes[t] * s)
    return np.array(found)
""",
    ("local-direction", "test-local"): """
def local_direction(alpha, W_x, W_h, b, x, h_0, e, B_y):
    T, H = len(x), len(h_0)
    h, slopes = [h_0], []
    for row in x:
        a = W_x @ row + W_h @ h[-1] + b
        h.append((1 - alpha) * h[-1] + alpha * np.tanh(a))
        slopes.append(alpha / np.cosh(a) ** 2)
    heard = e @ B_y
    G = np.zeros((H, H))
    for t in range(T):
        for tau in range(t + 1):
            G += np.outer(heard[t] * (1 - alpha) ** (t - tau) * slopes[tau], h[tau])
    return G
""",
}

NARROW = {
    ("leaky-backward", "test-back"): ("s = np.zeros(len(h_0))", "s = np.zeros(3)"),
    ("lawful", "test-law"): ("signs * np.log1p", "signs[:5] * np.log1p"),
}
