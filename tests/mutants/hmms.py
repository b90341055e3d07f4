"""Exercise 11-hmms: what is graded, mutants of its solution, and rewrites that are as right."""

POINTS = 25
GRADED = ["test-step", "test-likelihood", "test-back", "test-transitions", "test-gradient", "test-divide", "test-path"]
WAITING = []

MUTANTS = {
    ("filter-step", "test-step"): [
        (
            "ahead = P.T @ before\n    weighed = likelihoods * ahead",
            "weighed = P.T @ (likelihoods * before)",
            "did you weigh before you predicted?",
        ),
        ("P.T @ before", "P @ before", "is P on the wrong side? P[i, j] goes from i to j."),
        ("P.T @ before", "before", "did you forget to predict?"),
        ("return weighed / kappa, kappa", "return weighed, kappa", "did you forget to divide by kappa?"),
        ("return weighed / kappa, kappa", "return weighed / kappa, np.log(kappa)", "is this the logarithm of kappa?"),
    ],
    ("log-likelihood", "test-likelihood"): [
        ("ahead, total = pi, 0.0", "ahead, total = P.T @ pi, 0.0", "nothing is predicted before the first observation"),
        ("return total", "return np.exp(total)", "is this p, and not its logarithm?"),
        (
            "for symbol in x:",
            "ahead = P.T @ (C[:, x[0]] * pi / (C[:, x[0]] @ pi))\n    for symbol in x[1:]:",
            "did you leave out the first observation?",
        ),
        ("total += np.log", "total -= np.log", "is the sign that of a loss?"),
        (
            "        total += np.log(kappa)\n        ahead = P.T @ (weighed / kappa)\n    return total",
            "        ahead = P.T @ weighed\n    return np.log(kappa)",
            "divide by kappa at every step, and add up its logarithm",
        ),
        ("np.log(kappa)", "np.log(kappa + 1e-7)", "more than rounding: is something added to kappa?"),
    ],
    ("posterior", "test-back"): [
        ("return h * s", "return h", "is this the filter? It knows the past alone."),
        ("= P @ (", "= P.T @ (", "Backwards it is P, and not its transpose."),
        (" / kappa[t]", "", "did you forget to divide by kappa?"),
        ("likelihoods[t] *", "likelihoods[t - 1] *", "is the likelihood that of the wrong step?"),
        ("return h * s", "return s", "is this s? The posterior is h times s."),
    ],
    ("expected-transitions", "test-transitions"): [
        (
            "np.outer(h[t - 1], likelihoods[t] * s[t] / kappa[t]) * P",
            "np.outer(gamma[t - 1], gamma[t])",
            "not independent",
        ),
        (" * P\n    return N", "\n    return N", "did you leave out P?"),
        (" / kappa[t]", "", "did you forget to divide by kappa?"),
        (" * s[t]", "", "did you leave out s"),
        ("s = gamma / h", "s = gamma", "is this gamma where s should be?"),
        ("return N", "return N.T", "are the axes exchanged?"),
        ("return N", "return N / N.sum(axis=1, keepdims=True)", "are rows divided by their sums?"),
        ("np.outer(h[t - 1]", "np.outer(h[t]", "which belief does the transition leave?"),
        ("range(1, len(h))", "range(1, len(h) - 1)", "is one transition missing?"),
    ],
    ("centred", "test-gradient"): [
        ("return N - P * N.sum(axis=1, keepdims=True)", "return N", "these are the counts"),
        ("P * N.sum(axis=1, keepdims=True)", "N.mean(axis=1, keepdims=True)", "did you take off the mean of the row?"),
        ("P * N.sum(axis=1, keepdims=True)", "P * N.sum(axis=1)", "a row's sum must stay a column"),
        ("P * N.sum(axis=1, keepdims=True)", "P * N.sum(axis=0)", "is the softmax along columns, or the sum?"),
        (
            "return N - P * N.sum(axis=1, keepdims=True)",
            "return P * N.sum(axis=1, keepdims=True) - N",
            "that of a loss",
        ),
        (
            "P = np.exp(S - S.max(axis=1, keepdims=True))\n    P = P / P.sum(axis=1, keepdims=True)",
            "P = np.exp(S)",
            "take their softmax, which is not exp",
        ),
        ("np.exp(S - S.max(axis=1, keepdims=True))", "np.exp(S)", "take the largest of each row off before exp"),
    ],
    ("m-step", "test-divide"): [
        (
            "P = N / N.sum(axis=1, keepdims=True)\n    C = M / M.sum(axis=1, keepdims=True)",
            "P = N / N.sum(axis=0)\n    C = M / M.sum(axis=0)",
            "did you divide by the sums of columns?",
        ),
        (
            "P = N / N.sum(axis=1, keepdims=True)\n    C = M / M.sum(axis=1, keepdims=True)",
            "P = N / N.sum()\n    C = M / M.sum()",
            "did you divide by the sum of everything?",
        ),
        (
            "P = N / N.sum(axis=1, keepdims=True)\n    C = M / M.sum(axis=1, keepdims=True)",
            "P, C = N, M",
            "are these the counts themselves?",
        ),
        ("N.sum(axis=1, keepdims=True)", "N.sum(axis=1)", "a row's sum must stay a column"),
        (
            "P = N / N.sum(axis=1, keepdims=True)\n    C = M / M.sum(axis=1, keepdims=True)",
            "P = N / N.sum(axis=1)\n    C = M / M.sum(axis=1)",
            "A row's sum must stay a column",
        ),
    ],
    ("best-path", "test-path"): [
        (
            "    return np.array(states[::-1])",
            """    states = [(log_pi + log_likelihoods[0]).argmax()]
    for seen in log_likelihoods[1:]:
        states.append((log_P[states[-1]] + seen).argmax())
    return np.array(states)""",
            "chosen greedily? What is best now can be bad later.",
        ),
        (
            "    states = [best.argmax()]",
            """    ends, m = [], log_pi + log_likelihoods[0]
    for t, seen in enumerate(log_likelihoods):
        m = (m[:, None] + log_P).max(axis=0) + seen if t else m
        ends.append(m.argmax())
    return np.array(ends)
    states = [best.argmax()]""",
            "Remember where each maximum came from, and walk back.",
        ),
        ("return np.array(states[::-1])", "return np.array(states[:0:-1])", "path: expected shape"),
        ("best = log_pi + log_likelihoods[0]", "best = log_likelihoods[0]", "where is log pi?"),
        ("best = log_pi + log_likelihoods[0]", "best = log_pi", "did you leave out the first observation?"),
        (
            "best = log_pi + log_likelihoods[0]",
            "best = np.log(np.exp(log_pi) @ np.exp(log_P)) + log_likelihoods[0]",
            "no transition comes before the first step",
        ),
        ("scores.max(axis=0)", "np.logaddexp.reduce(scores, axis=0)", "is this a sum where a maximum belongs?"),
        ("best[:, None] + log_P", "best[:, None] + log_P.T", "is P on the wrong side?"),
        (
            "scores = best[:, None] + log_P\n        came.append(scores.argmax(axis=0))\n"
            "        best = scores.max(axis=0) + seen",
            "scores = (np.exp(best) if len(came) == 0 else best)[:, None] * np.exp(log_P)\n"
            "        came.append(scores.argmax(axis=0))\n        best = scores.max(axis=0) * np.exp(seen)",
            "are these products of probabilities?",
        ),
        ("return np.array(states[::-1])", "return np.array(states)", "are not those of the best path"),
    ],
}

REWRITES = {
    ("filter-step", "test-step"): """
def filter_step(P, likelihoods, before):
    joint = before[:, None] * P * likelihoods
    kappa = joint.sum()
    return joint.sum(axis=0) / kappa, kappa
""",
    ("log-likelihood", "test-likelihood"): """
def log_likelihood(pi, P, C, x):
    logs = np.log(pi) + np.log(C[:, x[0]])
    for symbol in x[1:]:
        pairs = logs[:, None] + np.log(P) + np.log(C[:, symbol])
        m = pairs.max()
        logs = m + np.log(np.exp(pairs - m).sum(axis=0))
    m = logs.max()
    return m + np.log(np.exp(logs - m).sum())
""",
    ("posterior", "test-back"): """
def posterior(P, likelihoods, h, kappa):
    tail, rows = np.ones(len(P)), [h[-1]]
    for t in range(len(h) - 2, -1, -1):
        tail = P @ (likelihoods[t + 1] * tail)
        tail = tail / tail.sum()
        rows.append(h[t] * tail / (h[t] @ tail))
    return np.array(rows[::-1])
""",
    ("expected-transitions", "test-transitions"): """
def expected_transitions(P, likelihoods, h, gamma, kappa):
    ahead = h[:-1] @ P
    return P * np.einsum("ti,tj->ij", h[:-1], gamma[1:] / ahead)
""",
    ("centred", "test-gradient"): """
def centred(S, N):
    P = np.exp(S - np.logaddexp.reduce(S, axis=1)[:, None])
    return np.array([N[i] - P[i] * N[i].sum() for i in range(len(S))])
""",
    ("m-step", "test-divide"): """
def m_step(N, M):
    return (N.T / N.sum(axis=1)).T, (M.T / M.sum(axis=1)).T
""",
    ("best-path", "test-path"): """
def best_path(log_pi, log_P, log_likelihoods):
    T, K = log_likelihoods.shape
    tail = np.zeros((T, K))
    for t in range(T - 2, -1, -1):
        tail[t] = (log_P + log_likelihoods[t + 1] + tail[t + 1]).max(axis=1)
    states = [(log_pi + log_likelihoods[0] + tail[0]).argmax()]
    for t in range(1, T):
        states.append((log_P[states[-1]] + log_likelihoods[t] + tail[t]).argmax())
    return np.array(states)
""",
}
NARROW = {("posterior", "test-back"): ("np.ones_like(h)", "np.ones((9, 3))")}
