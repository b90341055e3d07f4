"""Forward and backward through a hidden Markov model, scaled so that any length fits.

The backward pass is back-propagation through time: its message is, up to a factor, the total gradient
of log p(x_1..x_T) by the state h_t, and its results are expected counts. In numbers it is the forward
recursion once more, over reversed time and with P transposed.
"""

from typing import NamedTuple

import numpy as np

from rnncourse import hmm_params
from rnncourse.hmm_params import Gaussian, HMMParams
from rnncourse.reference import emissions, hmm_log
from rnncourse.reference.hmm_log import Counts

EVERY = 8  # steps between two rescalings
TOGETHER = 2**17  # about so many numbers are counted at once: they fit into a cache


class Tape(NamedTuple):
    """What the forward pass leaves for the backward pass.

    Attributes:
        params: the model.
        table: likelihoods over the largest of their step, as from ``emissions.scaled``, shape (N, K).
        index: the row of the table for each step, shape (T, B).
        filtered: h_t = p(z_t | x_1..x_t), shape (T, B, K), zero in the padding.
        normalisers: log kappa_t = log p(x_t | x_1..x_{t-1}), shape (T, B), 0 in the padding.
        mask: which steps are real, shape (T, B), or None if all are.
        logs: the tape of ``hmm_log`` where scaling could not save the sequence, else None.
    """

    params: HMMParams
    table: np.ndarray
    index: np.ndarray
    filtered: np.ndarray
    normalisers: np.ndarray
    mask: np.ndarray | None
    logs: hmm_log.Tape | None


def forward(params: HMMParams, observations, lengths=None, normalised: bool = True):
    """The normalised forward recursion, :eq:`eq-hmm-forward`, and the likelihood :eq:`eq-hmm-evidence`.

    Args:
        params: the model.
        observations: symbols (T, B), integers, or vectors (T, B, D). Padding may hold anything.
        lengths: real steps of each sequence, shape (B,); all T unless given.
        normalised: False takes pi, P and C as free weights, whose rows need not sum to 1; what comes out
            is then the log-normaliser A.

    Returns:
        ``(log_likelihood, tape)``: log p(x_1..x_T) in nats, shape (B,), and what :func:`backward` needs.

    Raises:
        ValueError: if the model or a shape does not fit, or an observation has probability zero given what
            came before it.
    """
    mask = hmm_log.enter(params, observations, lengths, normalised)
    table, index, scale = emissions.scaled(params.emission, observations, mask)
    h = np.empty((*index.shape, len(params.start)), np.result_type(table, *params[:2]))
    ends = run(params.start, params.transition, table, index, h)
    totals = sums(h)
    if not fine(totals, ends) or forgets(params, table, index, h):  # underflow, or impossible: look closely
        logs = emissions.log_likelihoods(params.emission, observations, mask)
        log_likelihood, tape = hmm_log.run(params, logs, mask)
        h, log_kappa = np.exp(tape.log_filtered), tape.log_normalisers
        h = h if mask is None else h * mask[:, :, None]
        return log_likelihood, Tape(params, table, index, h, log_kappa, mask, tape)
    h /= totals[:, :, None]
    log_kappa = np.log(totals)
    log_kappa[EVERY - 1 :: EVERY] = np.log(ends)  # these were divided by their totals on the way
    log_kappa[1:] -= np.log(totals[:-1])
    log_kappa += scale
    if mask is not None:
        h *= mask[:, :, None]
        log_kappa *= mask
    return log_kappa.sum(axis=0), Tape(params, table, index, h, log_kappa, mask, None)


def backward(tape: Tape) -> Counts:
    """The backward recursion :eq:`eq-hmm-backward`, and the expected counts.

    Args:
        tape: from :func:`forward`.

    Returns:
        Expected counts: every one a derivative of the summed log-likelihood.
    """
    if tape.logs is not None:
        return hmm_log.backward(tape.logs)
    params, table, index, h, _, mask, _ = tape
    P, (T, B, K) = params.transition, h.shape
    posterior, N, message, back = np.empty_like(h), np.zeros(P.shape, h.dtype), np.ones(K, h.dtype), P.T.copy()
    size = EVERY * -(-TOGETHER // (EVERY * B * K))
    kept = np.empty((min(size, T), B, K), h.dtype)
    for end in range(T, 0, -size):  # stretches: what a stretch needs stays in the cache
        at = slice(max(0, end - size), end)
        u, s, real = kept[: at.stop - at.start], posterior[at], None if mask is None else mask[at]
        ends = run(message, back, table, index[at][::-1], u[::-1], s[::-1], None if mask is None else real[::-1])
        message = np.dot(u[0], back)
        if mask is not None:
            message[~real[0]] = 1
        s *= h[at]
        inner = sums(s)
        before = (h[at.start - 1] * message).sum(axis=1) if at.start else np.ones(B)
        counted = (inner, before) if mask is None else (inner[real], before[mask[max(0, at.start - 1)]])
        if not fine(*counted, ends):
            return _again(tape)
        inner[inner == 0] = 1  # padding
        s /= inner[:, :, None]
        u[1:] /= inner[:-1, :, None]
        u[0] /= np.where(before == 0, 1, before)[:, None]
        if mask is not None:
            u *= real[:, :, None]
        first = 0 if at.start else 1  # nothing comes before step 1
        N += h[at.start + first - 1 : end - 1].reshape(-1, K).T @ u[first:].reshape(-1, K)
    return Counts(posterior[0].sum(axis=0), P * N, posterior)


def messages(tape: Tape) -> np.ndarray:
    """s_t of :eq:`eq-hmm-tail`, the posterior over the filter: what the rest of the sequence says of z_t.

    Args:
        tape: from :func:`forward`.

    Returns:
        Shape (T, B, K); 0 where the filter is.
    """
    h = tape.filtered
    return backward(tape).posterior / np.where(h == 0, 1, h)


def predicted(tape: Tape) -> np.ndarray:
    """p(z_t | x_1..x_{t-1}), the message that has not seen x_t, :eq:`def-hmm-predicted`.

    Args:
        tape: from :func:`forward`.

    Returns:
        Shape (T, B, K); it says nothing in the padding.
    """
    pi, P, _ = tape.params
    return np.concatenate([np.broadcast_to(pi, tape.filtered[:1].shape), tape.filtered[:-1] @ P])


def run(start, P, table, index, v, ahead=None, real=None) -> np.ndarray:
    """v_t = lambda_t * (P^T v_{t-1}), with every eighth v_t divided by its sum: the loop of both passes.

    Args:
        start: what stands in the place of P^T v_0, shape (K,) or (B, K).
        P: shape (K, K).
        table: likelihoods, shape (N, K).
        index: the row of the table for each step, shape (T, B).
        v: filled with v_t, shape (T, B, K).
        ahead: filled with P^T v_{t-1} if given, shape (T, B, K).
        real: which steps are real, shape (T, B), if P^T v is to be all ones after others.

    Returns:
        The sums that were divided by, shape (T // 8, B).
    """
    spare, ends, before = np.empty(v[0].shape, v.dtype), [], None
    for begin in range(0, len(v), EVERY):
        for t, likelihoods in enumerate(table[index[begin : begin + EVERY]], begin):
            into, now = spare if ahead is None else ahead[t], v[t]
            if before is None:
                into[:] = start
            else:
                np.dot(before, P, out=into)
                if real is not None:
                    into[~real[t - 1]] = 1
            np.multiply(into, likelihoods, out=now)
            before = now
        if t % EVERY == EVERY - 1:
            ends.append(before.sum(axis=1))
            with np.errstate(divide="ignore", invalid="ignore"):
                before /= ends[-1][:, None]
    return np.array(ends, v.dtype).reshape(-1, v.shape[1])


def sums(v: np.ndarray) -> np.ndarray:
    """Sums over the states; a product with ones is faster than a sum over a short axis.

    Args:
        v: shape (T, B, K).

    Returns:
        Shape (T, B).
    """
    return v @ np.ones(v.shape[-1], v.real.dtype)


def fine(*parts: np.ndarray) -> bool:
    """Whether sums are far from underflow and from overflow.

    Args:
        parts: arrays of numbers that should be positive.

    Returns:
        True if none is zero, close to zero, huge or NaN.
    """
    least = np.finfo(parts[0].dtype).tiny ** 0.3
    return all(bool(((part.real > least) & (part.real < 1 / least)).all()) for part in parts)


def forgets(params: HMMParams, table: np.ndarray, index: np.ndarray, h: np.ndarray) -> bool:
    """Whether a share was lost by underflow that nothing would bring back.

    Where every state can be reached from every other in one step, a lost share is made up for at once.
    In a chain that cannot go back it may be the one that matters in the end.

    Args:
        params: the model.
        table: likelihoods, as from ``emissions.scaled``.
        index: the row of the table for each step, shape (T, B).
        h: filters, shape (T, B, K).

    Returns:
        True if transitions are (nearly) zero, and a share is nearly zero, or zero where the model allows the state.
    """
    tiny = np.finfo(h.dtype).tiny
    if params.transition.real.min() > tiny**0.1:
        return False
    if bool(((h.real > 0) & (h.real < tiny**0.95)).any()):
        return True
    if not (h == 0).any():
        return False
    can = np.ones(table.shape, bool) if isinstance(params.emission, Gaussian) else table.real > 0
    there, ways = np.broadcast_to(params.start.real > 0, h[0].shape), params.transition.real > 0
    for t, row in enumerate(index):  # a share that went to zero in one step has left no trace but this
        there = (there @ ways if t else there) & can[row]
        if (there & (h[t] == 0)).any():
            return True
    return False


def _again(tape: Tape) -> Counts:
    """Both passes in log space, for a sequence whose backward message underflows where it matters."""
    with np.errstate(divide="ignore"):
        logs = np.maximum(np.log(tape.table)[tape.index], hmm_params.NEVER)
    return hmm_log.backward(hmm_log.run(tape.params, logs, tape.mask)[1])
