"""Distributions over sequences: the chain rule, ancestral sampling, and that nothing of the mass is lost."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from oracles import PHI
from proof import agree, verifies

from rnncourse.data import processes
from rnncourse.params import init_model, map_arrays
from rnncourse.reference import autoregression, cells


def a_table(*sizes, seed=0):
    table = np.random.default_rng(seed).random(sizes) ** 3
    return table / table.sum()


def a_network(V, H=4, seed=0, scale=0.8):
    rng = np.random.default_rng(seed)
    return map_arrays(lambda w: w + scale * rng.standard_normal(w.shape), init_model(rng, V, H, V))


def test_a_draw_beyond_the_rounded_sum_is_the_last_symbol():
    """Ten times 0.1 is a little less than 1, and a uniform number may fall into the gap."""

    class Edge:
        def random(self, size):
            return np.full(size, np.nextafter(1, 0))

    def following(prefix):
        return np.full((prefix.shape[1], 10), 0.1)

    assert np.cumsum(following(np.zeros((0, 1))), axis=1)[0, -1] <= np.nextafter(1, 0)
    assert autoregression.sample(Edge(), following, 1, 3).tolist() == [[9, 9, 9]]


def test_large_outputs_are_still_a_distribution():
    network = a_network(3)
    network = network._replace(readout=map_arrays(lambda w: 1e4 * w, network.readout))
    p = autoregression.next_in_rnn(cells.rnn(), network)(np.array([[0, 1, 2]]))
    assert np.isfinite(p).all() and np.allclose(p.sum(axis=1), 1)


def test_what_sums_to_nearly_one_is_no_distribution():
    with pytest.raises(ValueError, match="sum to 1"):
        autoregression.as_distribution("table", [0.5, 0.5 + 1e-6], axis=None)


# The chain rule


@pytest.mark.parametrize("sizes", [(2,), (3, 2), (2, 3, 4), (2, 2, 2, 2)])
@verifies("eq-probability-chain-rule", oracle="the joint table itself")
def test_conditionals_multiply_to_the_joint(sizes):
    table = a_table(*sizes)
    agree(autoregression.joint(autoregression.conditionals(table)), table, 1e-15)


@verifies("eq-probability-chain-rule", oracle="ratios of explicit sums")
def test_conditionals_are_ratios_of_sums():
    table = a_table(2, 3, 4)
    ours = autoregression.conditionals(table)
    every = list(itertools.product(range(2), range(3), range(4)))

    def mass(*past):
        return math.fsum(table[x] for x in every if x[: len(past)] == past)

    agree(ours[0], np.array([mass(a) for a in range(2)]), 1e-14)
    agree(ours[1], np.array([[mass(a, b) / mass(a) for b in range(3)] for a in range(2)]), 1e-14)
    last = [[[mass(a, b, c) / mass(a, b) for c in range(4)] for b in range(3)] for a in range(2)]
    agree(ours[2], np.array(last), 1e-14)


def test_a_past_that_cannot_happen_has_a_future_all_the_same():
    table = np.array([[0.25, 0.75], [0.0, 0.0]])
    first, second = autoregression.conditionals(table)
    assert first.tolist() == [1.0, 0.0] and second[1].tolist() == [0.5, 0.5]
    assert np.array_equal(autoregression.joint((first, second)), table)


def test_the_local_factors_of_a_cycle_are_not_its_conditionals():
    psi = np.array([[2.0, 1.0], [1.0, 3.0]])
    table = np.einsum("ab,bc,ca->abc", psi, psi, psi)
    table /= table.sum()
    tables = autoregression.conditionals(table)
    agree(autoregression.joint(tables), table, 1e-15)
    local = psi / psi.sum(axis=1, keepdims=True)
    assert np.abs(autoregression.joint((tables[0], *[local, np.stack([local, local])])) - table).max() > 0.1


# Sampling


def chi_square(counts, p):
    """Pearson's statistic, as the number of standard deviations above what is expected of it."""
    expected = counts.sum() * p
    statistic, freedom = ((counts - expected) ** 2 / expected).sum(), len(p) - 1
    return (statistic - freedom) / math.sqrt(2 * freedom)


@pytest.mark.parametrize("seed", range(3))
def test_samples_have_the_joint_frequencies(seed):
    table = a_table(3, 3, 3, seed=seed)
    following = autoregression.next_in_tables(autoregression.conditionals(table))
    x = autoregression.sample(np.random.default_rng(seed), following, steps=3, size=20_000)
    assert x.shape == (3, 20_000)
    counts = np.bincount(np.ravel_multi_index(x, (3, 3, 3)), minlength=27)
    assert abs(chi_square(counts, table.ravel())) < 4
    assert chi_square(counts, a_table(3, 3, 3, seed=seed + 1).ravel()) > 100  # the test can fail


def test_samples_of_a_network_follow_its_conditionals():
    model = a_network(3)
    following = autoregression.next_in_rnn(cells.rnn(), model)
    x = autoregression.sample(np.random.default_rng(0), following, steps=4, size=9000)
    for a, b in itertools.product(range(3), repeat=2):
        after = x[2, (x[0] == a) & (x[1] == b)]
        p = following(np.array([[a], [b]]))[0]
        assert chi_square(np.bincount(after, minlength=3), p) < 6


def told(model, prefix):
    """What the network says comes next, by a plain torch loop: zeros first, then one-hot symbols."""
    cell, (W_y, b_y), h = model
    W_x, W_h, b_h = map(torch.tensor, cell)
    h = torch.tensor(h)
    for x in [torch.zeros(W_x.shape[1], dtype=torch.float64), *torch.eye(W_x.shape[1], dtype=torch.float64)[prefix]]:
        h = PHI["tanh"](W_x @ x + W_h @ h + b_h)
    return torch.softmax(torch.tensor(W_y) @ h + torch.tensor(b_y), 0).numpy()


def test_the_network_reads_zeros_and_then_the_symbols():
    model = a_network(4)
    ours = autoregression.next_in_rnn(cells.rnn(), model)
    for prefix in ([], [2], [2, 0, 3]):
        assert np.allclose(ours(np.array(prefix, int).reshape(-1, 1))[0], told(model, prefix), rtol=1e-13)


# The mass


@pytest.mark.parametrize("seed", range(4))
@verifies("eq-total-mass", oracle="each sequence alone, in torch")
def test_mass_of_each_length_one_sequence_at_a_time(seed):
    model = a_network(3, seed=seed)
    ended, running = autoregression.masses(autoregression.next_in_rnn(cells.rnn(), model), 3, end=1, longest=4)

    def probability(*symbols):
        return math.prod(told(model, list(symbols[:t]))[x] for t, x in enumerate(symbols))

    lengths = [[probability(*x, 1) for x in itertools.product([0, 2], repeat=n)] for n in range(5)]
    agree(ended, np.array([math.fsum(part) for part in lengths]), 1e-13)
    agree(running, math.fsum(probability(*x) for x in itertools.product([0, 2], repeat=5)), 1e-13)
    agree(ended.sum() + running, 1.0, 1e-13)


@verifies("eq-total-mass", oracle="closed form of a Markov chain")
def test_mass_of_each_length_of_a_markov_chain():
    rng = np.random.default_rng(5)
    start, transition = rng.dirichlet(np.ones(3)), rng.dirichlet(np.ones(3), 3)

    def following(prefix):
        return transition[prefix[-1]] if len(prefix) else start[None]

    ended, running = autoregression.masses(following, 3, end=2, longest=8)
    stay, leave = transition[:2, :2], transition[:2, 2]
    powers = [start[:2] @ np.linalg.matrix_power(stay, n) for n in range(9)]
    agree(ended, np.array([start[2], *(p @ leave for p in powers[:-1])]), 1e-14)
    agree(running, powers[-1].sum(), 1e-14)


def leak(N):
    """The mass that never ends when the n-th symbol ends with probability 1/(n+1)^2, in closed form."""
    return (N + 2) / (2 * (N + 1))


@verifies("eq-total-mass", oracle="telescoping product")
def test_mass_can_leak_away():
    def following(prefix):
        end = 1 / (len(prefix) + 2) ** 2
        return np.tile([1 - end, end], (prefix.shape[1], 1))

    ended, running = autoregression.masses(following, 2, end=1, longest=60)
    agree(running, leak(61), 1e-13)
    agree(ended.sum(), 1 - leak(61), 1e-13)
    assert running > 0.5


@given(st.integers(0, 20))
def test_every_bounded_state_ends_at_a_rate(seed):
    """With |h| < 1 no output exceeds a bound, so the end has at least a fixed probability."""
    model = a_network(3, seed=seed)
    bound = np.abs(model.readout.weights).sum(axis=1).max() + np.abs(model.readout.bias).max()
    least = math.exp(-2 * bound) / 3
    ended, running = autoregression.masses(autoregression.next_in_rnn(cells.rnn(), model), 3, 0, 6)
    assert running <= (1 - least) ** 7
    assert ended.sum() + running == pytest.approx(1, abs=1e-13)


# Memory

START, MOVE = np.array([0.5, 0.5]), np.array([[0.9, 0.1], [0.1, 0.9]])


def brute_gap(table, m):
    """The same from ratios of sums, past by past."""
    T, worst = table.ndim, 0.0
    for past in np.ndindex(table.shape[:-1]):
        if table[past].sum() > 0:
            near = sum(
                table[other] for other in np.ndindex(table.shape[:-1]) if other[T - 1 - m :] == past[T - 1 - m :]
            )
            worst = max(worst, 0.5 * np.abs(table[past] / table[past].sum() - near / near.sum()).sum())
    return worst


@pytest.mark.parametrize("order", range(4))
def test_the_gap_of_an_order(order):
    table = a_table(2, 3, 2, 2)
    table[1, 2] = 0
    table /= table.sum()
    assert autoregression.order_gap(table, order) == pytest.approx(brute_gap(table, order), rel=1e-12, abs=1e-12)


def test_a_markov_chain_forgets_and_a_hidden_one_does_not():
    chain = processes.hmm_joint(START, MOVE, np.eye(2), 6)
    assert autoregression.order_gap(chain, 0) == pytest.approx(0.4)
    assert all(autoregression.order_gap(chain, m) < 1e-12 for m in range(1, 6))
    hidden = processes.hmm_joint(START, MOVE, np.array([[0.8, 0.2], [0.2, 0.8]]), 6)
    gaps = [autoregression.order_gap(hidden, m) for m in range(5)]
    assert min(gaps) > 0.01 and np.all(np.diff(gaps) < 0)


# Doors

REFUSED = {
    "joint": lambda: autoregression.conditionals(np.array([0.5, 0.6])),
    "joint ": lambda: autoregression.conditionals(np.array([1.5, -0.5])),
    "joint  ": lambda: autoregression.conditionals(np.array([np.nan, 1.0])),
    "tables": lambda: autoregression.joint([np.array([0.5, 0.5]), np.array([[1.0, 0.0]])]),
    "tables ": lambda: autoregression.joint([np.array([0.5, 0.6])]),
    "steps": lambda: autoregression.sample(np.random.default_rng(0), fair, 0, 1),
    "size": lambda: autoregression.sample(np.random.default_rng(0), fair, 1, 0),
    "following": lambda: autoregression.sample(np.random.default_rng(0), lambda prefix: np.ones((2, 2)), 1, 2),
    "following ": lambda: autoregression.masses(fair, 3, 0, 2),
    "end": lambda: autoregression.masses(fair, 2, 2, 2),
    "order": lambda: autoregression.order_gap(np.full((2, 2), 0.25), 2),
    "longest": lambda: autoregression.masses(fair, 2, 0, -1),
}


def fair(prefix):
    return np.full((prefix.shape[1], 2), 0.5)


@pytest.mark.parametrize("name", REFUSED)
def test_doors(name):
    with pytest.raises(ValueError, match=f"^{name.strip()}: "):
        REFUSED[name]()


def test_tables_of_a_hidden_markov_model_follow_the_chain_rule_too():
    rng = np.random.default_rng(0)
    table = processes.hmm_joint(rng.dirichlet([1, 1]), rng.dirichlet([1, 1], 2), rng.dirichlet([1, 1, 1], 2), 4)
    assert table.shape == (3,) * 4
    agree(autoregression.joint(autoregression.conditionals(table)), table, 1e-14)
