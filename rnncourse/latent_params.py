"""What describes a latent variable: the same on both floors."""

from typing import NamedTuple

from rnncourse import doors
from rnncourse.params import Array


class Diagonal(NamedTuple):
    """A normal distribution with independent components.

    The logarithm of the variance may be any real number, so a network can put it out as it is.

    Attributes:
        mean: mu, shape (..., D).
        log_variance: rho = log sigma^2, shape (..., D); the standard deviation is exp(rho / 2).
    """

    mean: Array
    log_variance: Array


def check(name: str, q: Diagonal) -> None:
    """Check that two arrays describe a diagonal normal distribution.

    Args:
        name: the argument's name, for the message.
        q: mean and log variance, each of shape (..., D).

    Raises:
        ValueError: if it is no pair, if the two shapes differ or have no axis, or if an entry is not finite.
    """
    if not isinstance(q, tuple) or len(q) != 2:
        raise ValueError(f"{name}: expected a Diagonal of mean and log_variance, got {type(q).__name__}")
    mean, log_variance = q
    if not len(mean.shape):
        raise ValueError(f"{name}: expected a mean of shape (..., D), got ()")
    doors.shape(f"{name}.log_variance", log_variance, tuple(mean.shape))
    for part, array in zip(("mean", "log_variance"), q, strict=True):
        doors.finite(f"{name}.{part}", array.detach() if hasattr(array, "detach") else array)


def check_draws(name: str, array: Array, q: Diagonal) -> None:
    """Check that an array has q's shape, behind as many axes for draws as you like.

    Args:
        name: the argument's name, for the message.
        array: shape (..., *S), S being the shape of q's mean.
        q: a distribution that passed :func:`check`.

    Raises:
        ValueError: if its last axes are not q's.
    """
    expected, got = tuple(q[0].shape), tuple(array.shape)
    if got[len(got) - len(expected) :] != expected or len(got) < len(expected):
        raise ValueError(f"{name}: expected a shape that ends with {expected}, got {got}")
