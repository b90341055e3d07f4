"""Simple classifiers that ask what a code knows: if so plain a reader finds it, it is there to be found."""

import numpy as np

from rnncourse import doors


def nearest_mean(codes: np.ndarray, labels: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Give each code the class whose mean code is nearest.

    Args:
        codes: known codes, shape (N, D).
        labels: their classes, integers in 0..C-1, each occurring, shape (N,).
        asked: codes to classify, shape (M, D).

    Returns:
        Classes, shape (M,).

    Raises:
        ValueError: if a shape does not fit, or a class up to the largest has no code.
    """
    codes, labels, asked = map(np.asarray, (codes, labels, asked))
    doors.shape("codes", codes, ("N", "D"))
    doors.shape("labels", labels, (len(codes),))
    doors.shape("asked", asked, ("M", codes.shape[1]))
    counts = np.bincount(labels)
    if not counts.all():
        raise ValueError(f"labels: expected every class in 0..{len(counts) - 1}, {np.flatnonzero(counts == 0)} lack")
    means = np.array([codes[labels == label].mean(axis=0) for label in range(len(counts))])
    return ((asked[:, None] - means) ** 2).sum(axis=2).argmin(axis=1)


def linear(codes: np.ndarray, labels: np.ndarray, asked: np.ndarray, ridge: float = 1.0) -> np.ndarray:
    """Give each code the class whose indicator least squares finds highest.

    Args:
        codes: known codes, shape (N, D).
        labels: their classes, integers in 0..C-1, shape (N,).
        asked: codes to classify, shape (M, D).
        ridge: weight of the squared coefficients (the constant's too), more than 0.

    Returns:
        Classes, shape (M,).

    Raises:
        ValueError: if a shape does not fit, or the ridge is not positive.
    """
    codes, labels, asked = map(np.asarray, (codes, labels, asked))
    doors.shape("codes", codes, ("N", "D"))
    doors.shape("labels", labels, (len(codes),))
    doors.shape("asked", asked, ("M", codes.shape[1]))
    if not ridge > 0:
        raise ValueError(f"ridge: expected a positive number, got {ridge}")
    A, asked = (np.column_stack([part, np.ones(len(part))]) for part in (codes, asked))
    wanted = np.eye(labels.max() + 1)[labels]
    return (asked @ np.linalg.solve(A.T @ A + ridge * np.eye(A.shape[1]), A.T @ wanted)).argmax(axis=1)
