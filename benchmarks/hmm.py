"""Expected counts of a hidden Markov model: the library against hmmlearn's scaled passes, where it is installed.

Everyone returns the log-likelihood, the expected transitions and the expected emissions: what a step of
Baum and Welch needs. One line-up has many sequences, the other one that is long; there the library's
chunks, which verify themselves, race as well.
"""

import importlib.util
from collections.abc import Callable, Iterator

import numpy as np

from benchmarks.race import Case
from rnncourse import bridge_hmm, hmm_params
from rnncourse.hmm_params import HMMParams
from rnncourse.reference import emissions, hmm, hmm_chunks, hmm_log

STEPS, BATCH, SYMBOLS = 100, 100, 20
WIDTHS = (5, 50, 200)


def cases(steps: int = STEPS, batch: int = BATCH, widths=WIDTHS) -> Iterator[Case]:
    """Two line-ups for every number of states: a batch, and its sequences end to end.

    Args:
        steps: T, the length of the sequences.
        batch: B, how many there are.
        widths: values of K.

    Yields:
        Cases for :func:`benchmarks.race.run`.
    """
    for K in widths:
        rng = np.random.default_rng(K)
        model, x = hmm_params.init_categorical(rng, K, SYMBOLS), rng.integers(0, SYMBOLS, (steps, batch))
        for seen in (x, x.T.reshape(-1, 1)):
            contenders = {"rnncourse": lambda model=model, seen=seen: counts(hmm, model, seen)}
            if seen.shape[1] == 1:
                contenders["rnncourse, chunks"] = lambda model=model, seen=seen: by_chunks(model, seen)
            if importlib.util.find_spec("hmmlearn"):
                contenders["hmmlearn"] = peer(model, seen)
            yield Case({"T": len(seen), "B": seen.shape[1], "K": K}, contenders, counts(hmm_log, model, seen))


def counts(form, model: HMMParams, x: np.ndarray) -> list:
    """Both passes, by one of the library's forms."""
    value, tape = form.forward(model, x)
    return _results(model, x, value.sum(), form.backward(tape))


def by_chunks(model: HMMParams, x: np.ndarray) -> list:
    """Both passes by chunks, or step by step where chunks do not agree."""
    found = hmm_chunks.posterior(model, x, chunk=100, warm=20)
    return _results(model, x, found.log_likelihood.sum(), found.counts)


def peer(model: HMMParams, x: np.ndarray) -> Callable:
    """hmmlearn's expectation step, sequence by sequence, as its own ``fit`` runs it."""
    from hmmlearn.hmm import CategoricalHMM

    theirs = bridge_hmm.to_hmmlearn(model, CategoricalHMM(len(model.start), implementation="scaling"))
    sequences = [column[:, None].copy() for column in x.T]

    def run() -> list:
        found, total = theirs._initialize_sufficient_statistics(), 0.0
        for one in sequences:
            lattice, value, posterior, forwards, backwards = theirs._fit_scaling(one)
            theirs._accumulate_sufficient_statistics(found, one, lattice, posterior, forwards, backwards)
            total += value
        return [np.asarray(total), found["trans"], found["obs"]]

    return run


def _results(model: HMMParams, x: np.ndarray, value, found) -> list:
    return [np.asarray(value), found.transition, emissions.counts(model.emission, x, found.posterior).probabilities]
