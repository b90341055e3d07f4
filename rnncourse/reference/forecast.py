"""Forecasts several steps ahead, by the plain rivals: the last value, and a linear autoregression."""

from typing import NamedTuple

import numpy as np

from rnncourse import doors


class AR(NamedTuple):
    """A linear autoregression of order p, y_t = c + A_1 y_{t-1} + ... + A_p y_{t-p} + noise.

    Attributes:
        constant: c, shape (O,).
        weights: A_1, ..., A_p, shape (p, O, O).
        noise: covariance of what is left, shape (O, O).
    """

    constant: np.ndarray
    weights: np.ndarray
    noise: np.ndarray


def fit(series, order: int) -> AR:
    """Find the autoregression with the least squared error one step ahead, :eq:`eq-ar-fit`.

    Args:
        series: y, shape (T, B, O); one model for all sequences.
        order: p, less than T.

    Returns:
        The model; its noise is the mean square of the errors, not corrected for the number of weights.

    Raises:
        ValueError: if a shape does not fit, an entry is not finite, the order is out of range, or there are
            fewer errors than weights for an output.
    """
    past, future = windows(series, order, 1)
    p, N, O = past.shape
    causes = np.concatenate([np.ones((N, 1)), past[::-1].transpose(1, 0, 2).reshape(N, p * O)], axis=1)
    if causes.shape[1] > N:
        raise ValueError(f"order: expected at least {causes.shape[1]} steps that have {p} before them, got {N}")
    found = np.linalg.lstsq(causes, future[0], rcond=None)[0].T
    left = future[0] - causes @ found.T
    weights = found[:, 1:].reshape(O, p, O).transpose(1, 0, 2)
    return AR(found[:, 0], weights, left.T @ left / N)


def ahead(model: AR, history, steps: int) -> np.ndarray:
    """Forecast by taking each forecast for the truth, :eq:`eq-ar-ahead`.

    Args:
        model: from :func:`fit`.
        history: the last values, at least p of them, shape (S, B, O).
        steps: h, how far.

    Returns:
        Forecasts of the next steps, shape (h, B, O).

    Raises:
        ValueError: if a shape does not fit, the history is too short, or there is no step.
    """
    doors.at_least("steps", steps, 1)
    history = np.asarray(history, float)
    doors.sequences("history", history, len(model.constant))
    p = len(model.weights)
    if len(history) < p:
        raise ValueError(f"history: expected at least {p} values, got {len(history)}")
    values = list(history[-p:])
    for _ in range(steps):
        latest = values[: -p - 1 : -1]
        values.append(model.constant + sum(y @ A.T for A, y in zip(model.weights, latest, strict=True)))
    return np.stack(values[p:])


def persistence(history, steps: int) -> np.ndarray:
    """Forecast that everything stays as it is.

    Args:
        history: shape (S, B, O); its last values count.
        steps: how far.

    Returns:
        The last value of each sequence, again and again, shape (steps, B, O).

    Raises:
        ValueError: if there is no value or no step.
    """
    doors.at_least("steps", steps, 1)
    history = np.asarray(history, float)
    doors.sequences("history", history, "O")
    return np.repeat(history[-1:], steps, axis=0)


def spreads(model: AR, steps: int) -> np.ndarray:
    """The covariances of the errors 1, ..., h steps ahead, if the model is true, :eq:`eq-ar-spread`.

    Args:
        model: the autoregression.
        steps: h.

    Returns:
        Shape (h, O, O).

    Raises:
        ValueError: if there is no step.
    """
    doors.at_least("steps", steps, 1)
    p, O, _ = model.weights.shape
    answers = [np.eye(O)]  # Psi_j: what is left of a shock after j steps
    for j in range(1, steps):
        answers.append(sum(model.weights[k] @ answers[j - 1 - k] for k in range(min(p, j))))
    return np.cumsum([psi @ model.noise @ psi.T for psi in answers], axis=0)


def windows(series, past: int, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Every stretch of a batch of series, cut into what is known and what is asked.

    Args:
        series: y, shape (T, B, O).
        past: how many values are known.
        steps: how many are asked.

    Returns:
        ``(known, asked)``: shapes (past, N, O) and (steps, N, O), with N = (T - past - steps + 1) B, the
        first stretches of all sequences first.

    Raises:
        ValueError: if a shape does not fit, an entry is not finite, or no stretch is that long.
    """
    doors.at_least("past", past, 1)
    doors.at_least("steps", steps, 1)
    y = np.asarray(series, float)
    doors.sequences("series", y, "O")
    doors.finite("series", y)
    T, B, O = y.shape
    count = T - past - steps + 1
    if count < 1:
        raise ValueError(f"series: expected at least {past + steps} steps, got {T}")
    cut = np.stack([y[first : first + past + steps] for first in range(count)], axis=1)
    cut = cut.reshape(past + steps, count * B, O)
    return cut[:past], cut[past:]
