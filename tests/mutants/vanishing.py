"""Exercise 05-vanishing-and-exploding: what is graded, mutants of its solution, and rewrites that are as right."""

POINTS = 20
GRADED = ["test-scalar", "test-corner", "test-growth", "test-linear", "test-exponents", "test-credit"]
WAITING: list[str] = []

MUTANTS = {
    ("scalar", "test-scalar"): [
        ("2 * (y - target)", "2 * (target - y)", "is the sign wrong?"),
        ("2 * (y - target)", "(y - target)", "is a factor 2 missing?"),
        ("v * n * w", "v * w", "is the factor n missing?"),
        ("w ** (n - 1)", "w**n", "is the power of w one too high?"),
        ("d_h_0 = e * v", "d_h_0 = e", "where is v in the gradient by h_0?"),
        ("d_v = e * w**n * h_0", "d_v = e * w**n", "where is h_0 in the gradient by v?"),
        ("return d_h_0, d_w, d_v", "return d_h_0, d_w", "expected 3 arrays (d_h_0, d_w, d_v), got tuple of 2."),
    ],
    ("corner", "test-corner"): [
        ("(n - 1)", "n", "is that one power too many?"),
        ("n * rho ** (n - 1)", "rho ** (n - 1)", "did you count the roads?"),
        ("b = peak / (n * rho ** (n - 1))", "b = peak", "is that the corner of A itself?"),
        ("return A", "return A.T", "is your matrix lower triangular?"),
        ("[0.0, rho]]", "[0.0, rho + 0.01]]", "the diagonal is off"),
        ("[0.0, rho]]", "[4e-6, rho]]", "the lower left entry is off"),
    ],
    ("growth", "test-growth"): [
        ("        P = P / c\n        logs.append(logs[-1] + np.log(c))", "        logs.append(np.log(c))", "overflow"),
        ("np.linalg.norm(P, 2)", "max(abs(np.linalg.eigvals(W)))", "is that the spectral radius to the power k?"),
        ("np.linalg.norm(P, 2)", "np.linalg.norm(W, 2)", "is that the largest singular value to the power k?"),
        ("np.linalg.norm(P, 2)", "np.linalg.norm(P)", "is that Frobenius' norm?"),
        (
            "P, logs = np.eye(len(W)), [0.0]",
            "P, logs = W, [np.log(np.linalg.norm(W, 2))]\n    P = P / np.linalg.norm(P, 2)",
            "do you begin with W itself?",
        ),
        ("logs[-1] + np.log(c)", "np.log(c)", "is the product scaled back, and the scale forgotten?"),
        ("np.array(logs)", "np.array(logs[1:])", "expected shape (41,), got (40,)"),
    ],
    ("linear", "test-linear"): [
        ("T - t).T", "T - t)", "is the transpose missing?"),
        ("T - t)", "T - t + 1)", "is every power one too high?"),
        ("h[t - 1])", "h[t])", "did you take h_t where h_{t-1} belongs?"),
        ("np.outer(s[t - 1], h[t - 1])", "np.outer(h[t - 1], s[t - 1])", "is the outer product the wrong way round?"),
        ("d_W_h +=", "d_W_h =", "did you keep the last step only?"),
        ("return s, d_W_h", "return s, d_W_h / T", "is that a mean over the steps?"),
    ],
    ("exponents", "test-exponents"): [
        ("total / len(slopes)", "total", "did you divide by the number of steps?"),
        ("np.sort(total / len(slopes))[::-1]", "total / len(slopes)", "are they in falling order?"),
        ("[::-1]", "", "is that the rising order?"),
        ("for slope in slopes:", "for slope in slopes[::-1]:", "do you go from the last step to the first?"),
        ("Q, R = np", "_, R = np", "does the frame stay where it was?"),
        ("W_h @ Q", "W_h.T @ Q", "did you transpose W_h?"),
        ("slope[:, None] * (W_h @ Q)", "W_h @ (slope[:, None] * Q)", "do the slopes come before W_h?"),
        ("slope[:, None] * (W_h @ Q)", "W_h @ Q", "where are the slopes?"),
        ("total += np", "total = np", "is that the last step alone?"),
        (
            "np.sort(total / len(slopes))[::-1]",
            "np.array(sorted(total / len(slopes), key=abs))",
            "are they ordered by their moduli?",
        ),
        ("abs(np.diag(R))", "np.diag(R)", "R may have negative numbers on its diagonal"),
        (
            "return np.sort(total / len(slopes))[::-1]",
            "moduli = np.sort(abs(np.linalg.eigvals(slopes[:, :, None] * W_h)), axis=1)\n"
            "    return np.log(moduli[:, ::-1]).mean(axis=0)[: Q.shape[1]]",
            "are these means of eigenvalues of each factor?",
        ),
        (
            "return np.sort(total / len(slopes))[::-1]",
            "return np.log(np.linalg.svd(slopes[:, :, None] * W_h)[1]).mean(axis=0)[: Q.shape[1]]",
            "are these means of singular values of each factor?",
        ),
    ],
    ("credit", "test-credit"): [
        ("range(k, 1, -1)", "range(k, 0, -1)", "does your gradient go on to h_0?"),
        ("J[t - 1].T @", "J[t - 1] @", "is the transpose missing?"),
        ("range(k, 1, -1)", "range(2, k + 1)", "are the Jacobians in the wrong order?"),
        (
            "        lengths.append(np.linalg.norm(sent))",
            "        total = sent if k == 1 else total + sent\n        lengths.append(np.linalg.norm(total))",
            "did you add the losses up?",
        ),
        ("np.array(lengths)", "np.array(lengths[::-1])", "is the list the wrong way round?"),
    ],
}

REWRITES = {
    ("scalar", "test-scalar"): """
def scalar(w, v, h_0, n, target):
    h = [h_0]
    for _ in range(n):
        h.append(w * h[-1])
    s, d_w = 2 * v * (v * h[-1] - target), 0.0
    d_v = 2 * h[-1] * (v * h[-1] - target)
    for before in reversed(h[:-1]):
        d_w, s = d_w + s * before, s * w
    return np.array([s, d_w, d_v])
""",
    ("corner", "test-corner"): """
def corner(rho, n, peak):
    A = rho * np.eye(2)
    A[0, 1] = np.exp(np.log(peak) - np.log(n) - (n - 1) * np.log(rho))
    return A
""",
    ("growth", "test-growth"): """
def growth(W, n):
    logs, P, grown = np.zeros(n + 1), np.eye(len(W)), 0.0
    for k in range(1, n + 1):
        P = P @ W
        largest = abs(P).max()
        P, grown = P / largest, grown + np.log(largest)
        logs[k] = grown + np.log(np.linalg.svd(P, compute_uv=False)[0])
    return logs
""",
    ("linear", "test-linear"): """
def linear(W_h, h, g):
    rows = [g]
    for _ in range(len(h) - 2):
        rows.append(rows[-1] @ W_h)
    s = np.array(rows[::-1])
    return s, s.T @ h[:-1]
""",
    ("exponents", "test-exponents"): """
def exponents(slopes, W_h, Q):
    logs = []
    for slope in slopes:
        Q, R = np.linalg.qr(np.diag(slope) @ W_h @ Q)
        signs = np.sign(np.diag(R))
        Q, R = Q * signs, R * signs[:, None]
        logs.append(np.log(np.diag(R)))
    return sorted(np.mean(logs, axis=0), reverse=True)
""",
    ("credit", "test-credit"): """
def credit(J, g):
    road, lengths = np.eye(g.shape[1]), [np.linalg.norm(g[0])]
    for k in range(1, len(g)):
        road = J[k] @ road
        lengths.append(np.sqrt(np.sum((g[k] @ road) ** 2)))
    return lengths
""",
}

# Right for the visible sizes only: what the hidden tests are for.
NARROW = {
    ("scalar", "test-scalar"): ("v * w**n * h_0", "v * w**6 * h_0"),
    ("growth", "test-growth"): ("np.eye(len(W))", "np.eye(4)"),
}
