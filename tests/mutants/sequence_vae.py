"""Exercise 13-sequence-vae: what is graded, mutants of its solution, and rewrites that are as right."""

POINTS = 20
GRADED = ["test-cost", "test-draw", "test-many", "test-hear", "test-floors"]
WAITING = []

MUTANTS = {
    ("note-cost", "test-cost"): [
        (
            "0.5 * (variance + mu**2 - 1 + kappa), mu, 0.5 * (1 - variance)",
            "0.5 * ((1 + mu**2) / variance - 1 - kappa), mu / variance, 0.5 * ((1 + mu**2) / variance - 1)",
            "the wrong direction?",
        ),
        (
            "variance = np.exp(-kappa)\n    return 0.5 * (variance + mu**2 - 1 + kappa), mu, 0.5 * (1 - variance)",
            "variance = np.exp(kappa)\n    return 0.5 * (variance + mu**2 - 1 - kappa), mu, 0.5 * (variance - 1)",
            "is the sign of kappa that of a log variance?",
        ),
        ("np.exp(-kappa)", "np.exp(-kappa / 2)", "did you take the standard deviation for the variance?"),
        ("mu**2 - 1 + kappa", "mu**2 - 1", "did you forget the logarithm's part"),
        ("0.5 * (1 - variance)", "0.5 * (variance - 1)", "is this the slope by the log variance?"),
        (
            "return 0.5 * (variance + mu**2 - 1 + kappa), mu, 0.5 * (1 - variance)",
            "return -0.5 * (variance + mu**2 - 1 + kappa), -mu, -0.5 * (1 - variance)",
            "is the sign of the whole wrong?",
        ),
        ("0.5 * (variance + mu**2 - 1 + kappa), mu", "(0.5 * (variance + mu**2 - 1 + kappa)).sum(1), mu", "cost:"),
    ],
    ("draw-back", "test-draw"): [
        ("-0.5 * deviation", "0.5 * deviation", "is this the slope by the log variance?"),
        ("d_kappa = (g * -0.5 * deviation * epsilon).sum(axis=0)", "d_kappa = 0 * kappa", "forget the path"),
        ("np.exp(-kappa / 2)", "2 * np.exp(-kappa)", "did you take the variance for the standard deviation?"),
        (" * epsilon", "", "did you forget the noise"),
        ("-0.5 * deviation", "-deviation", "did you forget the factor one half"),
        (
            "g.sum(axis=0), d_kappa",
            "g.mean(axis=0), d_kappa / len(g)",
            "did you take the mean over the draws?",
        ),
        ("g.sum(axis=0), d_kappa", "g, d_kappa", "Did you forget to sum over the batch?"),
    ],
    ("climb", "test-many"): [
        (
            "sums - np.log(count)",
            "logs.cumsum(axis=0) / count",
            "is this the mean of the logarithms?",
        ),
        ("sums - np.log(count)", "sums", "did you forget to divide by the number of draws?"),
        ("np.log(count)", "np.log(len(logs))", "did you divide by K from the first draw on?"),
        ("log_prior - log_q", "log_prior", "did you forget log q?"),
        (" + log_prior - log_q", " - log_q", "did you forget the prior?"),
        ("log_prior - log_q", "log_prior + log_q", "is log q added"),
        ("1 / (shares**2).sum(axis=0)", "1 / shares.sum(axis=0)", "did you forget to square the shares?"),
        (
            "np.logaddexp.accumulate(logs, axis=0)",
            "np.log(np.exp(logs).cumsum(axis=0))",
            "15 of 15 entries are NaN or infinite",
        ),
        (
            "np.logaddexp.accumulate(logs, axis=0)",
            "logs.max(axis=0) + np.log(np.exp(logs - logs.max(axis=0)).cumsum(axis=0))",
            " 1 of 15 entries are NaN or infinite",
        ),
        (
            "np.logaddexp.accumulate(logs, axis=0)",
            "logs.max() + np.log(np.exp(logs - logs.max()).cumsum(axis=0))",
            "13 of 15 entries are NaN or infinite",
        ),
    ],
    ("hears", "test-hear"): [
        (
            "return np.where(hidden, V, before), words, counts",
            "return before, np.where(hidden, V, words), counts",
            "did you hide the symbols to be said in place",
        ),
        (
            "return np.where(hidden, V, before), words, counts",
            "return np.where(hidden, V, before), np.where(hidden, V, words), counts",
            "did you hide the symbols to be said as well?",
        ),
        ("    hidden[0] = False\n", "", "did you hide the first step"),
        ("np.where(hidden, V, before)", "np.where(hidden, V, words)", "did you forget the shift?"),
        ("uniforms < share", "uniforms > share", "did you keep the share"),
        ("<= ends", "< ends", "did you leave out the end?"),
        ("<= ends", "<= np.count_nonzero(words, axis=0)", "did you count symbols behind the first 0?"),
        (
            "(np.arange(len(words))[:, None] <= ends)",
            "(np.concatenate([np.ones_like(words[:1]), words[:-1]]) != 0)",
            "does a step count because the symbol before is not 0?",
        ),
        ("uniforms < share", "uniforms <= share", "is a symbol hidden where its uniform is just the share?"),
        ("np.where(hidden, V, before)", "np.where(hidden, 6, before)", "heard is off"),
        ("uniforms < share", "uniforms < 0.3", "heard is off by"),
    ],
    ("free-bits", "test-floors"): [
        (
            "np.maximum(means, floor).sum(), np.where(means > floor, np.ones(costs.shape) / len(costs), 0)",
            "max(means.sum(), floor), np.full(costs.shape, (means.sum() > floor) / len(costs))",
            "did you put one floor under the sum?",
        ),
        (
            "np.maximum(means, floor).sum(), np.where(means > floor, np.ones(costs.shape) / len(costs), 0)",
            "np.maximum(costs, floor).sum(1).mean(), (costs > floor) / len(costs)",
            "did you floor every sequence?",
        ),
        (
            "means = costs.mean(axis=0)\n    return np.maximum(means, floor).sum(), "
            "np.where(means > floor, np.ones(costs.shape) / len(costs), 0)",
            "means = costs.sum(axis=0)\n    return np.maximum(means, floor).sum(), "
            "np.where(means > floor, np.ones(costs.shape), 0)",
            "did you sum over the batch",
        ),
        (
            "np.where(means > floor, np.ones(costs.shape) / len(costs), 0)",
            "np.ones(costs.shape) / len(costs)",
            "do units under the floor still pull?",
        ),
        (
            "np.maximum(means, floor).sum(), np.where(means > floor",
            "np.minimum(means, floor).sum(), np.where(means < floor",
            "did you take the smaller",
        ),
        ("np.ones(costs.shape) / len(costs)", "np.ones(costs.shape)", "divides the gradient by B?"),
    ],
}

REWRITES = {
    ("note-cost", "test-cost"): """
def note_cost(mu, kappa):
    precision = np.exp(kappa)
    cost = np.log(np.sqrt(precision)) + (1 / precision + mu * mu) / 2 - 1 / 2
    return cost, mu.copy(), (precision - 1) / (2 * precision)
""",
    ("draw-back", "test-draw"): """
def draw_back(mu, kappa, epsilon, g):
    d_mu, d_kappa = np.zeros_like(mu), np.zeros_like(mu)
    for e, one in zip(epsilon, g):
        z = mu + e / np.sqrt(np.exp(kappa))
        d_mu += one
        d_kappa += one * -(z - mu) / 2
    return d_mu, d_kappa
""",
    ("climb", "test-many"): """
def climb(log_likelihood, log_prior, log_q):
    logs = log_likelihood - log_q + log_prior
    sums = [logs[0]]
    for row in logs[1:]:
        sums.append(np.logaddexp(sums[-1], row))
    shares = np.exp(logs - sums[-1])
    return [total - np.log(k) for k, total in enumerate(sums, start=1)], np.exp(-np.log(sum(shares * shares)))
""",
    ("hears", "test-hear"): """
def hears(words, uniforms, share, V):
    heard, counts = np.zeros_like(words), np.zeros(words.shape, int)
    for b in range(words.shape[1]):
        over = False
        for t in range(len(words)):
            if t:
                heard[t, b] = V if uniforms[t, b] < share else words[t - 1, b]
            counts[t, b] = not over
            over = over or words[t, b] == 0
    return heard, words.copy(), counts
""",
    ("free-bits", "test-floors"): """
def free_bits(costs, floor):
    total, gradient = 0.0, np.zeros(costs.shape)
    for j in range(costs.shape[1]):
        mean = sum(costs[:, j]) / len(costs)
        if mean > floor:
            total, gradient[:, j] = total + mean, 1 / len(costs)
        else:
            total += floor
    return total, gradient
""",
}
NARROW = {("climb", "test-many"): ("np.log(count)", "np.log([[1], [2], [3]])")}
