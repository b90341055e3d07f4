"""Exercise 03-bptt: what is graded, mutants of its solution, and rewrites that are as right."""

POINTS = 20
GRADED = [
    "test-step",
    "test-bptt",
    "test-differences",
    "test-is-gradient",
    "test-sliding",
    "test-chunked",
    "test-pairs",
]
WAITING = ["This table waits for tasks 2, 4 and 5."]  # what a fresh notebook says beside the checks

# What is changed in the solution, into what, and what the student is told.
MUTANTS = {
    ("step-backward", "test-step"): [
        ("W_h.T @ delta", "W_h @ delta", "did you forget the transpose in the recurrence?"),
        ("(1 - h**2) * s", "s", "did you drop phi'?"),
        ("1 - h**2", "1 - np.tanh(h) ** 2", "did you apply tanh twice?"),
        ("1 - h**2", "1 - h_previous**2", "is that the slope of the step before?"),
        ("outer(delta, h_previous)", "outer(delta, h)", "are you off by one in time?"),
        ("d_b_h = delta", "d_b_h = s", "did you use s_t where delta_t belongs?"),
        ("outer(delta, x)", "outer(x, delta)", "d_W_x: expected shape (5, 2), got (2, 5). Is it the transpose?"),
    ],
    ("bptt", "test-bptt"): [
        ("delta[t] @ W_h", "delta[t] @ W_h.T", "did you forget the transpose in the recurrence? In rows"),
        ("slope[t] * (g[t] + arriving)", "g[t] + arriving", "did you drop phi'? Use delta_t"),
        ("= delta[t] @ W_h", "= (g[t] + arriving) @ W_h", "is phi' missing from the recursion?"),
        ("slope[t] * (g[t] + arriving)", "slope[t] * g[t]", "did you write the immediate gradient where"),
        ("g = e @ W_y", "g = e @ W_y\n    g[:-1] = 0", "did you forget the immediate gradient g_t?"),
        (
            "delta = np.empty",
            "for t in range(len(x) - 1, 0, -1):\n        g[t - 1] += (slope[t] * g[t]) @ W_h\n    delta = np.empty",
            "do you count paths more than once?",
        ),
        (
            "arriving = np.zeros_like(g[0])\n    for t in reversed(range(len(x))):",
            "delta[0] = arriving = np.zeros_like(g[0])\n    for t in range(len(x) - 1, 0, -1):",
            "does your loop stop one step too early?",
        ),
        ("rows(h[:-1])", "rows(h[1:])", "are you off by one in time?"),
        (
            "rows(delta).T @ rows(h[:-1])",
            "delta[0].T @ h[0]",
            "did you overwrite instead of accumulate? Only the first",
        ),
        ("rows(delta).T @ rows(x)", "delta.sum(1).T @ x.sum(1)", "did you sum over the batch too early?"),
        ("e = y - targets", "e = (y - targets) / x.shape[1]", "did you average over the sequences of the batch?"),
        ("e = y - targets", "e = (y - targets) / len(x)", "did you average over the steps?"),
        ("e = y - targets", "e = 2 * (y - targets)", "did you differentiate the square without its one half?"),
        ("e = y - targets", "e = targets - y", "is the sign of e_t wrong?"),
        ("e = y - targets", "targets -= y\n    e = -targets", "bptt changed its argument targets"),
        ("rows(e).T @ rows(h[1:])", "rows(e).T @ rows(h[:-1])", "does the readout read h_t or h_{t-1}?"),
        ("arriving.sum(axis=0)", "arriving", "expected shape (5,), got (3, 5). Did you forget to sum over the batch?"),
        ("arriving.sum(axis=0)", "delta[0].sum(axis=0)", "This is delta_1; h_0 lies behind W_h."),
        ("slope = 1 - h[1:] ** 2", "slope = 1 - h[:-1] ** 2", "is that the slope of the step before?"),
        ("g = e @ W_y", "g = e @ W_y.T", "bptt raised ValueError: matmul"),
    ],
    ("central-differences", "test-differences"): [
        ("f(theta - move)) / (2 * step)", "f(theta)) / step", "is this the one-sided difference, forwards?"),
        (" / (2 * step)", "", "did you forget the division?"),
        ("(2 * step)", "step", "did you divide by one step?"),
        ("move[i] = step", "move[:] = step", "did you move all entries at once?"),
        (
            "/ (2 * step)",
            "/ (2 * step)\n        theta = theta + move",
            "did you leave an entry where you moved it?",
        ),
        ("move[i] = step", "move[i] = step\n        theta += move", "central_differences changed its argument theta"),
    ],
    ("is-gradient", "test-is-gradient"): [
        ("1e-5)", "1e-13)", "Your step is 1e-13: rounding drowns the difference."),
        ("1e-5)", "0.01)", "Your step is 1e-02: the curve bends too much on the way."),
        ("return bool(", "return True or bool(", "it accepted a gradient in which the recurrence lacks its transpose"),
        ("np.abs(gradient - numerical).max()", "(gradient - numerical).max()", "Did you forget abs()?"),
        ("- numerical).max()", "- numerical).mean() / 10", "Look at the largest difference, not at the mean."),
        (
            "error <= 1e-6 * np.abs(numerical).max()",
            "(np.abs(gradient - numerical) <= 1e-6 * np.abs(numerical)).all()",
            "it refused a right gradient with some entries near zero.",
        ),
        ("1e-6 * np.abs(numerical).max()", "1e-6", "it accepted a wrong gradient of a tiny loss."),
        ("bool(error <= 1e-6 * np", "not (error > 1e-6 * np", "it accepted a gradient full of NaN."),
        (
            "bool(error <= 1e-6 * np.abs(numerical).max())",
            "not error / np.abs(gradient).max() > 1e-6 or not gradient.any()",
            "it accepted a gradient that is zero everywhere.",
        ),
    ],
    ("sliding", "test-sliding"): [
        ("t - window)", "t - window + 1)", "is the window one too short?"),
        ("t - window) - 1", "t - window)", "does your loop stop one step too early?"),
        ("t - window) - 1", "t - window - 1) - 1", "is the window one too long?"),
        ("max(0, t - window) - 1", "-1", "nothing has been cut off: this is the full gradient."),
        ("max(0, t - window) - 1", "t - window - 1", "do your indices run off the start of the sequence?"),
        ("max(0, t - window)", "t // (window + 1) * (window + 1)", "are these chunks?"),
        ("s = g[t]", "s = g[t] * (t == len(x) - 1)", "only the last loss has arrived"),
        ("s = delta @ W_h", "s = delta @ W_h.T", "did you forget the transpose in the recurrence?"),
    ],
    ("chunked", "test-chunked"): [
        ("state = None\n", "state, chunk = None, len(x)\n", "did you carry the gradient across the cut?"),
        ("state = h[-1]", "state = None", "did you forget to carry the state?"),
        ("arriving = 0.0", "arriving = d_W_h[:] = 0", "did you overwrite instead of accumulate? Only the last chunk"),
        ("range(0, len(x), chunk)", "range(0, len(x) - chunk + 1, chunk)", "did you drop the last chunk?"),
        ("reversed(range(len(g)))", "range(len(g) - 1, 0, -1)", "does your loop stop one step too early?"),
        ("state = None\n", "state, chunk = None, chunk + 1\n", "are your chunks one step too long?"),
        ("(g[t] + arriving)", "(g[t] * (t == len(g) - 1) + arriving)", "does only the last loss of each chunk count?"),
    ],
    ("which-pairs", "test-pairs"): [
        ("sliding = 21", "sliding = 15", "sliding: 15 is not the number of pairs: is it one pair too few"),
        ("{(5, 3), (5, 4), (6, 4)}", "{(3, 5), (4, 5), (4, 6)}", "the right pairs the wrong way round"),
    ],
}

REWRITES = {
    ("step-backward", "test-step"): """
def step_backward(W_x, W_h, x, h_previous, h, s):
    delta = [(1 - h[i] * h[i]) * s[i] for i in range(len(s))]
    d_W_x = [[delta[i] * x[j] for j in range(len(x))] for i in range(len(s))]
    d_W_h = np.einsum("i,j->ij", delta, h_previous)
    return delta, d_W_x, d_W_h, np.array(delta), np.array(delta) @ W_h
""",
    ("bptt", "test-bptt"): """
def bptt(params, x, targets):
    (W_x, W_h, b_h), (W_y, b_y), h_0 = params
    d_W_x, d_W_h, d_b_h = np.zeros_like(W_x), np.zeros_like(W_h), np.zeros_like(b_h)
    d_W_y, d_b_y, d_h_0 = np.zeros_like(W_y), np.zeros_like(b_y), np.zeros_like(h_0)
    T, B, _ = x.shape
    for b in range(B):
        h = [h_0]
        for t in range(T):
            h.append(np.tanh(W_x @ x[t, b] + W_h @ h[-1] + b_h))
        back = np.zeros_like(h_0)
        for t in range(T - 1, -1, -1):
            e = W_y @ h[t + 1] + b_y - targets[t, b]
            delta = (W_y.T @ e + back) * (1 - h[t + 1] ** 2)
            d_W_x += np.outer(delta, x[t, b])
            d_W_h += np.outer(delta, h[t])
            d_b_h += delta
            d_W_y += np.outer(e, h[t + 1])
            d_b_y += e
            back = W_h.T @ delta
        d_h_0 += back
    return (d_W_x, d_W_h, d_b_h), (d_W_y, d_b_y), d_h_0
""",
    ("central-differences", "test-differences"): """
def central_differences(f, theta, step):
    values = []
    flat = theta.reshape(-1)
    for i in range(flat.size):
        flat[i] += step
        ahead = f(theta)
        flat[i] -= 2 * step
        values.append((ahead - f(theta)) / (2 * step))
        flat[i] += step
    return np.reshape(values, theta.shape)
""",
    ("is-gradient", "test-is-gradient"): """
def is_gradient(f, theta, gradient):
    numerical = central_differences(f, theta, 6e-6)
    if not np.isfinite(gradient).all():
        return False
    return np.linalg.norm(gradient - numerical, np.inf) < 1e-6 * np.max(np.abs(numerical))
""",
    ("sliding", "test-sliding"): """
def sliding(params, x, targets, window):
    h, term = forward(params, x, targets)
    delta = np.zeros_like(term)
    for _ in range(min(window + 1, len(x))):
        pulled = term * (1 - h[1 : len(term) + 1] ** 2)
        delta[: len(term)] += pulled
        term = (pulled @ params.cell.recurrent_weights)[1:]
    return [np.tensordot(delta, x, ([0, 1], [0, 1])), np.einsum("tbi,tbj->ij", delta, h[:-1]), delta.sum((0, 1))]
""",
    ("chunked", "test-chunked"): """
def chunked(params, x, targets, chunk):
    W_h = params.cell.recurrent_weights
    h, g = forward(params, x, targets)  # the values need no cutting, so one pass serves all chunks
    delta = np.zeros_like(g)
    for t in range(len(x) - 1, -1, -1):
        inside = t + 1 < len(x) and (t + 1) % chunk
        delta[t] = (1 - h[t + 1] ** 2) * (g[t] + (delta[t + 1] @ W_h if inside else 0))
    return np.einsum("tbi,tbj->ij", delta, x), np.einsum("tbi,tbj->ij", delta, h[:-1]), delta.sum(axis=(0, 1))
""",
    ("which-pairs", "test-pairs"): """
def which_pairs():
    pairs = [(t, tau) for t in range(1, 9) for tau in range(1, t + 1)]
    slid = {(t, tau) for t, tau in pairs if t - tau <= 2}
    cut = {(t, tau) for t, tau in pairs if (t - 1) // 4 == (tau - 1) // 4}
    return np.int64(len(pairs)), len(slid), len(cut), sorted(slid - cut)
""",
}

# Right for the visible sizes only: what the hidden tests are for.
NARROW = {("sliding", "test-sliding"): ("t - window)", "t - 2)")}
