"""Models of images that count: what a network must beat.

Each is made from training images and a smoothing number, and gives ``conditionals`` as
:mod:`rnncourse.completion` takes them. A count starts at ``smoothing`` times what a coarser model says.
"""

from collections.abc import Callable

import numpy as np

from rnncourse import doors, raster

KINDS = ("histogram", "place", "left", "above", "left and above")


def fit(kind: str, images: np.ndarray, levels: int, smoothing: float) -> Callable:
    """Count.

    Args:
        kind: "histogram" (one distribution for every pixel), "place" (one for each place), or one for each place
            and value of the "left" neighbour, the one "above", or both. What lies outside is a value of its own.
        images: to learn from, integers 0..V-1, shape (B, M, N).
        levels: V.
        smoothing: how many imagined images of the coarser model are added; that of "left and above" is
            "left", of the other two "place", of "place" the histogram, and of the histogram the uniform one.

    Returns:
        A function from images (B, M, N) to log-probabilities (B, M, N, V).

    Raises:
        ValueError: if the kind is unknown, the smoothing not positive, or the images do not fit. So does the
            function, whose images must be as large as those learned from.
    """
    doors.one_of("kind", kind, KINDS)
    images = raster.checked(images, levels)
    if not smoothing > 0:
        raise ValueError(f"smoothing: expected a positive number, got {smoothing}")
    coarser = {"place": "histogram", "left": "place", "above": "place", "left and above": "left"}.get(kind)
    prior = fit(coarser, images, levels, smoothing) if coarser else None
    context = _context(kind, images, levels)
    counts = np.zeros((*_size(kind, images.shape[1:], levels), levels))
    np.add.at(counts, (*context, images), 1.0)

    def conditionals(given: np.ndarray) -> np.ndarray:
        given = raster.checked(given, levels)
        doors.shape("images", given, ("B", *images.shape[1:]))
        base = 1 / levels if prior is None else np.exp(prior(given))
        found = counts[_context(kind, given, levels)] + smoothing * base
        return np.log(found / found.sum(axis=3, keepdims=True))

    return conditionals


def _context(kind: str, images: np.ndarray, levels: int) -> tuple:
    """Where to look up: index arrays of shape (B, M, N)."""
    _, i, j = np.indices(images.shape)
    left, above = raster.left(images, levels), raster.above(images, levels)
    return {
        "histogram": (np.zeros_like(i),),
        "place": (i, j),
        "left": (i, j, left),
        "above": (i, j, above),
        "left and above": (i, j, left, above),
    }[kind]


def _size(kind: str, shape: tuple, levels: int) -> tuple:
    """How many contexts there are, axis by axis."""
    seen = {"histogram": -1, "place": 0, "left": 1, "above": 1, "left and above": 2}[kind]
    return (1,) if seen < 0 else (*shape, *[levels + 1] * seen)
