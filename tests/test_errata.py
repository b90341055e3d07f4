"""Each erratum of the sources that the chapters treat, shown in numbers.

The name of a test begins with the entry's label in the appendix. Each shows that the formula as
printed gives a wrong number, by a margin, and that the corrected one gives the right number. The
problem of chapter 03 is fixed: one sequence of six steps, three units, a tanh cell with random weights.
"""

import itertools

import cell_oracles
import numpy as np
import pytest
import torch
from cell_oracles import dense_jacobians, draw_problem
from oracles import BruteForce, flatten, loss_term, pairs, problem, roll, torch_model
from torch.utils.flop_counter import FlopCounterMode

from rnncourse import bridge, bridge_gates, completion, gpu, params, records, rewrites, starts, trees
from rnncourse.data import chains, processes
from rnncourse.gate_params import LSTMParams
from rnncourse.hmm_params import Categorical, HMMParams
from rnncourse.latent_params import Diagonal
from rnncourse.lds_params import LDSParams
from rnncourse.params import ReadoutParams, RNNParams, map_arrays
from rnncourse.reference import (
    activations,
    autoregression,
    baum_welch,
    bounds,
    bptt,
    cells,
    dale,
    embedding,
    gauss_newton,
    hmm,
    hmm_gradient,
    jacobians,
    latent,
    lbfgs,
    lstm,
    lyapunov,
    optim,
    posterior_families,
    rtrl,
    search,
    softmax_tree,
    spectra,
    state_jacobians,
    state_space,
    structured_posterior,
    unroll,
    windows,
    word_vectors,
)

T = 6
RIGHT = 1e-12


@pytest.fixture
def p():
    return problem(seed=11, T=T, B=1, D=2, H=3, O=2, scale=0.8)


@pytest.fixture
def brute(p):
    return BruteForce(p)


def off(ours, oracle):
    """Relative error in the Euclidean norm."""
    ours, oracle = np.asarray(ours), np.asarray(oracle)
    return np.linalg.norm(ours - oracle) / np.linalg.norm(oracle)


def tape_of(p):
    return unroll.forward(cells.rnn(), p.params.cell, p.inputs, p.params.initial_state)[2]


def state_by_autograd(p, t):
    """dh_t/dW_h by torch, shape (H, H, H)."""
    W_x, W_h, b = (torch.tensor(part) for part in p.params.cell)
    x, start = torch.tensor(p.inputs[:, 0]), torch.tensor(p.params.initial_state)
    return torch.autograd.functional.jacobian(lambda W: roll([(W_x, W, b)] * t, x, start)[-1], W_h).numpy()


def step_by_autograd(p, t):
    """dh_t/dh_{t-1} by torch, shape (H, H); steps from 1."""
    cell = [torch.tensor(part) for part in p.params.cell]
    h, x = torch.tensor(tape_of(p).hidden[t - 1, 0]), torch.tensor(p.inputs[[t - 1], 0])
    return torch.autograd.functional.jacobian(lambda h: roll([cell], x, h)[0], h).numpy()


def recurrent(P):
    """The immediate derivative by W_h, out of that by all weights [W_x W_h b]."""
    return P[:, :, 2:-1]


def chained(p, brute, factor, latest_left=True):
    """sum over tau of a product of ``factor(k)``, k = tau+1..T, times the immediate derivative at tau."""
    total = 0.0
    for tau in range(1, T + 1):
        M = np.eye(3)
        for k in range(tau + 1, T + 1):
            M = factor(k) @ M if latest_left else M @ factor(k)
        total = total + np.einsum("ij,jkl->ikl", M, recurrent(brute.P[tau]))
    return total


# Chapter 01: sequences


def test_E16_windows_one_step_apart_are_not_N_over_W():
    words, letters = ["This", "is", "a", "great", "movie"], list("Hello world!")
    pairs = [" ".join(w) for w in windows.split(words, 2)]
    assert pairs == ["This is", "is a", "a great", "great movie"]  # the slide's list
    before = ["".join(w) for w in windows.split(["#", *letters[:-1]], 3, padding="#")]
    assert before[:5] == ["###", "##H", "#He", "Hel", "ell"]  # the slide's list, as far as it goes
    assert (len(pairs), len(before)) == (4, 12) != (len(words) / 2, len(letters) / 3)


def test_E16_the_sum_of_votes_is_not_their_mean():
    votes = np.ones((4, 1, 1))
    assert windows.vote(votes).item() == 1
    assert windows.vote(votes, "sum").item() == 4


def test_O19_normalised_factors_of_a_cycle_are_not_its_conditionals():
    psi = np.array([[2.0, 1.0], [1.0, 3.0]])
    joint = np.array([[[psi[a, b] * psi[b, c] * psi[c, a] for c in (0, 1)] for b in (0, 1)] for a in (0, 1)])
    joint /= joint.sum()
    first, second, third = autoregression.conditionals(joint)
    assert off(autoregression.joint([first, second, third]), joint) < RIGHT
    local = psi / psi.sum(axis=1, keepdims=True)
    assert off(autoregression.joint([first, local, np.stack([local, local])]), joint) > 0.1
    chain = np.einsum("a,ab,bc->abc", first, local, local)  # without the edge that closes the cycle all is well
    assert off(autoregression.conditionals(chain)[1], local) < RIGHT


def test_H05_padding_moves_the_state_unless_the_model_is_told():
    torch.manual_seed(0)
    layer, x = torch.nn.RNN(3, 4, dtype=torch.float64), torch.randn(5, 1, 3, dtype=torch.float64)
    padded = torch.cat([x, torch.zeros(5, 1, 3, dtype=torch.float64)])
    alone, naive = layer(x)[1][0].detach(), layer(padded)[1][0].detach()
    packed = layer(torch.nn.utils.rnn.pack_padded_sequence(padded, [5]))[1][0].detach()
    ours = unroll.forward(cells.rnn(), bridge.rnn_from_torch(layer), padded.numpy(), lengths=[5])[1][0]
    assert off(packed, alone) < RIGHT and off(ours, alone) < RIGHT
    assert off(naive, alone) > 0.1


def test_H16_inherited_labels_teach_nothing_about_distant_parts():
    """Over all coins: no window of three of seven says anything about whether both ends fell alike."""
    coins = np.array(list(itertools.product([-1.0, 1.0], repeat=7)))
    ends, majority = coins[:, 0] * coins[:, -1], np.sign(coins.sum(axis=1))
    for label, tells in ((ends, False), (majority, True)):
        for start in range(5):
            seen = coins[:, start : start + 3]
            best = [label[(seen == w).all(axis=1)].mean() for w in itertools.product([-1.0, 1.0], repeat=3)]
            assert (np.abs(best).max() > 0.3) == tells and (tells or not np.any(best))


# Chapter 02: the vanilla RNN


def test_E15_the_input_enters_the_state_and_not_the_readout():
    w_h, w_x, w_y, start, x = 0.5, 0.3, 2.0, 1.0, 1.0
    layer = torch.nn.RNN(1, 1, nonlinearity="relu", bias=False, dtype=torch.float64)  # relu(a) = a here
    with torch.no_grad():
        layer.weight_ih_l0.fill_(w_x), layer.weight_hh_l0.fill_(w_h)
    h = layer(torch.full((1, 1, 1), x, dtype=torch.float64), torch.full((1, 1, 1), start, dtype=torch.float64))[0]
    oracle = w_y * h.item()
    params = RNNParams(np.array([[w_x]]), np.array([[w_h]]), np.zeros(1))
    ours = w_y * unroll.forward(cells.rnn("identity"), params, np.full((1, 1, 1), x), np.full(1, start))[0].item()
    printed = w_y * (w_h * start + w_x * x) + w_x * x
    assert abs(ours - oracle) < RIGHT and abs(oracle - 1.6) < RIGHT
    assert abs(printed - 1.9) < RIGHT


def test_O18_differentiable_is_neither_needed_nor_enough():
    # The rectifier has two slopes at 0, none of them a derivative; autograd and we take 0.
    left, right = ((max(step, 0.0) - 0.0) / step for step in (-1e-6, 1e-6))
    assert (left, right) == (0, 1)
    a = torch.zeros(1, requires_grad=True)
    torch.relu(a).backward()
    phi, slope = activations.get("relu")
    assert slope(phi(np.zeros(1)))[0] == a.grad.item() == 0
    # The sign function is not differentiable, and keeps a bit for ever; its slope is 0, so no gradient flows.
    bit = torch.tensor([1.0, -1.0], requires_grad=True)
    kept = bit
    for _ in range(1000):
        kept = torch.sign(1.5 * kept)
    assert kept.tolist() == [1, -1]
    assert torch.autograd.grad(kept.sum(), bit)[0].tolist() == [0, 0]
    # The cube is differentiable everywhere, and leaves every bound.
    h = np.ones(1)
    with np.errstate(over="ignore"):
        for _ in range(10):
            h = (1.5 * h) ** 3
    assert np.isinf(h).all()


def test_H09_without_a_bias_zero_stays_zero(p):
    silence = np.zeros_like(p.inputs)
    bare = p.params.cell._replace(bias=np.zeros(3))
    assert not unroll.forward(cells.rnn(), bare, silence)[0].any()
    assert np.abs(unroll.forward(cells.rnn(), p.params.cell, silence)[0]).max() > 0.1
    assert torch.sigmoid(torch.zeros(1)).item() == 0.5  # where a gate without bias starts
    # A constant 1 as a further input gives the bias back.
    W_x, W_h, b = p.params.cell
    wide = RNNParams(np.column_stack([W_x, b]), W_h, np.zeros(3))
    ones = np.concatenate([p.inputs, np.ones((T, 1, 1))], axis=2)
    again = unroll.forward(cells.rnn(), wide, ones, p.params.initial_state)[0]
    assert off(again, torch_model(p).hidden) < RIGHT


def test_C06_his_next_state_is_our_present_one(p):
    W_x, W_h, b = (torch.tensor(part) for part in p.params.cell)
    his = {1: torch.tensor(p.params.initial_state)}
    for t in range(1, T + 1):
        his[t + 1] = torch.tanh(W_h @ his[t] + W_x @ torch.tensor(p.inputs[t - 1, 0]) + b)
    ours = tape_of(p).hidden[:, 0]  # h_0..h_T
    assert off(ours, torch.stack([his[t] for t in range(1, T + 2)])) < RIGHT
    assert off(ours[1:], torch.stack([his[t] for t in range(1, T + 1)])) > 0.1  # the same index: one step off


def test_C12_the_blocks_have_the_order_of_the_vectors():
    p = problem(seed=11, T=T, B=1, D=3, H=3, O=2, scale=0.8)  # D = H: no shape tells the order
    W_x, W_h, b = (torch.tensor(part) for part in p.params.cell)
    x = torch.tensor(p.inputs[:, 0])

    def stacked(W, order):
        h, found = torch.tensor(p.params.initial_state), []
        for x_t in x:
            h = torch.tanh(W @ torch.cat(order(h, x_t)) + b)
            found.append(h)
        return torch.stack(found)

    ours = tape_of(p).hidden[1:, 0]
    state_first, input_first = torch.hstack([W_h, W_x]), torch.hstack([W_x, W_h])
    assert off(ours, stacked(state_first, lambda h, x: (h, x))) < RIGHT
    assert off(ours, stacked(input_first, lambda h, x: (x, h))) < RIGHT
    assert off(stacked(input_first, lambda h, x: (h, x)), ours) > 0.1
    cell = rewrites.split(state_first.numpy(), p.params.cell.bias)
    assert off(unroll.forward(cells.rnn(), cell, p.inputs, p.params.initial_state)[0][:, 0], ours) < RIGHT


# Chapter 03: back-propagation through time


def test_E05_the_step_jacobian_has_no_transpose(p, brute):
    J = jacobians.steps(tape_of(p))
    for t in range(1, T + 1):
        oracle = step_by_autograd(p, t)
        printed = (np.diag(brute.slope[t]) @ p.params.cell.recurrent_weights).T
        assert off(J[t - 1, 0], oracle) < RIGHT
        assert off(printed, oracle) > 0.1
    oracle = state_by_autograd(p, T)
    assert off(chained(p, brute, lambda k: J[k - 1, 0]), oracle) < RIGHT
    assert off(chained(p, brute, lambda k: J[k - 1, 0].T), oracle) > 0.1


def test_E06_the_latest_factor_is_leftmost(p, brute):
    oracle = state_by_autograd(p, T)
    assert off(chained(p, brute, lambda k: brute.J[k]), oracle) < RIGHT
    assert off(chained(p, brute, lambda k: brute.J[k], latest_left=False), oracle) > 0.1
    J = jacobians.steps(tape_of(p))
    assert off(jacobians.product(J, 2, 5)[0], brute.J[5] @ brute.J[4] @ brute.J[3]) < RIGHT
    assert off(brute.J[3] @ brute.J[4] @ brute.J[5], brute.J[5] @ brute.J[4] @ brute.J[3]) > 0.1
    assert np.array_equal(jacobians.product(J, 4, 4)[0], np.eye(3))  # the empty product is a matrix, not 1


def test_H01_total_times_immediate_not_total_times_total(p, brute):
    oracle = torch_model(p)
    s = oracle.d_hidden[:, 0]
    right = sum(np.einsum("i,ikl->kl", s[t - 1], recurrent(brute.P[t])) for t in range(1, T + 1))
    twice = sum(np.einsum("i,ikl->kl", s[t - 1], recurrent(brute.influence(t))) for t in range(1, T + 1))
    assert off(right, oracle.gradients.cell.recurrent_weights) < RIGHT
    assert off(twice, oracle.gradients.cell.recurrent_weights) > 0.1
    # The other right pairing: the immediate gradient times the total derivative, which is forward mode.
    forward = sum(np.einsum("i,ikl->kl", brute.g[t], recurrent(brute.influence(t))) for t in range(1, T + 1))
    assert off(forward, oracle.gradients.cell.recurrent_weights) < RIGHT


def test_H02_a_fixed_first_state_teaches_only_the_readout(p):
    cell, (W_y, b_y) = (tuple(torch.tensor(a, requires_grad=True) for a in part) for part in p.params[:2])
    first = torch.tensor(p.params.initial_state)  # the source's h_1: given, and not among its parameters
    term = loss_term("squared", W_y @ first + b_y, p.targets[0, 0])
    found = torch.autograd.grad(term, [*cell, W_y, b_y], allow_unused=True)
    assert found[:3] == (None, None, None)
    assert all(part.abs().max() > 0.1 for part in found[3:])
    # Here the first state is phi(W_x x_1 + W_h h_0 + b_h), and h_0 is a parameter: the first loss teaches all.
    only_first = np.arange(T)[:, None] == 0
    ours = bptt.full(cells.rnn(), p.params, p.inputs, p.targets, mask=only_first).gradients
    assert all(np.abs(part).max() > 1e-3 for part in flatten(ours))
    at_zero = p.params._replace(initial_state=np.zeros(3))
    assert not bptt.full(
        cells.rnn(), at_zero, p.inputs, p.targets, mask=only_first
    ).gradients.cell.recurrent_weights.any()


def test_O13_the_forward_order_gives_the_same_gradient(p):
    oracle = torch_model(p).gradients
    for f in (rtrl.full, bptt.full):
        for ours, theirs in zip(
            flatten(f(cells.rnn(), p.params, p.inputs, p.targets).gradients), flatten(oracle), strict=True
        ):
            assert off(ours, theirs) < RIGHT
    # What the order changes is the cost: numbers carried along, against numbers sent back.
    carried = rtrl.start(p.params.cell, 1).weights.size
    H, D = p.params.cell.input_weights.shape
    assert carried == H * H * (D + H + 1)
    assert carried > H


def test_T02_the_slopes_are_those_of_the_later_steps(p, brute):
    W_h = p.params.cell.recurrent_weights
    J = jacobians.steps(tape_of(p))
    for tau, t in [(1, 2), (1, 5), (3, 6)]:
        right, printed = np.eye(3), np.eye(3)
        for k in range(tau + 1, t + 1):
            right = np.diag(brute.slope[k]) @ W_h @ right  # slopes at tau+1..t
            printed = np.diag(brute.slope[k - 1]) @ W_h @ printed  # slopes at tau..t-1
        cell = [torch.tensor(part) for part in p.params.cell]
        start, x = torch.tensor(tape_of(p).hidden[tau, 0]), torch.tensor(p.inputs[tau:t, 0])
        oracle = torch.autograd.functional.jacobian(
            lambda h, x=x, cell=cell: roll([cell] * len(x), x, h)[-1], start
        ).numpy()
        assert off(right, oracle) < RIGHT
        assert off(jacobians.product(J, tau, t)[0], oracle) < RIGHT
        assert off(printed, oracle) > 0.1


def test_C01_a_window_of_L_keeps_L_plus_one_terms(p):
    exact = bptt.full(cells.rnn(), p.params, p.inputs, p.targets).gradients.cell.recurrent_weights
    for L in range(T):
        ours = bptt.sliding(cells.rnn(), p.params, p.inputs, p.targets, L).gradients.cell.recurrent_weights
        assert off(ours, pairs(p, lambda t, tau, L=L: t - L <= tau)[0].recurrent_weights) < RIGHT  # tau from t - L
        detached = 0.0
        for t in range(T):  # the state that enters step t - L is cut off
            only = np.arange(T)[:, None] == t
            detached = detached + torch_model(p, mask=only, cuts={t - L}).gradients.cell.recurrent_weights
        assert off(ours, detached) < RIGHT
        assert (off(ours, exact) < RIGHT) == (L == T - 1)


def test_C01_chunks_are_another_estimator_than_a_window(p):
    sliding = bptt.sliding(cells.rnn(), p.params, p.inputs, p.targets, 2).gradients.cell.recurrent_weights
    chunked = bptt.chunked(cells.rnn(), p.params, p.inputs, p.targets, 3).gradients.cell.recurrent_weights
    exact = bptt.full(cells.rnn(), p.params, p.inputs, p.targets).gradients.cell.recurrent_weights
    assert off(chunked, torch_model(p, cuts={3}).gradients.cell.recurrent_weights) < RIGHT
    assert off(sliding, chunked) > 0.05
    assert off(sliding, exact) < off(chunked, exact)  # on this problem; neither is always the closer one


def test_C07_both_layouts_give_the_same_gradient(p, brute):
    oracle = torch_model(p)
    for t in range(1, T):
        row = brute.g[T] @ brute.product(T, t)  # numerator layout: a row times Jacobians, the latest leftmost
        column = brute.g[T]  # denominator layout: transposes, read from left to right as t+1..T
        M = np.eye(3)
        for k in range(t + 1, T + 1):
            M = M @ brute.J[k].T
        assert off(M @ column, row) < RIGHT
        assert off(M.T @ column, row) > 0.01  # the two must not be mixed
    s = np.zeros(3)
    for t in range(T, 0, -1):  # s_t is the column; J is transposed in its recursion
        s = (brute.J[t + 1].T @ s if t < T else s) + brute.g[t]
        assert off(s, oracle.d_hidden[t - 1, 0]) < RIGHT


def test_C11_a_mean_is_the_sum_over_the_number_of_terms():
    p = problem(seed=11, T=T, B=4, D=2, H=3, O=5)
    total = bptt.full(cells.rnn(), p.params, p.inputs, p.targets)
    mean = bptt.full(cells.rnn(), p.params, p.inputs, p.targets, reduction="mean")
    assert mean.loss == pytest.approx(total.loss / (4 * T), rel=1e-14)
    scaled = map_arrays(lambda d: d / (4 * T), total.gradients)
    assert all(off(a, b) < RIGHT for a, b in zip(flatten(mean.gradients), flatten(scaled), strict=True))
    assert all(off(a, b) > 10 for a, b in zip(flatten(total.gradients), flatten(mean.gradients), strict=True))
    # torch's mean squared error also averages over the outputs and has no half.
    O = p.targets.shape[2]
    theirs = torch.nn.functional.mse_loss(torch.tensor(torch_model(p).outputs), torch.tensor(p.targets))
    assert theirs.item() == pytest.approx(2 * mean.loss / O, rel=1e-14)
    # A label of the whole sequence counts at its end alone: another loss, another gradient.
    label = bptt.full(cells.rnn(), p.params, p.inputs, p.targets, mask=np.arange(T)[:, None].repeat(4, 1) == T - 1)
    assert all(off(a, b) > 0.1 for a, b in zip(flatten(label.gradients), flatten(total.gradients), strict=True))


def least_loss(inputs, targets, V=5):
    """The best cross-entropy of a table of logits, one row for each token read."""
    table = torch.zeros(V, V, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([table], max_iter=200, line_search_fn="strong_wolfe")

    def loss():
        optimizer.zero_grad()
        value = torch.nn.functional.cross_entropy(table[inputs], targets)
        value.backward()
        return value

    optimizer.step(loss)
    return loss().item()


def test_H07_the_input_is_the_token_before():
    tokens = torch.tensor(np.random.default_rng(0).integers(0, 5, 4000))
    assert abs(least_loss(tokens[:-1], tokens[1:]) - np.log(5)) < 0.01  # the floor: nothing can be known
    assert least_loss(tokens, tokens) < 1e-5  # x_t = y_t: the answer is in the input


def test_C10_cutting_off_entries_turns_the_gradient():
    g = np.array([10.0, 1.0])
    cut, shortened = optim.clip_by_value(g, 5.0), optim.clip_by_norm(g, 5.0)
    assert cut.tolist() == [5, 1]
    assert np.allclose(shortened, [4.975, 0.498], atol=1e-3)
    assert off(shortened / shortened[0], g / g[0]) < RIGHT
    assert off(cut / cut[0], g / g[0]) > 0.09


def test_O15_a_one_hot_product_is_a_look_up():
    rng = np.random.default_rng(0)
    E, tokens = rng.standard_normal((9, 4)), rng.integers(0, 9, (6, 2))
    one_hot = np.zeros((6, 2, 9))
    np.put_along_axis(one_hot, tokens[:, :, None], 1.0, axis=2)
    looked_up, tape = embedding.forward(E, tokens)
    assert np.array_equal(one_hot @ E, looked_up)
    sent = rng.standard_normal((6, 2, 4))
    assert off(embedding.backward(tape, sent), np.einsum("tbv,tbd->vd", one_hot, sent)) < RIGHT


def planted(own, forms=0.8, seed=0):
    """Ten roles in two forms each: what a word stands with is its role's, plus its form's, plus some of its own."""
    rng = np.random.default_rng(seed)
    role, form = rng.standard_normal((10, 1, 60)), forms * rng.standard_normal((1, 2, 60))
    logits = (role + form + own * rng.standard_normal((10, 2, 60))).reshape(20, 60)
    p = np.exp(logits)
    return p / p.sum()


def test_O16_an_analogy_is_a_nearest_neighbour_and_no_equality():
    a, b, c, d = np.array([(2 * i, 2 * i + 1, 2 * j, 2 * j + 1) for i in range(10) for j in range(10) if i != j]).T
    for seed in range(3):
        joint = planted(own=0.25, forms=0.4, seed=seed)
        left, sizes, _ = np.linalg.svd(word_vectors.optimum(joint, joint.sum(axis=0), 1), full_matrices=False)
        vectors = left[:, :12] * np.sqrt(sizes[:12])
        unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        residual = np.linalg.norm(unit[b] - unit[a] + unit[c] - unit[d], axis=1)
        assert residual.min() > 0.1  # nowhere an equality, though the text was made to have one
        closeness = (unit[b] - unit[a] + unit[c]) @ unit.T
        plain = closeness.argmax(axis=1)
        closeness[np.arange(len(a))[:, None], np.stack([a, b, c], axis=1)] = -np.inf
        assert np.array_equal(word_vectors.analogy(vectors, a, b, c, exclude=False), plain)
        assert np.array_equal(word_vectors.analogy(vectors, a, b, c), closeness.argmax(axis=1))
        assert (closeness.argmax(axis=1) == d).all()
        assert (plain == c).mean() > 0.05  # the word asked about, "king", wins some
        nearest = (unit @ unit.T - 3 * np.eye(20)).argmax(axis=1)
        assert (nearest[c] == d).mean() > 0.95  # and here its neighbour is right without any arithmetic


def test_O17_negative_sampling_does_not_give_a_probability_vector():
    joint, k = planted(own=1.0), 5
    q = joint.sum(axis=0) ** 0.75
    q /= q.sum()
    conditional = joint / joint.sum(axis=1, keepdims=True)
    scores = word_vectors.optimum(joint, q, k)
    leaf = torch.tensor(scores, requires_grad=True)  # it is the optimum: the gradient is zero, the objective convex
    log_sigmoid = torch.nn.functional.logsigmoid
    false = k * joint.sum(axis=1, keepdims=True) * q
    objective = -(torch.tensor(joint) * log_sigmoid(leaf) + torch.tensor(false) * log_sigmoid(-leaf)).sum()
    assert torch.autograd.grad(objective, leaf)[0].abs().max() < 1e-15
    assert off(torch.softmax(leaf.detach() + torch.tensor(q).log(), dim=1), conditional) < RIGHT
    assert off(torch.softmax(leaf.detach(), dim=1), conditional) > 0.3
    assert off(leaf.detach().exp(), conditional) > 0.3


def test_O17_hierarchical_softmax_is_normalised():
    tree = trees.huffman(np.arange(1, 9))
    rng = np.random.default_rng(0)
    nodes = ReadoutParams(rng.standard_normal((7, 3)), rng.standard_normal(7))
    p = np.exp(softmax_tree.log_probabilities(nodes, tree, rng.standard_normal((4, 3))))
    assert np.abs(p.sum(axis=1) - 1).max() < 1e-14
    assert set(trees.code_lengths(trees.balanced(8))) == {3}  # decisions for one word; all words still need 7


# Chapter 05: vanishing and exploding gradients

WIDE = np.array([[0.5, 10.0], [0.0, 0.5]])
GAUSSIAN = 0.9 * np.random.default_rng(0).standard_normal((64, 64)) / 8


def largest_eigenvalue(W):
    return torch.linalg.eigvals(torch.tensor(W)).abs().max().item()


def norm_of_power(W, n):
    return torch.linalg.matrix_norm(torch.linalg.matrix_power(torch.tensor(W), n), 2).item()


def tiny(w, L, dtype=torch.float64, h_0=1.0, target=None, phi=torch.relu):
    """The slides' network by autograd: gradients by h_init, wh and wy; the target moves along unless given."""
    h = start = torch.tensor(h_0, dtype=dtype, requires_grad=True)
    w_h, w_y = (torch.tensor(float(value), dtype=dtype, requires_grad=True) for value in (w, 1))
    for _ in range(L):
        h = phi(w_h * h)
    y = w_y * h
    loss = torch.nn.functional.mse_loss(y, y.detach() - 1 if target is None else torch.tensor(target, dtype=dtype))
    return [d.item() for d in torch.autograd.grad(loss, (start, w_h, w_y))]


def test_E01_the_largest_singular_value_is_no_eigenvalue():
    for W, printed in ((WIDE, 0.5), (GAUSSIAN, 0.918)):
        assert abs(spectra.radius(W) - largest_eigenvalue(W)) < 1e-9
        assert abs(largest_eigenvalue(W) - printed) < 1e-3
    assert abs(norm_of_power(WIDE, 1) - 10.025) < 1e-3 and abs(norm_of_power(GAUSSIAN, 1) - 1.8045) < 1e-3
    symmetric = (GAUSSIAN + GAUSSIAN.T) / 2
    assert abs(norm_of_power(symmetric, 1) - largest_eigenvalue(symmetric)) < RIGHT
    assert spectra.departure(symmetric) < 1e-6 < 1 < spectra.departure(GAUSSIAN)
    pair = np.linalg.eigvals(0.9 * np.array([[0.0, -1.0], [1.0, 0.0]]))
    assert not pair.real.any()  # neither is the larger one


def test_E02_a_singular_value_above_one_need_not_explode():
    torch.manual_seed(0)
    default = torch.nn.RNN(128, 128, dtype=torch.float64).weight_hh_l0.detach().numpy()
    for W, n, small in ((WIDE, 50, 1e-12), (GAUSSIAN, 200, 1e-6), (default, 100, 1e-20)):
        assert norm_of_power(W, 1) > 1 and norm_of_power(W, n) < small
        assert off(np.exp(spectra.growth(W, n)[n]), norm_of_power(W, n)) < 1e-9
    assert [f"{norm_of_power(WIDE, n):.3g}" for n in (1, 2, 3, 5, 10)] == ["10", "10", "7.5", "3.13", "0.195"]
    assert norm_of_power(0.99 * GAUSSIAN / norm_of_power(GAUSSIAN, 1), 500) < 0.99**500  # below one it must vanish


def test_E03_the_modulus_decides():
    for w in (-2.0, -1.1):
        assert w < 1 and norm_of_power(np.array([[w]]), 100) > 1e4
    assert norm_of_power(np.array([[0.99]]), 5000) < 1e-20  # less than one, and not by much
    jordan = np.array([[1.0, 1.0], [0.0, 1.0]])
    assert [round(norm_of_power(jordan, n)) for n in (10, 100, 1000)] == [10, 100, 1000]
    assert tiny(-2, 10) == [0, 0, 0]
    assert abs(tiny(-2, 10, phi=lambda a: a)[0] - 2 * (-2) ** 10) < 1e-9


def test_E04_eigenvalues_of_the_factors_say_nothing():
    mutual, x = RNNParams(np.eye(2), np.array([[0.0, 2.0], [2.0, 0.0]]), np.zeros(2)), np.zeros((20, 1, 2))
    x[::2, 0, 0] = x[1::2, 0, 1] = -1e9
    J = jacobians.steps(unroll.forward(cells.rnn("relu"), mutual, x, np.ones(2))[2])
    cell, inputs = [torch.tensor(part) for part in mutual], torch.tensor(x[:, 0])
    oracle = torch.autograd.functional.jacobian(
        lambda h: roll([cell] * 20, inputs, h, "relu")[-1], torch.ones(2, dtype=torch.float64)
    )
    assert max(map(largest_eigenvalue, J[:, 0])) == 0
    assert off(jacobians.product(J, 0, 20)[0], oracle) == 0 and np.linalg.norm(oracle, 2) == 1_048_576
    wide, tall = np.diag([2.0, 0.1]), np.diag([0.1, 2.0])
    assert largest_eigenvalue(wide) == largest_eigenvalue(tall) == 2 and norm_of_power(wide @ tall, 10) < 2e-7
    rates = lyapunov.exponents(np.array([wide, tall] * 50)[:, None])[0]
    assert off(rates, np.full(2, np.log(0.2) / 2)) < 0.02 and (rates < 0).all()


def test_E12_prediction_minus_target():
    target, w, L = 3.0, 0.1, 2
    oracle = tiny(w, L, target=target)[2]
    assert abs(2 * (w**L - target) * w**L - oracle) < RIGHT
    assert abs(2 * (target - w**L) * w**L + oracle) < RIGHT  # as printed: the other sign


def test_E13_the_zeros_are_rounding_and_no_gradient():
    assert tiny(10, 10, torch.float32) == [0, 0, 0]
    assert off(tiny(10, 10), [2e10, 2e10, 2e10]) < 1e-9
    prediction = np.float32(1e10)
    assert prediction - np.float32(1) == prediction and np.spacing(prediction) == 1024
    for dtype, first in ((torch.float32, 8), (torch.float64, 16)):
        assert any(tiny(10, first - 1, dtype)) and not any(tiny(10, first, dtype))


def test_E14_the_gradient_by_the_recurrent_weight_grows():
    assert [tiny(1, L, torch.float32) for L in (1, 5, 10)] == [[2, 2 * L, 2] for L in (1, 5, 10)]


def test_O11_a_stable_subspace_feels_no_explosion():
    A, start, readout_row = np.diag([0.5, 2.0]), np.array([1.0, 0.0]), np.array([[1.0, 0.0]])
    power = np.linalg.matrix_power(A, 50)
    assert norm_of_power(A, 50) > 1e15
    assert np.linalg.norm(power @ start) < 1e-14 and np.linalg.norm(readout_row @ power) < 1e-14
    general = np.array([1.0, 1e-6])  # almost any other state is lost to the growing direction
    assert np.linalg.norm(power @ general) > 1e8


def test_O12_near_losses_hide_that_far_credit_is_gone():
    W, every = 0.5 * np.eye(2), np.ones((60, 1, 2))
    far = np.where(np.arange(60)[:, None, None] == 59, every, 0)
    tape = unroll.forward(cells.rnn("identity"), RNNParams(np.zeros((2, 1)), W, np.zeros(2)), np.zeros((60, 1, 1)))[2]
    ours = [np.linalg.norm(unroll.backward(tape, g).hidden[0]) for g in (every, far)]
    h = first = torch.zeros(2, dtype=torch.float64, requires_grad=True)  # h_1
    losses_at = [h.sum()]
    for _ in range(59):
        h = torch.tensor(W) @ h
        losses_at.append(h.sum())
    oracle = [
        torch.autograd.grad(part, first, retain_graph=True)[0].norm().item() for part in (sum(losses_at), h.sum())
    ]
    assert off(ours, oracle) < RIGHT and abs(ours[1] / oracle[1] - 1) < RIGHT
    assert abs(ours[0] - 2.83) < 0.01 and ours[1] < 1e-17


def test_H03_without_a_start_there_is_no_gradient():
    assert tiny(10, 5, h_0=0.0)[1:] == [0, 0]
    assert tiny(10, 5, h_0=0.0, phi=lambda a: a)[1:] == [0, 0]
    slides_cell = tiny(10, 10, phi=torch.tanh)  # the formula says 2e10
    assert max(map(abs, slides_cell[:2])) < 1e-6


def test_H04_with_a_fixed_target_the_exponent_doubles():
    for L, expected in ((1, 2e2), (5, 2e10), (10, 2e20)):
        assert abs(tiny(10, L, target=0.0)[2] / expected - 1) < RIGHT
        assert abs(tiny(10, L)[2] / (2 * 10.0**L) - 1) < 1e-9


def test_T12_the_smallest_gradients_are_not_zero():
    found = tiny(0.1, 10, torch.float32)
    assert [f"{d:6.6f}" for d in found] == ["0.000000"] * 3
    assert off(found, [2e-10, 2e-8, 2e-10]) < 1e-5 and min(found) > np.finfo(np.float32).tiny


# Chapter 06: remedies


def test_E10_an_irnn_asks_for_the_whole_preactivation():
    rng = np.random.default_rng(2)
    cell = starts.identity(rng, 1000, 1000)._replace(input_weights=np.eye(1000))
    x = 0.5 * rng.standard_normal((20, 1, 1000))
    _, _, tape = unroll.forward(cells.rnn("relu"), cell, x)
    J, wrong = jacobians.slopes(tape)[:, 0], []
    for t in range(20):
        before = torch.tensor(tape.hidden[t, 0], requires_grad=True)  # its Jacobian is diagonal: ask for the row sums
        oracle = torch.autograd.grad(torch.relu(before + torch.tensor(x[t, 0])).sum(), before)[0].numpy()
        assert np.array_equal(J[t], oracle)
        assert np.array_equal(oracle, tape.hidden[t, 0] + x[t, 0] > 0)
        wrong.append(np.mean(oracle != (x[t, 0] > 0)))
    assert wrong[0] == 0 and 0.25 < np.mean(wrong[1:]) < 0.4
    h = torch.tensor(1.0, requires_grad=True)
    assert torch.autograd.grad(torch.relu(h - 0.1), h)[0] == 1.0  # printed: [-0.1 > 0] = 0


def test_E11_one_threshold_says_when_and_to_what_length():
    def printed(g, eta, gamma):
        return gamma / np.linalg.norm(g) * g if np.linalg.norm(g) > eta else g

    for eta, gamma in [(5.0, 1.0), (1.0, 5.0)]:
        below, above = np.array([0.6, 0.8]) * eta * 0.999999, np.array([0.6, 0.8]) * eta * 1.000001
        jump = np.linalg.norm(printed(above, eta, gamma)) / np.linalg.norm(printed(below, eta, gamma))
        assert off(jump, gamma / eta) < 1e-5
        ours = np.linalg.norm(optim.clip_by_norm(above, eta)) / np.linalg.norm(optim.clip_by_norm(below, eta))
        assert off(ours, 1.0) < 1e-5
    leaf = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    for g, length in [([30.0, 40.0], 5.0), ([0.3, 0.4], 0.5)]:
        leaf.grad = torch.tensor(g, dtype=torch.float64)
        torch.nn.utils.clip_grad_norm_([leaf], 5.0)
        assert off(leaf.grad, optim.clip_by_norm(np.array(g), 5.0)) < 1e-6
        assert off(np.linalg.norm(leaf.grad), length) < 1e-6
    some = np.array([[3.0, 4.0], [0.0, 1.0], [-1.0, 0.0]])  # and it is biased, as the notes say
    mean = some.mean(axis=0)
    clipped = np.mean([optim.clip_by_norm(g, 1.0) for g in some], axis=0)
    assert clipped[0] < 0 < mean[0] and off(clipped, optim.clip_by_norm(mean, 1.0)) > 0.3


def far_derivative(activation, scale, H=64, steps=100):
    """Norm of dh_T/dh_0 by torch, for an orthogonal matrix and random inputs."""
    W = torch.tensor(params.orthogonal(np.random.default_rng(0), H))
    h, J = torch.zeros(H, dtype=torch.float64), torch.eye(H, dtype=torch.float64)
    for x in torch.tensor(scale * np.random.default_rng(1).standard_normal((steps, H))):
        a = (W @ h + x).requires_grad_()
        new = {"tanh": torch.tanh, "sigmoid": torch.sigmoid, "identity": lambda a: 1.0 * a}[activation](a)
        J = torch.autograd.grad(new.sum(), a)[0][:, None] * (W @ J)
        h = new.detach()
    return float(torch.linalg.matrix_norm(J, 2))


def test_O09_orthogonal_matrices_keep_the_paths_of_linear_units_alone():
    assert off(far_derivative("identity", 0.5), 1.0) < RIGHT
    assert 1e-13 < far_derivative("tanh", 0.5) < 1e-9
    assert 0.5 < far_derivative("tanh", 0.01) < 0.9
    assert far_derivative("sigmoid", 0.5) < 1e-60


def test_O10_newton_goes_uphill_where_damped_gauss_newton_arrives():
    def at(w):
        leaf = torch.tensor(w, dtype=torch.float64, requires_grad=True)
        residual = leaf**10 - 1
        (slope,) = torch.autograd.grad(residual, leaf, retain_graph=True)
        (gradient,) = torch.autograd.grad(residual**2, leaf, create_graph=True)
        (curvature,) = torch.autograd.grad(gradient, leaf)
        return [float(part) for part in (residual, slope, gradient, curvature)]

    r, R, g, curvature = at(0.1)
    assert g < 0 and curvature < 0 and -g / curvature < -0.01  # the goal lies at +1
    assert -r / R > 1e7
    w = 0.1
    for _ in range(200_000):
        w -= 0.01 * 20 * w**9 * (w**10 - 1)
    assert abs(w - 0.1) < 1e-4
    w, damping, trials = 0.1, 1.0, 0
    while (w**10 - 1) ** 2 > 1e-6:
        r, R, _, _ = at(w)
        there = w + float(gauss_newton.step(np.array([r]), np.array([[R]]), damping)[0])
        better = (there**10 - 1) ** 2 < (w**10 - 1) ** 2
        w, damping, trials = (there, damping / 10, trials + 1) if better else (w, damping * 10, trials + 1)
        assert trials < 100
    assert trials == 27


# Chapter 07: the LSTM


def lstm_problem(T=5):
    """One sequence through a random LSTM: parameters, inputs, the tape, and what a step saved, in words."""
    p = draw_problem(LSTMParams, gates=4, states=2, seed=4, T=T, B=1, D=2, H=3, scale=0.9)
    p.start = (np.zeros(3), np.zeros(3))
    p.tape = unroll.forward(lstm.plain(), p.params, p.x, p.start)[2]
    gates, p.before, p.seen = (np.array(arrays)[:, 0] for arrays in zip(*p.tape.saved, strict=True))
    p.i, p.f, p.new, p.o = np.split(gates, 4, axis=1)
    p.J = dense_jacobians(p, cell_oracles.lstm)
    return p


def bracket(p, t, rows=False):
    """dc_t/dc_{t-1} of one step, o_{t-1} held fixed; t counts from 0. As printed, it scales the rows."""
    shown, C = p.o[t - 1] * (1 - p.seen[t - 1] ** 2), p.J[t][3:, :3]
    return np.diag(p.f[t]) + (shown[:, None] * C if rows else C * shown)


def memory_from(p, tau, t):
    """dc_t/dc_tau by autograd, h_tau = o_tau tanh(c_tau) following along; steps from 0."""
    params = [torch.tensor(array) for array in p.params]

    def run(c):
        state = torch.tensor(p.o[tau]) * c.tanh(), c
        for x in torch.tensor(p.x[tau + 1 : t + 1, 0]):
            state = cell_oracles.lstm(params, x, state)
        return state[1]

    return torch.autograd.functional.jacobian(run, torch.tensor(np.arctanh(p.seen[tau]))).numpy()


def test_E07_the_diagonal_scales_columns():
    p = lstm_problem()
    for t in range(1, 5):
        oracle = memory_from(p, t - 1, t)
        assert off(bracket(p, t), oracle) < 1e-11
        assert off(bracket(p, t, rows=True), oracle) > 0.01
    # and as a whole: dc_T/dW_c forwards, equations (20) and (21)
    W_h, size = p.params.recurrent_weights, 3 * 3
    found = {}
    for rows in (False, True):
        d_c, d_o = np.zeros((3, size)), np.zeros((3, size))
        for t in range(5):
            to_o = (p.o[t] * (1 - p.o[t]))[:, None] * W_h[9:]
            C, squashed = p.J[t][3:, :3], np.tanh(p.before[t])
            old = p.o[t - 1] if t else np.zeros(3)
            S, shown = np.diag(old * (1 - squashed**2)), np.diag(squashed)
            here = np.zeros((3, 3, 3))
            here[range(3), range(3)] = p.tape.hidden[t, 0]
            here = ((p.i[t] * (1 - p.new[t] ** 2))[:, None, None] * here).reshape(3, size)
            through, beside = (S @ C, shown @ C) if rows else (C @ S, C @ shown)
            d_c, d_o = (np.diag(p.f[t]) + through) @ d_c + beside @ d_o + here, to_o @ (S @ d_c + shown @ d_o)
        found[rows] = d_c
    W_x, W, b = (torch.tensor(array) for array in p.params)

    def last(candidate):
        state = tuple(map(torch.tensor, p.start))
        for x in torch.tensor(p.x[:, 0]):
            state = cell_oracles.lstm((W_x, torch.cat([W[:6], candidate, W[9:]]), b), x, state)
        return state[1]

    oracle = torch.autograd.functional.jacobian(last, W[6:9]).numpy().reshape(3, size)
    assert off(found[False], oracle) < RIGHT and off(found[True], oracle) > 0.01


def test_E08_no_factor_gives_both_its_gates():
    tau, t = 1, 4
    picks = itertools.product(*([("f", l + 1), ("o", l)] for l in range(tau, t)))
    terms = [frozenset(pick) for pick in picks]
    assert len(terms) == 8 and frozenset({("f", 2), ("f", 3), ("f", 4)}) in terms  # the one not mentioned

    def occurs(*gates):
        return any(set(gates) <= term for term in terms)

    for i in range(tau + 1, t):
        below, kept = [("o", l) for l in range(tau, i + 1)], [("f", l) for l in range(tau + 1, i + 1)]
        assert not occurs(("f", i + 1), *below) and occurs(("f", i + 1), *below[:-1])
        assert not occurs(("o", tau), *kept) and occurs(("o", tau), *kept[1:])


def test_E09_the_memory_is_not_bounded_by_one():
    wide = LSTMParams(np.zeros((4, 1)), np.zeros((4, 1)), np.full(4, 20.0))
    _, (h, c), _ = unroll.forward(lstm.plain(), wide, np.zeros((50, 1, 1)))
    assert 49.99 < c.item() < 50 and h.item() <= 1
    torch.manual_seed(3)
    layer, x = torch.nn.LSTM(4, 8, dtype=torch.float64), 3 * torch.randn(2000, 1, 4, dtype=torch.float64)
    _, _, tape = unroll.forward(lstm.plain(), bridge_gates.lstm_from_torch(layer), x.numpy())
    largest = max(np.abs(before).max() for _, before, _ in tape.saved)
    assert largest > 2 and np.abs(tape.hidden).max() < 1
    assert off(tape.hidden[1:], layer(x)[0].detach()) < RIGHT  # it is torch's network
    assert torch.nn.GRU(4, 8, dtype=torch.float64)(x)[0].abs().max() < 1


def test_O01_without_a_forget_bias_gradients_vanish():
    def left(kind, bias=None, T=100):
        torch.manual_seed(0)
        layer, x = kind(8, 64, dtype=torch.float64), torch.randn(T, 1, 8, dtype=torch.float64, requires_grad=True)
        if bias is not None:
            with torch.no_grad():
                layer.bias_ih_l0[64:128], layer.bias_hh_l0[64:128] = bias, 0
        lengths = torch.autograd.grad(layer(x)[0][-1].square().sum(), x)[0][:, 0].norm(dim=1)
        return (lengths[0] / lengths[-1]).item()

    assert left(torch.nn.RNN) < 1e-20 and left(torch.nn.LSTM) < 1e-18
    assert 1e-12 < left(torch.nn.LSTM, 1.0) < 1e-6 and left(torch.nn.LSTM, 5.0) > 0.1


def test_O02_shut_forget_gates_do_not_stop_an_explosion():
    W = np.linalg.qr(np.random.default_rng(0).standard_normal((8, 8)))[0]

    def size(f, o, steps):
        params = LSTMParams(np.zeros((32, 1)), np.zeros((32, 8)), np.repeat([30.0, f, 0.0, o], 8))
        params.recurrent_weights[16:24] = 2 * W
        start = (np.full(8, 1e-5) if o > 0 else np.zeros(8)), np.full(8, 1e-5)
        tape = unroll.forward(lstm.plain(), params, np.zeros((steps, 1, 1)), start)[2]
        J = np.linalg.multi_dot(state_jacobians.steps(tape)[::-1, 0])
        return np.linalg.norm(J[8:] @ np.vstack([np.eye(8) * (o > 0), np.eye(8)]), 2)  # h follows c at the start

    assert 500 < size(-30.0, 30.0, 10) < 1100 and abs(size(30.0, -30.0, 100) - 1) < 1e-6


def test_O03_the_product_of_brackets_leaves_out_the_output_gate():
    p = lstm_problem()
    product = np.eye(3)
    errors = []
    for tau in (3, 2, 1, 0):
        product = product @ bracket(p, tau + 1)
        errors.append(off(product, memory_from(p, tau, 4)))
    assert errors[0] < 1e-11 and min(errors[1:]) > 0.01


def test_O04_forget_gates_up_to_one_bound_nothing():
    almost = np.log(0.999 / 0.001)
    params = LSTMParams(np.zeros((4, 1)), np.zeros((4, 1)), np.array([almost, 40.0, np.arctanh(0.999), 0.0]))
    c = unroll.forward(lstm.plain(), params, np.zeros((1000, 1, 1)))[1][1].item()
    assert abs(c - 998.001) < 1e-6
    params.bias[1] = np.log(0.9 / 0.1)
    assert unroll.forward(lstm.plain(), params, np.zeros((1000, 1, 1)))[1][1].item() < 10


def test_C04_blocks_in_another_order_are_another_network():
    torch.manual_seed(0)
    layer, x = torch.nn.LSTM(2, 3, dtype=torch.float64), torch.randn(6, 1, 2, dtype=torch.float64)
    oracle = layer(x)[0].detach()
    params = bridge_gates.lstm_from_torch(layer)
    assert off(unroll.forward(lstm.plain(), params, x.numpy())[0], oracle) < RIGHT
    swapped = LSTMParams(*(array.reshape(4, 3, -1)[[1, 0, 2, 3]].reshape(array.shape) for array in params))
    assert off(unroll.forward(lstm.plain(), swapped, x.numpy())[0], oracle) > 0.01


def sigmoid_candidate(steps=2000, size=6):
    """Linderman's equations, no biases, from zero: the memories and the outputs."""
    rng = np.random.default_rng(0)
    W, B, x = rng.standard_normal((4, size, size)), rng.standard_normal((4, size, 3)), rng.standard_normal((steps, 3))
    h, c, memories, outputs = np.zeros(size), np.zeros(size), [], []
    for x_t in x:
        f, g, i, o = activations.sigmoid(W @ h + B @ x_t)
        c = f * c + g * i
        h = o * np.tanh(c)
        memories.append(c)
        outputs.append(h)
    return np.array(memories), np.array(outputs)


def test_C05_with_a_sigmoid_candidate_nothing_is_subtracted():
    memories, _ = sigmoid_candidate()
    assert memories.min() > 0 and memories.max() > 1
    p = lstm_problem(T=50)
    assert p.before.min() < -0.1  # the cell with tanh goes below zero


def test_T08_with_a_sigmoid_candidate_outputs_are_not_negative():
    _, outputs = sigmoid_candidate()
    assert outputs.min() >= 0 and outputs.max() < 1


# Chapter 08: GRU, depth, both directions


def gru_by_hand(params, x, update, reset):
    """One sequence, T steps, the equations as the sources print them; blocks r, z, n."""
    W_x, W_h, b = params
    H = W_h.shape[1]
    (W_r, W_z, W_n), h, states = W_h.reshape(3, H, H), np.zeros(H), []
    for now in x:
        a_r, a_z, a_n = (W_x @ now + b).reshape(3, H)
        r, z = (1 / (1 + np.exp(-a)) for a in (a_r + W_r @ h, a_z + W_z @ h))
        n = np.tanh(a_n + (r * (W_n @ h) if reset == "after" else W_n @ (r * h)))
        h = z * h + (1 - z) * n if update == "keep" else (1 - z) * h + z * n
        states.append(h)
    return np.array(states)


def drawn_gru(seed=0, D=3, H=5, T=6):
    rng = np.random.default_rng(seed)
    return tuple(rng.standard_normal(s) for s in [(3 * H, D), (3 * H, H), (3 * H,)]), rng.standard_normal((T, D))


def torch_gru(params, x):
    """The states of torch.nn.GRU with these weights, its second bias zero."""
    W_x, W_h, b = (torch.tensor(part) for part in params)
    layer = torch.nn.GRU(W_x.shape[1], W_h.shape[1], dtype=torch.float64)
    with torch.no_grad():
        for own, value in zip(layer.parameters(), (W_x, W_h, b, 0 * b), strict=True):
            own.copy_(value)
        return layer(torch.tensor(x))[0].numpy()


def test_O06_three_quarters_of_the_parameters_is_no_statement_about_time():
    for D, H in [(128, 128), (256, 512)]:
        sizes = [sum(w.numel() for w in kind(D, H).parameters()) for kind in (torch.nn.GRU, torch.nn.LSTM)]
        assert sizes[0] / sizes[1] == 0.75
    timing = records.load("gru_or_lstm")["timing"]
    ratios = {row["onednn"]: [] for row in timing}
    for row in timing:
        ratios[row["onednn"]].append(row["gru"] / row["lstm"])
    assert max(ratios[False]) < 1 and min(np.subtract(ratios[True], ratios[False])) > 0.1  # the program decides


def test_O07_an_lstm_without_its_output_gate_is_no_gru():
    D = H = 128
    block = H * (D + H + 2)
    lstm, gru = (sum(w.numel() for w in kind(D, H).parameters()) for kind in (torch.nn.LSTM, torch.nn.GRU))
    assert (lstm, gru) == (4 * block, 3 * block)
    assert lstm - block == gru  # the count is the same; what is computed is not: that cell counts, a GRU cannot
    cell = 0.0
    for _ in range(1000):
        cell = 1.0 * cell + 1.0 * np.tanh(20.0)  # forget and input gate open
    assert cell > 999
    params, x = drawn_gru()
    assert np.abs(gru_by_hand(params, np.tile(20 * x, (200, 1)), "write", "before")).max() <= 1


def test_O08_a_second_direction_moves_the_problem_to_the_middle():
    torch.manual_seed(0)
    layer = torch.nn.RNN(4, 32, bidirectional=True, dtype=torch.float64)
    x = torch.randn(60, 1, 4, dtype=torch.float64, requires_grad=True)
    out = layer(x)[0][:, 0]

    def lengths(vector):
        grads = [torch.autograd.grad(entry, x, retain_graph=True)[0][:, 0] for entry in vector]
        return torch.stack(grads, 1).flatten(1).norm(dim=1).numpy()

    one, other = lengths(out[-1, :32]), lengths(out[0, 32:])
    both = np.hypot(one, other)
    assert one[0] < 1e-14 < 0.1 < both[0]  # the beginning is cured
    assert both[30] < 1e-6 and both[30] < 100 * one[30]  # the middle is not
    per_step = lengths(out[-1])
    assert per_step[0] == one[0]  # the output of the last step: not at all
    assert lengths(out[29])[30] > 0.1  # and step 30 has seen input 31


def test_C02_negating_the_gate_maps_one_form_to_the_other():
    params, x = drawn_gru()
    swapped = tuple(part.copy() for part in params)
    for part in swapped:
        part[5:10] *= -1
    right = torch_gru(params, x)
    assert off(gru_by_hand(swapped, x, "write", "after"), right) < RIGHT
    assert off(gru_by_hand(params, x, "write", "after"), right) > 0.1
    assert off(gru_by_hand(swapped, x, "write", "before"), gru_by_hand(params, x, "keep", "before")) < RIGHT


def test_C03_the_two_resets_are_different_functions():
    (W_x, W_h, b), x = drawn_gru()
    right = torch_gru((W_x, W_h, b), x)
    assert off(gru_by_hand((W_x, W_h, b), x, "keep", "after"), right) < RIGHT
    assert off(gru_by_hand((W_x, W_h, b), x, "keep", "before"), right) > 0.03
    W_h[10:] = np.diag(np.diag(W_h[10:]))
    assert off(gru_by_hand((W_x, W_h, b), x, "keep", "before"), torch_gru((W_x, W_h, b), x)) < RIGHT


def test_C14_a_linear_readout_between_levels_is_a_matrix_of_low_rank():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((7, 3))
    lower = [rng.standard_normal(s) for s in [(5, 3), (5, 5), (5,)]]
    W_x, W_h, b = (rng.standard_normal(s) for s in [(5, 2), (5, 5), (5,)])
    W_y, b_y = rng.standard_normal((2, 5)), rng.standard_normal(2)

    def states(W_x, W_h, b, rows):
        h, found = np.zeros(len(b)), []
        for row in rows:
            h = np.tanh(W_x @ row + W_h @ h + b)
            found.append(h)
        return np.array(found)

    below = states(*lower, x)
    printed = states(W_x, W_h, b, below @ W_y.T + b_y)
    assert off(states(W_x @ W_y, W_h, b + W_x @ b_y, below), printed) < RIGHT
    torch_layer = torch.nn.RNN(3, 5, num_layers=2, dtype=torch.float64)
    with torch.no_grad():
        values = [*lower, 0 * lower[2], W_x @ W_y, W_h, b + W_x @ b_y, 0 * b]
        for own, value in zip(torch_layer.parameters(), values, strict=True):
            own.copy_(torch.tensor(value))
        assert off(torch_layer(torch.tensor(x[:, None]))[0][:, 0].numpy(), printed) < RIGHT


def filtered_by_hand(A, C, Q, R, m, V, ys):
    """Means and variances after each look, by predict and update, for numbers or matrices."""
    found = []
    for y in ys:
        p, P = A @ m, A @ V @ A.T + Q
        K = P @ C.T @ np.linalg.inv(C @ P @ C.T + R)
        m, V = p + K @ (y - C @ p), P - K @ C @ P
        found.append((m, V, p, P))
    return found


def test_C08_both_forms_are_the_same_filter():
    rng = np.random.default_rng(0)
    A, C = 0.7 * rng.standard_normal((3, 3)), rng.standard_normal((2, 3))
    Q, R, V = 0.3 * np.eye(3), 0.2 * np.eye(2), np.eye(3)
    ys = rng.standard_normal((6, 2))
    z, S = np.zeros(3), A @ V @ A.T + Q
    for y, (_, _, p, P) in zip(ys, filtered_by_hand(A, C, Q, R, np.zeros(3), V, ys), strict=True):
        assert np.allclose(z, p, rtol=RIGHT, atol=RIGHT)
        assert off(S, P) < RIGHT
        K = S @ C.T @ np.linalg.inv(C @ S @ C.T + R)  # the slide's first recursion, as printed
        z, S = A @ z + A @ K @ (y - C @ z), A @ (S - K @ C @ S) @ A.T + Q


def test_H11_em_with_the_filters_moments_finds_another_system():
    """EM for one number, the slope of a scalar system, with dense conditioning in the place of any recursion."""
    rng, a, T, B = np.random.default_rng(0), 0.9, 30, 200
    z = rng.standard_normal(B) * np.sqrt(0.5 / 0.19)
    ys = []
    for _ in range(T):
        z = a * z + np.sqrt(0.5) * rng.standard_normal(B)
        ys.append(z + np.sqrt(2.0) * rng.standard_normal(B))
    ys = np.array(ys)

    def covariance(a):
        variances = [0.5 / 0.19]
        for _ in range(T):
            variances.append(a * a * variances[-1] + 0.5)
        steps = np.arange(T + 1)
        early = np.minimum(steps[:, None], steps)
        return a ** np.abs(steps[:, None] - steps) * np.array(variances)[early]

    def likelihood(a):
        S = covariance(a)[1:, 1:] + 2 * np.eye(T)
        return -0.5 * (ys * np.linalg.solve(S, ys)).sum() - 0.5 * B * np.linalg.slogdet(S)[1]

    def regression(a, last):
        """The slope from sums of z_t z_{t-1} and z_{t-1}^2, each pair given the outputs up to ``last(t)``."""
        S, cross, square = covariance(a), 0.0, 0.0
        for t in range(1, T + 1):
            seen = slice(1, last(t) + 1)
            gain = np.linalg.solve(S[seen, seen] + 2 * np.eye(last(t)), S[seen, t - 1 : t + 1]).T
            m, V = gain @ ys[: last(t)], S[t - 1 : t + 1, t - 1 : t + 1] - gain @ S[seen, t - 1 : t + 1]
            old, V_old = m[0], V[0, 0]
            if last(t) == t:  # the filter's moment of the older state is that of its own step
                seen = slice(1, t)
                gain = np.linalg.solve(S[seen, seen] + 2 * np.eye(t - 1), S[seen, t - 1]) if t > 1 else np.zeros(0)
                old, V_old = gain @ ys[: t - 1], S[t - 1, t - 1] - gain @ S[seen, t - 1]
            cross, square = cross + (m[1] * old).sum() + B * V[0, 1], square + (old**2).sum() + B * V_old
        return cross / square

    smooth = wrong = 0.5
    for _ in range(40):
        smooth, wrong = regression(smooth, lambda t: T), regression(wrong, lambda t: t)
    grid = np.linspace(0.6, 0.99, 79)
    best = grid[np.argmax([likelihood(a) for a in grid])]
    assert abs(smooth - best) < 0.01
    assert wrong < 0.8 < best


def test_O14_the_covariance_is_right_without_gaussian_noise():
    rng, many = np.random.default_rng(0), 40_000
    one = np.ones((1, 1))
    z, ys = np.zeros(many), []
    for _ in range(20):
        z = 0.9 * z + rng.laplace(0, np.sqrt(0.5), many)
        ys.append(z + rng.laplace(0, np.sqrt(0.5), many))
    m, V, *_ = filtered_by_hand(0.9 * one, one, one, one, np.zeros((1, many)), 0 * one, np.array(ys)[:, None])[-1]
    error = z - m[0]
    kurtosis = (error**4).mean() / (error**2).mean() ** 2
    assert kurtosis > 3.3  # not Gaussian, and yet:
    assert abs((error**2).mean() / V[0, 0] - 1) < 4 * np.sqrt((kurtosis - 1) / many)


def test_E19_the_past_point_predicts_worse():
    """A hundred random tanh networks side by side, the filter written out; the same outputs for both."""
    rng, n = np.random.default_rng(0), 100
    A, C = 1.6 * np.linalg.qr(rng.standard_normal((n, 4, 4)))[0], 1.2 * rng.standard_normal((n, 2, 4))
    z, ys = np.zeros((n, 4, 1)), []
    for _ in range(200):
        z = np.tanh(A @ z) + np.sqrt(0.05) * rng.standard_normal((n, 4, 1))
        ys.append(np.tanh(C @ z) + np.sqrt(0.05) * rng.standard_normal((n, 2, 1)))
    lost = {}
    for lag in (False, True):
        m = old = np.zeros((n, 4, 1))
        V, total = np.eye(4), 0.0
        for y in ys:
            F = (1 - np.tanh(A @ (old if lag else m)) ** 2) * A
            p, P = np.tanh(A @ m), F @ V @ F.mT + 0.05 * np.eye(4)
            H = (1 - np.tanh(C @ p) ** 2) * C
            S, e = H @ P @ H.mT + 0.05 * np.eye(2), y - np.tanh(C @ p)
            K = P @ H.mT @ np.linalg.inv(S)
            total += 0.5 * ((e.mT @ np.linalg.solve(S, e))[:, 0, 0] + np.linalg.slogdet(2 * np.pi * S)[1])
            old, m, V = m, p + K @ e, P - K @ H @ P
        lost[lag] = total / 200
    gap = lost[True] - lost[False]
    assert (gap > 0).sum() > 70 and np.median(gap) > 0.1  # a few networks lose or gain much: the mean is not steady


def test_E19_a_line_needs_its_constant():
    A = 1.6 * np.linalg.qr(np.random.default_rng(1).standard_normal((4, 4)))[0]
    at = 0.4 * np.ones(4)
    slope, near = np.diag(1 - np.tanh(A @ at) ** 2) @ A, at + 0.01
    right = np.abs(np.tanh(A @ near) - np.tanh(A @ at) - slope @ (near - at)).max()
    assert np.abs(np.tanh(A @ near) - slope @ near).max() > 100 * right


def test_H08_noise_on_a_softmax_is_no_distribution():
    rng = np.random.default_rng(0)
    logits = rng.standard_normal((1000, 5))
    y = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True) + 0.1 * rng.standard_normal((1000, 5))
    assert (y < 0).any(axis=1).mean() > 0.3 and np.abs(y.sum(axis=1) - 1).mean() > 0.1


def test_H10_a_roll_out_without_noise_is_not_the_model():
    rng, a = np.random.default_rng(5), 0.95
    z, ys = np.zeros(2000), []
    for _ in range(100):
        z = a * z + rng.standard_normal(2000)
        ys.append(z + rng.standard_normal(2000))
    m, P, errors = np.zeros(2000), 1.0, []
    for y in ys:
        errors.append(((y - m) ** 2).mean())
        K = P / (P + 1)
        m, P = a * (m + K * (y - m)), a * a * (1 - K) * P + 1
    roll_out = np.mean([((y - y.mean()) ** 2).mean() for y in ys[-20:]])  # no constant does better than the mean
    assert roll_out > 4 * np.mean(errors[-20:])
    assert abs(roll_out / (1 / (1 - a * a) + 1) - 1) < 0.05


def coin(apart, T=200, B=4, seed=1):
    """Two hidden states that emit three symbols, more or less alike; a sample, and a start beside the truth."""
    C = np.full((2, 3), 1 / 3) + apart * np.array([[0.45, -0.15, -0.3], [-0.3, -0.15, 0.45]])
    true = HMMParams(np.array([0.5, 0.5]), np.array([[0.9, 0.1], [0.2, 0.8]]), Categorical(C))
    x = processes.hmm(np.random.default_rng(seed), *true[:2], C, T, B).observations
    rows = np.random.default_rng(seed + 1).dirichlet(np.full(3, 5.0), 2)
    start = HMMParams(true.start, np.array([[0.7, 0.3], [0.4, 0.6]]), Categorical(0.5 * C + 0.5 * rows))
    return x, start


def dot(one, other):
    return sum(
        (a * b).sum() for (_, a), (_, b) in zip(params.named_arrays(one), params.named_arrays(other), strict=True)
    )


def test_E17_without_its_centre_the_gradient_goes_downhill():
    x, start = coin(1.0)
    best, _ = baum_welch.fit(start, x, steps=2000)
    _, printed = hmm_gradient.free(best, x)
    _, right = hmm_gradient.centred(best, x)
    assert abs(right.transition).max() < 1e-6 < 100 < abs(printed.transition).max()
    scores = hmm_gradient.scores(best)

    def value(direction, size):
        moved = map_arrays(lambda s, d: s + size * d, scores, direction)
        return hmm.forward(hmm_gradient.model(moved), x)[0].sum()

    assert value(printed, 1e-2) < value(printed, 0) - 1
    # away from the optimum: the derivative along the printed direction, at points drawn at random
    rng, downhill = np.random.default_rng(0), 0
    for _ in range(100):
        point = HMMParams(
            *(rng.dirichlet(np.full(k, 0.5), n) for k, n in ((2, 1), (2, 2))),
            Categorical(rng.dirichlet(np.full(3, 0.5), 2)),
        )
        point = point._replace(start=point.start[0])
        downhill += dot(hmm_gradient.centred(point, x)[1], hmm_gradient.free(point, x)[1]) < 0
    assert 20 < downhill < 80


def evaluations(history, best, gap):
    return int(np.argmax(np.array(history) > best - gap)) if max(history) > best - gap else len(history)


def test_O05_where_states_overlap_em_crawls():
    for apart, slower in ((1.0, False), (0.45, True)):
        x, start = coin(apart, T=100, B=32)
        _, em = baum_welch.fit(start, x, steps=300)
        first = hmm_gradient.scores(start)
        sizes = [array.shape for _, array in params.named_arrays(first)]
        cuts = np.cumsum([np.prod(size, dtype=int) for size in sizes])[:-1]

        def negative(v, x=x, sizes=sizes, cuts=cuts):
            pi, P, C = (part.reshape(size) for part, size in zip(np.split(v, cuts), sizes, strict=True))
            try:
                value, g = hmm_gradient.centred(hmm_gradient.model(HMMParams(pi, P, Categorical(C))), x)
            except ValueError:  # a step so long that something seen became impossible
                return np.inf, np.zeros_like(v)
            return -value, -np.concatenate([array.ravel() for _, array in params.named_arrays(g)])

        start_vector = np.concatenate([array.ravel() for _, array in params.named_arrays(first)])
        newton = -np.array(lbfgs.minimise(negative, start_vector, 300).values)
        best = max(*em, *newton)
        ours, theirs = (evaluations(history, best, 0.1) for history in (em, newton))
        assert (ours > 4 * theirs) if slower else (ours < 4 * theirs)


def test_C09_one_message_is_the_other_a_step_later():
    x, start = coin(1.0, T=50, B=1)
    pi, P, (C,) = start
    message, seen = pi, [pi]  # as printed: the message of step t + 1 from that of step t
    for symbol in x[:, 0]:
        message = P.T @ (message * C[:, symbol] / (message @ C[:, symbol]))
        seen.append(message)
    tape = hmm.forward(start, x)[1]
    assert off(hmm.predicted(tape)[:, 0], np.array(seen[:-1])) < RIGHT
    assert off(tape.filtered[:, 0] @ P, np.array(seen[1:])) < RIGHT
    assert off(tape.filtered[:, 0], np.array(seen[:-1])) > 0.1


def test_E18_in_this_numbering_the_last_input_is_not_read():
    """h_{t+1} = f(h_t, x_t) with h_1 given: the derivatives of h_T and of h_{T+1} by x_T."""
    rng = np.random.default_rng(0)
    W, U = (torch.tensor(rng.standard_normal((3, 3))) for _ in range(2))
    x = torch.tensor(rng.standard_normal((T, 3)), requires_grad=True)
    h = [torch.zeros(3, dtype=torch.float64)]  # h_1
    for row in x:
        h.append(torch.tanh(W @ h[-1] + U @ row))
    printed, right = h[T - 1], h[T]  # the list begins at h_1
    (by_printed,), (by_right,) = (torch.autograd.grad(one.sum(), x, retain_graph=True) for one in (printed, right))
    assert not by_printed[-1].any() and by_printed[-2].norm() > 1e-3
    assert by_right[-1].norm() > 0.1


def chain(first, after):
    """A decoder that knows the symbol before and no more; rows of probabilities, a column for each symbol."""

    def step(tokens, state):
        (begun,) = state
        with np.errstate(divide="ignore"):
            return np.log(np.where(begun[:, None], after[tokens], first)), (np.ones_like(begun),)

    return step, (np.zeros(1, bool),)


def test_H06_without_an_end_every_length_has_mass_one():
    rng = np.random.default_rng(0)
    endless = rng.dirichlet(np.ones(3), 4)  # rows: before the first symbol, and after each of three
    for length in (1, 2, 3, 4):
        mass = 0.0
        for y in itertools.product(range(3), repeat=length):
            mass += np.prod([endless[0, y[0]], *(endless[1 + a, b] for a, b in itertools.pairwise(y))])
        assert mass == pytest.approx(1, abs=1e-12)
    ending = rng.dirichlet(np.ones(4), 4)  # the same with an end in column 0
    found = search.exhaustive(*chain(ending[0], ending), 9)
    left = ending[0, 1:] @ np.linalg.matrix_power(ending[1:, 1:], 8)
    assert np.exp(found.log_probabilities).sum() == pytest.approx(1 - left.sum(), abs=1e-12)
    for _ in range(2000):
        left = left @ ending[1:, 1:]
    assert left.sum() < 1e-12


def test_H17_the_mode_and_a_draw_are_two_things():
    """Two words for two steps, and then the end."""

    def step(tokens, state):
        (n,) = state
        if n[0] == 2:
            return np.log(np.tile([1.0, 1e-300, 1e-300], (len(n), 1))), (n + 1,)
        rows = np.array([[1e-300, 0.6, 0.4], [1e-300, 0.55, 0.45], [1e-300, 0.95, 0.05]])
        return np.log(rows[tokens]), (n + 1,)

    state = (np.zeros(1, int),)
    greedy, beam, every = (
        search.greedy(step, state, 3),
        search.beam(step, state, 2, 3),
        search.exhaustive(step, state, 3),
    )
    assert greedy.tokens[0, 0].tolist() == [1, 1, 0] and np.exp(greedy.log_probabilities) == pytest.approx(0.33)
    assert beam.tokens[0, 0].tolist() == every.tokens[0, 0].tolist() == [2, 1, 0]
    assert np.exp(beam.log_probabilities[0, 0]) == pytest.approx(0.38)
    many = 4000
    drawn = search.ancestral(step, (np.zeros(many, int),), np.random.default_rng(0).random((3, many)))
    of_mode = (drawn.tokens[:, 0] == [2, 1, 0]).all(axis=1).mean()
    assert abs(of_mode - 0.38) < 4 * (0.38 * 0.62 / many) ** 0.5


def test_H13_a_latent_that_says_nothing_is_an_optimum():
    """Four chains write sequences: a decoder that hears what came before needs no latent to be the mixture."""
    P = chains.favouring(3, 0.6, 0.2)
    total = 0.0
    for word in itertools.product(range(3), repeat=5):
        belief, log_p = np.full(3, 1 / 3), np.log(1 / 3)
        for a, b in itertools.pairwise(word):  # p(x_t | x_1..x_{t-1}), the cause worked out on the way
            log_p += np.log(belief @ P[:, a, b])
            belief = belief * P[:, a, b] / (belief @ P[:, a, b])
        tokens = np.array([*word, -1])[:, None] + 1
        assert log_p == pytest.approx(np.logaddexp.reduce(chains.log_joint(P, tokens))[0], abs=1e-12)
        total += np.exp(log_p)
    assert total == pytest.approx(1, abs=1e-12)
    # Readings of one level: ELBO = log p(x) both where z says all, at a price, and where it says nothing.
    T, rng = 6, np.random.default_rng(0)
    x, prior = rng.standard_normal(T) + 1, Diagonal(np.zeros(1), np.zeros(1))
    S = torch.tensor(np.ones((T, T)) + np.eye(T))
    exact = torch.distributions.MultivariateNormal(torch.zeros(T, dtype=torch.float64), S).log_prob(torch.tensor(x))
    deaf = bounds.linear(prior, x, np.zeros((T, 1)), np.zeros(T), np.ones((T, T)) + np.eye(T))
    note = Diagonal(np.array([x.sum() / (1 + T)]), np.array([-np.log(1.0 + T)]))
    told = bounds.linear(note, x, np.ones((T, 1)), np.zeros(T), np.eye(T))
    assert deaf == pytest.approx(float(exact), abs=1e-12) == told
    assert latent.kl(prior, prior) == 0 and latent.kl(note, prior) > 0.5
    # and from no other q does the deaf decoder gain
    for q in (note, Diagonal(np.ones(1), np.zeros(1))):
        assert bounds.linear(q, x, np.zeros((T, 1)), np.zeros(T), S.numpy()) < deaf - 0.1


def scalar_walk():
    """A system with A = 0.9, Q = 1, R = 1/2 that starts at zero; covariances of eight states, of eight outputs."""
    one = np.ones((1, 1))
    params = LDSParams(0.9 * one, np.zeros((1, 0)), one, one, one / 2, np.zeros(1), 0 * one)
    lower = np.array([[0.9 ** (t - s) if s <= t else 0.0 for s in range(8)] for t in range(8)])
    prior = lower @ lower.T
    return params, prior, prior + np.eye(8) / 2


def bound(prior, seen, W, s):
    """The mean of the bound over x, for means W x and variances s: the formula of the notes' (37), no library."""
    off = np.eye(8) - W
    fit = -4 * np.log(np.pi) - np.trace(off @ seen @ off.T) - s.sum()  # r = 1/2, so 2 pi r = pi
    P = np.linalg.inv(prior)
    kl = 0.5 * (np.diagonal(P) @ s + np.trace(P @ W @ seen @ W.T) - 8 + np.linalg.slogdet(prior)[1] - np.log(s).sum())
    return fit - kl


def test_H12_the_price_of_a_factorised_posterior():
    params, prior, seen = scalar_walk()
    right = -0.5 * (np.linalg.slogdet(2 * np.pi * seen)[1] + 8)  # the mean of log p(x)
    exact, gaps = posterior_families.posterior(params, 8), {}
    for window in ("all", "filter", "frame"):
        best = posterior_families.best(exact, posterior_families.visible(window, 8))
        gaps[window] = right - bound(prior, seen, best.weights, best.variances.ravel())
        assert gaps[window] == pytest.approx(best.gap, abs=1e-9)
        rng = np.random.default_rng(0)
        for _ in range(200):  # nothing near it is better
            W = best.weights + 0.03 * rng.standard_normal((8, 8)) * posterior_families.visible(window, 8)
            s = best.variances.ravel() * np.exp(0.03 * rng.standard_normal(8))
            assert right - bound(prior, seen, W, s) > gaps[window]
    assert {name: round(gap, 2) for name, gap in gaps.items()} == {"all": 0.22, "filter": 0.90, "frame": 1.94}
    x = np.random.default_rng(1).standard_normal((8, 1, 1))
    chain = structured_posterior.forward(params, x)
    z = structured_posterior.sample(chain, np.random.default_rng(2).standard_normal((8, 1, 1)))
    one = state_space.log_joint(params, z, x) - structured_posterior.log_density(chain, z)
    row = x.ravel()
    assert one[0] == pytest.approx(
        -0.5 * (np.linalg.slogdet(2 * np.pi * seen)[1] + row @ np.linalg.solve(seen, row)), abs=1e-10
    )


def test_H12_exact_filter_marginals_are_not_the_best():
    params, prior, seen = scalar_walk()
    right = -0.5 * (np.linalg.slogdet(2 * np.pi * seen)[1] + 8)
    weights, variances = posterior_families.marginals(params, 8)
    exact = posterior_families.posterior(params, 8)
    best = posterior_families.best(exact, posterior_families.visible("filter", 8))
    plugged = right - bound(prior, seen, weights, variances.ravel())
    assert round(plugged, 2) == 1.13 and round(best.gap, 2) == 0.90
    assert round(float(variances[3, 0]), 3) == 0.360 and round(float(best.variances[3, 0]), 3) == 0.262


def test_T01_hiding_the_present_frame_costs_most():
    params, prior, seen = scalar_walk()
    right = -0.5 * (np.linalg.slogdet(2 * np.pi * seen)[1] + 8)
    exact = posterior_families.posterior(params, 8)
    gaps = []
    for window in ("filter", "past"):
        best = posterior_families.best(exact, posterior_families.visible(window, 8))
        gaps.append(right - bound(prior, seen, best.weights, best.variances.ravel()))
    assert [round(gap, 2) for gap in gaps] == [0.90, 12.04]


def test_H14_forward_sampling_does_not_look_behind_the_hole():
    P = np.array([[0.9, 0.1], [0.2, 0.8]])

    def conditionals(images):
        """A chain that begins in state 0, as images of one row."""
        before = np.concatenate([np.zeros_like(images[:, :, :1]), images[:, :, :-1]], axis=2)
        rows = P[before]
        rows[:, 0, 0] = [1 - 1e-12, 1e-12]
        return np.log(rows)

    image, hole = np.array([[0, 0, 1]]), np.array([[False, True, False]])
    printed = np.exp(completion.forward_distribution(conditionals, image, hole))
    right = np.exp(completion.exact(conditionals, image, hole))
    judged = P[0] * P[:, 1] / (P @ P)[0, 1]  # Bayes' rule with the two-step transition
    np.testing.assert_allclose(right, judged, atol=1e-12)
    assert printed[0] == pytest.approx(0.9) and round(right[0], 2) == 0.53
    end = np.array([[False, True, True]])
    both = np.exp(completion.forward_distribution(conditionals, image, end)).reshape(2, 2)
    np.testing.assert_allclose(both, P[0][:, None] * P, atol=1e-12)


def test_H15_the_baseline_sends_a_current_and_columns_have_one_sign():
    rng = np.random.default_rng(0)
    W, B, x, rho_0 = rng.standard_normal((20, 20)), rng.standard_normal((20, 2)), rng.standard_normal((T, 2)), 0.75
    h, rho = np.zeros(20), np.full(20, rho_0)
    for row in x:  # offsets as printed; rates that send all of their current; and with the constant taken out again
        there = np.tanh(W @ h + B @ row)
        assert off(np.tanh(W @ (rho_0 + h) + B @ row), there) > 0.1
        rho = rho_0 + np.tanh(W @ rho + B @ row - W @ np.full(20, rho_0))
        h = there
        assert off(rho, rho_0 + h) < RIGHT
    assert not dale.obeys(W).any() and dale.obeys(abs(W) * np.sign(W[0])).all()


def operations(function) -> int:
    """What torch counts as it runs."""
    with FlopCounterMode(display=False) as counter:
        function()
    return counter.get_total_flops()


def test_O20_the_readout_and_the_inputs_count():
    """A character model with 16 units: nine tenths of its operations are none of the K^2 that are counted."""
    steps, H, V = 50, 16, 96
    rng = np.random.default_rng(0)
    model, x = bridge.to_torch((params.init_model(rng, V, H, V), rng.standard_normal((steps, 1, V))))

    def run():
        gpu.readout.forward(model.readout, gpu.unroll.forward(gpu.cells.rnn(), model.cell, x)[0])

    assert operations(run) == 2 * steps * (H * H + H * V + V * H)
    assert 2 * steps * H * H < 0.1 * operations(run)
    # Both grow with K^2 where nothing else does, and so does the filter of a hidden Markov model.
    for size in (8, 16, 32):
        start, transition = np.full(size, 1 / size), rng.dirichlet(np.ones(size), size)
        chain = bridge.to_torch(HMMParams(start, transition, Categorical(rng.dirichlet(np.ones(5), size))))
        seen = torch.zeros((steps, 1), dtype=torch.long)
        assert operations(lambda c=chain, s=seen: gpu.hmm.forward(c, s)) == 2 * (steps - 1) * size * size
