"""How good is a classifier, and how sure is that? Accuracy with its standard error, confusions, F1."""

import math

import numpy as np

from rnncourse import doors


def accuracy(said, true) -> tuple[float, float]:
    """The share of right answers and its standard error, :eq:`eq-accuracy-error`.

    Args:
        said: classes, integers, shape (N,).
        true: classes, integers, shape (N,).

    Returns:
        ``(accuracy, standard_error)``; the error holds for answers that err independently.

    Raises:
        ValueError: if the shapes do not fit, or there is no answer.
    """
    said, true = _pair(said, true)
    share = float((said == true).mean())
    return share, standard_error(share, len(true))


def standard_error(share: float, count: int) -> float:
    """The standard deviation of a share of independent answers, :eq:`eq-accuracy-error`.

    Args:
        share: p, in [0, 1].
        count: N.

    Returns:
        sqrt(p (1 - p) / N).

    Raises:
        ValueError: if the share is none, or the count is less than 1.
    """
    doors.at_least("count", count, 1)
    if not 0 <= share <= 1:
        raise ValueError(f"share: expected a number in [0, 1], got {share!r}")
    return math.sqrt(share * (1 - share) / count)


def confusion(said, true, classes: int) -> np.ndarray:
    """Count who is taken for whom, :eq:`def-confusion`.

    Args:
        said: classes, integers, shape (N,).
        true: classes, integers, shape (N,).
        classes: K.

    Returns:
        Counts M, shape (K, K): row the truth, column the answer.

    Raises:
        ValueError: if the shapes do not fit, or a class is out of range.
    """
    doors.at_least("classes", classes, 1)
    said, true = _pair(said, true)
    for name, array in (("said", said), ("true", true)):
        if array.min() < 0 or array.max() >= classes:
            raise ValueError(f"{name}: expected classes in 0..{classes - 1}, got {array.min()}..{array.max()}")
    return np.bincount(true * classes + said, minlength=classes * classes).reshape(classes, classes)


def f1(counts) -> np.ndarray:
    """The F1 of each class, :eq:`eq-f1`; 0 for one that neither occurs nor is said.

    Args:
        counts: from :func:`confusion`, shape (K, K).

    Returns:
        Numbers in [0, 1], shape (K,).

    Raises:
        ValueError: if the shape is not square.
    """
    counts = np.asarray(counts)
    doors.shape("counts", counts, (len(counts), len(counts)))
    both = counts.sum(axis=0) + counts.sum(axis=1)
    return 2 * np.diagonal(counts) / np.where(both, both, 1)


def _pair(said, true) -> tuple[np.ndarray, np.ndarray]:
    said, true = np.asarray(said), np.asarray(true)
    doors.shape("true", true, ("N",))
    doors.shape("said", said, true.shape)
    if not len(true):
        raise ValueError("true: expected at least one answer, got none")
    return said, true
