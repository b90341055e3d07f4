"""Binary trees over a vocabulary: every word is a leaf, and the way to it is a code of zeros and ones."""

import heapq
from typing import NamedTuple

import numpy as np

from rnncourse import doors


class Tree(NamedTuple):
    """The way from the root to each of V leaves, past some of the V - 1 inner nodes.

    Attributes:
        nodes: the inner nodes on the way, from the root on, integers in 0..V-2, shape (V, depth);
            what lies beyond the leaf is 0 and means nothing.
        turns: +1 where the way goes left, -1 where it goes right, 0 beyond the leaf, int8, shape
            (V, depth).
    """

    nodes: np.ndarray
    turns: np.ndarray


def huffman(counts) -> Tree:
    """The tree with the shortest codes on average (Huffman, 1952): join the two rarest, again and again.

    Args:
        counts: how often each word occurs, shape (V,), V >= 2, none negative.

    Returns:
        The tree; the more frequent of two goes left, of equals the first.

    Raises:
        ValueError: if there are fewer than two words, or a count is negative or not finite.
    """
    counts = _weights(counts)
    V = len(counts)
    heap = [(count, word) for word, count in enumerate(counts.tolist())]
    heapq.heapify(heap)
    children = []
    for joined in range(V, 2 * V - 1):
        rarest = heapq.heappop(heap), heapq.heappop(heap)
        children.append(tuple(name for _, name in sorted(rarest, key=lambda item: (-item[0], item[1]))))
        heapq.heappush(heap, (rarest[0][0] + rarest[1][0], joined))
    return _ways(children, V)


def balanced(size: int) -> Tree:
    """A tree whose codes all have length log2 V, rounded down or up, whatever the words.

    Args:
        size: V, the number of words, at least 2.

    Returns:
        The tree: halve the vocabulary, left half first, until single words are left.

    Raises:
        ValueError: if the size is no whole number, or less than 2.
    """
    doors.at_least("size", size, 2)
    children, joined = [], size

    def join(first: int, stop: int) -> int:
        """The root over these words; both halves are joined before the whole."""
        nonlocal joined
        if stop - first == 1:
            return first
        middle = (first + stop + 1) // 2
        children.append((join(first, middle), join(middle, stop)))
        joined += 1
        return joined - 1

    join(0, size)
    return _ways(children, size)


def code_lengths(tree: Tree) -> np.ndarray:
    """How many decisions lie between the root and each word.

    Args:
        tree: over V words.

    Returns:
        Integers, shape (V,).
    """
    return (tree.turns != 0).sum(axis=1)


def _ways(children: list[tuple[int, int]], V: int) -> Tree:
    """Walk down from the root, which was joined last; the k-th node joined gets the number V - 2 - k."""
    ways = {2 * V - 2: ()}
    for k in range(V - 2, -1, -1):  # a parent was joined after its children, so it comes first here
        way = ways.pop(V + k)
        for child, turn in zip(children[k], (1, -1), strict=True):
            ways[child] = (*way, (V - 2 - k, turn))
    depth = max(map(len, ways.values()))
    steps = np.array([(*ways[word], *[(0, 0)] * (depth - len(ways[word]))) for word in range(V)])
    return Tree(steps[:, :, 0], steps[:, :, 1].astype(np.int8))


def _weights(counts) -> np.ndarray:
    counts = np.asarray(counts, float)
    doors.shape("counts", counts, ("V",))
    doors.finite("counts", counts)
    if len(counts) < 2 or counts.min() < 0:
        raise ValueError(f"counts: expected two or more numbers, none negative, got {counts}")
    return counts
