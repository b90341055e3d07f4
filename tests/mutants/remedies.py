"""Exercise 06-remedies: what is graded, mutants of its solution, and rewrites that are as right."""

POINTS = 20
GRADED = ["test-clip", "test-means", "test-irnn", "test-cayley", "test-cayley-gradient", "test-damped-step"]
WAITING: list[str] = []

LENGTH = "length = np.sqrt(sum(np.sum(g**2) for g in gradients))"
FACTOR = "threshold / length if length > threshold else 1.0"

MUTANTS = {
    ("clip", "test-clip"): [
        (
            "return [factor * g for g in gradients]",
            "return [min(1, threshold / (np.linalg.norm(g) or 1)) * g for g in gradients]",
            "does each array have a norm of its own?",
        ),
        (FACTOR, "threshold / max(length, 1e-9)", "do you rescale a gradient that is short enough?"),
        ("[factor * g for", "[np.clip(g, -threshold, threshold) for", "is that clipping by value?"),
        (FACTOR, "min(1, threshold / max(length, 1e-9) ** 2)", "is the root missing?"),
        (LENGTH, "length = sum(np.linalg.norm(g) for g in gradients)", "did you add up lengths?"),
        (FACTOR, "min(1, length / threshold)", "is the fraction upside down?"),
        (FACTOR, "min(1.0, threshold / (length + 1e-6))", "did you add 1e-6 to the length"),
        (FACTOR, "threshold / length if length > 1.02 * threshold else 1.0", "is it left as it is?"),
        (FACTOR, "min(length, threshold) / length", "a gradient of zeros became NaN"),
    ],
    ("means", "test-means"): [
        ("return before, after", "return after, before", "are the two exchanged?"),
        (".mean(axis=0)\n    mean", ".sum(axis=0)\n    mean", "is that a sum?"),
        ("return before, after", "return before, mean", "is the mean not clipped at all?"),
        ("mean = g.mean(axis=0)", "mean = g.sum(axis=0)", "clip the mean, not the sum."),
        (
            "min(1, threshold / np.linalg.norm(mean))",
            "threshold / np.linalg.norm(mean)",
            "is the clipped mean too long?",
        ),
        ("np.linalg.norm(g, axis=1, keepdims=True)", "np.linalg.norm(g)", "do all rows share one norm?"),
        ("mean = g.mean(axis=0)", "mean = before", "did you clip the mean of the clipped once more?"),
    ],
    ("irnn", "test-irnn"): [
        ("(a > 0)", "(W_x @ x_t > 0)", "does your indicator ask for the input alone?"),
        ("(a > 0)", "(h > 0)", "does your indicator ask for the state before?"),
        ("(a > 0)", "(a >= 0)", "does your indicator hold at zero?"),
        (".astype(float)) @ path", ".astype(float))", "are these the step Jacobians?"),
        ("found.append(path)", "found.append(np.diag(np.maximum(a, 0)))", "the state instead of its derivative?"),
        ("return np.array(found)", "return np.array(found)[-1]", "expected shape (8, 9, 9), got (9, 9)."),
    ],
    ("cayley", "test-cayley"): [
        ("solve(I + S, I - S)", "solve(I - S, I + S)", "are the two factors exchanged?"),
        ("S = Z - Z.T", "S = Z + Z.T", "is S = Z + Z^T?"),
        ("S = Z - Z.T", "S = Z", "is S the whole of Z?"),
        ("S = Z - Z.T", "S = (Z - Z.T) / 2", "is S halved?"),
        ("np.linalg.solve(I + S, I - S)", "I - S", "is the inverse missing?"),
        ("np.linalg.solve(I + S, I - S)", "(I - S) / (I + S)", "is that a division entry by entry?"),
    ],
    ("cayley-gradient", "test-cayley-gradient"): [
        ("M = -np", "M = np", "is the sign wrong? Q falls"),
        ("solve(I - S, G", "solve(I + S, G", "did you invert I + S instead of its transpose"),
        ("(I + Q).T", "(I + Q)", "is I + Q not transposed?"),
        ("(I + Q).T", "Q.T", "is I missing beside Q?"),
        ("return M - M.T", "return M", "where is the second term?"),
        ("return M - M.T", "return M + M.T", "is it M + M^T?"),
        ("return M - M.T", "return (M - M.T) / 2", "it is 0.5 times the right answer."),
    ],
    ("damped-step", "test-damped-step"): [
        ("return -np", "return np", "is the sign wrong? The step goes downhill."),
        (" + damping * np.eye(R.shape[1])", "", "is the damping missing?"),
        ("damping * np.eye(R.shape[1])", "damping", "did you add the damping to every entry?"),
        ("A = R.T @ R + damping", "A = damping", "a step of gradient descent?"),
        ("damping * np", "damping**2 * np", "is the damping squared?"),
        ("R.T @ r)", "2 * R.T @ r)", "is the gradient doubled?"),
    ],
}

REWRITES = {
    ("clip", "test-clip"): """
def clip(gradients, threshold):
    flat = np.concatenate([g.ravel() for g in gradients])
    size = np.linalg.norm(flat)
    return tuple(g if size <= threshold else g / size * threshold for g in gradients)
""",
    ("means", "test-means"): """
def means(g, threshold):
    def clipped(v):
        size = np.sqrt(v @ v)
        return v if size <= threshold else v * (threshold / size)

    return [sum(clipped(row) for row in g) / len(g), clipped(sum(g) / len(g))]
""",
    ("irnn", "test-irnn"): """
def irnn(W_x, x, h_0):
    T, H = len(x), len(h_0)
    out, h = np.zeros((T, H, H)), np.array(h_0)
    alive = np.ones(H, bool)
    for t in range(T):
        h = np.maximum(h + x[t] @ W_x.T, 0)
        alive &= h > 0
        out[t][np.arange(H), np.arange(H)] = alive
    return out
""",
    ("cayley", "test-cayley"): """
def cayley(Z):
    S = np.triu(Z, 1) - np.tril(Z, -1).T
    S = S - S.T
    one = np.identity(Z.shape[0])
    return (one - S) @ np.linalg.inv(one + S)
""",
    ("cayley-gradient", "test-cayley-gradient"): """
def cayley_gradient(Z, G):
    H = len(Z)
    one, S = np.eye(H), Z - Z.T
    A = np.linalg.inv(one + S)
    Q = A @ (one - S)
    out = np.zeros((H, H))
    for i in range(H):
        for j in range(H):
            change = np.zeros((H, H))
            change[i, j] += 1
            change[j, i] -= 1
            out[i, j] = np.sum(G * (-A @ change @ (one + Q)))
    return out
""",
    ("damped-step", "test-damped-step"): """
def damped_step(r, R, damping):
    return -R.T @ np.linalg.inv(R @ R.T + damping * np.eye(len(r))) @ r
""",
}

# Right for the visible sizes only: what the hidden tests are for.
NARROW = {
    ("irnn", "test-irnn"): ("np.eye(len(h_0))", "np.eye(9)"),
    ("cayley", "test-cayley"): ("np.eye(len(Z))", "np.eye(4)"),
}
