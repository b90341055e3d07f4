"""Binary trees: every word has one way, the codes fill the tree, Huffman's are the shortest."""

import math
from functools import cache
from itertools import combinations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from proof import agree, verifies

from rnncourse import trees


def leaves_below(tree):
    """Each inner node's leaves on the left and on the right, read off the ways."""
    below = {}
    for word, (nodes, turns) in enumerate(zip(tree.nodes.tolist(), tree.turns.tolist(), strict=True)):
        for node, turn in zip(nodes, turns, strict=True):
            if turn:
                below.setdefault(node, {1: set(), -1: set()})[turn].add(word)
    return below


def assert_is_a_tree(tree, V):
    """V - 1 inner nodes, the root first; each splits its leaves in two, neither side empty."""
    below = leaves_below(tree)
    assert sorted(below) == list(range(V - 1))
    assert below[0][1] | below[0][-1] == set(range(V))
    parts = {frozenset(below[n][1] | below[n][-1]) for n in below}
    assert len(parts) == V - 1
    for sides in below.values():
        assert sides[1] and sides[-1] and not sides[1] & sides[-1]
        assert all(len(side) == 1 or frozenset(side) in parts for side in sides.values())
    lengths = trees.code_lengths(tree)
    assert sum(2.0 ** -lengths.astype(float)) == 1  # Kraft: the codes fill the tree
    padded = np.arange(tree.turns.shape[1]) >= lengths[:, None]
    assert not tree.turns[padded].any() and not tree.nodes[padded].any()
    assert tree.turns.shape[1] == lengths.max()


@given(st.lists(st.integers(0, 50), min_size=2, max_size=40))
def test_a_huffman_tree_is_a_tree(counts):
    assert_is_a_tree(trees.huffman(counts), len(counts))


@pytest.mark.parametrize("V", [2, 3, 4, 5, 8, 9, 31, 100])
def test_a_balanced_tree_is_a_tree_with_even_ways(V):
    tree = trees.balanced(V)
    assert_is_a_tree(tree, V)
    assert set(trees.code_lengths(tree)) <= {math.floor(math.log2(V)), math.ceil(math.log2(V))}


def test_four_words_by_hand():
    tree = trees.huffman([5, 2, 1, 1])
    assert trees.code_lengths(tree).tolist() == [1, 2, 3, 3]
    assert trees.code_lengths(trees.balanced(4)).tolist() == [2, 2, 2, 2]
    assert tree.nodes.tolist() == [[0, 0, 0], [0, 1, 0], [0, 1, 2], [0, 1, 2]]
    assert tree.turns.tolist() == [[1, 0, 0], [-1, 1, 0], [-1, -1, 1], [-1, -1, -1]]  # the frequent go left
    assert tree.turns.dtype == np.int8


def shortest(weights):
    """The least expected code length over *all* binary trees, by trying every split of every set."""

    @cache
    def cost(words):
        if len(words) == 1:
            return 0.0
        first, *rest = words
        splits = (
            (first, *some) for size in range(len(rest)) for some in combinations(rest, size)
        )  # the side that holds the first word; the other is not empty
        inside = min(cost(left) + cost(tuple(w for w in words if w not in left)) for left in splits)
        return inside + sum(weights[w] for w in words)

    return cost(tuple(range(len(weights))))


@pytest.mark.parametrize("seed", range(6))
@verifies("eq-code-length", oracle="all binary trees")
def test_no_tree_has_shorter_codes(seed):
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.full(7, 0.5))
    expected = p @ trees.code_lengths(trees.huffman(p))
    agree(expected, shortest(p.tolist()), 1e-13)
    entropy = -(p * np.log2(p)).sum()
    assert entropy <= expected < entropy + 1


@pytest.mark.parametrize("p", [[0.5, 0.25, 0.125, 0.125], [1 / 64] * 64, [0.5, 0.5]])
@verifies("eq-code-length", oracle="the entropy, where every probability is a power of one half")
def test_powers_of_one_half_lose_nothing(p):
    agree(np.array(p) @ trees.code_lengths(trees.huffman(p)), -(np.array(p) * np.log2(p)).sum(), 1e-15)


@given(st.lists(st.floats(1e-6, 1), min_size=2, max_size=60))
def test_between_the_entropy_and_one_bit_more(weights):
    p = np.array(weights) / sum(weights)
    expected, entropy = p @ trees.code_lengths(trees.huffman(p)), -(p * np.log2(p)).sum()
    shannon = p @ np.ceil(-np.log2(p))
    assert entropy - 1e-12 <= expected <= shannon + 1e-12 < entropy + 1 + 1e-11


def test_nearly_one_bit_more_does_occur():
    p = np.array([1 - 1e-6, 1e-6])
    assert p @ trees.code_lengths(trees.huffman(p)) > -(p * np.log2(p)).sum() + 0.9999


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: trees.huffman([3]), r"counts: expected two or more numbers, none negative, got \[3.\]"),
        (lambda: trees.huffman([3, -1]), "counts: expected two or more numbers, none negative"),
        (lambda: trees.huffman([3, np.nan]), "counts: 1 of 2 entries are NaN or infinite"),
        (lambda: trees.huffman([[3, 1]]), r"counts: expected shape \(V,\), got \(1, 2\)"),
        (lambda: trees.balanced(1), "size: expected a whole number >= 2, got 1"),
    ],
)
def test_doors(call, message):
    with pytest.raises(ValueError, match=message):
        call()
