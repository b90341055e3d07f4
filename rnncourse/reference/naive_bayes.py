"""Naive Bayes over n-grams: count how often each short stretch occurs in each class, and add up logarithms.

It sees a bag: which stretches occur and how often, not where. That is its strength, for it has nothing to
learn but counts, and its limit.
"""

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from rnncourse import doors


class NaiveBayes(NamedTuple):
    """A fitted model.

    Attributes:
        columns: for each gram that occurred, its column.
        log_prior: log pi_k, shape (K,).
        log_likelihood: log theta_kg, shape (K, G).
    """

    columns: dict[Hashable, int]
    log_prior: np.ndarray
    log_likelihood: np.ndarray


def grams(tokens: Sequence, longest: int, shortest: int = 1) -> list:
    """Every stretch of a sequence, from the shortest length to the longest; repeats count.

    Args:
        tokens: a string or a tuple, so that its stretches can be counted.
        longest: the greatest length.
        shortest: the least length.

    Returns:
        The stretches, short ones first.

    Raises:
        ValueError: if a length is less than 1, or the longest less than the shortest.
    """
    doors.at_least("shortest", shortest, 1)
    doors.at_least("longest", longest, shortest)
    return [
        tokens[start : start + length]
        for length in range(shortest, longest + 1)
        for start in range(len(tokens) - length + 1)
    ]


def fit(bags: Sequence[Iterable[Hashable]], labels, classes: int, smoothing: float = 1.0) -> NaiveBayes:
    """Count; theta is smoothed as if every gram had occurred ``smoothing`` times more, :eq:`eq-naive-bayes-counts`.

    Args:
        bags: the grams of each of N sequences.
        labels: their classes, integers in 0..K-1, shape (N,).
        classes: K.
        smoothing: alpha, positive.

    Returns:
        The model.

    Raises:
        ValueError: if there are not as many labels as bags, a class is out of range or has no
            sequence, or the smoothing is not positive.
    """
    doors.at_least("classes", classes, 1)
    labels = np.asarray(labels)
    doors.shape("labels", labels, (len(bags),))
    if not smoothing > 0:
        raise ValueError(f"smoothing: expected a positive number, got {smoothing!r}")
    if not len(labels) or labels.min() < 0 or set(labels.tolist()) != set(range(classes)):
        raise ValueError(f"labels: expected each of the classes 0..{classes - 1} at least once, and no other")
    columns: dict[Hashable, int] = {}
    found = [Counter() for _ in range(classes)]
    for bag, label in zip(bags, labels.tolist(), strict=True):
        found[label].update(columns.setdefault(gram, len(columns)) for gram in bag)
    n = np.zeros((classes, len(columns)))
    for k, counter in enumerate(found):
        n[k, list(counter.keys())] = list(counter.values())
    n += smoothing
    prior = np.bincount(labels, minlength=classes) / len(labels)
    return NaiveBayes(columns, np.log(prior), np.log(n) - np.log(n.sum(axis=1, keepdims=True)))


def log_posterior(model: NaiveBayes, bags: Sequence[Iterable[Hashable]]) -> np.ndarray:
    """log p(k | bag), :eq:`eq-naive-bayes`; grams that training has not seen are passed over.

    Args:
        model: from :func:`fit`.
        bags: the grams of each of N sequences.

    Returns:
        Shape (N, K); each row's exponentials sum to 1.
    """
    joint = np.empty((len(bags), len(model.log_prior)))
    for i, bag in enumerate(bags):
        seen = [model.columns[gram] for gram in bag if gram in model.columns]
        joint[i] = model.log_prior + model.log_likelihood[:, seen].sum(axis=1)
    top = joint.max(axis=1, keepdims=True)
    return joint - top - np.log(np.exp(joint - top).sum(axis=1, keepdims=True))
