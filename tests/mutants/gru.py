"""Exercise 08-gru: what is graded, mutants of its solution, and rewrites that are as right."""

POINTS = 20
GRADED = ["test-step", "test-back", "test-convert", "test-count", "test-both", "test-mass"]
WAITING = []

MUTANTS = {
    ("gru-step", "test-step"): [
        ("if keeps else", "if not keeps else", "does the gate keep where it should write, or the other way round?"),
        ("if after else", "if not after else", "is the reset at the other place?"),
        (
            "a_r, a_z, a_n = np.split(W_x @ x + b, 3)\n    W_r, W_z, W_n = np",
            "a_z, a_r, a_n = np.split(W_x @ x + b, 3)\n    W_z, W_r, W_n = np",
            "are reset and update gate exchanged?",
        ),
        ("W_x @ x + b", "W_x @ x", "did you forget the bias?"),
        ("r = sigmoid(a_r + W_r @ h)", "r = 1.0", "did you leave out the reset gate?"),
        ("if keeps else (1 - z) * h + z * n", "if True else 0", "[gate writes, reset after] h is off by"),
    ],
    ("step-back", "test-back"): [
        ("d_h_previous = z * s + ", "d_h_previous = ", "did you forget the straight way, z * s?"),
        ("+ W_r.T @ delta_r + W_z.T @ delta_z", "", "did you forget what goes back through the gates?"),
        ("(r * delta_n)", "delta_n", "did you forget the reset gate in front of W_n?"),
        ("(h_previous - n)", "(n - h_previous)", "is the sign of h_previous - n wrong?"),
        ("q * delta_n", "h_previous * (W_n.T @ delta_n)", "is this delta_r of the reset before?"),
        ("(1 - n**2) * (1 - z) * s", "(1 - n**2) * z * s", "whose share is z?"),
    ],
    ("to-keep", "test-convert"): [
        ("part[H : 2 * H] *= -1", "part *= -1", "did you negate every block?"),
        ("part[H : 2 * H]", "part[:H]", "did you negate the reset gate?"),
        ("part[H : 2 * H]", "part[2 * H :]", "did you negate the candidate?"),
        ("part[H : 2 * H] *= -1", "part[H : 2 * H] = 1 - part[H : 2 * H]", "1 - W is not the weight of 1 - z"),
        ("W_x.copy(), W_h.copy(), b.copy()", "W_x, W_h, b", "to_keep changed its argument"),
    ],
    ("parameters", "test-count"): [
        ("lowest = D + H + 1\n    higher = M * H + H + 1", "lowest = D + H\n    higher = M * H + H", "the biases?"),
        (
            "lowest = D + H + 1\n    higher = M * H + H + 1",
            "lowest = D + H + 2\n    higher = M * H + H + 2",
            "two biases",
        ),
        ("higher = M * H + H + 1", "higher = lowest", "do the higher levels read D features?"),
        ("higher = M * H + H + 1", "higher = H + H + 1", "when there are two directions?"),
        ("return M * G", "return G", "did you forget one of the directions?"),
        ("higher = M * H + H + 1", "higher = M * 5 + H + 1", "expected 752, got "),
        ("(K - 1) * higher", "(K * K - 1) // 4 * higher", "expected 66, got "),
        ("return M * G * H", "return str(M) * G * H", "parameters: expected one whole number, got str"),
    ],
    ("both-ways", "test-both"): [
        (
            "turned[:length, k] = x[:length, k][::-1]",
            "turned[:, k] = x[:, k][::-1]",
            "and the states within their lengths?",
        ),
        ("= two[:length, k][::-1]", "= two[:length, k]", "did you turn the inputs, but not the states back?"),
        (
            "return states",
            "return np.concatenate([states[:, :, 3:], states[:, :, :3]], axis=2)",
            "are the two directions in the other order?",
        ),
        (
            "return states",
            "return np.concatenate([one, one], axis=2) if len(lengths) == 0 else states[:, :, :3]",
            "states: expected shape (6, 3, 6), got (6, 3, 3).",
        ),
        (
            "    return states",
            """    back = behind(x[::-1])[::-1]
    for k, length in enumerate(lengths):
        states[:length, k, 3:] = back[:length, k]
    return states""",
            "did you turn the padded array around?",
        ),
        (
            "    return states",
            """    blind = behind(x)
    for k, length in enumerate(lengths):
        states[:length, k, 3:] = blind[:length, k]
    return states""",
            "does the second net read forwards too?",
        ),
    ],
    ("pseudo-mass", "test-mass"): [
        ("range(3)", "range(2)", "did you leave out one of the three conditionals?"),
        ("* p / p.sum", "* p * p.sum", "did you multiply by the sums, and not divide?"),
        ("return product.sum()", "return p.sum()", "is this the sum of the joint, which is one?"),
    ],
}

REWRITES = {
    ("gru-step", "test-step"): """
def gru_step(W_x, W_h, b, x, h, keeps, after):
    H = len(h)
    gates = 0.5 + 0.5 * np.tanh((W_x[: 2 * H] @ x + W_h[: 2 * H] @ h + b[: 2 * H]) / 2)
    r, z = gates[:H], gates[H:]
    heard = r * (W_h[2 * H :] @ h) if after else W_h[2 * H :] @ (r * h)
    n = np.tanh(W_x[2 * H :] @ x + b[2 * H :] + heard)
    keep = z if keeps else 1 - z
    return n + keep * (h - n)
""",
    ("step-back", "test-back"): """
def step_back(W_h, r, z, n, q, h_previous, s):
    H = len(s)
    delta_n = s * (1 - z) * (1 - n) * (1 + n)
    delta_z = s * (h_previous - n) * (z - z * z)
    delta_r = delta_n * q * (r - r * r)
    to_h = np.concatenate([delta_r, delta_z, r * delta_n])
    return delta_r, delta_z, delta_n, s * z + to_h @ W_h
""",
    ("parameters", "test-count"): """
def parameters(G, D, H, K, M):
    total = 0
    for level in range(K):
        features = D if level == 0 else M * H
        total += M * (G * H * features + G * H * H + G * H)
    return total
""",
    ("both-ways", "test-both"): """
def both_ways(ahead, behind, x, lengths):
    t = np.arange(len(x))[:, None]
    real = t < np.asarray(lengths)
    order = np.where(real, np.asarray(lengths) - 1 - t, t)[:, :, None]
    back = np.take_along_axis(behind(np.take_along_axis(x, order, 0)), order, 0)
    return np.where(real[:, :, None], np.concatenate([ahead(x), back], axis=2), 0.0)
""",
    ("to-keep", "test-convert"): """
def to_keep(W_x, W_h, b):
    sign = np.repeat([1.0, -1.0, 1.0], len(b) // 3)
    return sign[:, None] * W_x, sign[:, None] * W_h, sign * b
""",
    ("pseudo-mass", "test-mass"): """
def pseudo_mass(p):
    total = 0.0
    for i, j, k in np.ndindex(*p.shape):
        given = p[:, j, k].sum() * p[i, :, k].sum() * p[i, j, :].sum()
        total += p[i, j, k] ** 3 / given
    return total
""",
}
NARROW = {("gru-step", "test-step"): ("np.split(W_x @ x + b, 3)", "np.split(W_x[:, :2] @ x[:2] + b, 3)")}
