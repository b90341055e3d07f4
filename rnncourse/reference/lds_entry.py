"""What every filter does at its door: check a system and its data, and find out what all sequences share.

How certain a filter is depends on what is seen, not on what it says. So sequences in which the same
entries are seen share one covariance, which is computed once.
"""

from typing import NamedTuple

import numpy as np

from rnncourse import doors, lds_params, masks
from rnncourse.reference import activations
from rnncourse.reference.gaussians import check_covariance, symmetric
from rnncourse.reference.unroll import as_floats


class Problem(NamedTuple):
    """A system and its data, checked and laid out step by step.

    A matrix of one step has shape (rows, columns) where the sequences share it, else (B, rows, columns).

    Attributes:
        params: as they were given.
        A: transitions, T of them.
        C: emissions with a row of zeros for what is not seen, T of them.
        Q: covariances of the noise of the state, T of them.
        R: those of the output, as in the unit matrix for what is not seen, T of them.
        mean: m_0 for every sequence, shape (B, H).
        covariance: P_0, shape (H, H), or (B, H, H).
        outputs: y, zero where not seen, shape (T, B, O).
        inputs: x, zero in padding, shape (T, B, D).
        drive: W_x x_t, shape (T, B, H).
        seen: which entries of y count, shape (T, B, O).
        real: which steps are no padding, shape (T, B, 1), or None if all are real.
        linearised: whether A and C are Jacobians, as in a tape of ``ekf.forward``.
    """

    params: lds_params.LDSParams
    A: np.ndarray
    C: np.ndarray
    Q: np.ndarray
    R: np.ndarray
    mean: np.ndarray
    covariance: np.ndarray
    outputs: np.ndarray
    inputs: np.ndarray
    drive: np.ndarray
    seen: np.ndarray
    real: np.ndarray | None
    linearised: bool = False


def enter(params: lds_params.LDSParams, outputs, inputs=None, observed=None, lengths=None) -> Problem:
    """Check everything a filter is given.

    Args:
        params: the system; its matrices may change with time.
        outputs: y, shape (T, B, O). Where not observed, and in padding, it may hold anything, NaN included.
        inputs: x, shape (T, B, D); may be left out where D is 0.
        observed: booleans, shape (T, B) or (T, B, O): what was seen; all unless given.
        lengths: real steps of each sequence, shape (B,); all T unless given.

    Returns:
        The problem.

    Raises:
        ValueError: if a shape does not fit, a covariance is none, or an entry that counts is not finite.
    """
    y = as_floats(outputs)
    doors.sequences("outputs", y, "O")
    T, B, O = y.shape
    _, D, _ = lds_params.check(params, T, B)
    doors.sequences("outputs", y, params.emission.shape[-2])
    for name, array in zip(params._fields, params, strict=True):
        (check_covariance if name in lds_params.COVARIANCES else doors.finite)(name, array)
    real = None if lengths is None else masks.valid_steps(lengths, T)[:, :, None]
    if real is not None:
        doors.shape("lengths", real[0], (B, 1))
    x = _inputs(inputs, real, (T, B, D), y.dtype)
    seen = _seen(observed, real, y.shape)
    y = np.where(seen, y, 0)
    doors.finite("outputs", y)
    pattern, shared = _pattern(seen, real, max(matrix.ndim for matrix in params[:5]) < 4)
    Q, R, P = (symmetric(getattr(params, name)) for name in lds_params.COVARIANCES)
    A, W, C, Q, R = (_by_step(matrix, T, B, shared) for matrix in (*params[:3], Q, R))
    if not pattern.all():
        C = C * pattern[..., None]
        R = R * (pattern[..., :, None] & pattern[..., None, :]) + np.eye(O, dtype=R.dtype) * ~pattern[..., None]
    drive = x @ np.swapaxes(W, -1, -2) if shared else (W @ x[..., None])[..., 0]
    mean = np.broadcast_to(params.initial_mean, (B, len(P)))
    P = P if shared else np.broadcast_to(P, (B, *P.shape))
    return Problem(params, A, C, Q, R, mean, P, y, x, drive, seen, real)


def check_linear(given: Problem) -> None:
    """Check that a tape is that of a linear system, before something is done that holds for no other.

    Args:
        given: the problem of the tape.

    Raises:
        ValueError: if A and C are Jacobians.
    """
    if given.linearised:
        raise ValueError("tape: expected that of a linear system, got one of ekf.forward, which is for smoother.rts")


def pair(functions: tuple) -> tuple:
    """Look up the two functions of a stochastic RNN.

    Args:
        functions: names of g, which makes the state, and of f, which makes the output.

    Returns:
        Their activations.

    Raises:
        ValueError: if they are not two, or there is none of that name.
    """
    if isinstance(functions, str) or len(functions) != 2:
        raise ValueError(f"functions: expected two names, of g and of f, got {functions!r}")
    for name in functions:
        doors.one_of("functions", name, activations.ACTIVATIONS)
    g, f = functions
    return activations.get(g), activations.get(f)


def apply(matrix, rows) -> np.ndarray:
    """A matrix times every row of a batch.

    Args:
        matrix: one for all sequences, shape (K, N), or one for each, shape (B, K, N).
        rows: shape (B, N).

    Returns:
        The products as rows, shape (B, K).
    """
    return rows @ matrix.T if matrix.ndim == 2 else (matrix @ rows[:, :, None])[:, :, 0]


def flat(rows, matrix) -> np.ndarray:
    """One matrix times every row of every step, as one product.

    Args:
        rows: shape (T, B, N).
        matrix: shape (K, N).

    Returns:
        The products as rows, shape (T, B, K).
    """
    T, B, N = rows.shape
    return (rows.reshape(T * B, N) @ matrix.T).reshape(T, B, len(matrix))


def grouped(stack) -> np.ndarray:
    """Give what all sequences share an axis of length 1 where the others have B.

    Args:
        stack: matrices of every step, shape (T, N, N) or (T, B, N, N).

    Returns:
        The same, shape (T, 1, N, N) or (T, B, N, N).
    """
    return stack[:, None] if stack.ndim == 3 else stack


def _inputs(inputs, real, shape: tuple, dtype) -> np.ndarray:
    if inputs is None and shape[2]:
        raise ValueError(f"inputs: the system has {shape[2]} input feature(s), but no inputs were given")
    x = np.zeros(shape, dtype) if inputs is None else as_floats(inputs)
    doors.shape("inputs", x, shape)
    x = x if real is None else np.where(real, x, 0)
    doors.finite("inputs", x)
    return x


def _seen(observed, real, shape: tuple) -> np.ndarray:
    seen = np.ones(shape, bool) if observed is None else np.asarray(observed)
    if seen.dtype != bool:
        raise ValueError(f"observed: expected booleans, got {seen.dtype}")
    doors.shape("observed", seen, shape[: max(seen.ndim, 2)])
    seen = np.broadcast_to(seen if seen.ndim == 3 else seen[:, :, None], shape)
    return seen if real is None else seen & real


def _pattern(seen, real, alike: bool) -> tuple[np.ndarray, bool]:
    """What is seen at each step, in one row if it is the same for all real sequences; in padding, everything."""
    pattern = seen if real is None else seen | ~real
    first = pattern.all(axis=1)
    shared = alike and bool((pattern == (first[:, None] if real is None else first[:, None] | ~real)).all())
    return (first, True) if shared else (pattern, False)


def _by_step(matrix, T: int, B: int, shared: bool) -> np.ndarray:
    """A matrix for every step, and for every sequence where they differ; views, no copies."""
    if shared or matrix.ndim == 4:
        return np.broadcast_to(matrix, (T, *matrix.shape[-2:])) if shared else matrix
    matrix = matrix if matrix.ndim == 3 else matrix[None]
    return np.broadcast_to(matrix[:, None], (T, B, *matrix.shape[-2:]))
