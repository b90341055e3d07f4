"""A tagger by counting, against a climber of the likelihood."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from proof import agree, verifies

from rnncourse.reference import hmm, tagger, viterbi

TAGS = np.array([[0, 1, 1], [1, 1, 9], [2, 0, 9], [9, 2, 9]])  # padding holds nonsense
TOKENS = np.array([[3, 0, 1], [1, 1, -5], [2, 3, -5], [-5, 0, -5]])
LENGTHS = np.array([3, 4, 1])


@verifies("eq-tagger-counts", oracle="L-BFGS on the scores of softmaxes")
def test_shares_are_the_most_likely():
    alpha = 0.3
    found = tagger.fit(TAGS, TOKENS, 3, 4, LENGTHS, alpha)
    scores = [torch.zeros(shape, dtype=torch.float64, requires_grad=True) for shape in [(3,), (3, 3), (3, 4)]]
    options = {"max_iter": 500, "tolerance_grad": 1e-12, "tolerance_change": 0, "line_search_fn": "strong_wolfe"}
    climber = torch.optim.LBFGS(scores, **options)

    def value():
        climber.zero_grad()
        start, moves, shown = (torch.log_softmax(s, dim=-1) for s in scores)
        total = alpha * (start.sum() + moves.sum() + shown.sum())
        for b, length in enumerate(LENGTHS):
            z, x = TAGS[:length, b], TOKENS[:length, b]
            total = total + start[z[0]] + sum(shown[i, j] for i, j in zip(z, x, strict=True))
            total = total + sum(moves[i, j] for i, j in pairwise(z))
        (-total).backward()
        return -total

    climber.step(value)
    start, moves, shown = (torch.softmax(s, dim=-1) for s in scores)
    agree((found.start, found.transition, found.emission.probabilities), (start, moves, shown), 1e-6)


def test_it_fits_the_library():
    found = tagger.fit(TAGS, TOKENS, 3, 4, LENGTHS)
    assert np.isfinite(hmm.forward(found, TOKENS[:3, :1])[0]).all()
    states, _ = viterbi.path(found, TOKENS, LENGTHS)
    assert states.shape == TAGS.shape and states[3, 0] == -1


def test_an_empty_sequence_counts_nowhere():
    tags, tokens = (np.concatenate([array, np.zeros((4, 1), int)], axis=1) for array in (TAGS, TOKENS))
    more, found = tagger.fit(tags, tokens, 3, 4, [*LENGTHS, 0]), tagger.fit(TAGS, TOKENS, 3, 4, LENGTHS)
    assert np.array_equal(more.start, found.start) and np.array_equal(more.transition, found.transition)


def test_bad_input():
    for name, arguments in {
        "tags": (TAGS, TOKENS, 2, 4, LENGTHS),
        "tokens": (TAGS, TOKENS, 3, 3, LENGTHS),
        "states": (TAGS, TOKENS, 0, 4, LENGTHS),
        "lengths": (TAGS, TOKENS, 3, 4, [5, 1, 1]),
        "smoothing": (TAGS, TOKENS, 3, 4, LENGTHS, 0.0),
    }.items():
        with pytest.raises(ValueError, match=rf"^{name}: "):
            tagger.fit(*arguments)
    with pytest.raises(ValueError, match=r"^lengths: expected shape"):
        tagger.fit(TAGS, TOKENS, 3, 4, LENGTHS[:1])
    with pytest.raises(ValueError, match=r"^tokens: expected shape"):
        tagger.fit(TAGS, TOKENS[:2], 3, 4)
