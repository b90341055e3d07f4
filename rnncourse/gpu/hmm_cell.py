"""The normalised forward recursion of a hidden Markov model as a cell for ``unroll``."""

import torch

from rnncourse.gpu.cells import Cell


def filtering() -> Cell:
    """Make the cell h_t = lambda_t * (P^T h_{t-1}) / kappa_t of :eq:`eq-hmm-forward`, a softmax of ax + log ah.

    ``ax`` is log lambda_t, the log-likelihood of each state; W_h is P^T. Of its two states the first is
    h_t = p(z_t | x_1..x_t), the second log p(x_1..x_t), the same number in all H entries.

    A share below the smallest number of its precision is lost; ``hmm.forward`` notices, the cell does not.

    Returns:
        The cell. An observation of probability zero raises a ValueError.
    """
    return Cell("hmm", gates=1, states=2, step=_step)


def _step(own, ax, ah, state):
    largest = torch.where(ah > 0, ax, -torch.inf).amax(dim=1, keepdim=True).detach()
    h = ah * torch.exp((ax - largest).clamp(max=80))  # a product, and no logarithm of zero to differentiate
    total = h.sum(dim=1, keepdim=True)
    if not bool(((largest > -1e29) & (total > 0)).all()):
        b = int(((largest > -1e29) & (total > 0))[:, 0].int().argmin())
        raise ValueError(f"inputs: sequence {b} holds an observation of probability zero, given what came before it")
    return h / total, state[1] + largest + total.log()
