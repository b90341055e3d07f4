"""Gradients of the log-likelihood of a hidden Markov model with symbols, by its logarithms and through the softmax."""

import torch

from rnncourse.gpu import emissions, graph, hmm, hmm_log
from rnncourse.hmm_params import Categorical, HMMParams
from rnncourse.params import map_arrays


def scores(params: HMMParams) -> HMMParams:
    """Scores whose softmax is the model: its logarithms, of all such scores those whose exponentials sum to 1.

    Args:
        params: a model with categorical emissions.

    Returns:
        The same form, ``NEVER`` for a probability of zero.

    Raises:
        ValueError: if the emissions are not categorical.
    """
    _symbols("params", params)
    return map_arrays(hmm_log.log, params)


def model(scores: HMMParams) -> HMMParams:
    """The softmax of every row, :eq:`def-hmm-softmax`.

    Args:
        scores: any numbers, in the form of a model with categorical emissions.

    Returns:
        The model.

    Raises:
        ValueError: if the emissions are not categorical.
    """
    _symbols("scores", scores)
    return map_arrays(lambda rows: torch.softmax(rows, dim=-1), scores)


def free(params: HMMParams, observations, lengths=None, normalised: bool = True):
    """The gradient by log pi, log P and log C taken as free numbers, :eq:`eq-hmm-gradient-free`: expected counts.

    Args:
        params: a model with categorical emissions.
        observations: symbols (T, B), integers.
        lengths: real steps of each sequence, shape (B,); all T unless given.
        normalised: False takes pi, P and C as weights whose rows need not sum to 1.

    Returns:
        ``(log_likelihood, gradient)``: summed over the batch; in the form of the model.

    Raises:
        ValueError: as ``hmm.forward``, or if the emissions are not categorical.
    """
    _symbols("params", params)
    params = graph.cut(params)
    log_likelihood, tape = hmm.forward(params, observations, lengths, normalised)
    counts = hmm.backward(tape)
    M = emissions.counts(params.emission, observations, counts.posterior, tape.mask)
    return log_likelihood.detach().sum(), HMMParams(counts.start, counts.transition, M)


def centred(params: HMMParams, observations, lengths=None):
    """The gradient by scores of which the model is the softmax, :eq:`eq-hmm-gradient-centred`.

    Args:
        params: a model with categorical emissions.
        observations: symbols (T, B), integers.
        lengths: real steps of each sequence, shape (B,); all T unless given.

    Returns:
        ``(log_likelihood, gradient)``: summed over the batch; in the form of the model. Rows sum to zero.

    Raises:
        ValueError: as :func:`free`.
    """
    value, counts = free(params, observations, lengths)
    return value, map_arrays(lambda N, P: N - P * N.sum(dim=-1, keepdim=True), counts, graph.cut(params))


def _symbols(name: str, params: HMMParams) -> None:
    if not isinstance(params.emission, Categorical):
        raise ValueError(f"{name}: expected Categorical emissions")
