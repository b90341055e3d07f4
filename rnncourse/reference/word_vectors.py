"""Word vectors by skip-gram with negative sampling: which words stand near which, told from noise.

Each word w has a vector u_w as the word in question and another, u'_w, as a neighbour; a pair's score
is their product, and a classifier learns to tell pairs of the text from pairs with a drawn neighbour.
"""

import math
from typing import NamedTuple

import numpy as np

from rnncourse import doors
from rnncourse.data import skip_grams
from rnncourse.data.text import as_classes
from rnncourse.params import WordVectors, init_word_vectors
from rnncourse.reference import optim
from rnncourse.reference.activations import sigmoid, softplus


class Tape(NamedTuple):
    """What the forward pass leaves for the backward pass.

    Attributes:
        params: both tables.
        words: the words in question, shape (N,).
        neighbours: the true neighbour of each, then k drawn ones, shape (N, 1 + k).
        errors: the loss's derivative by the score of each, shape (N, 1 + k).
    """

    params: WordVectors
    words: np.ndarray
    neighbours: np.ndarray
    errors: np.ndarray


def forward(params: WordVectors, words, neighbours, drawn) -> tuple[float, Tape]:
    """How badly true pairs are told from false ones, summed over pairs, :eq:`def-negative-sampling`.

    Args:
        params: U (V, D) and U' (C, D).
        words: the words in question, integers in 0..V-1, shape (N,).
        neighbours: the true neighbour of each, integers in 0..C-1, shape (N,).
        drawn: k false neighbours for each, integers in 0..C-1, shape (N, k).

    Returns:
        ``(value, tape)``: the loss in nats, a scalar, and what :func:`backward` needs.

    Raises:
        ValueError: if a shape does not fit, or a word is out of range.
    """
    words, candidates = _candidates(params, words, neighbours, drawn)
    U, U_out = params
    scores = np.einsum("nd,nkd->nk", U[words], U_out[candidates])
    scores[:, 0] *= -1  # the first is true: its score should be high, the others' low
    errors = sigmoid(scores)
    errors[:, 0] *= -1
    return softplus(scores).sum(), Tape(params, words, candidates, errors)


def backward(tape: Tape) -> WordVectors:
    """The gradient of both tables, :eq:`eq-negative-sampling-gradient`.

    Args:
        tape: from :func:`forward`.

    Returns:
        dL/dU and dL/dU', in the form of the parameters; zero for words that did not occur.
    """
    (U, U_out), words, candidates, errors = tape
    d_words = np.einsum("nk,nkd->nd", errors, U_out[candidates])
    d_candidates = errors[:, :, None] * U[words][:, None, :]
    return WordVectors(_scatter_add(U, words, d_words), _scatter_add(U_out, candidates, d_candidates))


def optimum(joint, noise, negatives: int) -> np.ndarray:
    """The scores that no others beat, :eq:`eq-negative-sampling-optimum`.

    Args:
        joint: p(w, c), how often each pair occurs, shape (V, C), summing to 1, none zero.
        noise: nu(c), what false neighbours are drawn from, shape (C,), none zero.
        negatives: k, false neighbours for each true one.

    Returns:
        log p(w, c) / (p(w) nu(c)) - log k, shape (V, C).

    Raises:
        ValueError: if a shape does not fit or a probability is not positive.
    """
    doors.at_least("negatives", negatives, 1)
    doors.shape("joint", joint, ("V", "C"))
    doors.shape("noise", noise, (joint.shape[1],))
    for name, array in (("joint", joint), ("noise", noise)):
        if not (array > 0).all():
            raise ValueError(f"{name}: expected positive probabilities; where one is 0 the optimum is not finite")
    return np.log(joint) - np.log(joint.sum(axis=1, keepdims=True)) - np.log(noise) - math.log(negatives)


def train(
    tokens,
    size: int,
    dimensions: int = 32,
    window: int = 2,
    negatives: int = 5,
    passes: int = 4,
    batch: int = 1024,
    rate: float = 0.5,
    seed: int = 0,
) -> WordVectors:
    """Learn word vectors from a text: one batch of pairs after another, and Adagrad.

    Args:
        tokens: the text, integers in 0..V-1, shape (N,).
        size: V, the number of words.
        dimensions: D, the length of a vector.
        window: how far apart neighbours may stand.
        negatives: k, false neighbours for each true one.
        passes: how often every pair is seen.
        batch: pairs in an update.
        rate: Adagrad's step size.
        seed: of everything random.

    Returns:
        Both tables.

    Raises:
        ValueError: if a token is out of range, or the text has no pair.
    """
    rng = np.random.default_rng(seed)
    params = init_word_vectors(rng, size, dimensions)
    squares = optim.adagrad_start(params)
    for words, neighbours, drawn in skip_grams.batches(tokens, size, window, negatives, passes, batch, rng):
        gradients = backward(forward(params, words, neighbours, drawn)[1])
        params, squares = optim.adagrad(params, gradients, squares, rate)
    return params


def similarity(vectors, queries) -> np.ndarray:
    """The cosine between queries and every vector.

    Args:
        vectors: shape (V, D).
        queries: shape (Q, D).

    Returns:
        Numbers in -1..1, shape (Q, V); 0 for a vector of length 0.

    Raises:
        ValueError: if a shape does not fit.
    """
    doors.shape("vectors", vectors, ("V", "D"))
    doors.shape("queries", queries, ("Q", vectors.shape[1]))
    return _unit(queries) @ _unit(vectors).T


def nearest(vectors, word: int, count: int = 5) -> np.ndarray:
    """The words whose vectors point most nearly where a word's does, the word itself left out.

    Args:
        vectors: shape (V, D).
        word: in 0..V-1.
        count: how many.

    Returns:
        Words from near to far, shape (count,).

    Raises:
        ValueError: if the word is out of range.
    """
    word = int(as_classes(word, len(vectors)))
    closeness = similarity(vectors, vectors[[word]])[0]
    closeness[word] = -np.inf
    return np.argsort(-closeness, kind="stable")[:count]


def analogy(vectors, a, b, c, exclude: bool = True, arithmetic: bool = True) -> np.ndarray:
    """Which word is to c as b is to a? The nearest to b - a + c, :eq:`def-analogy`.

    Args:
        vectors: shape (V, D); each is taken at length 1.
        a: words, integers in 0..V-1, shape (Q,).
        b: likewise.
        c: likewise.
        exclude: whether a, b and c themselves may not be the answer.
        arithmetic: without it, the nearest to c alone: what striking the words finds by itself.

    Returns:
        The answers, integers, shape (Q,).

    Raises:
        ValueError: if a word is out of range or the shapes differ.
    """
    a, b, c = (as_classes(word, len(vectors)) for word in (a, b, c))
    for name, words in (("a", a), ("b", b), ("c", c)):
        doors.shape(name, words, (len(a),))
    unit = _unit(vectors)
    query = unit[b] - unit[a] + unit[c] if arithmetic else unit[c]
    closeness = similarity(unit, query)
    if exclude:
        closeness[np.arange(len(a))[:, None], np.stack([a, b, c], axis=1)] = -np.inf
    return closeness.argmax(axis=1)


def _candidates(params: WordVectors, words, neighbours, drawn) -> tuple[np.ndarray, np.ndarray]:
    """The words (N,), and for each the true neighbour and the drawn ones (N, 1 + k), checked."""
    doors.shape("input_vectors", params.input_vectors, ("V", "D"))
    doors.shape("output_vectors", params.output_vectors, ("C", params.input_vectors.shape[1]))
    words = as_classes(words, len(params.input_vectors))
    neighbours, drawn = (as_classes(part, len(params.output_vectors)) for part in (neighbours, drawn))
    doors.shape("words", words, ("N",))
    doors.shape("neighbours", neighbours, words.shape)
    doors.shape("drawn", drawn, (len(words), "k"))
    return words, np.concatenate([neighbours[:, None], drawn], axis=1)


def _scatter_add(table: np.ndarray, rows: np.ndarray, sent: np.ndarray) -> np.ndarray:
    """Add each place's share to the row that it read; bincount does it several times faster than np.add.at."""
    D = table.shape[1]
    places = rows.reshape(-1, 1) * D + np.arange(D)
    return np.bincount(places.ravel(), sent.ravel(), table.size).reshape(table.shape).astype(table.dtype)


def _unit(vectors: np.ndarray) -> np.ndarray:
    """The vectors at length 1; those of length 0 as they are."""
    lengths = np.sqrt((vectors * vectors).sum(axis=-1, keepdims=True))
    return vectors / np.where(lengths > 0, lengths, 1)
