"""Exercise 12-seq2seq: what is graded, mutants of its solution, and rewrites that are as right."""

POINTS = 23
GRADED = ["test-batch", "test-score", "test-attention", "test-back", "test-beam", "test-rank"]
WAITING = []

MUTANTS = {
    ("heard-and-counted", "test-batch"): [
        ("np.vstack([0 * y[:1], y[:-1]])", "np.vstack([y[1:], 0 * y[:1]])", "is the shift the wrong way round?"),
        ("np.vstack([0 * y[:1], y[:-1]])", "y.copy()", "did you forget to shift?"),
        (" - (y == 0)\n", "\n", "did you leave out the end?"),
        ("counted = ended_before == 0", "counted = np.ones(y.shape, bool)", "does padding count?"),
        (
            "counted = ended_before == 0",
            "counted = np.vstack([np.ones((1, y.shape[1]), bool), y[:-1] != 0])",
            "is over for good",
        ),
        (
            "counted = ended_before == 0",
            "counted = np.arange(len(y))[:, None] <= (y != 0).sum(axis=0)",
            "need not be 0",
        ),
    ],
    ("log-probability", "test-score"): [
        (" - (y == 0) == 0", " == 0", "did you leave out the end?"),
        ("(said * counted)", "said", "does padding count?"),
        ("return (said", "return -(said", "is the sign that of a loss?"),
        ("(said * counted).sum(axis=0)", "(said * counted).sum(axis=0) / counted.sum(axis=0)", "is this a mean?"),
        ("logs = logits - np.log(np.exp(logits).sum(axis=2, keepdims=True))", "logs = logits", "are these logits?"),
    ],
    ("attention", "test-attention"): [
        ("    u = np.where(np.arange(len(h)) < real, u, -np.inf)\n", "", "did you forget the mask?"),
        ("-np.inf)", "0)", "did you set the scores of padding to 0?"),
        (
            "    u = np.where(np.arange(len(h)) < real, u, -np.inf)\n"
            "    e = np.exp(u - u.max())\n    alpha = e / e.sum()\n",
            "    e = np.exp(u - u.max())\n    alpha = e / e.sum() * (np.arange(len(h)) < real)\n",
            "did you mask after the softmax?",
        ),
        (" / np.sqrt(len(q))", "", "did you forget to divide by the root of M?"),
        ("alpha = e / e.sum()", "alpha = e", "did you forget to normalise?"),
        ("np.exp(u - u.max())", "np.exp(u)", "entries are NaN or infinite"),
        ("np.arange(len(h)) < real", "np.arange(len(h)) < len(h) - 2", "is `real` used?"),
    ],
    ("attention-back", "test-back"): [
        ("(h - context) @ g", "h @ g", "did you forget to take off the context?"),
        ("np.outer(alpha, g) + np.outer(through_scores, q)", "np.outer(alpha, g)", "what of the scores?"),
        ("np.outer(alpha, g) + np.outer(through_scores, q)", "np.outer(through_scores, q)", "what of the average?"),
        ("epsilon / np.sqrt(len(q))", "epsilon", "did you forget to divide by the root of M?"),
    ],
    ("beam-search", "test-beam"): [
        ("        alive = sorted", "        break\n        alive = sorted", "did you stop at the first end?"),
        ("log_p + logs[0]", "log_p", "is log p of the end missing?"),
        (
            "            finished.append((log_p + logs[0], (*said, 0)))\n            for v in range(1, len(logs)):",
            "            for v in range(len(logs)):",
            "in a list of their own",
        ),
        (
            "        alive = sorted(longer, reverse=True)[:width]\n",
            "        both = sorted(longer + finished[-len(alive) :], reverse=True)[:width]\n"
            "        finished = finished[: -len(alive)] + [one for one in both if one[1][-1] == 0]\n"
            "        alive = [one for one in both if one[1][-1] != 0]\n",
            "do ended answers take places in the beam",
        ),
        ("return sorted(finished, reverse=True)", "return sorted(finished)", "answers are missing"),
        ("return sorted(finished, reverse=True)[:width]", "return alive", "not finished"),
    ],
    ("best-by-mean", "test-rank"): [
        ("log_p / len(said) ** a", "log_p", "divide by the length first"),
        ("np.argmax", "np.argmin", "this is the worst one"),
        ("log_p / len(said) ** a", "log_p / (len(said) if a else 1)", "this is the best by its mean"),
        ("log_p / len(said) ** a", "log_p / max(1, len(said) - 1) ** a", "the end counts in the length"),
    ],
}

REWRITES = {
    ("heard-and-counted", "test-batch"): """
def heard_and_counted(y):
    heard = np.zeros_like(y)
    heard[1:] = y[:-1]
    counted = np.arange(len(y))[:, None] <= (y == 0).argmax(axis=0)
    return heard * counted, counted
""",
    ("log-probability", "test-score"): """
def log_probability(logits, y):
    total = np.zeros(y.shape[1])
    for b in range(y.shape[1]):
        for n in range(len(y)):
            s = logits[n, b]
            total[b] += s[y[n, b]] - s.max() - np.log(np.exp(s - s.max()).sum())
            if y[n, b] == 0:
                break
    return total
""",
    ("attention", "test-attention"): """
def attention(q, h, real):
    u = (h[:real] * q).sum(axis=1) / len(q) ** 0.5
    e = np.exp(u - u.max())
    alpha = np.zeros(len(h))
    alpha[:real] = e / e.sum()
    return alpha, (alpha[:, None] * h).sum(axis=0)
""",
    ("attention-back", "test-back"): """
def attention_back(q, h, alpha, g):
    J = np.diag(alpha) - np.outer(alpha, alpha)
    d_u = J @ (h @ g) / len(q) ** 0.5
    return h.T @ d_u, alpha[:, None] * g + d_u[:, None] * q
""",
    ("beam-search", "test-beam"): """
def beam_search(next_log_p, width, limit):
    beam, done = {(): 0.0}, {}
    for _ in range(limit):
        following = {}
        for said, log_p in beam.items():
            first, *others = next_log_p(said)
            done[said + (0,)] = log_p + first
            following |= {said + (k,): log_p + value for k, value in enumerate(others, 1)}
        beam = dict(sorted(following.items(), key=lambda one: one[1])[-width:])
    return [(value, said) for said, value in sorted(done.items(), key=lambda one: -one[1])][:width]
""",
    ("best-by-mean", "test-rank"): """
def best_by_score(found, a):
    return sorted(found, key=lambda one: one[0] * len(one[1]) ** -a)[-1]
""",
}
NARROW = {("attention", "test-attention"): ("np.arange(len(h)) < real", "np.arange(6) < real")}
