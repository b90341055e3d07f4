"""Checks of the exercise notebook on language models.

Right answers are computed here in the plainest way; each well-known mistake stands beside its hint
as a function that makes it.
"""

from collections.abc import Callable

import numpy as np

from rnncourse.checks.compare import Mistake, known, named_parts, require_arrays
from rnncourse.checks.core import Task, Wrong, call, task
from rnncourse.checks.core import scoreboard as print_scoreboard
from rnncourse.reference.activations import sigmoid


def _softmax(y: np.ndarray) -> np.ndarray:
    exps = np.exp(y - y.max(axis=-1, keepdims=True))
    return exps / exps.sum(axis=-1, keepdims=True)


# Task 1


def _scores(logits: np.ndarray, targets: np.ndarray, mean: Callable = np.mean, base=(2.0, np.e)) -> dict:
    """Bits per token and perplexity; base: what the logarithm is divided by, what is raised to its power."""
    logits = logits - logits.max(axis=1, keepdims=True)
    log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    nats = -mean(log_p[np.arange(len(targets)), targets])
    return {"bits": np.array(nats / np.log(base[0])), "perplexity": np.array(base[1] ** nats)}


def _mean_probability(logits: np.ndarray, targets: np.ndarray) -> dict:
    p = _softmax(logits)[np.arange(len(targets)), targets].mean()
    return {"bits": np.array(-np.log2(p)), "perplexity": np.array(1 / p)}


def _best_guess(logits: np.ndarray, targets: np.ndarray) -> dict:
    return _scores(logits, logits.argmax(axis=1))


SCORE_MISTAKES = {
    "did you add up the tokens? Bits and perplexity are per token.": lambda y, c: _scores(y, c, mean=np.sum),
    "did you average the probabilities? Average their logarithms.": _mean_probability,
    "did you score the most probable token? Score the one that came.": _best_guess,
    "are these nats? Divide by log 2.": lambda y, c: _scores(y, c, base=(np.e, np.e)),
    "do you raise 2 to a power in nats? 2 ** bits, or e ** nats.": lambda y, c: _scores(y, c, base=(2.0, 2.0)),
    "is the sign wrong? The logarithm of a probability is negative.": lambda y, c: {
        "bits": -_scores(y, c)["bits"],
        "perplexity": 1 / _scores(y, c)["perplexity"],
    },
}


@task("1", "bits and perplexity", points=3)
def scores(student: Callable, seed: int = 0, tokens: int = 7, classes: int = 5) -> None:
    """Judge bits per token and perplexity.

    Args:
        student: takes logits (N, V) and targets (N,); returns bits per token and perplexity.
        seed: of the random numbers.
        tokens: N.
        classes: V.

    Raises:
        Wrong: with a diagnosis.
    """
    rng = np.random.default_rng(seed)
    logits, targets = 2 * rng.standard_normal((tokens, classes)), rng.integers(0, classes, tokens)
    names = ("bits", "perplexity")
    mistakes = [Mistake(hint, wrong(logits, targets)) for hint, wrong in SCORE_MISTAKES.items()]
    require_arrays(named_parts(call(student, logits, targets), names), _scores(logits, targets), mistakes)
    large = logits + 1000.0  # the same probabilities
    answer = named_parts(call(student, large, targets), names)
    if not np.isfinite(np.asarray(list(answer.values()), float)).all():
        raise Wrong("right for small logits, but logits around 1000 overflow: take the largest off first.")
    require_arrays(answer, _scores(large, targets))


# Task 2


def _table_gradient(table: np.ndarray, tokens: np.ndarray, d_vectors: np.ndarray) -> np.ndarray:
    total = np.zeros_like(table)
    np.add.at(total, tokens, d_vectors)
    return total


def _overwritten(table, tokens, d_vectors):
    total = np.zeros_like(table)
    total[tokens] = d_vectors
    return total


def _averaged(table, tokens, d_vectors):
    counts = np.bincount(tokens.ravel(), minlength=len(table))
    return _table_gradient(table, tokens, d_vectors) / np.maximum(counts, 1)[:, None]


EMBEDDING_MISTAKES = {
    "did you overwrite instead of accumulate? A token that occurs twice gets both gradients; with repeated indices, "
    "`a[i] += b` adds only once.": _overwritten,
    "did you average over the occurrences? The gradient is their sum.": _averaged,
    "did you use the vectors themselves? The gradient of the table is made of what arrives.": (
        lambda table, tokens, d: _table_gradient(table, tokens, table[tokens])
    ),
    "are the last tokens missing?": lambda table, tokens, d: _table_gradient(table, tokens[:-1], d[:-1]),
}


@task("2a", "look-up", points=1)
def lookup(student: Callable, seed: int = 0, classes: int = 5, features: int = 3, shape: tuple = (6, 2)) -> None:
    """Judge an embedding.

    Args:
        student: takes a table (V, K) and tokens of any shape; returns vectors (..., K).
        seed: of the random numbers.
        classes: V.
        features: K.
        shape: of the tokens.

    Raises:
        Wrong: with a diagnosis.
    """
    rng = np.random.default_rng(seed)
    table, tokens = rng.standard_normal((classes, features)), rng.integers(0, classes, shape)
    mistakes = {
        "are you off by one? Token 0 has row 0.": lambda table, tokens: table[tokens - 1],
        "are the axes of the tokens in another order?": lambda table, tokens: table[
            tokens.reshape(tokens.shape[::-1]).T if tokens.ndim == 2 else tokens
        ],
    }
    right = {"vectors": np.eye(classes)[tokens] @ table}
    require_arrays({"vectors": call(student, table, tokens)}, right, known("vectors", mistakes, table, tokens))


@task("2b", "the table's gradient", points=3)
def table_gradient(student: Callable, seed: int = 0, classes: int = 5, features: int = 3, shape=(6, 2)) -> None:
    """Judge the gradient of an embedding.

    Args:
        student: takes the table (V, K), tokens and d_vectors (..., K); returns d_table (V, K).
        seed: of the random numbers.
        classes: V.
        features: K.
        shape: of the tokens.

    Raises:
        Wrong: with a diagnosis.
    """
    rng = np.random.default_rng(seed)
    table, tokens = rng.standard_normal((classes, features)), rng.integers(0, classes - 1, shape)
    given = table, tokens, rng.standard_normal((*shape, features))
    right = {"d_table": _table_gradient(*given)}
    require_arrays({"d_table": call(student, *given)}, right, known("d_table", EMBEDDING_MISTAKES, *given))


# Task 3


TEMPERATURE_MISTAKES = {
    "did you multiply by the temperature? It divides: a low temperature makes the likely likelier.": (
        lambda y, t: _softmax(y * t)
    ),
    "did you divide the probabilities? Their normalisation takes it back. Divide the logits.": (
        lambda y, t: _softmax(y)
    ),
    "are these not yet probabilities? They must sum to one.": lambda y, t: np.exp(y / t),
    "did you raise to the power of the temperature? The power is 1 / temperature.": lambda y, t: (
        (p := _softmax(y) ** t) / p.sum()
    ),
}


@task("3a", "temperature", points=1)
def temperature(student: Callable, seed: int = 0, classes: int = 6, value: float = 0.5) -> None:
    """Judge a softmax with a temperature.

    Args:
        student: takes logits (V,) and a temperature; returns probabilities (V,).
        seed: of the logits.
        classes: V.
        value: the temperature.

    Raises:
        Wrong: with a diagnosis.
    """
    y = 2 * np.random.default_rng(seed).standard_normal(classes)
    right = {"probabilities": _softmax(y / value)}
    answer = {"probabilities": call(student, y, value)}
    require_arrays(answer, right, known("probabilities", TEMPERATURE_MISTAKES, y, value))


def _keep(p: np.ndarray, kept: np.ndarray, renormalise: bool = True) -> np.ndarray:
    q = np.where(kept, p, 0.0)
    return q / q.sum() if renormalise else q


def _ranks(p: np.ndarray) -> np.ndarray:
    ranks = np.empty(len(p), int)
    ranks[np.argsort(-p)] = np.arange(len(p))
    return ranks


TOP_K_MISTAKES = {
    "do they sum to one? Divide by what is kept.": lambda p, k: _keep(p, _ranks(p) < k, renormalise=False),
    "did you keep the least probable?": lambda p, k: _keep(p, _ranks(-p) < k),
    "did you keep the first k? Keep the k most probable, wherever they stand.": lambda p, k: _keep(
        p, np.arange(len(p)) < k
    ),
    "did you keep one too many?": lambda p, k: _keep(p, _ranks(p) < k + 1),
    "are all that are kept alike? They keep their proportions.": lambda p, k: _keep(np.ones_like(p), _ranks(p) < k),
}


@task("3b", "top-k", points=1)
def top_k(student: Callable, seed: int = 0, classes: int = 6, k: int = 3) -> None:
    """Judge the restriction to the k most probable tokens.

    Args:
        student: takes probabilities (V,) and k; returns probabilities (V,).
        seed: of the probabilities.
        classes: V.
        k: how many are kept.

    Raises:
        Wrong: with a diagnosis.
    """
    p = _softmax(np.random.default_rng(seed).standard_normal(classes))
    right = {"probabilities": _keep(p, _ranks(p) < k)}
    require_arrays({"probabilities": call(student, p, k)}, right, known("probabilities", TOP_K_MISTAKES, p, k))


def _before(p: np.ndarray, sign: int = -1) -> np.ndarray:
    """How much probability the tokens more probable than each one hold; less probable, with the other sign."""
    order = np.argsort(sign * p)
    before = np.empty_like(p)
    before[order] = np.cumsum(p[order]) - p[order]
    return before


NUCLEUS_MISTAKES = {
    "do they sum to one? Divide by what is kept.": lambda p, m: _keep(p, _before(p) < m, renormalise=False),
    "is the token that reaches the mass missing? It belongs to the nucleus.": lambda p, m: _keep(
        p, (_before(p) + p <= m) | (p == p.max())
    ),
    "did you begin with the least probable?": lambda p, m: _keep(p, _before(p, sign=1) < m),
    "did you forget to sort? Begin with the most probable token.": lambda p, m: _keep(p, np.cumsum(p) - p < m),
    "did you keep each token whose own probability is large enough? Their sum must reach the mass.": lambda p, m: _keep(
        p, (p >= 1 - m) | (p == p.max())
    ),
}


@task("3c", "nucleus", points=2)
def nucleus(student: Callable, seed: int = 0, classes: int = 8, mass: float = 0.7) -> None:
    """Judge the restriction to the smallest set of tokens that holds a given mass.

    Args:
        student: takes probabilities (V,) and the mass; returns probabilities (V,).
        seed: of the probabilities.
        classes: V.
        mass: what the kept tokens must hold together, at least.

    Raises:
        Wrong: with a diagnosis.
    """
    p = _softmax(np.random.default_rng(seed).standard_normal(classes))
    right = {"probabilities": _keep(p, _before(p) < mass)}
    answer = {"probabilities": call(student, p, mass)}
    require_arrays(answer, right, known("probabilities", NUCLEUS_MISTAKES, p, mass))


# Task 4


def _adagrad(w, g, memory, rate, limit, clip=None, power=0.5, seen=None, old=False, sign=-1.0) -> dict:
    clip = clip or (lambda g: np.clip(g, -limit, limit))
    clipped = clip(g)
    new = memory + (clipped if seen is None else seen(g)) ** 2
    used = memory if old else new
    return {"w": w + sign * rate * clipped / (used + 1e-8) ** power, "memory": new}


def _by_norm(limit: float) -> Callable:
    return lambda g: g * min(1.0, limit / np.linalg.norm(g))


ADAGRAD_MISTAKES = {
    "is the gradient clipped at all?": lambda *a: _adagrad(*a, clip=lambda g: g),
    "did you clip the length? This recipe clips each entry.": lambda *a: _adagrad(*a, clip=_by_norm(a[-1])),
    "did you clip on one side only?": lambda *a: _adagrad(*a, clip=lambda g: np.minimum(g, a[-1])),
    "does the memory see the gradient before it is clipped?": lambda *a: _adagrad(*a, seen=lambda g: g),
    "is the root missing?": lambda *a: _adagrad(*a, power=1.0),
    "do you divide by the old memory? Add the new square first.": lambda *a: _adagrad(*a, old=True),
    "does the memory forget? Adagrad adds the new square to the old sum.": lambda w, g, memory, rate, limit: _adagrad(
        w, g, 0 * memory, rate, limit
    ),
    "does it go uphill?": lambda *a: _adagrad(*a, sign=1.0),
}


@task("4", "clip and Adagrad", points=3)
def adagrad(student: Callable, seed: int = 0, shape: tuple = (3, 4), limit: float = 5.0) -> None:
    """Judge one update of the minimal character model's recipe.

    Args:
        student: takes w, gradient, memory (one shape), rate and limit; returns w and memory.
        seed: of the random numbers.
        shape: of the arrays.
        limit: the largest entry allowed.

    Raises:
        Wrong: with a diagnosis.
    """
    rng = np.random.default_rng(seed)
    w, g = rng.standard_normal(shape), limit * rng.standard_normal(shape)
    g.flat[0], g.flat[-1] = 3 * limit, -2 * limit  # something to clip at both ends
    given = w, g, rng.random(shape) * limit**2, 0.1, limit
    answer = named_parts(call(student, *given), ("w", "memory"))
    mistakes = [Mistake(hint, wrong(*given)) for hint, wrong in ADAGRAD_MISTAKES.items()]
    require_arrays(answer, _adagrad(*given), mistakes)


# Task 5

NEGATIVE_NAMES = ("loss", "d_centre", "d_context", "d_noise")


def _negative(w, c, noise, real=lambda s: sigmoid(s) - 1, fake=sigmoid, mean=False, attract=True) -> dict:
    """Loss and gradients; real and fake: the loss's slope by the score of the pair and of the noise."""
    share = 1 / len(noise) if mean else 1.0
    e, f = real(c @ w), share * fake(noise @ w)
    loss = np.logaddexp(0, -(c @ w)) + share * np.logaddexp(0, noise @ w).sum()
    return {
        "loss": np.array(loss),
        "d_centre": e * c * attract + f @ noise,
        "d_context": e * w,
        "d_noise": np.outer(f, w),
    }


NEGATIVE_MISTAKES = {
    "did you average over the noise words? Their losses are added.": lambda *a: _negative(*a, mean=True),
    "is the sign of the pair's part wrong? Its slope by the score is sigma(s) - 1, which is negative.": lambda *a: (
        _negative(*a, real=lambda s: 1 - sigmoid(s))
    ),
    "is the target of the pair missing? Its slope by the score is sigma(s) - 1.": lambda *a: _negative(
        *a, real=sigmoid
    ),
    "are noise words treated as real? Their target is 0, so the slope is sigma(s).": lambda *a: _negative(
        *a, fake=lambda s: sigmoid(s) - 1
    ),
    "does the centre hear the noise? Every score contains it.": lambda w, c, n: (
        _negative(w, c, n) | {"d_centre": (sigmoid(c @ w) - 1) * c}
    ),
    "does the centre hear its true neighbour? Every score contains it.": lambda *a: _negative(*a, attract=False),
}


@task("5", "negative sampling", points=4)
def negative_sampling(student: Callable, seed: int = 0, features: int = 4, noise: int = 3) -> None:
    """Judge loss and gradients of skip-gram with negative sampling for one pair.

    Args:
        student: takes centre (K,), context (K,) and noise (N, K); returns the loss and the three gradients.
        seed: of the random numbers.
        features: K.
        noise: N.

    Raises:
        Wrong: with a diagnosis.
    """
    rng = np.random.default_rng(seed)
    given = rng.standard_normal(features), rng.standard_normal(features), rng.standard_normal((noise, features))
    answer = named_parts(call(student, *given), NEGATIVE_NAMES)
    mistakes = [Mistake(hint, wrong(*given)) for hint, wrong in NEGATIVE_MISTAKES.items()]
    require_arrays(answer, _negative(*given), mistakes)


# Task 6


def _path(h, nodes, path, code, flip=False, drop=0, combine=np.prod, signed=True) -> np.ndarray:
    bits = np.asarray(code) if not flip else 1 - np.asarray(code)
    p = sigmoid(nodes[list(path)] @ h * (2 * bits - 1 if signed else 1))
    return np.array(combine(p[: len(p) - drop]) if len(p) > drop else 1.0)


TREE_MISTAKES = {
    "did you add the probabilities of the turns? Every turn must be taken: multiply.": lambda *a: _path(
        *a, combine=np.sum
    ),
    "are left and right exchanged? Bit 1 has probability sigma(n . h).": lambda *a: _path(*a, flip=True),
    "does the code matter? Bit 0 has probability 1 - sigma(n . h).": lambda *a: _path(*a, signed=False),
    "is the last turn missing?": lambda *a: _path(*a, drop=1),
    "is that the logarithm?": lambda *a: np.log(_path(*a)),
}


@task("6", "a softmax as a tree", points=2)
def word_probability(student: Callable, seed: int = 0, features: int = 3) -> None:
    """Judge the probability of words under a tree with five leaves.

    Args:
        student: takes h (K,), nodes (M, K), a path (node numbers) and a code (bits); returns a number.
        seed: of the random numbers.
        features: K.

    Raises:
        Wrong: with a diagnosis.
    """
    rng = np.random.default_rng(seed)
    h, nodes = rng.standard_normal(features), rng.standard_normal((4, features))
    words = {"ab": ((0, 1), (0, 1)), "aa": ((0, 1), (0, 0)), "b": ((0, 2), (1, 0))}
    words |= {"ca": ((0, 2, 3), (1, 1, 0)), "cb": ((0, 2, 3), (1, 1, 1))}
    for word, (path, code) in words.items():
        name = f'p("{word}")'
        right = {name: _path(h, nodes, path, code)}
        answer = {name: call(student, h, nodes, path, code)}
        require_arrays(answer, right, known(name, TREE_MISTAKES, h, nodes, path, code))


TASKS: list[Task] = [
    scores,
    lookup,
    table_gradient,
    temperature,
    top_k,
    nucleus,
    adagrad,
    negative_sampling,
    word_probability,
]


def scoreboard() -> None:
    """Print what is done in this notebook and what is still to do."""
    print_scoreboard(TASKS)
