"""The bootstrap particle filter: a crowd of guesses, moved by the model and weighed by what is seen."""

import math
from typing import NamedTuple

import numpy as np

from rnncourse import doors
from rnncourse.lds_params import LDSParams
from rnncourse.reference import gaussians
from rnncourse.reference.lds_entry import enter, pair

SCHEMES = ("multinomial", "stratified", "systematic", "residual")


class Draws(NamedTuple):
    """The random numbers of a run, drawn beforehand, so that two filters can be given the same.

    Attributes:
        start: standard normal, for z_0, shape (B, N, H).
        moves: standard normal, for w_t, shape (T, B, N, H).
        uniforms: in [0, 1), for resampling, shape (T, B, N).
    """

    start: np.ndarray
    moves: np.ndarray
    uniforms: np.ndarray


class Crowd(NamedTuple):
    """What the particles say after each step, z_t given y_1..y_t. Moments are zero in padding.

    Attributes:
        means: shape (T, B, H).
        covariances: shape (T, B, H, H).
        log_likelihood: estimate of log p(y_1..y_T), in nats, shape (B,).
        effective: how many equally weighted particles the weights are worth, shape (T, B).
        particles: of the last real step, after it was resampled, if it was; shape (B, N, H).
        weights: theirs, which sum to one, shape (B, N). The moments are those of before: after a resampling,
            the weighted mean of the particles is near the last mean, and not the same.
    """

    means: np.ndarray
    covariances: np.ndarray
    log_likelihood: np.ndarray
    effective: np.ndarray
    particles: np.ndarray
    weights: np.ndarray


def forward(
    params: LDSParams,
    outputs,
    draws: Draws,
    inputs=None,
    observed=None,
    lengths=None,
    functions: tuple = ("tanh", "identity"),
    scheme: str = "systematic",
    threshold: float = 0.5,
) -> Crowd:
    """Filter a batch of sequences of a stochastic RNN, :eq:`def-stochastic-rnn`, by simulation, :eq:`eq-particles`.

    Args:
        params: the matrices of the network and its noises; they may change with time.
        outputs: y, shape (T, B, O). Where not observed, and in padding, it may hold anything, NaN included.
        draws: the random numbers; they say how many particles there are, and take the type of the parameters.
        inputs: x, shape (T, B, D); may be left out where D is 0.
        observed: booleans, shape (T, B) or (T, B, O): what was seen; all unless given.
        lengths: real steps of each sequence, shape (B,); all T unless given.
        functions: names of g, which makes the state, and of f, which makes the output.
        scheme: of :func:`resample`.
        threshold: resample where the effective number is below this share of N; 0 never, above 1 always.

    Returns:
        What the particles say.

    Raises:
        ValueError: if anything does not fit, naming it, the noise of the output is singular, or an output is
            so far off that its density is zero for every particle.
    """
    g, f = (one.function for one in pair(functions))
    doors.one_of("scheme", scheme, SCHEMES)
    given = enter(params, outputs, inputs, observed, lengths)
    (T, B, _), H = given.outputs.shape, given.mean.shape[1]
    draws, N = _checked(draws, T, B, H, given.mean), draws.start.shape[1]
    gaussians.check_definite("output_noise", given.R)
    z = given.mean[:, None] + draws.start @ _root(given.covariance)
    logs, total, said = np.full((B, N), -math.log(N), z.dtype), np.zeros(B, z.dtype), []
    for t in range(T):
        alive = np.ones(B, bool) if given.real is None else given.real[t, :, 0]
        moved = g(z @ given.A[t].mT + given.drive[t][:, None]) + draws.moves[t] @ _root(given.Q[t])
        after, gained = weigh(logs, fit(moved, given.C[t], given.R[t], given.outputs[t], given.seen[t], f))
        weights = np.exp(after)
        said.append((*moments(moved, weights), 1 / (weights**2).sum(axis=1)))
        if not np.isfinite(gained[alive]).all():
            raise ValueError(f"outputs: so far off at step {t + 1} that no particle has a density above zero")
        total += np.where(alive, gained, 0)
        z, logs = np.where(alive[:, None, None], moved, z), np.where(alive[:, None], after, logs)
        for b in np.flatnonzero(alive & (said[-1][2] < threshold * N)):
            z[b] = z[b][resample(weights[b], draws.uniforms[t, b], scheme)]
            logs[b] = -math.log(N)
    means, covariances, effective = map(np.stack, zip(*said, strict=True))
    if given.real is not None:
        means, covariances = np.where(given.real, means, 0), np.where(given.real[..., None], covariances, 0)
    return Crowd(means, covariances, total, effective, z, np.exp(logs))


def draw(rng: np.random.Generator, steps: int, size: int, count: int, states: int) -> Draws:
    """Draw the random numbers of a run.

    Args:
        rng: the source of randomness.
        steps: T.
        size: B.
        count: N, the number of particles.
        states: H.

    Returns:
        The numbers.

    Raises:
        ValueError: if one of the sizes is no whole number above 0.
    """
    for name, value in zip(("steps", "size", "count", "states"), (steps, size, count, states), strict=True):
        doors.at_least(name, value, 1)
    start, moves = rng.standard_normal((size, count, states)), rng.standard_normal((steps, size, count, states))
    return Draws(start, moves, rng.random((steps, size, count)))


def fit(particles, C, R, y, seen, f):
    """How well each particle explains what is seen: log N(y; f(C z), R) on the entries that are seen.

    Args:
        particles: z, shape (B, N, H).
        C: emission, shape (O, H) or (B, O, H); rows of zeros for what is not seen.
        R: covariance of the noise, likewise, as in the unit matrix for what is not seen.
        y: y_t, shape (B, O).
        seen: which entries count, shape (B, O).
        f: an elementwise function.

    Returns:
        Log densities, shape (B, N).
    """
    error = np.where(seen[:, None], y[:, None] - f(particles @ C.mT), 0)
    distance = ((error @ np.linalg.inv(R)) * error).sum(axis=-1)
    size = gaussians.log_determinant(R) + seen.sum(axis=-1).astype(distance.dtype) * math.log(2 * math.pi)
    return -0.5 * (distance + np.broadcast_to(size, len(y))[:, None])


def weigh(logs, fits):
    """New weights, without overflow, and what the step adds to the log-likelihood, :eq:`eq-particles`.

    Args:
        logs: logarithms of weights that sum to one, shape (B, N).
        fits: log p(y_t | z), shape (B, N).

    Returns:
        ``(logs, gained)``: of the new weights; log of the weighted mean of p(y_t | z), shape (B,).
    """
    raw = logs + fits
    top = raw.max(axis=1, keepdims=True)
    gained = top + np.log(np.exp(raw - top).sum(axis=1, keepdims=True))
    return raw - gained, gained[:, 0]


def moments(particles, weights):
    """Mean and covariance of a weighted crowd.

    Args:
        particles: shape (B, N, H).
        weights: which sum to one, shape (B, N).

    Returns:
        Means, shape (B, H), and covariances, shape (B, H, H).
    """
    mean = (weights[..., None] * particles).sum(axis=1)
    error = particles - mean[:, None]
    return mean, (weights[..., None] * error).mT @ error


def resample(weights, uniforms, scheme: str = "systematic"):
    """Draw N particles by their weights; each is drawn N w_i times on average, :eq:`eq-resampling`.

    Args:
        weights: which sum to one, shape (N,).
        uniforms: in [0, 1), shape (N,); "systematic" uses the first.
        scheme: "multinomial": N independent draws. "stratified": one in each N-th of [0, 1). "systematic":
            the same place in each. "residual": floor(N w_i) for sure, the rest independently.

    Returns:
        Which particle stands at each place, shape (N,).

    Raises:
        ValueError: if a shape does not fit, the weights are none, a uniform is outside [0, 1), or there is no
            such scheme.
    """
    doors.one_of("scheme", scheme, SCHEMES)
    _check_weights(weights)
    doors.shape("uniforms", uniforms, weights.shape)
    _check_uniforms(uniforms)
    N = len(weights)
    if scheme == "residual":
        return _residual(weights, uniforms)
    if scheme == "systematic":
        return _systematic(weights, uniforms[0])
    return _invert(weights, uniforms if scheme == "multinomial" else (np.arange(N) + uniforms) / N)


def _checked(draws: Draws, T: int, B: int, H: int, like) -> Draws:
    """The random numbers, looked at, in the type of the parameters."""
    doors.shape("start", draws.start, (B, "N", H))
    N = draws.start.shape[1]
    if not N:
        raise ValueError("start: expected at least one particle, got none")
    doors.shape("moves", draws.moves, (T, B, N, H))
    doors.shape("uniforms", draws.uniforms, (T, B, N))
    doors.finite("start", draws.start)
    doors.finite("moves", draws.moves)
    _check_uniforms(draws.uniforms)
    return Draws(*(part.astype(like.dtype, copy=False) for part in draws))


def _check_weights(weights) -> None:
    doors.shape("weights", weights, ("N",))
    if not (len(weights) and weights.min() >= 0 and abs(weights.sum() - 1) < 1e-4):  # a NaN fails, too
        raise ValueError("weights: expected numbers, none below zero, that sum to one")


def _check_uniforms(uniforms) -> None:
    if not (uniforms.min() >= 0 and uniforms.max() < 1):
        raise ValueError("uniforms: expected numbers in [0, 1)")


def _root(S):
    """The symmetric square root: the one that does not depend on which eigenvectors were found."""
    values, vectors = np.linalg.eigh(S)
    return (vectors * np.sqrt(np.maximum(values, 0))[..., None, :]) @ vectors.mT


def _systematic(weights, u):
    """The particle at place (k + u) / N is the number of those whose stretch ends before it: counted, not searched."""
    N, ends = len(weights), np.cumsum(weights)
    before = np.ceil(ends * (N / ends[-1]) - u).astype(int)  # how many places lie before each end
    before[np.flatnonzero(weights)[-1] :] = N  # whatever rounding says, no place is left over
    return np.cumsum(np.bincount(before, minlength=N + 1)[:N])


def _residual(weights, uniforms):
    N = len(weights)
    sure = np.floor(N * weights + 1e-9).astype(int)  # a product that rounding left just below a whole number is one
    kept, left = np.repeat(np.arange(N), sure), N - sure.sum()
    if not left:
        return kept
    return np.concatenate([kept, _invert(np.maximum(N * weights - sure, 0), uniforms[:left])])


def _invert(weights, points):
    """The particle in whose stretch of [0, 1) a point lies; the stretches are as long as the weights."""
    ends = np.cumsum(weights)
    places = np.searchsorted(ends, points * ends[-1], side="right")
    return np.minimum(places, np.flatnonzero(weights)[-1])
