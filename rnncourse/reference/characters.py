"""A character model trained on real text by the hand-derived gradients of ``bptt``.

One-hot characters in, a tanh cell, an affine readout, softmax cross-entropy. The text is read as
parallel streams; the state is carried from one stretch to the next, the gradient is not. Training
runs in float32, for speed; the gradients themselves are tested in float64.
"""

import math
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from rnncourse import doors
from rnncourse.data.text import Corpus, batches, encode, one_hot
from rnncourse.params import ModelParams, init_model, map_arrays
from rnncourse.reference import bptt, cells, losses, optim, readout, sampling, unroll

CELL = cells.rnn("tanh")


class Look(NamedTuple):
    """How training stands.

    Attributes:
        step: updates made so far.
        seconds: time spent on them.
        train: bits per character over the updates since the last look, while learning from them.
        valid: bits per character of the validation text.
    """

    step: int
    seconds: float
    train: float
    valid: float


def train(
    corpus: Corpus, hidden: int = 96, steps: int = 2000, seed: int = 0, looks: int = 10, **settings
) -> tuple[ModelParams, list[Look]]:
    """Train a character model and look at it now and then.

    Args:
        corpus: the text; its validation part is watched, its test part not touched.
        hidden: H, the number of hidden units.
        steps: updates to make.
        seed: of the initial weights.
        looks: how often to measure, evenly spread, the last time at the end.
        settings: what else :func:`updates` takes.

    Returns:
        ``(params, history)``: float32 parameters after the last update, and one :class:`Look` each.

    Raises:
        ValueError: if a number is too small or the text too short.
    """
    doors.at_least("looks", looks, 1)
    stops, history, losses_since = {(k * steps) // looks for k in range(1, looks + 1)}, [], []
    began = time.perf_counter()
    progress = tqdm(updates(corpus, hidden, steps, seed, **settings), f"H = {hidden}", steps, disable=None)
    for step, (params, loss) in enumerate(progress, 1):
        losses_since.append(loss / math.log(2))
        if step in stops:
            paused = time.perf_counter()
            valid = bits_per_character(params, corpus.valid)
            history.append(Look(step, paused - began, float(np.mean(losses_since)), valid))
            losses_since = []
            began += time.perf_counter() - paused  # looking does not count
    return params, history


def updates(
    corpus: Corpus,
    hidden: int,
    steps: int,
    seed: int = 0,
    rate: float = 8e-3,
    streams: int = 32,
    stretch: int = 64,
    chunk: int | None = None,
    clip: float = 1.0,
    shrink: float = 0.0,
    gradient: Callable | None = None,
) -> Iterator[tuple[ModelParams, float]]:
    """Adam on one stretch of text after another, its rate falling to zero as half a cosine.

    Args:
        corpus: the text.
        hidden: H, the number of hidden units.
        steps: updates to make.
        seed: of the initial weights.
        rate: step size of the first update.
        streams: B, places of the text read in parallel.
        stretch: T, characters of each stream read for one update.
        chunk: characters after which the gradient is cut, :eq:`eq-chunked-truncation`; a whole
            stretch unless given. The state is carried either way.
        clip: the longest gradient allowed.
        shrink: weight decay apart from the gradient: an update also takes this share, times the
            rate, off every parameter. It holds a long training back from learning the text by heart.
        gradient: used in place of :func:`hand_gradient`, with the same arguments and result.

    Yields:
        ``(params, loss)``: the model after the update, and its loss before, in nats per character.

    Raises:
        ValueError: if a number is too small or the text too short.
    """
    doors.at_least("steps", steps, 1)
    doors.at_least("chunk", chunk or stretch, 1)
    gradient = gradient or hand_gradient
    params, state = start(len(corpus.alphabet), hidden, seed), None
    memory = optim.adam_start(params)
    for step, (inputs, targets, fresh) in zip(range(steps), stretches(corpus.train, streams, stretch), strict=False):
        result = gradient(params, inputs, targets, None if fresh else state, chunk or stretch)
        falling = 0.5 * rate * (1 + math.cos(math.pi * step / steps))
        params, memory = optim.adam(params, optim.clip_by_norm(result.gradients, clip), memory, falling)
        params = map_arrays(lambda array, keep=1 - falling * shrink: keep * array, params)
        state = result.final_state
        yield params, float(result.loss)


def start(alphabet: int, hidden: int, seed: int) -> ModelParams:
    """Initial weights: orthogonal recurrence, small inputs, zero state.

    Args:
        alphabet: V, the number of characters.
        hidden: H, the number of hidden units.
        seed: of the weights.

    Returns:
        The parameters, float32.
    """
    params = init_model(np.random.default_rng(seed), alphabet, hidden, alphabet, input_scale=0.3)
    return map_arrays(lambda array: array.astype(np.float32), params)


def stretches(tokens: np.ndarray, streams: int, length: int) -> Iterator[tuple[np.ndarray, np.ndarray, bool]]:
    """Read the text in parallel streams, over and over.

    Args:
        tokens: the text, shape (N,).
        streams: B, the number of streams.
        length: T, characters of each stream at a time.

    Yields:
        ``(inputs, targets, fresh)``: classes (T, B) twice, and whether the streams have just
        started again, so that the state must too.
    """
    while True:
        for k, (inputs, targets) in enumerate(batches(tokens, streams, length)):
            yield inputs, targets, k == 0


def hand_gradient(params: ModelParams, inputs, targets, state: tuple | None, chunk: int) -> bptt.Result:
    """Mean loss and truncated gradient of one stretch that continues from a state.

    Args:
        params: the model.
        inputs: classes, shape (T, B).
        targets: the classes that come next, shape (T, B).
        state: where the streams stand, a tuple of one (B, H) array; zeros if None.
        chunk: k, steps after which the gradient is cut; T or more cuts only between stretches.

    Returns:
        Loss in nats per character, gradients, and the state to carry on.
    """
    x = one_hot(inputs, len(params.readout.bias), params.initial_state.dtype)
    state = state or (np.zeros((inputs.shape[1], len(params.initial_state)), x.dtype),)
    loss, total = 0.0, map_arrays(np.zeros_like, params)
    for a in range(0, len(x), chunk):
        part = slice(a, a + chunk)
        result = bptt.full(CELL, params, x[part], targets[part], losses.cross_entropy, state=state)
        loss, state = loss + result.loss, result.final_state
        total = map_arrays(np.add, total, result.gradients)
    return bptt.Result(loss / targets.size, map_arrays(lambda g: g / targets.size, total), state)


def bits_per_character(params: ModelParams, tokens: np.ndarray, streams: int = 8) -> float:
    """How many bits the model needs for a character of a text, on average, its state carried all the way.

    Args:
        params: the model.
        tokens: the text, integers in 0..V-1, shape (N,).
        streams: pieces the text is cut into to go faster; each starts from a zero state, and what
            does not fill the last is left out.

    Returns:
        The mean cross-entropy in bits.
    """
    length = (len(tokens) - 1) // streams
    (inputs, targets), *_ = batches(tokens, streams, length)
    x = one_hot(inputs, len(params.readout.bias), params.initial_state.dtype)
    hidden, _, _ = unroll.forward(CELL, params.cell, x)
    outputs, _ = readout.forward(params.readout, hidden)
    return float(losses.cross_entropy(outputs, targets)[0]) / targets.size / math.log(2)


def next_logits(params: ModelParams, tokens, state: tuple | None = None) -> tuple[np.ndarray, tuple]:
    """Read on, and say what comes next.

    Args:
        params: the model.
        tokens: what it reads, classes, shape (T, B), T >= 1.
        state: where it stands, a tuple of one (B, H) array; zeros if None.

    Returns:
        ``(logits, state)``: of the character after the last, shape (B, V), and where it stands then.
    """
    x = one_hot(tokens, len(params.readout.bias), params.initial_state.dtype)
    hidden, state, _ = unroll.forward(CELL, params.cell, x, state)
    return readout.forward(params.readout, hidden[-1:])[0][0], state


def sample(
    params: ModelParams,
    alphabet: str,
    rng: np.random.Generator,
    prompt: str,
    length: int,
    temperature: float = 1.0,
    cut: Callable | None = None,
) -> str:
    """Let the model write: each character is drawn, then read as the next input.

    Args:
        params: the model.
        alphabet: the V characters.
        rng: the source of randomness.
        prompt: what it reads first, at least one character.
        length: characters to write.
        temperature: divides the logits; below 1 it plays safe.
        cut: what to do to the probabilities (B, V) before each draw, for example
            ``lambda p: sampling.nucleus(p, 0.9)``; nothing unless given.

    Returns:
        What was written, without the prompt.

    Raises:
        ValueError: if the prompt is empty or holds an unknown character, or the temperature is
            not positive.
    """
    if not prompt:
        raise ValueError("prompt: expected at least one character")

    def step(tokens, state):
        logits, state = next_logits(params, tokens[None], state)
        probabilities = sampling.softmax(logits, temperature)
        return cut(probabilities) if cut else probabilities, state

    *before, last = encode(prompt, alphabet)[:, None]
    state = next_logits(params, np.array(before))[1] if before else None
    written, _ = sampling.ancestral(step, last, state, rng.random((length, 1)))
    return "".join(alphabet[k] for k in written[:, 0])
