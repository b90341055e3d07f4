"""Exercise 01-sequences: what is graded, mutants of its solution, and rewrites that are as right."""

POINTS = 20
GRADED = [
    "test-windows",
    "test-conditionals",
    "test-log-probability",
    "test-padded",
    "test-loss-mask",
    "test-sample",
    "test-counts",
]
WAITING: list[str] = []

MUTANTS = {
    ("windows", "test-windows"): [
        ("for k in range(width)]", "for k in reversed(range(width))]", "is the newest step first?"),
        (
            "padded[k : k + len(x)]",
            "np.concatenate([padded, 0 * x[:1]])[k + 1 : k + 1 + len(x)]",
            "do your windows look one step ahead?",
        ),
        ("np.zeros((width - 1, *x.shape[1:]))", "np.repeat(x[:1], width - 1, 0)", "not the first step repeated"),
        ("np.zeros((width - 1, *x.shape[1:]))", "x[len(x) - width + 1 :]", "do your windows wrap around"),
        (
            "np.concatenate([padded[k : k + len(x)] for k in range(width)], axis=2)",
            "np.stack([padded[k : k + len(x)] for k in range(width)], axis=3).reshape(*x.shape[:2], -1)",
            "did you mix up features and steps?",
        ),
        (", axis=2)", ", axis=0)", "windows: expected shape (6, 2, 9), got (18, 2, 3)"),
    ],
    ("conditionals", "test-conditionals"): [
        ("marginal / before[..., None]", "marginal", "are these marginals?"),
        ("marginal / before[..., None]", "marginal / marginal.sum(axis=0)", "do you normalise over the past?"),
        (
            "before[..., None])",
            "before[..., None])\n        found[-1] = np.broadcast_to(\n"
            "            joint.sum(axis=tuple(k for k in range(T) if k != t - 1)), marginal.shape\n        )",
            "did you forget to condition?",
        ),
        (
            "found.append(marginal / before[..., None])",
            "pair = joint.sum(axis=tuple(k for k in range(T) if k not in (t - 2, t - 1)))\n"
            "        found.append(np.broadcast_to(pair / pair.sum(-1, keepdims=True), marginal.shape))",
            "do you condition on the step before only?",
        ),
        ("T = joint.ndim", "joint, T = joint.T, joint.ndim", "did you sum out the past instead of the future?"),
        ("return found", "return found[1:]", "expected a list of 3 arrays, one for each step, got list of 2."),
    ],
    ("log-probability", "test-log-probability"): [
        ("return sum(np.log(", "return np.exp(1) ** sum(np.log(", "did you return the logarithm's argument?"),
        ("np.log(part[x[: t + 1]])", "part[x[: t + 1]]", "did you add probabilities?"),
        ("return sum", "return -sum", "is the sign wrong?"),
        ("enumerate(parts))", "enumerate(parts) if t)", "did you leave out the first step?"),
        ("enumerate(parts))", "enumerate(parts[:-1]))", "did you stop before the last step?"),
        ("enumerate(parts))", "enumerate(parts)) / len(x)", "did you average over the steps?"),
        ("np.log(", "np.log2(", "did you take the logarithm to base 2?"),
    ],
    ("final-states", "test-padded"): [
        ("np.where((t < lengths)[:, None], new, h)", "new", "does the padding move the state?"),
        ("[:, None], new, h)", "[:, None], new, 0 * h)", "is the state of a sequence that has ended set to zero?"),
        ("t < lengths", "t < lengths - 1", "do you stop one step too early?"),
        ("t < lengths", "t <= lengths", "do you run one step too far?"),
        ("t < lengths)", "t < np.full_like(lengths, lengths.min()))", "do you cut all sequences to the shortest?"),
        (
            "np.where((t < lengths)[:, None], new, h)",
            "(m := (t < lengths)[:, None]) * new + (1 - m) * h",
            "0 * NaN is NaN. Choose with np.where",
        ),
        ("h = np.zeros", "x[:] = np.nan_to_num(x)\n    h = np.zeros", "changed its argument x"),
    ],
    ("loss-mask", "test-loss-mask"): [
        ("real = t < lengths", "real = t < np.full_like(lengths, steps)", "do you count padding?"),
        ("t == lengths - 1", "t == np.full_like(lengths, steps) - 1", "is the last real step the last row?"),
        ("t == lengths - 1", "t == lengths", "are you one step late?"),
        ("t >= lag", "t >= lag - 1", "are you one step early?"),
        ("return real & (t >= lag) if", "return ~(real & (t >= lag)) if", "did you mark the steps that do not count?"),
        ("real & (t >= lag) if", "real if", "is `lag` ignored, or the wrong way round?"),
        ("return t == lengths - 1", "return 1 * (t == lengths - 1)", "expected an array of booleans, got int64"),
    ],
    ("sample", "test-sample"): [
        ("np.argmax(cumulative > value)", "np.argmax(model(x))", "do you always take the most probable value?"),
        ("model(x)", "model((0,) * len(x))", "do you draw every value in the same way?"),
        ("model(x)", "model(x[::-1])", "is the past in reverse?"),
        (
            "int(np.argmax(cumulative > value))",
            "min(int(np.argmax(cumulative > value)) + 1, len(cumulative) - 1)",
            "are you off by one?",
        ),
        ("cumulative > value", "model(x) > value", "do you compare u with the probabilities?"),
        ("cumulative > value", "cumulative > u[0]", "is the same random number used for every step?"),
        ("return list(x)", "return x[-1]", "expected 4 whole numbers, one for each step, got int."),
    ],
    ("counts", "test-counts"): [
        ("50 - 5 + 1", "50 - 5", "windows: 45 is not the number: the last window counts, too."),
        ("+ 32\n", "\n", "tied: 1536 is not the number: there is a bias as well."),
        ("2**10 - 1", "2**10", "free: 1024 is not the number: they sum to one."),
        ("1 + 2 * 1", "1 + 9 * 2", "markov: 19 is not the number: one transition table serves all steps."),
    ],
}

REWRITES = {
    ("windows", "test-windows"): """
def windows(x, width):
    T, B, D = x.shape
    found = np.zeros((T, B, width, D))
    for t in range(T):
        for k in range(width):
            if t - k >= 0:
                found[t, :, width - 1 - k] = x[t - k]
    return found.reshape(T, B, width * D)
""",
    ("conditionals", "test-conditionals"): """
def conditionals(joint):
    if joint.ndim == 1:
        return (joint,)
    before = joint.sum(-1)
    return (*conditionals(before), joint / before.reshape(*before.shape, 1))
""",
    ("log-probability", "test-log-probability"): """
def log_probability(parts, x):
    product = 1.0
    for part in parts:
        for value in x[: part.ndim]:
            part = part[value]
        product *= part
    return float(np.log(product))
""",
    ("final-states", "test-padded"): """
def final_states(W_x, W_h, b_h, x, lengths):
    final = []
    for b, n in enumerate(lengths):
        h = np.zeros(len(b_h))
        for t in range(n):
            h = np.tanh(W_x @ x[t, b] + W_h @ h + b_h)
        final.append(h)
    return final
""",
    ("loss-mask", "test-loss-mask"): """
def loss_mask(kind, lengths, steps, lag):
    counts = {"every": lambda t, n: t < n, "last": lambda t, n: t + 1 == n, "after": lambda t, n: lag <= t < n}[kind]
    return [[bool(counts(t, n)) for n in lengths] for t in range(steps)]
""",
    ("sample", "test-sample"): """
def sample(model, u):
    x = []
    for value in u:
        p, k = model(tuple(x)), 0
        while p[: k + 1].sum() <= value:
            k += 1
        x.append(k)
    return np.array(x)
""",
    ("counts", "test-counts"): """
def counts():
    return np.int64(46), 32 * (16 + 32 + 1), 31360, 1023, 3
""",
}

# Right for the visible sizes only: what the hidden tests are for.
NARROW = {
    ("windows", "test-windows"): ("width - 1, *x", "2, *x"),
    ("conditionals", "test-conditionals"): ("T = joint.ndim", "T = 3"),
    ("final-states", "test-padded"): ("x.shape[1]", "3"),
}
