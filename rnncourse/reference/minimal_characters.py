"""The smallest character model that is known by name, after Andrej Karpathy's ``min-char-rnn`` (2015).

One stream of text, read in chunks of 25 characters with the state carried on; a tanh cell of 100
units; every entry of the gradient cut off at 5; Adagrad. Here its parts are the course's own.
"""

import itertools
import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from rnncourse import doors
from rnncourse.data.text import one_hot
from rnncourse.params import ModelParams, ReadoutParams, RNNParams
from rnncourse.reference import bptt, characters, losses, optim


class Update(NamedTuple):
    """What one update did.

    Attributes:
        params: the model after it.
        loss: of its chunk, before it: a sum over the characters, in nats.
        smoothed: a running mean of the losses, :eq:`def-lm-smoothed-loss`.
        gradients: before they were clipped, in the form of the parameters.
    """

    params: ModelParams
    loss: float
    smoothed: float
    gradients: ModelParams


def updates(
    tokens: np.ndarray,
    alphabet: int,
    steps: int,
    seed: int = 0,
    hidden: int = 100,
    chunk: int = 25,
    rate: float = 0.1,
    limit: float = 5.0,
) -> Iterator[Update]:
    """Read a text over and over, one chunk an update.

    Args:
        tokens: the text, integers in 0..V-1, shape (N,).
        alphabet: V, the number of classes.
        steps: updates to make.
        seed: of the initial weights.
        hidden: H, the number of hidden units.
        chunk: k, characters read for one update; the state is carried to the next chunk, and is
            zero again where the text begins again.
        rate: of Adagrad.
        limit: at which every entry of the gradient is cut off.

    Yields:
        An :class:`Update` each.

    Raises:
        ValueError: if a number is too small or the text too short.
    """
    doors.at_least("steps", steps, 1)
    params = start(alphabet, hidden, seed)
    state = zeros = (np.zeros((1, hidden)),)
    memory, smoothed = optim.adagrad_start(params), chunk * math.log(alphabet)
    stream = itertools.islice(characters.stretches(tokens, 1, chunk), steps)
    for inputs, targets, fresh in stream:
        result = gradient(params, inputs, targets, zeros if fresh else state)
        clipped = optim.clip_by_value(result.gradients, limit)
        params, memory = optim.adagrad(params, clipped, memory, rate)
        state = result.final_state
        smoothed = 0.999 * smoothed + 0.001 * result.loss
        yield Update(params, float(result.loss), smoothed, result.gradients)


def start(alphabet: int, hidden: int, seed: int) -> ModelParams:
    """Initial weights: normal, of standard deviation 0.01; biases and state zero.

    Args:
        alphabet: V, the number of characters.
        hidden: H, the number of hidden units.
        seed: of the weights.

    Returns:
        The parameters, float64.

    Raises:
        ValueError: if a size is no whole number, or less than 1.
    """
    doors.at_least("alphabet", alphabet, 1)
    doors.at_least("hidden", hidden, 1)
    rng, (V, H) = np.random.default_rng(seed), (alphabet, hidden)
    W_x, W_h, W_y = (0.01 * rng.standard_normal(shape) for shape in ((H, V), (H, H), (V, H)))
    return ModelParams(RNNParams(W_x, W_h, np.zeros(H)), ReadoutParams(W_y, np.zeros(V)), np.zeros(H))


def gradient(params: ModelParams, inputs, targets, state: tuple) -> bptt.Result:
    """Loss of a chunk and its gradient by hand, summed over the characters and not yet clipped.

    Args:
        params: the model.
        inputs: classes, shape (k, 1).
        targets: the classes that come next, shape (k, 1).
        state: where the text stands, a tuple of one (1, H) array.

    Returns:
        Loss, gradients, and the state to carry on.
    """
    x = one_hot(inputs, len(params.readout.bias))
    cell, loss = characters.CELL, losses.cross_entropy
    return bptt.full(cell, params, x, targets, loss, state=state)
