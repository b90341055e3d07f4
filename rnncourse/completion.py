"""Filling holes in images with a model that draws one pixel after the other.

A model is a function ``conditionals``: from integer images (B, M, N) to log-probabilities (B, M, N, V), those of
pixel k being made from the pixels before k in raster order. Any model of that kind will do, of either floor.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from rnncourse import doors, raster

Conditionals = Callable[[np.ndarray], np.ndarray]


class Completions(NamedTuple):
    """Images with a hole filled.

    Attributes:
        images: integers, shape (B, M, N).
        log_proposals: log q, the probability with which forward sampling draws such a filling, shape (B,).
        log_weights: log w, that of the known pixels after the first unknown one, shape (B,).
    """

    images: np.ndarray
    log_proposals: np.ndarray
    log_weights: np.ndarray


def log_pixels(conditionals: Conditionals, images: np.ndarray) -> np.ndarray:
    """The log-probability of each pixel given those before it: the terms of :eq:`eq-pixel-factorisation`.

    Args:
        conditionals: the model.
        images: integers, shape (B, M, N).

    Returns:
        Shape (B, M, N).

    Raises:
        ValueError: if the images are no integers of three axes, or a value is none of the model's.
    """
    images = raster.checked(images)
    log_p = conditionals(images)
    raster.checked(images, log_p.shape[3])
    return np.take_along_axis(log_p, images[..., None], axis=3)[..., 0]


def bits(conditionals: Conditionals, images: np.ndarray, counts: np.ndarray | None = None) -> float:
    """Bits per dimension, :eq:`eq-bits-per-dimension`.

    Args:
        conditionals: the model.
        images: integers, shape (B, M, N).
        counts: which pixels are judged, booleans (M, N) or (B, M, N); all unless given.

    Returns:
        The mean of -log2 p over the pixels that count, in all images together.

    Raises:
        ValueError: if no pixel counts, or a shape does not fit.
    """
    cost = -log_pixels(conditionals, images) / math.log(2)
    counts = np.ones(cost.shape, bool) if counts is None else _mask("counts", counts, cost.shape)
    if not counts.any():
        raise ValueError("counts: expected at least one pixel to judge")
    return float(cost[counts].mean())


def is_suffix(unknown: np.ndarray) -> bool:
    """Whether no known pixel comes after an unknown one: then forward sampling is exact.

    Args:
        unknown: booleans, shape (M, N).

    Returns:
        True or False.

    Raises:
        ValueError: if it is no array of booleans of two axes.
    """
    doors.shape("unknown", unknown, ("M", "N"))
    flat = _mask("unknown", unknown, np.shape(unknown)).ravel()
    return bool(flat[np.argmax(flat) :].all() or not flat.any())


def forward_sampling(conditionals: Conditionals, images: np.ndarray, unknown: np.ndarray, uniforms) -> Completions:
    """Walk over the image in raster order and draw each unknown pixel from its conditional.

    Right where the unknown pixels are the last ones, :eq:`eq-suffix`. Elsewhere these are draws of another
    distribution, and ``log_weights`` say by how much, :eq:`eq-hole-weights`.

    Args:
        conditionals: the model.
        images: integers, shape (B, M, N); what stands at unknown pixels does not matter.
        unknown: booleans, shape (M, N): the hole.
        uniforms: one number of [0, 1) for each unknown pixel and image, shape (K, B).

    Returns:
        The images, their known pixels untouched, and both log-probabilities.

    Raises:
        ValueError: if a shape does not fit or a number is outside [0, 1).
    """
    images, unknown = raster.checked(images), _mask("unknown", unknown, np.shape(images)[1:])
    uniforms = np.asarray(uniforms, float)
    places = np.argwhere(unknown)
    doors.shape("uniforms", uniforms, (len(places), len(images)))
    if uniforms.size and not (uniforms.min() >= 0 and uniforms.max() < 1):
        raise ValueError("uniforms: expected numbers of [0, 1)")
    images[:, unknown] = 0
    for (i, j), u in zip(places, uniforms, strict=True):
        images[:, i, j] = _drawn(conditionals(images)[:, i, j], u)
    log_p = log_pixels(conditionals, images)
    return Completions(images, log_p[:, unknown].sum(axis=1), log_p[:, _after(unknown)].sum(axis=1))


def exact(conditionals: Conditionals, image: np.ndarray, unknown: np.ndarray) -> np.ndarray:
    """The distribution of a hole given all known pixels, by listing every filling, :eq:`eq-hole`.

    Args:
        conditionals: the model.
        image: integers, shape (M, N).
        unknown: booleans, shape (M, N): the hole, K pixels.

    Returns:
        Log-probabilities of ``raster.fillings(K, V)``, shape (V^K,).

    Raises:
        ValueError: if a shape does not fit, the fillings are too many to list, or the model holds what is known
            for impossible.
    """
    proposals, weights = _both_sides(conditionals, image, unknown)
    return _normalised(proposals + weights)


def forward_distribution(conditionals: Conditionals, image: np.ndarray, unknown: np.ndarray) -> np.ndarray:
    """What :func:`forward_sampling` draws from, by listing every filling.

    Args:
        conditionals: the model.
        image: integers, shape (M, N).
        unknown: booleans, shape (M, N): the hole, K pixels.

    Returns:
        Log-probabilities of ``raster.fillings(K, V)``, shape (V^K,).

    Raises:
        ValueError: if a shape does not fit or the fillings are too many to list.
    """
    return _both_sides(conditionals, image, unknown)[0]


def forward_cost(conditionals: Conditionals, unknown: np.ndarray) -> float:
    """What forward sampling loses on average, by listing every image, :eq:`eq-forward-cost`.

    Args:
        conditionals: the model.
        unknown: booleans, shape (M, N): the hole.

    Returns:
        The mean divergence KL(right || forward), in nats, over known pixels drawn from the model.

    Raises:
        ValueError: if the hole is no array of booleans of two axes, or there are too many images to list.
    """
    doors.shape("unknown", unknown, ("M", "N"))
    unknown = _mask("unknown", unknown, np.shape(unknown))
    levels = conditionals(np.zeros((1, *unknown.shape), int)).shape[3]
    images = raster.every(*unknown.shape, levels)
    terms = log_pixels(conditionals, images)
    log_p, log_q = terms.sum(axis=(1, 2)), terms[:, unknown].sum(axis=1)
    known = images[:, ~unknown]
    code = known @ levels ** np.arange(known.shape[1])
    p = np.exp(log_p)
    marginal = np.bincount(code, p)[code]
    seen = p > 0  # what cannot be costs nothing
    return float(p[seen] @ (log_p[seen] - np.log(marginal[seen]) - log_q[seen]))


def shares(completions: Completions) -> np.ndarray:
    """How much each draw of a hole counts, :eq:`eq-hole-weights`.

    Args:
        completions: several draws for the same known pixels, from :func:`forward_sampling`.

    Returns:
        Weights w divided by their sum, shape (B,).

    Raises:
        ValueError: if every weight is zero.
    """
    return np.exp(_normalised(completions.log_weights))


def effective(shares: np.ndarray) -> float:
    """How many equal draws the weighted ones are worth, 1 / sum of squares.

    Args:
        shares: non-negative, of sum 1, shape (B,).

    Returns:
        A number from 1 to B.
    """
    return float(1 / (np.asarray(shares) ** 2).sum())


def estimate(shares: np.ndarray, values: np.ndarray) -> tuple:
    """A weighted mean and its standard error.

    Args:
        shares: non-negative, of sum 1, shape (B,).
        values: of each draw, shape (B, ...).

    Returns:
        ``(mean, error)``, each of shape (...): the error by the usual first-order formula.
    """
    values = np.asarray(values, float)
    weights = np.asarray(shares).reshape(-1, *[1] * (values.ndim - 1))
    mean = (weights * values).sum(axis=0)
    return mean, np.sqrt((weights**2 * (values - mean) ** 2).sum(axis=0))


def gibbs(conditionals: Conditionals, images: np.ndarray, unknown: np.ndarray, uniforms) -> np.ndarray:
    """Draw each unknown pixel anew from its distribution given all others, over and over.

    That distribution is the joint's, V images compared. After many rounds the fillings are draws of
    :eq:`eq-hole`, wherever they started.

    Args:
        conditionals: the model.
        images: where to start, integers, shape (B, M, N).
        unknown: booleans, shape (M, N): the hole, K pixels.
        uniforms: numbers of [0, 1), shape (R, K, B) for R rounds.

    Returns:
        The images after each round, shape (R, B, M, N).

    Raises:
        ValueError: if a shape does not fit, or a pixel can be nothing at all beside the others.
    """
    images, unknown = raster.checked(images), _mask("unknown", unknown, np.shape(images)[1:])
    places = np.argwhere(unknown)
    uniforms = np.asarray(uniforms, float)
    doors.shape("uniforms", uniforms, ("R", len(places), len(images)))
    levels, found = conditionals(images[:1]).shape[3], []
    for numbers in uniforms:
        for (i, j), u in zip(places, numbers, strict=True):
            rivals = np.repeat(images[None], levels, axis=0)
            rivals[:, :, i, j] = np.arange(levels)[:, None]
            log_p = log_pixels(conditionals, rivals.reshape(-1, *images.shape[1:])).sum(axis=(1, 2))
            images[:, i, j] = _drawn(_normalised(log_p.reshape(levels, -1).T), u)
        found.append(images.copy())
    return np.array(found).reshape(len(uniforms), *images.shape)


def _both_sides(conditionals: Conditionals, image: np.ndarray, unknown: np.ndarray) -> tuple:
    """log q and log w of every filling."""
    image, unknown = np.asarray(image), _mask("unknown", unknown, np.shape(image))
    levels = conditionals(image[None]).shape[3]
    candidates = raster.fillings(int(unknown.sum()), levels)
    images = np.repeat(image[None], len(candidates), axis=0)
    images[:, unknown] = candidates
    log_p = log_pixels(conditionals, images)
    return log_p[:, unknown].sum(axis=1), log_p[:, _after(unknown)].sum(axis=1)


def _after(unknown: np.ndarray) -> np.ndarray:
    """Known pixels after the first unknown one."""
    flat = unknown.ravel()
    return (np.logical_or.accumulate(flat) & ~flat).reshape(unknown.shape)


def _normalised(log_p: np.ndarray) -> np.ndarray:
    """Logarithms of probabilities from logarithms of what is proportional to them, along the last axis."""
    largest = log_p.max(axis=-1, keepdims=True)
    if np.isneginf(largest).any():
        raise ValueError("images: what is known has probability zero")
    shifted = log_p - largest
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def _drawn(log_p: np.ndarray, uniforms: np.ndarray) -> np.ndarray:
    """The first value whose cumulative probability exceeds the number, row by row."""
    total = np.exp(log_p).cumsum(axis=1)
    return (total[:, :-1] <= uniforms[:, None] * total[:, -1:]).sum(axis=1)


def _mask(name: str, given, shape: tuple) -> np.ndarray:
    """Booleans over images, or over all of a batch alike."""
    mask = np.asarray(given)
    if mask.dtype != bool or mask.shape != tuple(shape)[-mask.ndim :] or mask.ndim < 2:
        raise ValueError(f"{name}: expected booleans of shape {tuple(shape)[-2:]}, got {mask.dtype} of {mask.shape}")
    return np.broadcast_to(mask, shape)
