"""The normalised forward recursion of a hidden Markov model as a cell for ``unroll``."""

import numpy as np

from rnncourse.reference.cells import Cell


def filtering() -> Cell:
    """Make the cell h_t = lambda_t * (P^T h_{t-1}) / kappa_t of :eq:`eq-hmm-forward`, a softmax of ax + log ah.

    ``ax`` is log lambda_t, the log-likelihood of each state; W_h is P^T. Of its two states the first is
    h_t = p(z_t | x_1..x_t), the second log p(x_1..x_t), the same number in all H entries. Its pull is
    :eq:`eq-hmm-pull`.

    A share below the smallest number of its precision is lost; ``hmm.forward`` notices, the cell does not.

    Returns:
        The cell. An observation of probability zero raises a ValueError.
    """
    return Cell("hmm", gates=1, states=2, step=_step, pull=_pull)


def _step(own, ax, ah, state):
    with np.errstate(divide="ignore"):
        logits = ax + np.log(ah)
    largest = logits.real.max(axis=1, keepdims=True)
    if not (largest > -1e29).all():
        b = int(np.argmin(largest[:, 0] > -1e29))
        raise ValueError(f"inputs: sequence {b} holds an observation of probability zero, given what came before it")
    h = np.exp(logits - largest)
    total = h.sum(axis=1, keepdims=True)
    h = h / total
    log_kappa = largest + np.log(total)
    return (h, state[1] + log_kappa), (h, np.exp(ax - log_kappa))


def _pull(own, saved, d_state):
    (h, weight), (s, d_evidence) = saved, d_state  # weight: lambda_t / kappa_t
    inner = s - (h * s).sum(axis=1, keepdims=True) + d_evidence.sum(axis=1, keepdims=True)
    return h * inner, weight * inner, (0.0, d_evidence), ()
