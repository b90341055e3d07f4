"""Sentences in which the order of the words decides: "the plot was good to us but the music was bad to us".

What comes after "but" is what the speaker means; "not" turns one word over. Each sentence has a mirror
that says its halves in the other order: the same words and the same pairs of neighbours, each as often, and
the opposite verdict. So whatever looks at words or pairs alone is right on exactly one of the two. The
sentences are synthetic, so that this is exactly true.
"""

from typing import NamedTuple

import numpy as np

from rnncourse import doors

GOOD = ("good", "lovely", "clever", "moving", "bright", "funny")
BAD = ("bad", "dull", "clumsy", "tiresome", "grim", "silly")
THINGS = ("plot", "music", "cast", "ending", "dialogue", "camera", "editing", "story")
DEGREES = ("very", "rather", "quite", "truly")
VOCABULARY = ("the", "was", "not", "to", "us", "but", *GOOD, *BAD, *THINGS, *DEGREES)


class Sentences(NamedTuple):
    """Sentences and what they mean; number 2 i + 1 is the mirror of number 2 i.

    Attributes:
        words: N tuples of words.
        labels: 1 for praise, 0 for blame, integers, shape (N,).
    """

    words: tuple[tuple[str, ...], ...]
    labels: np.ndarray


def pairs(rng: np.random.Generator, size: int) -> Sentences:
    """Draw sentences, each with its mirror.

    Args:
        rng: the source of randomness.
        size: how many pairs.

    Returns:
        2 ``size`` sentences of 13 to 21 words; half of them praise.

    Raises:
        ValueError: if there is no pair.
    """
    doors.at_least("size", size, 1)
    words, labels = [], []
    for _ in range(size):
        last = int(rng.integers(2))
        halves = [_half(rng, 1 - last), _half(rng, last)]
        words += [(*halves[0], "but", *halves[1]), (*halves[1], "but", *halves[0])]
        labels += [last, 1 - last]
    return Sentences(tuple(words), np.array(labels))


def encode(words) -> np.ndarray:
    """Turn sentences into tokens: 0 is padding, word i of the vocabulary is i + 1.

    Args:
        words: N tuples of words.

    Returns:
        Integers, shape (T, N).

    Raises:
        ValueError: if there is no sentence, or a word is unknown.
    """
    place = {word: k for k, word in enumerate(VOCABULARY, start=1)}
    unknown = {word for sentence in words for word in sentence} - set(place)
    if not len(words) or unknown:
        raise ValueError(f"words: expected sentences of known words, got {len(words)} with {sorted(unknown)}")
    tokens = np.zeros((max(map(len, words)), len(words)), np.int64)
    for b, sentence in enumerate(words):
        tokens[: len(sentence), b] = [place[word] for word in sentence]
    return tokens


def _half(rng: np.random.Generator, praise: int) -> tuple[str, ...]:
    """One clause that praises or blames, turned over by "not" every other time."""
    turned = int(rng.integers(2))
    pool = GOOD if praise != turned else BAD
    degrees = [str(rng.choice(DEGREES)) for _ in range(rng.integers(0, 4))]
    thing, word = str(rng.choice(THINGS)), str(rng.choice(pool))
    return ("the", thing, "was", *["not"] * turned, *degrees, word, "to", "us")
