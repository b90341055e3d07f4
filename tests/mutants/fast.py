"""Exercise 18-fast: what is graded, mutants of its solution, and rewrites that are as right."""

POINTS = 20
GRADED = ["test-combine", "test-double", "test-back", "test-newton", "test-gates"]
WAITING = []

MUTANTS = {
    ("combined", "test-combine"): [
        (
            "A_late @ A, A_late @ b + b_late",
            "A @ A_late, A @ b_late + b",
            "is the order the wrong way round? The later",
        ),
        ("A_late @ A, ", "A @ A_late, ", "in A, is the order the wrong way round?"),
        ("A_late @ b + b_late", "b + b_late", "did you forget to send b of the earlier through the later?"),
        (" + b_late", "", "did you forget b of the later?"),
        ("A_late @ A, ", "A_late * A, ", "are matrices multiplied entry by entry?"),
    ],
    ("prefixes", "test-double"): [
        ("operation(e[:-reach], e[reach:])", "operation(e[reach:], e[:-reach])", "is the order the wrong way round?"),
        ("while reach < len(e):", "while 2 * reach <= len(e):", "T need be no power of two"),
        ("reach = 2 * reach", "reach = len(e)", "was there one round only?"),
        (
            "    return e",
            "    return np.concatenate([longer, e[-1:]]) if len(e) > 1 else e",
            "prefixes of 2 is off by",
        ),
        (
            "    reach = 1\n",
            "    for t in range(1, len(e)):\n        e = e.copy()\n"
            "        e[t] = operation(e[t - 1 : t], e[t : t + 1])[0]\n    return e\n    reach = 1\n",
            "rounds where 3 suffice",
        ),
        ("operation(e[:-reach], e[reach:])", "e[reach:] @ e[:-reach]", "it need not be a product"),
        ("while reach < len(e):", "while reach <= len(e):", "was called on no pair at all"),
        (
            "operation(e[:-reach], e[reach:])",
            "np.stack([operation(a, b) for a, b in zip(e[:-reach], e[reach:])])",
            "stacks",
        ),
    ],
    ("backward", "test-back"): [
        ("A[t + 1] * s[t + 1]", "A[t] * s[t + 1]", "It is A of the next step."),
        ("before = np.vstack([h_0, h[:-1]])", "before = h", "with which state does A_t meet?"),
        ("s, A[0] * s[0]", "s, s[0]", "did you forget to go back through the first step?"),
        (" + A[t + 1] * s[t + 1]", "", "is this g alone?"),
    ],
    ("newton-step", "test-newton"): [
        (" + J[t] @ (h - before[t])", "", "where is the tangent?"),
        ("(1 - images**2)[:, :, None]", "(1 - images**2)[:, None, :]", "does the slope multiply columns of W_h?"),
        ("1 - images**2", "1 - guess**2", "The tangent touches f at the state before."),
        ("J[t] @ (", "J[t].T @ (", "is the Jacobian transposed?"),
        ("(1 - images**2)[:, :, None] * W_h", "0 * images[:, :, None] + W_h", "did you forget the slope of tanh?"),
        ("(h - before[t])", "h", "J times what?"),
        ("images[t] + J[t] @ (h - before[t])", "np.tanh(a[t] + W_h @ h)", "this is the loop itself"),
    ],
    ("minimal-lstm", "test-gates"): [
        (
            "keep = np.exp(log_f - np.logaddexp(log_i, log_f))\n    write = np.exp(log_i - np.logaddexp(log_i, log_f))",
            "keep, write = np.exp(log_f), np.exp(log_i)",
            "did you forget to divide by i + f?",
        ),
        ("keep[t] * h + write[t] * a_g[t]", "write[t] * h + keep[t] * a_g[t]", "are i and f exchanged?"),
        ("* a_g[t]", "* np.tanh(a_g[t])", "is the candidate squashed?"),
        (
            "-np.logaddexp(0, -a_i), -np.logaddexp(0, -a_f)",
            "a_i - np.log(1 + np.exp(a_i)), a_f - np.log(1 + np.exp(a_f))",
            "without e^900?",
        ),
        ("-np.logaddexp(0, -a_i), -np.logaddexp(0, -a_f)", "a_i, a_f", "are the gates exponentials?"),
        (
            "keep = np.exp(log_f - np.logaddexp(log_i, log_f))\n    write = np.exp(log_i - np.logaddexp(log_i, log_f))",
            "i, f = np.exp(log_i), np.exp(log_f)\n    keep, write = f / (i + f), i / (i + f)",
            "divide before you take exponentials",
        ),
        (
            "keep = np.exp(log_f - np.logaddexp(log_i, log_f))\n    write = np.exp(log_i - np.logaddexp(log_i, log_f))",
            "i, f = np.exp(log_i), np.exp(log_f)\n    keep, write = f / (i + f + 1e-8), i / (i + f + 1e-8)",
            "h of closed gates is off by",
        ),
    ],
}

REWRITES = {
    ("combined", "test-combine"): """
def combined(A, b, A_late, b_late):
    H = len(b)
    first, second = np.eye(H + 1), np.eye(H + 1)
    first[:H, :H], first[:H, H] = A, b
    second[:H, :H], second[:H, H] = A_late, b_late
    both = second @ first
    return both[:H, :H], both[:H, H]
""",
    ("prefixes", "test-double"): """
def prefixes(operation, e):
    found = np.array(e)
    for r in range((len(e) - 1).bit_length()):
        found[2**r :] = operation(found[: -(2**r)].copy(), found[2**r :].copy())
    return found
""",
    ("backward", "test-back"): """
def backward(A, h, h_0, g):
    d_A, d_b, arriving = np.empty_like(A), np.empty_like(A), np.zeros_like(h_0)
    for t in reversed(range(len(A))):
        d_b[t] = arriving + g[t]
        d_A[t] = d_b[t] * (h[t - 1] if t else h_0)
        arriving = A[t] * d_b[t]
    return d_A, d_b, arriving
""",
    ("newton-step", "test-newton"): """
def newton_step(W_h, a, h_0, guess):
    T, H = a.shape
    before = np.concatenate([h_0[None], guess[:-1]])
    images = np.tanh(a + before @ W_h.T)
    M = np.eye(T * H)
    for t in range(1, T):
        M[t * H : (t + 1) * H, (t - 1) * H : t * H] = -np.diag(1 - images[t] ** 2) @ W_h
    return guess - np.linalg.solve(M, (guess - images).ravel()).reshape(T, H)
""",
    ("minimal-lstm", "test-gates"): """
def minimal_lstm(a_i, a_f, a_g, h_0):
    odds = np.logaddexp(0, -a_f) - np.logaddexp(0, -a_i)
    share = 0.5 + 0.5 * np.tanh(odds / 2)
    states = []
    for q, g in zip(share, a_g, strict=True):
        h_0 = h_0 + q * (g - h_0)
        states.append(h_0)
    return np.stack(states)
""",
}

NARROW = {
    ("combined", "test-combine"): [("A_late @ A,", "A_late.reshape(3, 3) @ A.reshape(3, 3),")],
    ("prefixes", "test-double"): [("while reach < len(e):", "while reach < min(len(e), 16):")],
    ("backward", "test-back"): [("A[0] * s[0]", "A[0] * s[0].reshape(3)")],
    ("newton-step", "test-newton"): [("range(len(a))", "range(11)")],
    ("minimal-lstm", "test-gates"): [("range(len(a_i))", "range(11)")],
}
