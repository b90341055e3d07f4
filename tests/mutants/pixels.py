"""Exercise 15-pixel-rnn: what is graded, mutants of its solution, and rewrites that are as right."""

POINTS = 28
GRADED = ["test-seen", "test-bits", "test-complete", "test-hole", "test-weigh", "test-turn"]
WAITING = []

MUTANTS = {
    ("neighbours", "test-seen"): [
        (
            "return before.reshape(B, M, N), above",
            "return images.copy(), images.copy()",
            "does a pixel see itself?",
        ),
        (
            "before[:, 1:] = images.reshape(B, -1)[:, :-1]",
            "before[:, :-1] = images.reshape(B, -1)[:, 1:]",
            "is this the next pixel?",
        ),
        (
            "    return before.reshape(B, M, N), above",
            "    before = np.full((B, M, N), outside)\n    before[:, :, 1:] = images[:, :, :-1]\n"
            "    return before, above",
            "the pixel before is the end of the row above",
        ),
        (
            "    return before.reshape(B, M, N), above",
            "    return np.roll(images.reshape(B, -1), 1, axis=1).reshape(B, M, N), above",
            "does the end come in again",
        ),
        ("above[:, 1:] = images[:, :-1]", "above[:, :-1] = images[:, 1:]", "above is off by"),
        ("return before.reshape(B, M, N), above", "return above, before.reshape(B, M, N)", "are the two exchanged?"),
        ("before = np.full((B, M * N), outside)", "before = np.full((B, M * N), 0)", "does outside look like paper?"),
        ("    B, M, N =", "    outside = images.max() + 1\n    B, M, N =", "before is off by"),
        (
            "    above = np.full((B, M, N), outside)\n    above[:, 1:] = images[:, :-1]",
            "    above = images\n    above[:, 1:] = images[:, :-1].copy()\n    above[:, 0] = outside",
            "neighbours changed its argument",
        ),
    ],
    ("bits", "test-bits"): [
        (" / np.log(2)", "", "are these nats?"),
        ("there[:, counts].mean()", "there[:, counts].sum() / len(images)", "by the number of images alone?"),
        ("there[:, counts].mean()", "there[:, counts].sum() / there.size", "did you divide by all pixels?"),
        ("there[:, counts].mean()", "there.mean()", "did you judge all pixels?"),
        ("there[:, counts].mean()", "there[:, counts].sum()", "is this a sum?"),
        ("return -there", "return there", "is the sign wrong?"),
        (
            "there[:, counts].mean()",
            "there[:, counts].sum() / len(images) / (counts.size // 2)",
            "it is 0.5 times the right answer",
        ),
        ("there[:, counts].mean()", "there[:, counts].sum() / 5 / counts.sum()", "it is 0.6 times the right answer"),
    ],
    ("complete", "test-complete"): [
        (
            "iter(uniforms)\n    for i, j in order:\n        if hole[i, j]:",
            "iter(np.tile(uniforms, 9))\n    for i, j in order:\n        if True:",
            "did you draw known pixels, too?",
        ),
        (
            "    for i, j in order:",
            "    said = model(image[None])\n    model = lambda x: said\n    for i, j in order:",
            "do your conditionals still see what stood in the hole?",
        ),
        (
            "    for i, j in order:",
            "    image[hole] = 0\n    said = model(image[None])\n    model = lambda x: said\n    for i, j in order:",
            "did you ask the model once?",
        ),
        ("np.argmax(np.cumsum(p) > next(numbers))", "np.argmax(p)", "did you take the most probable value?"),
        ("iter(uniforms)", "iter([uniforms[0]] * len(uniforms))", "image is off by"),
        ("return image", "return image == 1", "expected integers, got bool"),
        ("for i, j in order:", "for i, j in np.ndindex(*image.shape):", "did you fill in reading order?"),
        ("image, numbers = image.copy(), iter(uniforms)", "numbers = iter(uniforms)", "complete changed its argument"),
        ("return image", "return image + 7", "expected the values 0..1"),
    ],
    ("hole", "test-hole"): [
        ("log_p.sum(axis=(1, 2))", "log_p[:, hole].sum(axis=1)", "is this forward sampling?"),
        ("log_p.sum(axis=(1, 2))", "log_p[:, ~hole].sum(axis=1)", "did you leave out the hole's own conditionals?"),
        ("return p / p.sum()", "return p", "did you forget to divide by the sum?"),
        ("return p / p.sum()", "return np.log(p / p.sum())", "are these logarithms?"),
        (
            "    p = np.exp(log_p.sum(axis=(1, 2)))",
            "    last = np.arange(hole.size).reshape(hole.shape) > np.flatnonzero(hole)[-1]\n"
            "    p = np.exp(log_p[:, hole | last].sum(axis=1))",
            "did you leave out known pixels between",
        ),
    ],
    ("weighted", "test-weigh"): [
        ("w = w / w.sum()", "w = np.full(len(w), 1 / len(w))", "does every draw count the same?"),
        ("log_p[:, ~hole].sum(axis=1)", "log_p.sum(axis=(1, 2))", "do you weigh with whole images?"),
        ("log_p[:, ~hole].sum(axis=1)", "log_p[:, hole].sum(axis=1)", "do you weigh with the hole?"),
        (
            "log_p[:, ~hole].sum(axis=1)",
            "log_p[:, np.arange(hole.size).reshape(hole.shape) > np.flatnonzero(hole)[-1]].sum(axis=1)",
            "did you leave out known pixels between",
        ),
        (
            "    log_w = log_p[:, ~hole].sum(axis=1)\n    w = np.exp(log_w - log_w.max())",
            "    before = np.arange(hole.size).reshape(hole.shape) < np.flatnonzero(hole)[0]\n"
            "    w = log_p[:, ~hole & ~before].sum(axis=1)",
            "are the weights logarithms?",
        ),
        ("1 / np.sum(w**2)", "np.sum(w**2)", "is worth turned over?"),
    ],
    ("corner", "test-turn"): [
        (
            "    M, N, _ = u.shape",
            "    from rnncourse.reference import cells, diagonal\n"
            "    from rnncourse.diagonal_params import DiagonalParams\n"
            "    outputs, tape = diagonal.forward(cells.rnn(), DiagonalParams(W_x, W_r, W_a, b), u[:, :, None])\n"
            "    found = diagonal.backward(tape, g[:, :, None])\n"
            "    return outputs[:, :, 0], found.params.left_weights\n"
            "    M, N, _ = u.shape",
            "did you begin on the left?",
        ),
        ("(1 - h[i + 1, j] ** 2) * s", "s", "is the slope of tanh missing?"),
        (" + W_a.T @ delta[i + 1, j + 1]", "", "is a reader missing?"),
        ("W_r.T @ delta[i, j] + W_a.T", "W_r @ delta[i, j] + W_a", "the matrices are transposed"),
        ("h[i + 1, j + 1])\n    return", "h[i + 1, j])\n    return", "does W_r meet the pixel's own state?"),
        ("return h[1:, :-1], dW_r", "return h[1:, 1:], dW_r", "states is off by"),
        (
            "dW_r += np.outer(delta[i, j + 1], h[i + 1, j + 1])",
            "dW_r += np.outer(h[i + 1, j + 1], delta[i, j + 1])",
            "dW_r is off by",
        ),
    ],
}

REWRITES = {
    ("neighbours", "test-seen"): """
def neighbours(images, outside):
    before, above = np.empty_like(images), np.empty_like(images)
    for b, i, j in np.ndindex(*images.shape):
        above[b, i, j] = images[b, i - 1, j] if i else outside
        if j:
            before[b, i, j] = images[b, i, j - 1]
        else:
            before[b, i, j] = images[b, i - 1, -1] if i else outside
    return before, above
""",
    ("bits", "test-bits"): """
def bits(log_p, images, counts):
    total = 0.0
    for b, i, j in np.ndindex(*images.shape):
        if counts[i, j]:
            total -= log_p[b, i, j, images[b, i, j]]
    return total / (len(images) * counts.sum() * np.log(2))
""",
    ("complete", "test-complete"): """
def complete(model, image, order, hole, uniforms):
    found = np.where(hole, 0, image)
    places = [(i, j) for i, j in order if hole[i, j]]
    for (i, j), r in zip(places, uniforms):
        p = np.exp(model(found[None])[0, i, j])
        v, total = 0, p[0]
        while total <= r and v < len(p) - 1:
            v += 1
            total += p[v]
        found[i, j] = v
    return found
""",
    ("hole", "test-hole"): """
def hole_distribution(model, image, hole, fillings):
    found = []
    for values in fillings:
        whole = image.copy()
        whole[hole] = values
        log_p = model(whole[None])[0]
        found.append(sum(log_p[i, j, whole[i, j]] for i, j in np.ndindex(*image.shape)))
    p = np.exp(np.array(found) - max(found))
    return p / p.sum()
""",
    ("weighted", "test-weigh"): """
def weighted(model, draws, hole):
    log_p, first = model(draws), np.flatnonzero(hole)[0]
    w = np.ones(len(draws))
    for place, (i, j) in enumerate(np.ndindex(*hole.shape)):
        if place > first and not hole[i, j]:
            w *= np.exp(log_p[np.arange(len(draws)), i, j, draws[:, i, j]])
    return np.average(draws[:, hole], axis=0, weights=w), w.sum() ** 2 / (w**2).sum()
""",
    ("corner", "test-turn"): """
def corner(W_x, W_r, W_a, b, u, g):
    M, N, _ = u.shape
    H, h, delta = len(b), {}, {}
    zero = np.zeros(H)
    for i in range(M):
        for j in range(N - 1, -1, -1):
            a = W_x @ u[i, j] + W_r @ h.get((i, j + 1), zero) + W_a @ h.get((i - 1, j), zero) + b
            h[i, j] = np.tanh(a)
    for i in range(M - 1, -1, -1):
        for j in range(N):
            s = g[i, j] + delta.get((i, j - 1), zero) @ W_r + delta.get((i + 1, j), zero) @ W_a
            delta[i, j] = s * (1 - h[i, j] ** 2)
    dW = sum(np.outer(delta[i, j], h[i, j + 1]) for i in range(M) for j in range(N - 1))
    return np.array([[h[i, j] for j in range(N)] for i in range(M)]), dW
""",
}
NARROW = {("complete", "test-complete"): ("np.argmax(np.cumsum(p) > next(numbers))", "int(p[0] <= next(numbers))")}
