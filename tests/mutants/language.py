"""Exercise 04-language-models: what is graded, mutants of its solution, and rewrites that are as right."""

POINTS = 20
GRADED = [
    "test-scores",
    "test-lookup",
    "test-table-gradient",
    "test-temperature",
    "test-top-k",
    "test-nucleus",
    "test-adagrad",
    "test-negative-sampling",
    "test-word-probability",
]
WAITING: list[str] = []

MUTANTS = {
    ("scores", "test-scores"): [
        ("-np.mean(", "-np.sum(", "did you add up the tokens?"),
        (
            "-np.mean(log_p[np.arange(len(targets)), targets])",
            "-np.log(np.mean(np.exp(log_p[np.arange(len(targets)), targets])))",
            "did you average the probabilities?",
        ),
        ("targets])", "log_p.argmax(axis=1)])", "did you score the most probable token?"),
        ("nats / np.log(2)", "nats", "are these nats?"),
        ("np.exp(nats)", "2**nats", "do you raise 2 to a power in nats?"),
        ("nats = -np", "nats = np", "is the sign wrong?"),
        ("logits - logits.max(axis=1, keepdims=True)", "1.0 * logits", "logits around 1000 overflow"),
    ],
    ("lookup", "test-lookup"): [
        ("table[tokens]", "table[tokens - 1]", "are you off by one?"),
        ("table[tokens]", "table.T[tokens % 3]", "vectors: expected shape (6, 2, 3), got (6, 2, 5)."),
        (
            "table[tokens]",
            "table[tokens.reshape(tokens.shape[::-1]).T]",
            "are the axes of the tokens in another order?",
        ),
    ],
    ("table-gradient", "test-table-gradient"): [
        ("np.add.at(d_table, tokens, d_vectors)", "d_table[tokens] += d_vectors", "did you overwrite instead of"),
        (
            "return d_table",
            "return d_table / np.maximum(np.bincount(tokens.ravel(), minlength=len(table)), 1)[:, None]",
            "did you average over the occurrences?",
        ),
        ("tokens, d_vectors)\n", "tokens, table[tokens])\n", "did you use the vectors themselves?"),
        ("tokens, d_vectors)\n", "tokens[:-1], d_vectors[:-1])\n", "are the last tokens missing?"),
        ("np.zeros_like(table)", "table", "table_gradient changed its argument table"),
    ],
    ("temperature", "test-temperature"): [
        ("/ tau", "* tau", "did you multiply by the temperature?"),
        ("/ tau)", ")", "did you divide the probabilities?"),
        ("exps / exps.sum()", "exps * np.exp(logits.max() / tau)", "are these not yet probabilities?"),
    ],
    ("top-k", "test-top-k"): [
        ("return q / q.sum()", "return q", "do they sum to one?"),
        ("argsort(-p)", "argsort(p)", "did you keep the least probable?"),
        ("np.argsort(-p)[:k]", "slice(k)", "did you keep the first k?"),
        ("[:k]", "[: k + 1]", "did you keep one too many?"),
        ("= p[kept]", "= 1", "are all that are kept alike?"),
    ],
    ("nucleus", "test-nucleus"): [
        ("return q / q.sum()", "return q", "do they sum to one?"),
        ("before < mass]", "before + p[order] <= mass]", "is the token that reaches the mass missing?"),
        ("argsort(-p)", "argsort(p)", "did you begin with the least probable?"),
        ("np.argsort(-p)", "np.arange(len(p))", "did you forget to sort?"),
        ("order[before < mass]", "(p >= 1 - mass) | (p == p.max())", "did you keep each token whose own probability"),
    ],
    ("adagrad", "test-adagrad"): [
        ("np.clip(gradient, -limit, limit)", "gradient", "is the gradient clipped at all?"),
        (
            "np.clip(gradient, -limit, limit)",
            "gradient * min(1, limit / np.linalg.norm(gradient))",
            "did you clip the length?",
        ),
        ("np.clip(gradient, -limit, limit)", "np.minimum(gradient, limit)", "did you clip on one side only?"),
        ("memory + clipped**2", "memory + gradient**2", "does the memory see the gradient before it is clipped?"),
        ("np.sqrt(memory + 1e-8)", "(memory + 1e-8)", "is the root missing?"),
        ("np.sqrt(memory +", "np.sqrt(memory - clipped**2 +", "do you divide by the old memory?"),
        ("= memory + clipped", "= clipped", "does the memory forget?"),
        ("w - rate", "w + rate", "does it go uphill?"),
        ("memory = memory + clipped**2", "memory += clipped**2", "adagrad changed its argument memory"),
    ],
    ("negative-sampling", "test-negative-sampling"): [
        (
            "d_centre =",
            "loss = loss - np.logaddexp(0, fake).sum() + np.logaddexp(0, fake).mean()\n"
            "    d_fake = d_fake / len(noise)\n    d_centre =",
            "did you average over the noise words?",
        ),
        ("1 / (1 + np.exp(-real)) - 1", "1 - 1 / (1 + np.exp(-real))", "is the sign of the pair's part wrong?"),
        ("1 / (1 + np.exp(-real)) - 1", "1 / (1 + np.exp(-real))", "is the target of the pair missing?"),
        ("1 / (1 + np.exp(-fake))", "1 / (1 + np.exp(-fake)) - 1", "are noise words treated as real?"),
        (" + d_fake @ noise", "", "does the centre hear the noise?"),
        ("d_real * context + ", "", "does the centre hear its true neighbour?"),
        ("np.outer(d_fake, centre)", "np.outer(centre, d_fake)", "d_noise: expected shape (3, 4), got (4, 3)."),
    ],
    ("word-probability", "test-word-probability"): [
        (
            "p *= right if bit else 1 - right",
            "p = p * (node > 0) + (right if bit else 1 - right)",
            "did you add the probabilities of the turns?",
        ),
        ("right if bit else 1 - right", "1 - right if bit else right", "are left and right exchanged?"),
        ("right if bit else 1 - right", "right", "does the code matter?"),
        ("zip(path, code)", "zip(path, code[:-1])", "is the last turn missing?"),
        ("return p", "return np.log(p)", "is that the logarithm?"),
    ],
}

REWRITES = {
    ("scores", "test-scores"): """
def scores(logits, targets):
    log_norms = np.logaddexp.reduce(logits, axis=1)
    bits = np.mean([(norm - row[c]) / np.log(2) for norm, row, c in zip(log_norms, logits, targets)])
    return float(bits), 2**bits
""",
    ("lookup", "test-lookup"): """
def lookup(table, tokens):
    return (tokens[..., None] == np.arange(len(table))) @ table
""",
    ("table-gradient", "test-table-gradient"): """
def table_gradient(table, tokens, d_vectors):
    one_hot = np.eye(len(table))[tokens.ravel()]
    return one_hot.T @ d_vectors.reshape(-1, table.shape[1])
""",
    ("temperature", "test-temperature"): """
def temperature(logits, tau):
    p = np.exp(logits) ** (1 / tau)
    return list(p / p.sum())
""",
    ("top-k", "test-top-k"): """
def top_k(p, k):
    kept = p >= np.sort(p)[-k]
    return kept * p / p[kept].sum()
""",
    ("nucleus", "test-nucleus"): """
def nucleus(p, mass):
    q, held = [0.0] * len(p), 0.0
    for v in sorted(range(len(p)), key=lambda v: -p[v]):
        if held >= mass:
            break
        q[v] = p[v]
        held += p[v]
    return [value / held for value in q]
""",
    ("adagrad", "test-adagrad"): """
def adagrad(w, gradient, memory, rate, limit):
    small = np.sign(gradient) * np.minimum(abs(gradient), limit)
    total = memory + small * small
    return w - rate * small * (total + 1e-8) ** -0.5, total
""",
    ("negative-sampling", "test-negative-sampling"): """
def negative_sampling(centre, context, noise):
    rows, true = np.vstack([context, noise]), np.r_[1.0, np.zeros(len(noise))]
    p = 1 / (1 + np.exp(-rows @ centre))
    loss = -np.sum(true * np.log(p) + (1 - true) * np.log(1 - p))
    d_rows = (p - true)[:, None] * centre
    return loss, (p - true) @ rows, d_rows[0], d_rows[1:]
""",
    ("word-probability", "test-word-probability"): """
def word_probability(h, nodes, path, code):
    signs = 2 * np.array(code) - 1
    return np.exp(-np.logaddexp(0, -signs * (nodes[list(path)] @ h)).sum())
""",
}

# Right for the visible sizes only: what the hidden tests are for.
NARROW = {
    ("table-gradient", "test-table-gradient"): (
        "np.add.at(d_table, tokens, d_vectors)",
        "[np.add.at(d_table, row, d) for row, d in zip(tokens.reshape(6, 2), d_vectors.reshape(6, 2, 3))]",
    ),
}
