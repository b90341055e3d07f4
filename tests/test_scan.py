"""Scans: any associative operation, any number of steps, in the rounds that are promised."""

import functools
import itertools
import math

import numpy as np
import pytest
import torch
from proof import agree, verifies

from rnncourse import gpu, reference

FLOORS = pytest.mark.parametrize("floor", [reference, gpu], ids=["reference", "gpu"])
LENGTHS = [*range(1, 18), 31, 32, 33, 100, 127]


class Counted:
    """An operation that counts its calls and its pairs."""

    def __init__(self, operation):
        self.operation, self.rounds, self.pairs = operation, 0, 0

    def __call__(self, early, late):
        first = early[0] if isinstance(early, tuple) else early
        assert len(first), "a round without a pair"
        self.rounds, self.pairs = self.rounds + 1, self.pairs + len(first)
        return self.operation(early, late)


def matrices(T, seed=0):
    """Matrices whose products neither commute nor grow."""
    rng = np.random.default_rng(seed)
    return np.linalg.qr(rng.standard_normal((T, 3, 3)))[0]


def in_order(A):
    """A_1, A_2 A_1, A_3 A_2 A_1 and so on, one after the other."""
    return np.stack([*itertools.accumulate(A, lambda product, late: late @ product)])


@verifies("eq-scan-tree", oracle="products taken one after the other")
@verifies("eq-scan-doubling", oracle="products taken one after the other")
@FLOORS
@pytest.mark.parametrize("T", LENGTHS)
def test_every_length(floor, T):
    A = matrices(T)
    given = A if floor is reference else torch.tensor(A)
    for method in (floor.scan.prefixes, floor.scan.doubling):
        agree(method(lambda early, late: late @ early, given), in_order(A), 1e-13)
    ends = np.stack([functools.reduce(lambda product, late: late @ product, A[t:]) for t in range(T)])
    agree(floor.scan.suffixes(lambda early, late: late @ early, given), ends, 1e-13)


@verifies("eq-scan-cost", oracle="counted calls")
@FLOORS
def test_the_rounds_and_pairs_that_are_promised(floor):
    for T in LENGTHS:
        given = np.ones((T, 1)) if floor is reference else torch.ones(T, 1)
        tree, turned, doubling = (Counted(lambda a, b: a * b) for _ in range(3))
        floor.scan.prefixes(tree, given)
        floor.scan.suffixes(turned, given)
        floor.scan.doubling(doubling, given)
        for counted, method in ((tree, "tree"), (turned, "tree"), (doubling, "doubling")):
            agree(tuple(floor.scan.count(T, method)), (counted.rounds, counted.pairs), 0)
        assert tree.rounds <= 2 * math.floor(math.log2(T)) and (tree.pairs < 2 * T)
        assert doubling.rounds == math.ceil(math.log2(T))


def test_trees_of_arrays_keep_their_form_and_type():
    pair = (np.arange(1, 6, dtype=np.float32), (np.arange(5),))
    once = reference.scan.prefixes(lambda a, b: (a[0] * b[0], (a[1][0] + b[1][0],)), pair)
    assert once[0].tolist() == [1, 2, 6, 24, 120] and once[1][0].tolist() == [0, 1, 3, 6, 10]
    assert once[0].dtype == np.float32 and once[1][0].dtype == pair[1][0].dtype


def test_what_is_not_associative_gives_another_result():
    """Subtraction is not: the tree's answer is not the loop's, and nothing says so."""
    ones = np.ones(8)
    assert reference.scan.prefixes(lambda a, b: a - b, ones)[-1] != functools.reduce(lambda a, b: a - b, ones)


@FLOORS
def test_bad_input(floor):
    make = np.ones if floor is reference else torch.ones
    with pytest.raises(ValueError, match="elements: expected arrays of one length"):
        floor.scan.prefixes(lambda a, b: a, (make(3), make(4)))
    with pytest.raises(ValueError, match="elements: expected arrays of one length, at least 1"):
        floor.scan.doubling(lambda a, b: a, make(0))
    with pytest.raises(ValueError, match="steps: expected a whole number >= 1"):
        floor.scan.count(0)
    with pytest.raises(ValueError, match="method: expected one of 'tree', 'doubling'"):
        floor.scan.count(3, "loop")


@pytest.mark.parametrize("combine_mode", ["generic"])
def test_torchs_own_scan_finds_the_same(combine_mode):
    from torch._higher_order_ops.associative_scan import associative_scan

    rng = np.random.default_rng(1)
    A, b = (torch.tensor(rng.uniform(-1, 1, (13, 2, 3))) for _ in range(2))
    theirs = associative_scan(gpu.linear_recurrence.combine, (A, b), dim=0, combine_mode=combine_mode)
    agree(gpu.linear_recurrence.forward(A, b)[0], theirs[1], 1e-13)
