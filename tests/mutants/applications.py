"""Exercise 16-applications: what is graded, mutants of its solution, and rewrites that are as right."""

POINTS = 20
GRADED = ["test-line", "test-final", "test-grade", "test-iterate", "test-spread"]
WAITING = []

MUTANTS = {
    ("bayes-line", "test-line"): [
        ("np.log(documents[1] / documents[0])", "0.0", "did you forget the prior?"),
        ("smoothed / smoothed.sum(axis=1, keepdims=True)", "smoothed", "divide by the totals of the classes?"),
        (
            "smoothed = counts + alpha",
            "smoothed = np.maximum(counts, 1e-300)",
            "did you forget alpha?",
        ),
        (
            "return log_theta[1] - log_theta[0], np.log(documents[1] / documents[0])",
            "return log_theta[0] - log_theta[1], np.log(documents[0] / documents[1])",
            "is the sign wrong? Positive log-odds speak for class 1.",
        ),
        (
            "smoothed.sum(axis=1, keepdims=True)",
            "(counts.sum(axis=1, keepdims=True) + alpha)",
            "did you add alpha to the total once?",
        ),
    ],
    ("final-gradient", "test-final"): [
        ("e[length - 1, b] = q / q.sum()\n        e[length - 1, b, label] -= 1", "e[-1, b] = 0", "e is off by"),
        (
            "        q = np.exp(scores[length - 1, b] - scores[length - 1, b].max())\n",
            "        length = len(scores)\n        q = np.exp(scores[length - 1, b] - scores[length - 1, b].max())\n",
            "is this the last row of the array?",
        ),
        (
            "    for b, (label, length) in enumerate(zip(labels, lengths, strict=True)):\n",
            "    steps = [(b, (labels[b], t)) for b in range(len(labels)) for t in range(1, lengths[b] + 1)]\n"
            "    for b, (label, length) in steps:\n",
            "did you judge every real step?",
        ),
        (
            "        q = np.exp(scores[length - 1, b] - scores[length - 1, b].max())\n",
            "        if length == len(scores):\n            continue\n        length += 1\n"
            "        q = np.exp(scores[length - 1, b] - scores[length - 1, b].max())\n",
            "are you a step late?",
        ),
        ("e / len(labels)", "e", "did you sum over the batch?"),
        ("e / len(labels)", "-e / len(labels)", "is its sign wrong?"),
        ("        e[length - 1, b, label] -= 1\n", "", "did you forget to take off the one-hot label?"),
        (" - scores[length - 1, b].max()", "", "entries are NaN or infinite"),
    ],
    ("marks", "test-grade"): [
        ("np.sqrt(accuracy * (1 - accuracy) / len(true))", "accuracy * (1 - accuracy) / len(true)", "the variance?"),
        ("(1 - accuracy) / len(true)", "(1 - accuracy)", "did you forget to divide by N?"),
        ("2 / (1 / precision[k] + 1 / recall[k])", "precision[k]", "is this the precision?"),
        ("2 / (1 / precision[k] + 1 / recall[k])", "recall[k]", "is this the recall?"),
        (
            "2 / (1 / precision[k] + 1 / recall[k])",
            "(precision[k] + recall[k]) / 2",
            "the plain mean of precision and recall?",
        ),
        ("recall, f1\n", "recall, np.full(classes, f1.mean())\n", "is this the macro F1?"),
        ("error, precision, recall, f1\n", "error, recall, precision, f1\n", "are precision and recall exchanged?"),
    ],
    ("ar-ahead", "test-iterate"): [
        ("values[::-1][: len(a)]", "values[-len(a) :]", "do the weights meet the lags in the other order?"),
        ("values[::-1][: len(a)]", "list(history)[::-1][: len(a)]", "did you feed the forecasts back?"),
        ("c + np.dot(a, latest)", "np.dot(a, latest)", "did you forget the constant?"),
        (
            "values = list(history)",
            "values, history = list(history[: len(a)]), history[: len(a)]",
            "did you take the first values of the history for the last?",
        ),
        ("values[len(history) :]", "values", "expected shape (5,)"),
    ],
    ("ar-variances", "test-spread"): [
        ("np.cumsum(np.square(psi))", "np.cumsum(psi)", "did you forget to square psi?"),
        ("np.cumsum(np.square(psi))", "np.square(psi)", "did you forget to add up?"),
        ("noise * np.cumsum(np.square(psi))", "noise * np.arange(1, h + 1)", "is this h times the variance?"),
        ("noise * np.cumsum(np.square(psi))", "np.sqrt(noise * np.cumsum(np.square(psi)))", "standard deviations?"),
        (
            "    while len(psi) < h:",
            "    h += 1\n    while len(psi) < h:",
            "expected shape (5,), got (6,)",
        ),
        (
            "    psi = [1.0]\n    while len(psi) < h:\n"
            "        psi.append(sum(weight * before for weight, before in zip(a, psi[::-1], strict=False)))\n",
            "    psi = np.eye(h)[0]\n    for j in range(1, h):\n"
            "        psi[j] = sum(weight * psi[j - 1 - k] for k, weight in enumerate(a))\n",
            "does an index below zero wrap around?",
        ),
        ("zip(a, psi[::-1], strict=False)", "zip(a[:1], psi[::-1], strict=False)", "the first weight alone?"),
    ],
}

REWRITES = {
    ("bayes-line", "test-line"): """
def bayes_line(counts, documents, alpha):
    total = counts.sum(axis=1) + alpha * counts.shape[1]
    odds = np.log((counts[1] + alpha) / (counts[0] + alpha)) - np.log(total[1] / total[0])
    return odds, float(np.log(documents[1]) - np.log(documents[0]))
""",
    ("final-gradient", "test-final"): """
def final_gradient(scores, labels, lengths):
    T, B, K = scores.shape
    q = np.exp(scores - scores.max(axis=2, keepdims=True))
    q = q / q.sum(axis=2, keepdims=True)
    last = np.arange(T)[:, None] == lengths - 1
    return np.where(last[:, :, None], q - np.eye(K)[labels], 0) / B
""",
    ("marks", "test-grade"): """
def marks(said, true, classes):
    M = np.zeros((classes, classes))
    np.add.at(M, (true, said), 1)
    p = np.trace(M) / M.sum()
    parts = np.diag(M) / M.sum(axis=0), np.diag(M) / M.sum(axis=1)
    return p, (p * (1 - p) / M.sum()) ** 0.5, *parts, 2 * np.diag(M) / (M.sum(axis=0) + M.sum(axis=1))
""",
    ("ar-ahead", "test-iterate"): """
def ar_ahead(c, a, history, h):
    state, found = np.array(history[::-1][: len(a)]), []
    for _ in range(h):
        found.append(c + a @ state)
        state = np.concatenate([found[-1:], state[:-1]])
    return found
""",
    ("ar-variances", "test-spread"): """
def ar_variances(a, noise, h):
    F = np.zeros((len(a), len(a)))
    F[0], F[1:, :-1] = a, np.eye(len(a) - 1)
    psi = np.array([np.linalg.matrix_power(F, j)[0, 0] for j in range(h)])
    return [noise * (psi[:k] ** 2).sum() for k in range(1, h + 1)]
""",
}

NARROW = {
    ("ar-variances", "test-spread"): ("zip(a, psi[::-1]", "zip(a[:3], psi[::-1]"),
    ("ar-ahead", "test-iterate"): ("c + np.dot(a, latest)", "(c + np.dot(a, latest)) * (len(history) > len(a))"),
}
