"""Samples from the classical models of sequences: Markov chain, hidden Markov model, linear system, noisy RNN.

Time comes first and the batch second, as everywhere; states and observations are numbered from 1, and
the state at step 1 is drawn from the starting distribution (the noisy RNN starts from h_0, before step 1).
"""

from typing import NamedTuple

import numpy as np

from rnncourse import doors
from rnncourse.params import ModelParams


class Path(NamedTuple):
    """What happened, and what was seen of it.

    Attributes:
        states: classes (T, B) or vectors (T, B, K).
        observations: classes (T, B) or vectors (T, B, O).
    """

    states: np.ndarray
    observations: np.ndarray


def markov_chain(rng: np.random.Generator, start, transition, steps: int, size: int) -> np.ndarray:
    """Draw sequences from a Markov chain: the next symbol depends on the last one alone.

    Args:
        rng: the source of randomness.
        start: p(x_1), shape (V,).
        transition: p(x_t | x_{t-1}), shape (V, V), rows sum to 1.
        steps: T.
        size: B.

    Returns:
        Symbols, integers of shape (T, B).

    Raises:
        ValueError: if a shape does not fit, rows are no probabilities, or a number is too small.
    """
    start, transition = _chain(start, transition)
    doors.at_least("steps", steps, 1)
    doors.at_least("size", size, 1)
    x = [_draw(rng, np.tile(start, (size, 1)))]
    for _ in range(steps - 1):
        x.append(_draw(rng, transition[x[-1]]))
    return np.stack(x)


def hmm(rng: np.random.Generator, start, transition, emission, steps: int, size: int) -> Path:
    """Draw from a hidden Markov model: a chain that is only seen through noisy symbols.

    Args:
        rng: the source of randomness.
        start: p(z_1), shape (K,).
        transition: p(z_t | z_{t-1}), shape (K, K), rows sum to 1.
        emission: p(x_t | z_t), shape (K, V), rows sum to 1.
        steps: T.
        size: B.

    Returns:
        States and symbols, integers of shape (T, B).

    Raises:
        ValueError: if a shape does not fit, rows are no probabilities, or a number is too small.
    """
    emission = _rows("emission", emission, (len(np.asarray(start)), "V"))
    z = markov_chain(rng, start, transition, steps, size)
    return Path(z, _draw(rng, emission[z]))


def hmm_joint(start, transition, emission, steps: int) -> np.ndarray:
    """The exact joint table of a hidden Markov model's symbols, its states summed out.

    Args:
        start: p(z_1), shape (K,).
        transition: p(z_t | z_{t-1}), shape (K, K), rows sum to 1.
        emission: p(x_t | z_t), shape (K, V), rows sum to 1.
        steps: T; the table has V^T entries.

    Returns:
        p(x_1, ..., x_T), an axis for each step.

    Raises:
        ValueError: if a shape does not fit, rows are no probabilities, or ``steps`` is too small.
    """
    start, transition = _chain(start, transition)
    emission = _rows("emission", emission, (len(start), "V"))
    doors.at_least("steps", steps, 1)
    table = emission.T * start  # p(x_1, z_1); the last axis stays the state
    for _ in range(steps - 1):
        table = (table @ transition)[..., None, :] * emission.T
    return table.sum(axis=-1)


def lds(rng: np.random.Generator, mean, covariance, A, C, Q, R, steps: int, size: int) -> Path:
    """Draw from a linear dynamical system: z_t = A z_{t-1} + noise, x_t = C z_t + noise, all Gaussian.

    Args:
        rng: the source of randomness.
        mean: of z_1, shape (K,).
        covariance: of z_1, shape (K, K).
        A: shape (K, K).
        C: shape (O, K).
        Q: covariance of the noise of the state, shape (K, K).
        R: covariance of the noise of the observation, shape (O, O).
        steps: T.
        size: B.

    Returns:
        States (T, B, K) and observations (T, B, O).

    Raises:
        ValueError: if a shape does not fit, an entry is not finite, a covariance is none, or a number
            is too small.
    """
    mean, A, C = (np.asarray(part, float) for part in (mean, A, C))
    doors.shape("mean", mean, ("K",))
    K = len(mean)
    doors.shape("A", A, (K, K))
    doors.shape("C", C, ("O", K))
    for name, part in (("mean", mean), ("A", A), ("C", C)):
        doors.finite(name, part)
    doors.at_least("steps", steps, 1)
    doors.at_least("size", size, 1)
    first, state, seen = _root("covariance", covariance, K), _root("Q", Q, K), _root("R", R, len(C))
    z = [mean + rng.standard_normal((size, K)) @ first.T]
    for _ in range(steps - 1):
        z.append(z[-1] @ A.T + rng.standard_normal((size, K)) @ state.T)
    z = np.stack(z)
    return Path(z, z @ C.T + rng.standard_normal((steps, size, len(C))) @ seen.T)


def noisy_rnn(
    rng: np.random.Generator, params: ModelParams, inputs, state_noise: float = 0.0, output_noise: float = 0.0
) -> Path:
    """Draw from a tanh network with noise in its state: h_t = tanh(W_x x_t + W_h h_{t-1} + b_h) + noise.

    Args:
        rng: the source of randomness.
        params: a vanilla cell, its readout, and h_0.
        inputs: x, shape (T, B, D).
        state_noise: standard deviation of the noise added to each unit at each step.
        output_noise: standard deviation of the noise added to each output.

    Returns:
        States (T, B, H) and observations y_t = W_y h_t + b_y + noise, (T, B, O).

    Raises:
        ValueError: if a shape does not fit, an entry is not finite, or a deviation is negative.
    """
    (W_x, W_h, b_h), (W_y, b_y), h = params
    inputs = np.asarray(inputs, float)
    doors.sequences("inputs", inputs, W_x.shape[1])
    doors.finite("inputs", inputs)
    for name, deviation in (("state_noise", state_noise), ("output_noise", output_noise)):
        if not 0 <= deviation < np.inf:
            raise ValueError(f"{name}: expected a standard deviation >= 0, got {deviation!r}")
    size, states = inputs.shape[1], []
    for x in inputs:
        h = np.tanh(x @ W_x.T + h @ W_h.T + b_h) + state_noise * rng.standard_normal((size, len(b_h)))
        states.append(h)
    states = np.stack(states)
    noise = output_noise * rng.standard_normal((*inputs.shape[:2], len(b_y)))
    return Path(states, states @ W_y.T + b_y + noise)


def _draw(rng: np.random.Generator, p: np.ndarray) -> np.ndarray:
    """One class for each row of probabilities, whatever the leading axes."""
    return (rng.random(p.shape[:-1])[..., None] >= np.cumsum(p, axis=-1)[..., :-1]).sum(axis=-1)


def _chain(start, transition) -> tuple[np.ndarray, np.ndarray]:
    start = _rows("start", start, ("K",))
    return start, _rows("transition", transition, (len(start), len(start)))


def _rows(name: str, table, expected: tuple) -> np.ndarray:
    """Probabilities along the last axis, checked."""
    table = np.asarray(table, float)
    doors.shape(name, table, expected)
    doors.finite(name, table)
    if (table < 0).any() or not np.allclose(table.sum(axis=-1), 1, rtol=0, atol=1e-9):
        raise ValueError(f"{name}: expected numbers >= 0 that sum to 1 along the last axis")
    return table


def _root(name: str, covariance, size: int) -> np.ndarray:
    """A matrix whose product with its transpose is the covariance; the covariance may be singular."""
    covariance = np.asarray(covariance, float)
    doors.shape(name, covariance, (size, size))
    doors.finite(name, covariance)
    values, vectors = np.linalg.eigh(covariance)
    if not np.allclose(covariance, covariance.T) or values.min() < -1e-9 * max(1.0, values.max()):
        raise ValueError(f"{name}: expected a symmetric matrix without negative eigenvalues")
    return vectors * np.sqrt(np.maximum(values, 0))
