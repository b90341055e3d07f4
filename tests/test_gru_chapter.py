"""The equations of chapter 08, each as printed, and what its proofs and demonstrations rest on."""

import itertools
import math
from types import SimpleNamespace

import cell_battery as battery
import cell_oracles as oracles
import numpy as np
import pytest
import torch
from cell_oracles import dense_jacobians, draw_problem
from proof import agree, verifies

from rnncourse import gate_params, params, reference
from rnncourse.gate_params import GRUParams, ResetAfterGRUParams
from rnncourse.reference import bidirectional, cells, gru, gru_before, stack, state_jacobians, unroll
from rnncourse.stack_params import BothWays, init_stack

UPDATE = pytest.mark.parametrize("update", ["keep", "write"])
RESET = pytest.mark.parametrize("reset", ["before", "after"])
H = 5


def problem(reset, **settings):
    kind, own = (GRUParams, ()) if reset == "before" else (ResetAfterGRUParams, (1,))
    return draw_problem(kind, gates=3, own=own, **settings)


def the_cell(update, reset):
    return gru_before.reset_before(update) if reset == "before" else gru.reset_after(update)


def loop(reset):
    return "gru_before" if reset == "before" else "unroll"


def run(cell, reset, *arguments):
    return getattr(reference, loop(reset)).forward(cell, *arguments)


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def one_step(update, reset):
    """One step of one sequence by torch, every part kept, with what reaches it from a gradient s of h_t."""
    p = problem(reset, T=1, B=1)
    W_x, W_h, b, *own = (torch.tensor(part) for part in p.params)
    x, s = torch.tensor(p.x[0, 0]), torch.tensor(p.g[0, 0] + p.d_final[0][0])
    h = torch.tensor(p.start[0], requires_grad=True)
    a_r, a_z, x_n = (W_x @ x + b).split(H)
    W_r, W_z, W_n = W_h.split(H)
    a_r, a_z = a_r + W_r @ h, a_z + W_z @ h
    r, z = torch.sigmoid(a_r), torch.sigmoid(a_z)
    q = W_n @ h + own[0] if reset == "after" else r * h
    a_n = x_n + (r * q if reset == "after" else W_n @ q)
    n = torch.tanh(a_n)
    after = z * h + (1 - z) * n if update == "keep" else (1 - z) * h + z * n
    wanted = {"delta_r": a_r, "delta_z": a_z, "delta_n": a_n, "q": q, "h": h}
    grads = torch.autograd.grad((s * after).sum(), list(wanted.values()))
    parts = {"r": r, "z": z, "n": n, "q": q, "before": h, "s": s, "W_r": W_r, "W_z": W_z, "W_n": W_n}
    now = SimpleNamespace(**{name: part.detach().numpy() for name, part in parts.items()}, p=p)
    return now, SimpleNamespace(**{name: g.numpy() for name, g in zip(wanted, grads, strict=True)})


def deltas(now, update, reset):
    """The page's four equations, in their order."""
    r, z, n, h, s = now.r, now.z, now.n, now.before, now.s
    if update == "keep":
        delta_n = (1 - n**2) * (1 - z) * s
        delta_z = z * (1 - z) * (h - n) * s
    else:
        delta_n = (1 - n**2) * z * s
        delta_z = z * (1 - z) * (n - h) * s
    d_q = r * delta_n if reset == "after" else now.W_n.T @ delta_n
    delta_r = r * (1 - r) * (now.q * delta_n if reset == "after" else h * d_q)
    return delta_r, delta_z, delta_n, d_q


@verifies("eq-gru-blend-gradients", oracle="autograd")
@UPDATE
@RESET
def test_gradients_of_the_blend(update, reset):
    now, oracle = one_step(update, reset)
    _, delta_z, delta_n, _ = deltas(now, update, reset)
    agree((delta_z, delta_n), (oracle.delta_z, oracle.delta_n), 1e-13)
    bias = battery.run(reference, the_cell(update, reset), now.p, loop=loop(reset))[2].bias
    agree(bias[H:], np.concatenate([oracle.delta_z, oracle.delta_n]), 1e-13)


def reset_gradients(reset):
    for update in ("keep", "write"):
        now, oracle = one_step(update, reset)
        delta_r, _, _, d_q = deltas(now, update, reset)
        agree((delta_r, d_q), (oracle.delta_r, oracle.q), 1e-13)
        bias = battery.run(reference, the_cell(update, reset), now.p, loop=loop(reset))[2].bias
        agree(bias[:H], oracle.delta_r, 1e-13)


@verifies("eq-gru-after-gradients", oracle="autograd")
def test_gradients_of_the_reset_after():
    reset_gradients("after")


@verifies("eq-gru-before-gradients", oracle="autograd")
def test_gradients_of_the_reset_before():
    reset_gradients("before")


@verifies("eq-gru-recursion", oracle="autograd")
@UPDATE
@RESET
def test_what_arrives_at_the_state_before(update, reset):
    now, oracle = one_step(update, reset)
    delta_r, delta_z, _, d_q = deltas(now, update, reset)
    kept = now.z if update == "keep" else 1 - now.z
    through = now.W_n.T @ d_q if reset == "after" else now.r * d_q
    agree(kept * now.s + now.W_r.T @ delta_r + now.W_z.T @ delta_z + through, oracle.h, 1e-13)
    battery.against_autograd(
        reference, the_cell(update, reset), problem(reset), oracles.gru(update, reset), loop=loop(reset)
    )


@verifies("eq-gru-weight-gradients", oracle="autograd")
@UPDATE
@RESET
def test_weight_gradients_are_sums_of_outer_products(update, reset):
    now, oracle = one_step(update, reset)
    step = oracles.autograd(now.p, oracles.gru(update, reset)).params
    x, h, r = now.p.x[0, 0], now.before, now.r
    delta = np.concatenate([oracle.delta_r, oracle.delta_z, oracle.delta_n])
    blocks = [oracle.delta_r, oracle.delta_z, oracle.q if reset == "after" else oracle.delta_n]
    reads = [h, h, h if reset == "after" else r * h]
    d_W_h = np.concatenate([np.outer(d, read) for d, read in zip(blocks, reads, strict=True)])
    found = (np.outer(delta, x), d_W_h, delta, *([oracle.q] if reset == "after" else []))
    agree(found, tuple(step), 1e-13)
    agree(battery.run(reference, the_cell(update, reset), now.p, loop=loop(reset))[2], step, 1e-13)
    over_time(update, reset)


def over_time(update, reset):
    """The page's loop over many steps and a batch, sums and all, by the page's letters; states from the oracle."""
    p = problem(reset, T=7, B=3)
    right = oracles.autograd(p, oracles.gru(update, reset))
    W_x, W_h, b, *own = p.params
    W_r, W_z, W_n = np.split(W_h, 3)
    d_W_x, d_W_h, d_b, d_own = (np.zeros_like(part) for part in (W_x, W_h, b, b[:H]))
    totals = np.zeros_like(right.hidden)
    for k in range(3):
        states = np.concatenate([p.start[0][None], right.outputs[:, k]])
        arriving = p.d_final[0][k]
        for t in reversed(range(7)):
            x, h = p.x[t, k], states[t]
            x_r, x_z, x_n = np.split(W_x @ x + b, 3)
            r, z = sigmoid(x_r + W_r @ h), sigmoid(x_z + W_z @ h)
            q = W_n @ h + own[0] if reset == "after" else r * h
            n = np.tanh(x_n + (r * q if reset == "after" else W_n @ q))
            totals[t, k] = s = p.g[t, k] + arriving
            now = SimpleNamespace(r=r, z=z, n=n, q=q, before=h, s=s, W_n=W_n)
            delta_r, delta_z, delta_n, d_q = deltas(now, update, reset)
            kept = z if update == "keep" else 1 - z
            through = W_n.T @ d_q if reset == "after" else r * d_q
            arriving = kept * s + W_r.T @ delta_r + W_z.T @ delta_z + through
            delta = np.concatenate([delta_r, delta_z, delta_n])
            d_W_x += np.outer(delta, x)
            d_b += delta
            d_W_h[: 2 * H] += np.outer(delta[: 2 * H], h)
            d_W_h[2 * H :] += np.outer(d_q, h) if reset == "after" else np.outer(delta_n, r * h)
            d_own += d_q
    found = (d_W_x, d_W_h, d_b, *([d_own] if reset == "after" else []))
    agree((totals, found), (right.hidden, tuple(right.params)), 1e-12)


@verifies("eq-gru-jacobian", oracle="autograd")
def test_the_step_jacobian_as_printed():
    p = problem("after", B=1)
    tape = run(gru.reset_after(), "after", p.params, p.x, tuple(p.start))[2]
    right = dense_jacobians(p, oracles.gru("keep", "after"))
    agree(state_jacobians.steps(tape)[:, 0], right, 1e-12)
    W_r, W_z, W_n = np.split(p.params.recurrent_weights, 3)
    for t, (gates, q, n, h) in enumerate(tape.saved):
        r, z, q, n, h = (part[0] for part in (gates[:, :H], gates[:, H:], q, n, h))
        heard = np.diag(r) @ W_n + np.diag(r * (1 - r) * q) @ W_r
        J = np.diag(z) + np.diag(z * (1 - z) * (h - n)) @ W_z + np.diag((1 - z) * (1 - n**2)) @ heard
        agree(J, right[t], 1e-12)


@verifies("eq-update-swap", oracle="equations written out for one sequence")
@UPDATE
@RESET
def test_keep_is_write_with_the_gate_negated(update, reset):
    p = problem(reset)
    other = {"keep": "write", "write": "keep"}[update]
    right = oracles.autograd(p, oracles.gru(other, reset))
    swapped = run(the_cell(update, reset), reset, gate_params.swap_update(p.params), p.x, tuple(p.start))
    agree(swapped[:2], (right.outputs, right.final), 1e-13)
    assert np.abs(run(the_cell(update, reset), reset, p.params, p.x, tuple(p.start))[0] - right.outputs).max() > 0.1


@verifies("eq-diagonal-reset", oracle="entry by entry")
def test_the_two_resets_differ_by_what_lies_off_the_diagonal():
    rng = np.random.default_rng(0)
    W, r, h = rng.standard_normal((H, H)), rng.uniform(size=H), rng.standard_normal(H)
    entries = [sum(W[i, j] * (r[i] - r[j]) * h[j] for j in range(H)) for i in range(H)]
    agree(r * (W @ h) - W @ (r * h), np.array(entries), 1e-13)
    assert np.abs(entries).max() > 0.1
    D = np.diag(np.diag(W))
    assert np.abs(r * (D @ h) - D @ (r * h)).max() < 1e-15


# The theorem: neither reset can be written as the other


def witness(reset, factor=1.0):
    """The proof's cell of this kind: two units, an update gate of one half, one gate that moves."""
    x_r, x_z, x_n = np.zeros((2, 2)), np.zeros((2, 2)), np.eye(2)
    h_r, h_z = factor * np.array([[1.0, 0], [0, 0]]), np.zeros((2, 2))
    h_n = factor * (np.array([[1.0, 1], [0, 0]]) if reset == "before" else np.array([[1.0, 0], [1, 0]]))
    W = (np.concatenate([x_r, x_z, x_n]), np.concatenate([h_r, h_z, h_n]), np.zeros(6))
    return GRUParams(*W) if reset == "before" else ResetAfterGRUParams(*W, np.zeros(2))


def second_state(cell_params, reset, h):
    """What the cell makes of a state and the input zero."""
    return run(the_cell("keep", reset), reset, cell_params, np.zeros((1, len(h), 2)), (h,))[0][0]


def candidates(after, h):
    return np.arctanh(2 * after - h)


@RESET
def test_the_witnesses_are_what_the_proof_says(reset):
    h = np.random.default_rng(0).uniform(-0.5, 0.5, (50, 2))
    a = candidates(second_state(witness(reset), reset, h), h)
    if reset == "before":
        assert np.abs(a - np.stack([sigmoid(h[:, 0]) * h[:, 0] + h[:, 1] / 2, 0 * h[:, 0]], 1)).max() < 1e-12
    else:
        assert np.abs(a - np.stack([sigmoid(h[:, 0]) * h[:, 0], h[:, 0] / 2], 1)).max() < 1e-12


@RESET
def test_one_step_from_zero_reaches_an_open_set(reset):
    x = np.random.default_rng(0).standard_normal((1, 50, 2))
    first = run(the_cell("keep", reset), reset, witness(reset), x)[0][0]
    assert np.abs(first - np.tanh(x[0]) / 2).max() < 1e-15


def fit(target, reset, h, near, seed):
    """The best cell of a kind for a state map, from a start near given weights: the largest error that remains."""
    torch.manual_seed(seed)
    near = (torch.tensor(near.recurrent_weights), torch.zeros(6), *([torch.zeros(2)] if reset == "after" else []))
    leaves = [(part + 0.5 * torch.randn(part.shape)).double().requires_grad_() for part in near]
    step = oracles.gru("keep", reset)
    h, target = torch.tensor(h), torch.tensor(target)
    zero, x = torch.zeros(6, 1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)

    def made():
        one = torch.func.vmap(lambda state: step((zero, *leaves), x, (state,))[0])
        return one(h)

    def closure():
        optimiser.zero_grad()
        loss = ((made() - target) ** 2).mean()
        loss.backward()
        return loss

    optimiser = torch.optim.LBFGS(
        leaves, max_iter=300, line_search_fn="strong_wolfe", tolerance_change=0, tolerance_grad=0
    )
    optimiser.step(closure)
    return float((made() - target).detach().abs().max())


@RESET
def test_on_states_that_are_reached_the_other_kind_comes_near_and_the_same_kind_nearer(reset):
    grid = np.linspace(-0.48, 0.48, 7)
    h = np.array(list(itertools.product(grid, grid)))
    near = witness(reset, factor=4.0)
    target = second_state(near, reset, h)
    other = {"before": "after", "after": "before"}[reset]
    same, foreign = (min(fit(target, kind, h, near, seed) for seed in range(2)) for kind in (reset, other))
    assert same < 1e-3 and 5e-3 < foreign < 5e-2


# Sizes


@verifies("eq-gru-counts", oracle="torch's layers")
@pytest.mark.parametrize(("D", "width"), [(1, 1), (3, 5), (128, 128)])
def test_counts_against_torch(D, width):
    block = width * (D + width)
    ours = (4 * (block + 2 * width), 3 * (block + 2 * width))
    layers = torch.nn.LSTM(D, width), torch.nn.GRU(D, width)
    agree(ours, tuple(sum(part.numel() for part in layer.parameters()) for layer in layers), 0)
    rng = np.random.default_rng(0)
    inits = (gate_params.init_lstm, gate_params.init_gru, gate_params.init_reset_after_gru)
    counts = [params.count(init(rng, D, width)) for init in inits]
    assert counts == [4 * (block + width), 3 * (block + width), 3 * (block + width) + width]


@verifies("eq-stack-count", oracle="torch's layers")
@pytest.mark.parametrize(("levels", "ways"), [(1, 1), (3, 1), (1, 2), (3, 2)])
def test_counts_of_deep_nets(levels, ways):
    D, width, G = 7, 5, 3
    ours = ways * G * width * (D + width + 2 + (levels - 1) * (ways * width + width + 2))
    layer = torch.nn.GRU(D, width, num_layers=levels, bidirectional=ways == 2)
    agree(ours, sum(part.numel() for part in layer.parameters()), 0)


# Depth and both directions


def deep(levels=3, both=False, T=6, B=2):
    rng = np.random.default_rng(4)
    nets = init_stack(gate_params.init_reset_after_gru, rng, 3, 4, levels, both)
    nets = params.map_arrays(lambda w: w + 0.3 * rng.standard_normal(w.shape), nets)
    return nets, rng.standard_normal((T, B, 3)), rng.standard_normal((T, B, 4 * (1 + both)))


def torch_layer(nets, both=False):
    """A layer of torch with these weights, filled in by hand."""
    layer = torch.nn.GRU(3, 4, num_layers=len(nets), bidirectional=both, dtype=torch.float64)
    own = dict(layer.named_parameters())
    with torch.no_grad():
        for k, level in enumerate(nets):
            for net, way in zip(level if both else [level], ("", "_reverse"), strict=False):
                b_h = np.concatenate([np.zeros(8), net.candidate_bias])
                values = zip(("weight_ih", "weight_hh", "bias_ih", "bias_hh"), (*net[:3], b_h), strict=True)
                for name, value in values:
                    own[f"{name}_l{k}{way}"].copy_(torch.tensor(value))
    return layer


@verifies("eq-stack-gradient", oracle="torch's layer and autograd")
def test_the_gradient_of_the_inputs_of_a_level_is_the_immediate_gradient_below():
    nets, x, g = deep(2)
    tape = stack.forward(gru.reset_after(), nets, x)[2]
    inputs = torch.tensor(x, requires_grad=True)
    first, second = torch_layer(nets[:1]), torch.nn.GRU(4, 4, dtype=torch.float64)
    with torch.no_grad():
        b_h = np.concatenate([np.zeros(8), nets[1].candidate_bias])
        for own, value in zip(second.parameters(), (*nets[1][:3], b_h), strict=True):
            own.copy_(torch.tensor(value))
    below = first(inputs)[0]
    below.retain_grad()
    second(below)[0].backward(torch.tensor(g))
    # the equation as printed: W_x^T delta, delta of the upper level by autograd
    agree(input_sums(nets[1], below.detach().numpy(), g) @ nets[1].input_weights, below.grad, 1e-12)
    by_library = unroll.backward(tape.levels[1], g)
    agree(by_library.inputs, below.grad, 1e-12)
    agree(unroll.backward(tape.levels[0], by_library.inputs).inputs, inputs.grad, 1e-12)
    agree(stack.backward(tape, g).inputs, inputs.grad, 1e-12)


def input_sums(net, x, g):
    """delta, the gradients of the three sums W_x x_t + b at every step, by torch; (T, B, 3 H)."""
    W_x, W_h, b, b_hn = map(torch.tensor, net)
    sums = (torch.tensor(x) @ W_x.T + b).requires_grad_()
    h, loss = torch.zeros(x.shape[1], 4, dtype=torch.float64), 0.0
    for t in range(len(x)):
        (x_r, x_z, x_n), (h_r, h_z, h_n) = sums[t].chunk(3, dim=1), (h @ W_h.T).chunk(3, dim=1)
        r, z = torch.sigmoid(x_r + h_r), torch.sigmoid(x_z + h_z)
        h = z * h + (1 - z) * torch.tanh(x_n + r * (h_n + b_hn))
        loss = loss + (torch.tensor(g[t]) * h).sum()
    return torch.autograd.grad(loss, sums)[0].numpy()


@verifies("eq-depth-roads", oracle="the gradient of a linear stack")
@pytest.mark.parametrize(("levels", "steps"), [(1, 0), (1, 5), (2, 4), (3, 10), (5, 3), (4, 0)])
def test_roads_through_a_stack(levels, steps):
    x = torch.zeros(steps + 1, dtype=torch.float64, requires_grad=True)
    row = list(x)
    for _ in range(levels):
        h, states = 0.0, []
        for below in row:
            h = h + below
            states.append(h)
        row = states
    row[-1].backward()
    agree(float(math.comb(steps + levels - 1, levels - 1)), x.grad[0], 0)


@verifies("eq-linear-readout-stack", oracle="the readout written out")
def test_a_linear_readout_between_levels_melts_into_the_weights():
    rng = np.random.default_rng(5)
    lower, upper = params.init_rnn(rng, 3, 4), params.init_rnn(rng, 2, 4)
    read = params.init_readout(rng, 4, 2)._replace(bias=rng.standard_normal(2))
    x = rng.standard_normal((6, 2, 3))
    h = unroll.forward(cells.rnn(), lower, x)[0]
    fed = unroll.forward(cells.rnn(), upper, h @ read.weights.T + read.bias)[0]
    W_x, _, b = upper
    melted = upper._replace(input_weights=W_x @ read.weights, bias=b + W_x @ read.bias)
    agree(stack.forward(cells.rnn(), (lower, melted), x)[0], fed, 1e-13)
    assert np.linalg.matrix_rank(W_x @ read.weights) == 2


@verifies("eq-both-ways-gradient", oracle="torch's layer and autograd")
def test_both_nets_send_a_gradient_to_the_input():
    nets, x, g = deep(1, both=True)
    tape = bidirectional.forward(gru.reset_after(), nets[0], x)[2]
    inputs = torch.tensor(x, requires_grad=True)
    torch_layer(nets, both=True)(inputs)[0].backward(torch.tensor(g))
    agree(bidirectional.backward(tape, g).inputs, inputs.grad, 1e-12)
    ahead = unroll.backward(unroll.forward(gru.reset_after(), nets[0].forwards, x)[2], g[:, :, :4]).inputs
    turned = unroll.forward(gru.reset_after(), nets[0].backwards, x[::-1])[2]
    behind = unroll.backward(turned, g[::-1, :, 4:]).inputs[::-1]
    agree(ahead + behind, inputs.grad, 1e-12)
    # as printed, with each direction's delta by autograd
    one = input_sums(nets[0].forwards, x, g[:, :, :4])
    two = input_sums(nets[0].backwards, x[::-1].copy(), g[::-1, :, 4:].copy())[::-1]
    agree(one @ nets[0].forwards.input_weights + two @ nets[0].backwards.input_weights, inputs.grad, 1e-12)


def reach(net, x, direction, at):
    """Length of the gradient of a random sum of one net's state at a step, about every input."""
    outputs, _, tape = bidirectional.forward(cells.rnn(), net, x)
    g = np.zeros_like(outputs)
    part = slice(0, 32) if direction == "ahead" else slice(32, 64)
    g[at, 0, part] = np.random.default_rng(1).standard_normal(32)
    return np.linalg.norm(bidirectional.backward(tape, g).inputs[:, 0], axis=1)


def test_who_sees_what():
    rng = np.random.default_rng(0)
    net = BothWays(*(params.init_rnn(rng, 4, 32)._replace(recurrent_weights=0.6 * params.orthogonal(rng, 32)),) * 2)
    x = rng.standard_normal((60, 1, 4))
    assert not reach(net, x, "ahead", 0)[1:].any()  # at step 1 the net that reads ahead has seen x_1 alone
    assert not reach(net, x, "behind", -1)[:-1].any()
    far, near = reach(net, x, "ahead", -1)[0], reach(net, x, "behind", 0)[0]
    assert far < 1e-12 < 0.1 < near
    middle = reach(net, x, "ahead", -1)[30] + reach(net, x, "behind", 0)[30]
    assert middle < 1e-5


@verifies("eq-pseudo-mass", oracle="enumeration")
def test_conditionals_given_the_rest_do_not_multiply_to_a_distribution():
    joint = np.array([[0.5, 0.0], [0.0, 0.5]])  # two flips that agree
    first, second = joint / np.maximum(joint.sum(0), 1e-300), joint / joint.sum(1)[:, None]
    mass = sum(first[a, b] * second[a, b] for a in (0, 1) for b in (0, 1))
    agree(mass, 2.0, 0)
    chain = sum(joint.sum(1)[a] * second[a, b] for a in (0, 1) for b in (0, 1))
    assert chain == 1


@verifies("eq-pseudo-mass-two", oracle="enumeration of the conditionals")
@pytest.mark.parametrize("seed", range(3))
def test_the_mass_of_two_variables(seed):
    p = np.random.default_rng(seed).uniform(0.1, 1, (3, 4))
    p /= p.sum()
    p_1, p_2 = p.sum(axis=1, keepdims=True), p.sum(axis=0, keepdims=True)
    mass = sum((p[a, b] / p[:, b].sum()) * (p[a, b] / p[a].sum()) for a in range(3) for b in range(4))
    agree(((p**2 / (p_1 * p_2)).sum(), 1 + ((p - p_1 * p_2) ** 2 / (p_1 * p_2)).sum()), (mass, mass), 1e-14)
    assert mass > 1.01
    free = p_1 * p_2
    assert abs((free / free.sum(axis=0) * (free / free.sum(axis=1, keepdims=True))).sum() - 1) < 1e-14
