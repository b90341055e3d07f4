"""Exercise 02-vanilla-rnn: what is graded, mutants of its solution, and rewrites that are as right."""

POINTS = 20
GRADED = ["test-forward", "test-split", "test-to-sigmoid", "test-linear", "test-bernoulli", "test-automaton"]
WAITING: list[str] = []

MUTANTS = {
    ("forward", "test-forward"): [
        ("h = [], h_0", "h = [], 0 * h_0", "do you start from zero?"),
        ("h @ W_h.T + b_h", "h @ W_h.T", "did you forget the bias b_h?"),
        ("h @ W_h.T + b_h", "b_h", "does the state ever come back in?"),
        ("np.tanh(", "(", "is tanh missing?"),
        ("np.tanh(x_t @ W_x.T + h @ W_h.T + b_h)", "1 / (1 + np.exp(-x_t @ W_x.T - h @ W_h.T - b_h))", "the sigmoid?"),
        (
            "y = h @ W_y.T",
            "y = np.concatenate([0 * h[:1] + h_0, h[:-1]]) @ W_y.T",
            "do your outputs read the state before?",
        ),
        ("y = h @ W_y.T + b_y", "y = np.tanh(h @ W_y.T + b_y)", "did you squash the outputs?"),
        ("W_y.T + b_y", "W_y.T", "did you forget the readout's bias b_y?"),
        ("states, h = [], h_0", "states, h = [0 * x[0, :, :1] + h_0], h_0", "got 6: leave h_0 out."),
    ],
    ("split", "test-split"): [
        ("W[:, H:], W[:, :H]", "W[:, :D], W[:, D:]", "is the order [x, h]?"),
        ("b_1 + b_2", "b_1", "where is the second bias?"),
        ("b_1 + b_2", "b_2", "where is the first bias?"),
        ("b_1 + b_2", "(b_1 + b_2) / 2", "did you average the biases?"),
        ("return W_x, W_h, b", "return W_x, W_h", "expected 3 arrays (W_x, W_h, b), got tuple of 2."),
    ],
    ("to-sigmoid", "test-to-sigmoid"): [
        ("4 * W_h", "2 * W_h", "is the factor 4 missing?"),
        ("b_h - W_h.sum(axis=1)", "b_h", "where did the -1 of h = 2 s - 1 go?"),
        ("b_h - W_h", "b_h + W_h", "is the sign of the shift wrong?"),
        ("2 * (b_h - W_h.sum(axis=1))", "2 * b_h - W_h.sum(axis=1)", "is the shift of the bias doubled?"),
        ("2 * W_x, 4 * W_h, 2 * (b", "W_x, 2 * W_h, (b", "did you forget that tanh(a) = 2 sigma(2a) - 1"),
        ("axis=1", "axis=0", "did you add up columns of W_h?"),
        ("(1 + h_0) / 2", "h_0", "is the initial state still that of the tanh network?"),
        ("(1 + h_0) / 2", "2 * h_0 - 1", "did you convert the initial state the wrong way round?"),
    ],
    ("linear", "test-linear"): [
        ("T - t)", "T - t + 1)", "is every power one too high?"),
        ("matrix_power(W_h, T)", "matrix_power(W_h, T - 1)", "is h_0 multiplied once too little?"),
        ("@ h_0", "@ (0 * h_0)", "where is h_0?"),
        ("@ (W_x @ x[t - 1] + b_h)", "@ (W_x @ x[t - 1]) + b_h / T", "is the bias added once only?"),
        (" + b_h)", ")", "where is the bias?"),
        ("x[t - 1]", "x[T - t]", "did you run the powers the wrong way round?"),
        ("T = len(x)", "T, W_h = len(x), W_h.T", "is W_h transposed?"),
        (
            "T = len(x)",
            "T, power = len(x), staticmethod(lambda W, n: W**n)\n"
            "    np = type('np', (), {'linalg': type('linalg', (), {'matrix_power': power})})",
            "are these powers entry by entry?",
        ),
    ],
    ("bernoulli", "test-bernoulli"): [
        (
            "1 / (1 + np.exp(-y)) - targets",
            "(1 - targets) / (1 - (m := 1 / (1 + np.exp(-y)))) - targets / m",
            "is that the gradient by the probability?",
        ),
        ("1 / (1 + np.exp(-y)) - targets", "targets - 1 / (1 + np.exp(-y))", "is the sign of the gradient wrong?"),
        (
            "1 / (1 + np.exp(-y)) - targets",
            "((m := 1 / (1 + np.exp(-y))) - targets) * m * (1 - m)",
            "is that the gradient of the squared error?",
        ),
        ("np.logaddexp(0, y) - targets * y", "targets * y - np.logaddexp(0, y)", "is the sign of the loss wrong?"),
        ("1 / (1 + np.exp(-y)) - targets", "y - targets", "did you subtract the target from y itself?"),
        ("np.logaddexp(0, y)", "np.log(1 + np.exp(y))", "at y = 1000 the loss is not finite"),
    ],
    ("automaton", "test-automaton"): [
        ("return W_x, W_h,", "return W_x, W_h.T,", "is W_h transposed?"),
        ("-np.ones(Q * S)", "np.zeros(Q * S)", "is the bias missing?"),
        ("-np.ones(Q * S)", "-2 * np.ones(Q * S)", "is the bias too low?"),
        ("W_x[q * S + s, s] = 1", "W_x[s * Q + q, s] = 1", "does the input choose the wrong units?"),
        ("== start)] = 1", "== start)] = 0", "is h_0 zero?"),
        (
            "h_0[np.argmax(",
            "W_h = 1.0 * (delta.reshape(-1)[:, None] == delta.reshape(-1))\n    h_0[np.argmax(",
            "do your units listen to the state they lead to?",
        ),
        ("return W_x,", "return W_x.T,", "W_x: expected shape (6, 2), got (2, 6)."),
    ],
}

REWRITES = {
    ("forward", "test-forward"): """
def forward(params, x):
    (W_x, W_h, b_h), (W_y, b_y), h_0 = params
    h = np.zeros((*x.shape[:2], len(b_h)))
    y = np.zeros((*x.shape[:2], len(b_y)))
    for b in range(x.shape[1]):
        state = h_0
        for t in range(len(x)):
            h[t, b] = state = np.tanh(W_x @ x[t, b] + W_h @ state + b_h)
            y[t, b] = W_y @ state + b_y
    return [h, y]
""",
    ("split", "test-split"): """
def split(W, b_1, b_2, D):
    W_h, W_x = np.split(W, [W.shape[1] - D], axis=1)
    return W_x, W_h, np.sum([b_1, b_2], axis=0)
""",
    ("to-sigmoid", "test-to-sigmoid"): """
def to_sigmoid(W_x, W_h, b_h, h_0):
    ones = np.ones_like(h_0)
    return W_x + W_x, 2 * (W_h + W_h), 2 * b_h - 2 * W_h @ ones, 0.5 + 0.5 * h_0
""",
    ("linear", "test-linear"): """
def linear(W_x, W_h, b_h, x, h_0):
    if len(x) == 0:
        return h_0
    return W_h @ linear(W_x, W_h, b_h, x[:-1], h_0) + W_x @ x[-1] + b_h
""",
    ("bernoulli", "test-bernoulli"): """
def bernoulli(y, targets):
    signed = np.where(targets == 1, -y, y)
    return np.maximum(signed, 0) + np.log1p(np.exp(-abs(y))), (1 + np.tanh(y / 2)) / 2 - targets
""",
    ("automaton", "test-automaton"): """
def automaton(delta, start):
    Q, S = delta.shape
    pairs = [(q, s) for q in range(Q) for s in range(S)]
    W_x = [[int(s == symbol) for symbol in range(S)] for _, s in pairs]
    W_h = [[int(delta[before] == q) for before in pairs] for q, _ in pairs]
    last = [int(delta[pair] == start) for pair in pairs]
    h_0 = np.array(last) / sum(last)
    return W_x, W_h, [-1] * len(pairs), h_0
""",
}

# Right for the visible sizes only: what the hidden tests are for.
NARROW = {
    ("split", "test-split"): ("H = len(b_1)", "H = 4"),
    ("automaton", "test-automaton"): ("to * S : (to + 1) * S", "to * S : to * S + 2"),
}
