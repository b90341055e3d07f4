"""Parameters: NamedTuples of arrays, the same on both floors, and how they start.

Fields have worded names; functions unpack them to the page's letters, as in
``W_x, W_h, b_h = params``. Weights are (out, in), as in the equations and in torch.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from rnncourse import doors

Array = Any  # a NumPy array on the reference floor, a torch tensor on the other


class RNNParams(NamedTuple):
    """A vanilla cell: what turns an input and a state into a pre-activation.

    Attributes:
        input_weights: W_x, shape (H, D).
        recurrent_weights: W_h, shape (H, H).
        bias: b_h, shape (H,).
    """

    input_weights: Array
    recurrent_weights: Array
    bias: Array


class ReadoutParams(NamedTuple):
    """An affine map from hidden state to output.

    Attributes:
        weights: W_y, shape (O, H).
        bias: b_y, shape (O,).
    """

    weights: Array
    bias: Array


class ModelParams(NamedTuple):
    """A whole model: a cell, its readout, and the state before the first input.

    Attributes:
        cell: the cell's parameters, for example :class:`RNNParams`.
        readout: the readout's parameters.
        initial_state: h_0, shape (H,), or (B, H) for one of each sequence; a tuple of these where
            the cell has several states. To keep it fixed, ignore its gradient.
    """

    cell: NamedTuple
    readout: ReadoutParams
    initial_state: Array


class WordVectors(NamedTuple):
    """Two tables of vectors: a word has one as the word in question, another as its neighbour.

    Attributes:
        input_vectors: U, row u_w, shape (V, D).
        output_vectors: U', row u'_c, shape (C, D); C = V unless the neighbours have a vocabulary of their own.
    """

    input_vectors: Array
    output_vectors: Array


def init_rnn(
    rng: np.random.Generator, inputs: int, hidden: int, input_scale: float | None = None, gain: float = 1.0
) -> RNNParams:
    """Start a vanilla cell with an orthogonal recurrence and zero bias.

    Args:
        rng: the source of randomness.
        inputs: D, the number of input features.
        hidden: H, the number of hidden units.
        input_scale: standard deviation of W_x; 1/sqrt(D) unless given.
        gain: every singular value of W_h.

    Returns:
        The parameters, float64.

    Raises:
        ValueError: if a size is no whole number, or less than 1.
    """
    doors.at_least("inputs", inputs, 1)
    doors.at_least("hidden", hidden, 1)
    scale = inputs**-0.5 if input_scale is None else input_scale
    return RNNParams(
        input_weights=scale * rng.standard_normal((hidden, inputs)),
        recurrent_weights=gain * orthogonal(rng, hidden),
        bias=np.zeros(hidden),
    )


def init_readout(rng: np.random.Generator, hidden: int, outputs: int) -> ReadoutParams:
    """Start a readout with weights of standard deviation 1/sqrt(H) and zero bias.

    Args:
        rng: the source of randomness.
        hidden: H, the number of hidden units.
        outputs: O, the number of outputs.

    Returns:
        The parameters, float64.

    Raises:
        ValueError: if a size is no whole number, or less than 1.
    """
    doors.at_least("hidden", hidden, 1)
    doors.at_least("outputs", outputs, 1)
    return ReadoutParams(hidden**-0.5 * rng.standard_normal((outputs, hidden)), np.zeros(outputs))


def init_model(
    rng: np.random.Generator, inputs: int, hidden: int, outputs: int, input_scale: float | None = None
) -> ModelParams:
    """Start a vanilla RNN with its readout and a zero initial state.

    Args:
        rng: the source of randomness.
        inputs: D, the number of input features.
        hidden: H, the number of hidden units.
        outputs: O, the number of outputs.
        input_scale: standard deviation of W_x; 1/sqrt(D) unless given.

    Returns:
        The parameters, float64.

    Raises:
        ValueError: if a size is no whole number, or less than 1.
    """
    cell = init_rnn(rng, inputs, hidden, input_scale)
    return ModelParams(cell, init_readout(rng, hidden, outputs), np.zeros(hidden))


def init_word_vectors(rng: np.random.Generator, words: int, dimensions: int) -> WordVectors:
    """Start with small random input vectors and output vectors of zero, so that every score is 0.

    Args:
        rng: the source of randomness.
        words: V, the number of words.
        dimensions: D, the length of a vector.

    Returns:
        The vectors, float64; entries of U are uniform in +-1/(2 D).

    Raises:
        ValueError: if a size is no whole number, or less than 1.
    """
    doors.at_least("words", words, 1)
    doors.at_least("dimensions", dimensions, 1)
    reach = 0.5 / dimensions
    return WordVectors(rng.uniform(-reach, reach, (words, dimensions)), np.zeros((words, dimensions)))


def orthogonal(rng: np.random.Generator, size: int) -> np.ndarray:
    """Draw an orthogonal matrix, uniformly over the orthogonal group.

    Args:
        rng: the source of randomness.
        size: the number of rows and columns.

    Returns:
        Q, shape (size, size), float64.

    Raises:
        ValueError: if the size is no whole number, or less than 1.
    """
    doors.at_least("size", size, 1)
    Q, R = np.linalg.qr(rng.standard_normal((size, size)))
    return Q * np.sign(np.diag(R))  # without the signs the draw would not be uniform


def map_arrays(function: Callable, *trees: Any) -> Any:
    """Apply a function to every array of nested NamedTuples of the same form.

    Args:
        function: takes one array from each tree, returns an array.
        trees: NamedTuples and tuples (nested as deep as you like) or single arrays.

    Returns:
        The results in the form of the first tree.
    """
    first = trees[0]
    if not isinstance(first, tuple):
        return function(*trees)
    parts = [map_arrays(function, *parts) for parts in zip(*trees, strict=True)]
    return type(first)(*parts) if hasattr(first, "_fields") else tuple(parts)


def named_arrays(tree: Any, prefix: str = "") -> Iterator[tuple[str, Array]]:
    """Walk through the arrays of nested NamedTuples, each with its dotted name.

    Args:
        tree: a NamedTuple, nested as deep as you like, or a single array.
        prefix: what to write before every name.

    Yields:
        Pairs such as ``("cell.bias", array)``.
    """
    if not isinstance(tree, tuple):
        yield prefix, tree
        return
    names = getattr(tree, "_fields", map(str, range(len(tree))))  # in a plain tuple, places are names
    for name, part in zip(names, tree, strict=True):
        yield from named_arrays(part, f"{prefix}.{name}" if prefix else name)


def count(params: Any) -> int:
    """Count the numbers in nested NamedTuples of arrays.

    Args:
        params: a NamedTuple, nested as deep as you like.

    Returns:
        How many scalars it holds.
    """
    return sum(int(np.prod(array.shape)) for _, array in named_arrays(params))
