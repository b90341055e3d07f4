"""Exercise 07-lstm: what is graded, mutants of its solution, and rewrites that are as right."""

POINTS = 20
GRADED = ["test-forward", "test-half-life", "test-step-back", "test-backward", "test-counter"]
WAITING: list[str] = []

MUTANTS = {
    ("forward", "test-forward"): [
        ("a_i, a_f, a_c, a_o = np.split", "a_f, a_i, a_c, a_o = np.split", "Yours looks like f, i, c, o."),
        ("a_i, a_f, a_c, a_o = np.split", "a_i, a_f, a_o, a_c = np.split", "Yours looks like i, f, o, c."),
        ("i * np.tanh(a_c)", "i / (1 + np.exp(-a_c))", "is the candidate squashed by the sigmoid?"),
        ("i * np.tanh(a_c)", "i * a_c", "is the candidate not squashed at all?"),
        ("c = f * c + i * np.tanh(a_c)", "old, c = c, f * c + i * np.tanh(a_c); h = o * np.tanh(old); "
         "outputs.append(h); memories.append(c); continue", "does the output show the old memory?"),
        ("h = o * np.tanh(c)", "h = o * c", "is the tanh of the output missing?"),
        ("f * c + i *", "f * c + (1 - f) *", "did you write 1 - f for the input gate?"),
        ("h @ W_h.T + b", "h_0 @ W_h.T + b", "does h ever come back in?"),
        ("h @ W_h.T + b", "h @ W_h.T", "did you forget the bias b?"),
        ("np.array(outputs), np.array(memories)", "np.array(outputs)", "expected 2 arrays (h, c)"),
    ],
    ("half-life", "test-half-life"): [
        ("np.log(2) / np.log1p(np.exp(-b))", "1 / np.log1p(np.exp(-b))", "is that the time constant"),
        ("np.log(2) / np.log1p(np.exp(-b))", "np.log10(2) / np.log1p(np.exp(-b))", "is that base 10?"),
        ("np.log(2) / np.log1p(np.exp(-b))", "np.exp(b) * np.log(2)", "is that only the approximation"),
        ("np.log(2) / np.log1p(np.exp(-b))", "np.log(0.5) / np.log(np.abs(b))", "did you take the bias for the gate?"),
        ("np.log1p(np.exp(-b))", "np.log1p(np.exp(b))", "is the sign of the bias turned round?"),
        ("-np.log(np.expm1(np.log(2) / n))", "np.log(n / np.log(2))", "is that the approximation log(n / log 2)?"),
        ("-np.log(np.expm1(np.log(2) / n))", "0.5 ** (1 / n)", "is that the gate?"),
        ("np.log(2) / np.log1p(np.exp(-b))", "np.log(0.5) / np.log(1 / (1 + np.exp(-b)))", "log1p(e^-b) keeps it."),
        ("-np.log(np.expm1(np.log(2) / n))", "1 / n * np.log(0.5) - np.log(1 - 0.5 ** (1 / n))",
         "expm1 has all of them."),
        ("np.log(2) / np.log1p(np.exp(-b))", "np.round(np.log(2) / np.log1p(np.exp(-b)), 4)", "half-lives"),
    ],
    ("step-back", "test-step-back"): [
        ("s_c * c_before *", "s_c * c *", "does the forget gate meet the new memory?"),
        ("s_c_later + s * o * (1 - seen**2)", "s_c_later", "did you leave out what reaches the memory through h_t?"),
        ("to_c_before = s_c * f", "to_c_before = s_c_later * f", "does only what came from later go on"),
        ("to_c_before = s_c * f", "to_c_before = s_c", "did you forget f_t on the way"),
        ("s * o * (1 - seen**2)", "s * o", "is the slope of tanh(c_t) missing"),
        ("delta_i = s_c * candidate * i * (1 - i)", "i = np.array(i); delta_i = s_c * candidate", "delta is off by"),
        ("s * seen * o * (1 - o)", "s * c * o * (1 - o)", "did the output gate meet c_t?"),
        ("(1 - candidate**2)", "candidate * (1 - candidate)", "is that the sigmoid's slope for the candidate?"),
        ("delta_i = s_c * candidate", "s_all, s_c = s_c, s; delta_i = s_c * candidate", "do your gates read s_t?"),
        ("delta_i = s_c", "raw = [s_c * candidate, s_c * c_before, s_c * i, s * seen]; "
         "return np.concatenate(raw, axis=1), s_c * f; delta_i = s_c", "are the slopes of the gates missing?"),
    ],
    ("backward", "test-backward"): [
        ("s = g[t] + to_h", "s = g[t]", "did the gradient from the next step's sums go missing"),
        ("c[t], s, to_c)", "c[t], s, 0 * to_c)", "did the memory's own gradient go missing between the steps?"),
        ("d_W_x = np.einsum", "delta_all, delta = delta, delta / x.shape[1]; d_W_x = np.einsum",
         "did you average over the batch?"),
        ('"tbk,tbh->kh", delta, h_before', '"tbk,tbh->kh", delta, h', "does W_h meet h_t?"),
        ("c_before[t], c[t]", "c[t], c[t]", "does the forget gate meet the new memory?"),
        ("np.tanh(a_c)", "np.tanh(c)", "off by"),
        ("delta.sum(axis=(0, 1))", "delta.sum(axis=0)", "d_b: expected shape (16,), got (3, 16)."),
        ("delta @ W_x, to_h, to_c", "delta @ W_x, to_c, to_h", "(d_c_0 too)"),
    ],
    ("counter", "test-counter"): [
        ("np.array([40.0, 40.0,", "np.array([40.0, 30.0,", "so the count leaks."),
        ("[40, -40, 0]", "[40, -40, 40]", "the third letter is counted, too."),
        ("[40, -40, 0]", "[-40, 40, 0]", "you count down where you should count up."),
        ("np.array([40.0, 40.0,", "np.array([2.0, 40.0,", "at a letter that counts."),
        ("[40, -40, 0]", "[15, -15, 0]", "the candidate is not +1"),
        ("np.zeros((4, 3))", "np.zeros((5, 3))", "W_x: expected shape (4, 3), got (5, 3)."),
    ],
}  # fmt: skip

REWRITES = {
    ("forward", "test-forward"): """
def forward(W_x, W_h, b, x, h_0, c_0):
    H = h_0.shape[1]
    h, c = np.zeros((len(x), *h_0.shape)), np.zeros((len(x), *h_0.shape))
    for s in range(x.shape[1]):
        out, memory = h_0[s], c_0[s]
        for t in range(len(x)):
            a = W_x @ x[t, s] + W_h @ out + b
            sigma = (1 + np.tanh(a / 2)) / 2
            memory = sigma[H : 2 * H] * memory + sigma[:H] * np.tanh(a[2 * H : 3 * H])
            out = sigma[3 * H :] * np.tanh(memory)
            h[t, s], c[t, s] = out, memory
    return [h, c]
""",
    ("half-life", "test-half-life"): """
def half_life(b):
    return np.log(2) / np.logaddexp(0, -b)


def bias_for(n):
    less = -np.log(2) / n
    return less - np.log(-np.expm1(less))
""",
    ("step-back", "test-step-back"): """
def step_back(i, f, g, o, c_before, c, s, s_c_later):
    s_c = s * o / np.cosh(c) ** 2 + s_c_later
    slopes = [i - i * i, f - f * f, (1 - g) * (1 + g), o - o * o]
    reach = [s_c * g, s_c * c_before, s_c * i, s * np.tanh(c)]
    return np.hstack([a * b for a, b in zip(slopes, reach)]), f * s_c
""",
    ("backward", "test-backward"): """
def backward(W_x, W_h, b, x, h_0, c_0, g):
    grads = [np.zeros_like(part) for part in (W_x, W_h, b, x, h_0, c_0)]
    H = h_0.shape[1]
    for s in range(x.shape[1]):
        h, c, kept = h_0[s], c_0[s], []
        for t in range(len(x)):
            a = W_x @ x[t, s] + W_h @ h + b
            gates = np.where(np.arange(4 * H) // H == 2, np.tanh(a), 1 / (1 + np.exp(-a)))
            i, f, n, o = gates.reshape(4, H)
            new = f * c + i * n
            kept.append((h, c, new, i, f, n, o))
            h, c = o * np.tanh(new), new
        d_h, d_c = np.zeros(H), np.zeros(H)
        for t in range(len(x))[::-1]:
            h, c, new, i, f, n, o = kept[t]
            d_h = d_h + g[t, s]
            d_c = d_c + d_h * o * (1 - np.tanh(new) ** 2)
            delta = np.concatenate(
                [d_c * n * i * (1 - i), d_c * c * f * (1 - f), d_c * i * (1 - n * n), d_h * np.tanh(new) * o * (1 - o)]
            )
            grads[0] += np.outer(delta, x[t, s])
            grads[1] += np.outer(delta, h)
            grads[2] += delta
            grads[3][t, s] = W_x.T @ delta
            d_h, d_c = W_h.T @ delta, d_c * f
        grads[4][s], grads[5][s] = d_h, d_c
    return grads
""",
    ("counter", "test-counter"): """
def counter():
    big = 50
    W_x = [[big, big, -2 * big], [0, 0, 0], [big, -big, big], [0, 0, 0]]
    return np.array(W_x), np.zeros((4, 1)), [0, big, 0, -3]
""",
}

# Right for the visible sizes only: what the hidden tests are for.
NARROW = {
    ("forward", "test-forward"): ("np.split(x_t @ W_x.T + h @ W_h.T + b, 4, axis=1)",
                                  "((x_t @ W_x.T + h @ W_h.T + b)[:, 4 * k : 4 * k + 4] for k in range(4))"),
    ("backward", "test-backward"): ("to_h = delta[t] @ W_h", "to_h = delta[t] @ W_h * (x.shape[2] == 2)"),
}  # fmt: skip
