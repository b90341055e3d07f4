"""Deep and bidirectional nets over every cell, on both floors, against torch and against loops written out."""

import cell_oracles as oracles
import numpy as np
import pytest
import torch
from proof import agree

from rnncourse import bridge, bridge_gates, gate_params, gpu, gradcheck, reference, stack_params
from rnncourse.gate_params import GRUParams, LSTMParams, ResetAfterGRUParams
from rnncourse.params import RNNParams, init_rnn, map_arrays
from rnncourse.stack_params import BothWays

FLOORS = pytest.mark.parametrize("floor", [reference, gpu], ids=["reference", "gpu"])
LENGTHS = (7, 3, 5)
T, B, D, H = 7, 3, 2, 4


def vanilla(params, x, state):
    W_x, W_h, b = params
    return (torch.tanh(W_x @ x + W_h @ state[0] + b),)


# kind, gates, own, states, the library's cell, its loop, the equations
CELLS = {
    "rnn": (RNNParams, 1, (), 1, lambda floor: floor.cells.rnn(), "unroll", vanilla),
    "lstm": (LSTMParams, 4, (), 2, lambda floor: floor.lstm.plain(), "unroll", oracles.lstm),
    "gru": (
        *(ResetAfterGRUParams, 3, (1,), 1),
        *(lambda floor: floor.gru.reset_after(), "unroll", oracles.gru("keep", "after")),
    ),
    "gru before": (
        *(GRUParams, 3, (), 1),
        *(lambda floor: floor.gru_before.reset_before("write"), "gru_before", oracles.gru("write", "before")),
    ),
}
EVERY = pytest.mark.parametrize("name", CELLS)


class Problem:
    """A net of two levels with everything random: parameters, starts, arriving gradients."""

    def __init__(self, name, both_ways, levels=2, seed=0, dtype=np.float64):
        kind, gates, own, states, self.make, self.loop, self.step = CELLS[name]
        rng = np.random.default_rng(seed)
        self.rng = rng

        def draw(*shape):
            return 0.6 * rng.standard_normal(shape).astype(dtype)

        def cell(k):
            width = D if k == 0 else H * (1 + both_ways)
            shapes = [(gates * H, width), (gates * H, H), (gates * H,), *((n * H,) for n in own)]
            return kind(*(draw(*shape) for shape in shapes))

        def ways(thing):
            return BothWays(thing(), thing()) if both_ways else thing()

        self.params = tuple(ways(lambda k=k: cell(k)) for k in range(levels))
        self.start = tuple(ways(lambda: tuple(draw(H) for _ in range(states))) for _ in range(levels))
        self.d_final = tuple(ways(lambda: tuple(draw(B, H) for _ in range(states))) for _ in range(levels))
        self.x, self.g = draw(T, B, D), draw(T, B, H * (1 + both_ways))

    def ragged(self):
        for b, length in enumerate(LENGTHS):
            self.x[length:, b] = self.g[length:, b] = np.nan
        return self


def run(floor, p, lengths=None, device=None):
    tree = (p.params, p.x, p.start, p.g, p.d_final)
    params, x, start, g, d_final = tree if floor is reference else bridge.to_torch(tree, device)
    outputs, final, tape = floor.stack.forward(p.make(floor), params, x, start, lengths, getattr(floor, p.loop))
    back = floor.stack.backward(tape, g, d_final)
    found = (outputs, final, back.params, back.inputs, back.initial_state, back.hidden)
    found = found if floor is reference else bridge.to_numpy(found)
    if lengths is None:
        return found
    real = np.arange(len(p.x))[:, None, None] < np.array(lengths)[:, None]
    *rest, hidden = found  # on padding, the library carries on what arrives at the final state
    return *rest, tuple(np.where(real, level, 0) for level in hidden)


def written_out(p, lengths=(T,) * B):
    """Each sequence alone, level by level, direction by direction; autograd through all of it."""
    params, start = (tuple(map(leaves_of, tree)) for tree in (p.params, p.start))
    x = torch.tensor(np.nan_to_num(p.x), requires_grad=True)
    outputs, finals, loss, kept = np.zeros_like(np.nan_to_num(p.g)), [], 0.0, {}
    for b, length in enumerate(lengths):
        row = [x[t, b] for t in range(length)]
        for k, (level, first, arriving) in enumerate(zip(params, start, p.d_final, strict=True)):
            one = not isinstance(level, BothWays)
            nets, firsts, arrivals = ([given] if one else given for given in (level, first, arriving))
            read = []
            for net, state, d, turn in zip(nets, firsts, arrivals, [1, -1][: len(nets)], strict=True):
                states = []
                for now in row[::turn]:
                    state = p.step(net, now, state)
                    state[0].retain_grad()
                    states.append(state[0])
                read.append(states[::turn])
                finals.append(torch.stack(state).detach().numpy())
                loss = loss + sum((torch.tensor(part[b]) * h).sum() for part, h in zip(d, state, strict=True))
            kept[k, b] = read
            row = [torch.cat(parts) for parts in zip(*read, strict=True)]
        for t, h in enumerate(row):
            outputs[t, b] = h.detach().numpy()
            loss = loss + (torch.tensor(p.g[t, b]) * h).sum()
    loss.backward()
    grads = tuple(map_arrays(lambda leaf: leaf.grad.numpy(), tree) for tree in (params, start))
    hidden = tuple(np.zeros_like(outputs) for _ in params)
    for (k, b), read in kept.items():
        for t, parts in enumerate(zip(*read, strict=True)):
            hidden[k][t, b] = np.concatenate([h.grad.numpy() for h in parts])
    return outputs, finals, grads[0], x.grad.numpy(), grads[1], hidden


def leaves_of(tree):
    return map_arrays(lambda array: torch.tensor(array, requires_grad=True), tree)


@FLOORS
@EVERY
@pytest.mark.parametrize("both_ways", [False, True])
@pytest.mark.parametrize("levels", [1, 2, 3])
def test_against_a_loop_written_out(floor, name, both_ways, levels):
    p = Problem(name, both_ways, levels)
    outputs, _, *gradients = run(floor, p)
    oracle, _, *theirs = written_out(p)
    agree((outputs, *gradients), (oracle, *theirs), 1e-12)


@FLOORS
@EVERY
@pytest.mark.parametrize("both_ways", [False, True])
def test_ragged_with_nan_in_the_padding(floor, name, both_ways):
    p = Problem(name, both_ways).ragged()
    outputs, final, *gradients = run(floor, p, LENGTHS)
    oracle, last, *theirs = written_out(p, LENGTHS)
    agree((outputs, *gradients), (oracle, *theirs), 1e-12)
    parts = [tuple(way) for level in final for way in (level if both_ways else [level])]
    for b in range(B):
        ours = tuple(np.array([state[b] for state in way]) for way in parts)
        agree(ours, tuple(last[b * len(parts) : (b + 1) * len(parts)]), 1e-13)


@EVERY
def test_against_the_complex_step(name):
    p = Problem(name, both_ways=True)
    loop, cell = getattr(reference, p.loop), p.make(reference)

    def value(params, x):
        return (reference.stack.forward(cell, params, x, loop=loop)[0] * p.g).sum()

    tape = reference.stack.forward(cell, p.params, p.x, loop=loop)[2]
    back = reference.stack.backward(tape, p.g)
    agree(back.inputs, gradcheck.complex_step(lambda x: value(p.params, x), p.x), 1e-12)
    upper = gradcheck.complex_step(lambda q: value((p.params[0], q), p.x), p.params[1])
    lower = gradcheck.complex_step(lambda q: value((q, p.params[1]), p.x), p.params[0])
    agree(back.params, (lower, upper), 1e-12)


@FLOORS
@pytest.mark.parametrize("both_ways", [False, True])
@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_torchs_deep_layers_on_packed_sequences(floor, kind, both_ways):
    torch.manual_seed(1)
    module = getattr(torch.nn, kind)(D, H, num_layers=2, bidirectional=both_ways, dtype=torch.float64)
    p = Problem(kind.lower(), both_ways).ragged()
    x = torch.tensor(np.nan_to_num(p.x), requires_grad=True)
    packed = torch.nn.utils.rnn.pack_padded_sequence(x, LENGTHS, enforce_sorted=False)
    out, last = module(packed)
    hidden, _ = torch.nn.utils.rnn.pad_packed_sequence(out)
    g = torch.tensor(np.nan_to_num(p.g))
    names = [name for name, _ in module.named_parameters()]
    *found, d_x = torch.autograd.grad(hidden, [*module.parameters(), x], g)
    grads = dict(zip(names, found, strict=True))
    p.params = bridge_gates.stack_from_torch(module)
    tree = (p.params, p.x, p.g)
    params, inputs, g = tree if floor is reference else bridge.to_torch(tree)
    outputs, final, tape = floor.stack.forward(p.make(floor), params, inputs, lengths=LENGTHS)
    back = floor.stack.backward(tape, g)
    agree((outputs, back.inputs), (hidden, d_x), 1e-12)
    ways = [way for level in final for way in (level if both_ways else [level])]
    last = last if isinstance(last, tuple) else (last,)
    for k, way in enumerate(ways):
        agree(tuple(way), tuple(part[k] for part in last), 1e-12)
    nets = [net for level in back.params for net in (level if both_ways else [level])]
    suffixes = [f"_l{k}{way}" for k in range(2) for way in (("", "_reverse") if both_ways else ("",))]
    for net, suffix in zip(nets, suffixes, strict=True):
        theirs = tuple(grads[f"{part}{suffix}"] for part in ("weight_ih", "weight_hh", "bias_ih"))
        agree(tuple(net[:3]), theirs, 1e-12)
        if kind == "GRU":
            agree(net.candidate_bias, grads[f"bias_hh{suffix}"][2 * H :], 1e-12)


def test_training_through_a_stack_is_part_of_the_callers_graph():
    p = Problem("lstm", both_ways=True)
    params = map_arrays(lambda array: torch.tensor(array, requires_grad=True), p.params)
    outputs, _, tape = gpu.stack.forward(gpu.lstm.plain(), params, torch.tensor(p.x))
    (outputs * torch.tensor(p.g)).sum().backward(retain_graph=True)
    ours = gpu.stack.backward(tape, torch.tensor(p.g)).params
    agree(ours, map_arrays(lambda leaf: leaf.grad, params), 1e-13)


@FLOORS
def test_the_second_direction_begins_at_each_sequences_own_end(floor):
    p = Problem("rnn", both_ways=True, levels=1)
    alone = run(floor, p)[0]
    p.x[3:, 1] = np.nan
    ragged = run(floor, p, (7, 3, 7))[0]
    agree(ragged[:, [0, 2]], alone[:, [0, 2]], 1e-14)
    p.x = p.x[:3]
    p.g = p.g[:3]
    agree(ragged[:3, 1], run(floor, p)[0][:, 1], 1e-14)


@FLOORS
def test_the_last_step_sees_the_first_and_the_first_the_last(floor):
    p = Problem("gru", both_ways=True, levels=1)
    p.g[:] = 0
    p.g[0, 0, H:] = 1.0  # the second net at step 1
    assert np.abs(run(floor, p)[3][-1, 0]).max() > 0
    p.g[:] = 0
    p.g[0, 0, :H] = 1.0  # the first net at step 1
    p.d_final = map_arrays(np.zeros_like, p.d_final)
    assert not run(floor, p)[3][1:].any()


@FLOORS
def test_turning_around_twice_changes_nothing(floor):
    x = np.random.default_rng(0).standard_normal((5, 3, 2))
    for lengths in (None, [5, 2, 0], np.array([1, 5, 3], np.uint8)):
        given = x if floor is reference else torch.tensor(x)
        turned = floor.bidirectional.reverse(given, lengths)
        assert np.array_equal(np.asarray(floor.bidirectional.reverse(turned, lengths)), x)
        for b, length in enumerate(lengths if lengths is not None else [5] * 3):
            assert np.array_equal(np.asarray(turned)[:length, b], x[:length, b][::-1])
            assert np.array_equal(np.asarray(turned)[length:, b], x[length:, b])


@FLOORS
@EVERY
def test_float32_stays_float32(floor, name):
    wide, p = Problem(name, True), Problem(name, True, dtype=np.float32)
    found = run(floor, p)
    dtypes = set()
    map_arrays(lambda array: dtypes.add(array.dtype), found)
    assert dtypes == {np.dtype(np.float32)}
    agree(found, run(floor, wide), 1e-5)


@FLOORS
def test_lengths_may_be_used_again_by_the_caller(floor):
    p = Problem("gru", both_ways=True).ragged()
    tree = (p.params, p.x, np.nan_to_num(p.g), np.array(LENGTHS))
    params, x, g, lengths = tree if floor is reference else bridge.to_torch(tree)
    tape = floor.stack.forward(p.make(floor), params, x, lengths=lengths)[2]
    right = np.asarray(floor.stack.backward(tape, g).inputs)
    lengths[:] = 7
    assert np.array_equal(np.asarray(floor.stack.backward(tape, g).inputs), right)


@FLOORS
@pytest.mark.parametrize("bad", [(), np.zeros((2, 3, 4))], ids=["empty", "array"])
def test_what_is_no_pair_is_refused(floor, bad):
    p = Problem("rnn", both_ways=True, levels=1)
    params, x, g = (p.params[0], p.x, p.g) if floor is reference else bridge.to_torch((p.params[0], p.x, p.g))
    says = r"expected BothWays\(forwards, backwards\), got (tuple|ndarray)"
    with pytest.raises(ValueError, match=f"initial_state: {says}"):
        floor.bidirectional.forward(p.make(floor), params, x, bad)
    tape = floor.bidirectional.forward(p.make(floor), params, x)[2]
    with pytest.raises(ValueError, match=f"d_final_state: {says}"):
        floor.bidirectional.backward(tape, g, bad)


def test_starts():
    rng = np.random.default_rng(0)
    for init, cell in [(init_rnn, reference.cells.rnn()), (gate_params.init_lstm, reference.lstm.plain())]:
        for both_ways in (False, True):
            params = stack_params.init_stack(init, rng, 3, 4, 3, both_ways)
            outputs, final, _ = reference.stack.forward(cell, params, np.ones((5, 2, 3)))
            assert outputs.shape == (5, 2, 8 if both_ways else 4) and len(final) == len(params) == 3
            if both_ways:
                assert all(not np.array_equal(net.forwards[0], net.backwards[0]) for net in params)
    with pytest.raises(ValueError, match="levels: expected a whole number >= 1, got 0"):
        stack_params.init_stack(init_rnn, rng, 3, 4, 0)


BAD = {
    "one cell": lambda c, p: c.forward(p[0], p[1][0].forwards, p[2]),
    "no level": lambda c, p: c.forward(p[0], (), p[2]),
    "starts": lambda c, p: c.forward(p[0], p[1], p[2], (None,)),
    "a start": lambda c, p: c.forward(p[0], p[1], p[2], p[2]),
    "half a start": lambda c, p: c.forward(p[0], p[1], p[2], ((None, None), None)),
    "widths": lambda c, p: c.forward(p[0], (p[1][0], p[1][0]), p[2]),
    "nan": lambda c, p: c.forward(p[0], p[1], p[2] * float("nan")),
    "lengths": lambda c, p: c.forward(p[0], p[1], p[2], lengths=[7, 8, 1]),
    "g": lambda c, p: c.backward(c.forward(*p)[2], p[2]),
    "finals": lambda c, p: c.backward(c.forward(*p)[2], c.forward(*p)[0], (None,)),
}
SAYS = {
    "one cell": "params: expected a tuple with one entry for each level, got RNNParams",
    "starts": "initial_state: expected a tuple with one entry for each of 2 levels, got 1",
    "half a start": r"level 0: initial_state: expected BothWays\(forwards, backwards\), got tuple",
    "widths": r"level 1: inputs: expected shape \(T, B, 2\), got \(7, 3, 8\)",
    "g": r"d_outputs: expected shape \(7, 3, 8\), got \(7, 3, 2\)",
}


@pytest.mark.parametrize("case", BAD)
def test_both_floors_refuse_in_the_same_words(case):
    p, said = Problem("rnn", both_ways=True), []
    for floor in (reference, gpu):
        params, x = (p.params, p.x) if floor is reference else bridge.to_torch((p.params, p.x))
        with pytest.raises(ValueError, match=SAYS.get(case)) as refusal:
            BAD[case](floor.stack, (floor.cells.rnn(), params, x))
        said.append(str(refusal.value).replace("Tensor", "ndarray"))
    assert said[0] == said[1]


def test_the_bridge_refuses_what_is_no_recurrent_layer():
    with pytest.raises(ValueError, match=r"module: expected an RNN, LSTM or GRU of torch.nn, got Linear"):
        bridge_gates.stack_from_torch(torch.nn.Linear(2, 3))
    with pytest.raises(ValueError, match="module: expected no projection, got proj_size=2"):
        bridge_gates.stack_from_torch(torch.nn.LSTM(2, 3, proj_size=2))


@pytest.mark.cuda
@EVERY
def test_on_a_device(name):
    p = Problem(name, both_ways=True).ragged()
    agree(run(gpu, p, LENGTHS, "cuda"), run(reference, p, LENGTHS), 1e-12)
