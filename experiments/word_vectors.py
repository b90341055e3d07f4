"""Word vectors from Python's language reference: who stands near whom, and do they know plurals?

Every question takes two nouns: *object is to objects as value is to what?* We count how often the
answer is right, with the three words of the question struck from the answers and without, and beside
it what needs no arithmetic: the word nearest to *value*, and vectors drawn at random.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
from rnncourse.data import words  # noqa: E402
from rnncourse.gpu import word_vectors as twin  # noqa: E402
from rnncourse.reference import word_vectors  # noqa: E402
from tools.records import circumstances, write  # noqa: E402

# Nouns that the training part holds at least 15 times, with plurals that it holds as often.
LIST = (
    "object value function string type statement name exception method expression module instance list "
    "attribute pattern argument sequence number character clause key keyword line definition identifier "
    "operator integer variable parameter literal operation item digit"
)
NOUNS = LIST.split()
SHOWN = ["integer", "method", "the", "raise", "left"]
FLOORS = {"reference": word_vectors, "gpu": twin}


def questions(vocabulary) -> np.ndarray:
    """All ordered pairs of nouns, as a, b, c and the right answer, shape (4, Q)."""
    place = {word: k for k, word in enumerate(vocabulary)}
    known = [(place[noun], place[f"{noun}s"]) for noun in NOUNS if noun in place and f"{noun}s" in place]
    return np.array([(*first, *second) for first in known for second in known if first != second]).T


def hits(vectors: np.ndarray, asked: np.ndarray) -> dict:
    """Shares of right answers, and what is answered instead."""
    a, b, c, d = asked
    struck = word_vectors.analogy(vectors, a, b, c)
    plain = word_vectors.analogy(vectors, a, b, c, exclude=False)
    nearest = word_vectors.analogy(vectors, a, b, c, arithmetic=False)
    shares = {
        "struck": struck == d,
        "plain": plain == d,
        "plain is c": plain == c,
        "plain is b": plain == b,
        "nearest to c": nearest == d,
    }
    return {name: float(share.mean()) for name, share in shares.items()}


def run(corpus, floor: str, seed: int, passes: int) -> dict:
    """One training and what its vectors answer."""
    size = len(corpus.alphabet)
    found = FLOORS[floor].train(corpus.train, size, passes=passes, seed=seed)
    vectors = np.asarray(found.input_vectors)
    near = {
        word: [corpus.alphabet[k] for k in word_vectors.nearest(vectors, corpus.alphabet.index(word), 6)]
        for word in SHOWN
        if word in corpus.alphabet
    }
    result = {"floor": floor, "seed": seed, "nearest": near} | hits(vectors, questions(corpus.alphabet))
    print(floor, seed, {name: share for name, share in result.items() if name != "nearest"})
    return result


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--passes", type=int, default=4, help="how often every pair is seen")
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2, 3, 4])
    parser.add_argument("--toy", action="store_true", help="a few seconds, to see that it runs")
    parser.add_argument("--out", help="where to write the record, if not among the committed ones")
    given = parser.parse_args()
    if given.toy:
        given.passes, given.seeds = 1, [0]
        if not given.out:
            parser.error("--toy needs --out: a toy must not replace the record")
    return given


def main() -> None:
    given, record = arguments(), circumstances(__file__)
    corpus = words.language_reference()
    asked = questions(corpus.alphabet)
    random = [np.random.default_rng(seed).standard_normal((len(corpus.alphabet), 32)) for seed in given.seeds]
    record |= {
        "settings": {"passes": given.passes, "seeds": given.seeds, "dtype": "float64"},
        "corpus": {
            "source": corpus.source,
            "licence": corpus.licence,
            "words": len(corpus.train),
            "vocabulary": len(corpus.alphabet),
        },
        "nouns": NOUNS,
        "questions": asked.shape[1],
        "runs": [run(corpus, "reference", seed, given.passes) for seed in given.seeds]
        + [run(corpus, "gpu", given.seeds[0], given.passes)],
        "random": [hits(vectors, asked) for vectors in random],
    }
    print(f"wrote {write(record, __file__, given.out)}")


if __name__ == "__main__":
    main()
