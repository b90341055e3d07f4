"""The GRU in all four forms, on both floors, and what leads from one to another."""

import cell_battery as battery
import cell_oracles as oracles
import numpy as np
import pytest
import torch
from cell_oracles import RAGGED, SHAPES, dense_jacobians, draw_problem
from proof import agree

from rnncourse import bridge, bridge_gates, gate_params, gpu, reference
from rnncourse.gate_params import GRUParams, ResetAfterGRUParams

FLOORS = pytest.mark.parametrize("floor", [reference, gpu], ids=["reference", "gpu"])
UPDATE = pytest.mark.parametrize("update", ["keep", "write"])
RESET = pytest.mark.parametrize("reset", ["before", "after"])
LENGTHS = (7, 3, 5)


def problem(reset, **settings):
    kind, own = (GRUParams, ()) if reset == "before" else (ResetAfterGRUParams, (1,))
    return draw_problem(kind, gates=3, own=own, **settings)


def cell(floor, update, reset):
    return floor.gru_before.reset_before(update) if reset == "before" else floor.gru.reset_after(update)


def loop(reset):
    return "gru_before" if reset == "before" else "unroll"


@FLOORS
@UPDATE
@RESET
@pytest.mark.parametrize(("T", "B", "D", "H"), SHAPES)
def test_against_autograd(floor, update, reset, T, B, D, H):
    p = problem(reset, T=T, B=B, D=D, H=H)
    battery.against_autograd(floor, cell(floor, update, reset), p, oracles.gru(update, reset), loop=loop(reset))


@FLOORS
@UPDATE
@RESET
def test_ragged_with_nan_in_the_padding(floor, update, reset):
    p = battery.ragged(problem(reset))
    step = oracles.gru(update, reset)
    battery.against_autograd(floor, cell(floor, update, reset), p, step, RAGGED, loop=loop(reset))


@FLOORS
@RESET
def test_numbers_in_the_padding_of_a_gradient_are_ignored(floor, reset):
    p = battery.ragged(problem(reset))
    p.g = np.where(np.isnan(p.g), 9.0, p.g)
    step = oracles.gru("keep", reset)
    battery.against_autograd(floor, cell(floor, "keep", reset), p, step, RAGGED, loop=loop(reset))


@FLOORS
@UPDATE
@RESET
def test_a_start_for_each_sequence(floor, update, reset):
    p, each = problem(reset), np.random.default_rng(3).uniform(-1, 1, (3, 5))
    p.start = (each,)
    *_, d_start, _ = battery.run(floor, cell(floor, update, reset), p, loop=loop(reset))
    assert d_start[0].shape == (3, 5)
    for b in range(3):
        alone = problem(reset)
        alone.x, alone.g, alone.start = p.x[:, [b]], p.g[:, [b]], (each[b],)
        alone.d_final = (p.d_final[0][[b]],)
        agree(d_start[0][b], oracles.autograd(alone, oracles.gru(update, reset)).initial_state[0], 1e-12)


def test_the_other_loop_keeps_its_tape_and_takes_complex_gradients():
    p = problem("before")
    tape = reference.gru_before.forward(reference.gru_before.reset_before(), p.params, p.x)[2]
    with pytest.raises(ValueError, match="read-only"):
        tape.hidden[0] = 1.0
    back = reference.gru_before.backward(tape, p.g)
    agree(reference.gru_before.backward(tape, 1j * p.g).inputs.imag, back.inputs, 1e-14)


@FLOORS
def test_where_the_gate_is_one_or_zero_the_blend_is_exact(floor):
    rng = np.random.default_rng(0)
    h, n = np.tanh(rng.standard_normal((2, 50, 4)))  # of all exponents, so that differences are rounded
    one, zero = np.ones_like(h), np.zeros_like(h)
    if floor is gpu:
        h, n, one, zero = bridge.to_torch((h, n, one, zero))
    for update, z, right in [("keep", one, h), ("write", zero, h), ("keep", zero, n), ("write", one, n)]:
        assert (floor.gru.blend(update, z, h, n) == right).all()


@UPDATE
@RESET
def test_against_the_complex_step(update, reset):
    p, module = problem(reset, T=4, B=2, H=4), getattr(reference, loop(reset))
    battery.without_calculus(cell(reference, update, reset), p, "complex_step", 1e-12, module)


@UPDATE
@RESET
def test_against_central_differences(update, reset):
    p, module = problem(reset, T=4, B=2, H=4), getattr(reference, loop(reset))
    battery.without_calculus(cell(reference, update, reset), p, "central_difference", 1e-7, module)


@UPDATE
def test_pull(update):
    battery.pull_is_linear_and_writes_nowhere(cell(reference, update, "after"), problem("after"))


@FLOORS
@UPDATE
@RESET
def test_float32(floor, update, reset):
    battery.float32_stays(floor, cell(floor, update, reset), problem(reset, dtype=np.float32), loop(reset), 5e-5)


@FLOORS
@UPDATE
@RESET
def test_saturated_gates(floor, update, reset):
    p = problem(reset)
    p.params.bias[[0, 1, 5, 6, 10]] = 40.0, -40.0, 40.0, -800.0, 40.0
    battery.against_autograd(floor, cell(floor, update, reset), p, oracles.gru(update, reset), loop=loop(reset))


@FLOORS
@RESET
def test_a_thousand_steps_with_a_shut_update_gate(floor, reset):
    p = problem(reset, T=1000, B=1, H=3, scale=0.4)
    p.params.bias[3:6] = 5.0
    step = oracles.gru("keep", reset)
    battery.against_autograd(floor, cell(floor, "keep", reset), p, step, tolerance=1e-11, loop=loop(reset))


@FLOORS
@UPDATE
def test_step_jacobians_against_torchs_own(floor, update):
    p = problem("after")
    tree = (p.params, p.x, tuple(p.start))
    tape = floor.unroll.forward(cell(floor, update, "after"), *(tree if floor is reference else bridge.to_torch(tree)))[
        2
    ]
    for b in range(3):
        agree(floor.state_jacobians.steps(tape)[:, b], dense_jacobians(p, oracles.gru(update, "after"), b), 1e-12)


def test_compiled():
    battery.compiled(lambda floor: floor.gru.reset_after(), problem("after", T=3))


def test_the_other_loop_compiled():
    p = problem("before", T=3)
    params, x, start = bridge.to_torch((p.params, p.x, tuple(p.start)))

    def outputs(params, x, start):
        return torch.stack([h for (h,) in gpu.gru_before.run(gpu.gru_before.reset_before(), params, x, start)])

    agree(torch.compile(outputs, backend="eager", fullgraph=True)(params, x, start), outputs(params, x, start), 1e-14)


# From one form to another


@FLOORS
@RESET
def test_keep_and_write_are_one_function_with_the_gate_negated(floor, reset):
    p = problem(reset)
    keep = battery.run(floor, cell(floor, "keep", reset), p, loop=loop(reset))
    old, p.params = p.params, gate_params.swap_update(p.params)
    write = battery.run(floor, cell(floor, "write", reset), p, loop=loop(reset))
    agree(write[:2], keep[:2], 1e-14)
    agree(gate_params.swap_update(write[2]), keep[2], 1e-12)  # the gradient swaps in the same way
    assert type(p.params) is type(old)
    assert all(np.array_equal(a, b) for a, b in zip(gate_params.swap_update(p.params), old, strict=True))


def test_swapping_leaves_arrays_and_tensors_alone():
    given = problem("after").params
    for params in (given, bridge.to_torch(given)):
        swapped = gate_params.swap_update(params)
        assert all((a[5:10] == -b[5:10]).all() for a, b in zip(swapped[:3], params[:3], strict=True))
        assert all((a[:5] == b[:5]).all() and (a[10:] == b[10:]).all() for a, b in zip(swapped, params, strict=True))


@FLOORS
def test_before_and_after_differ_unless_the_candidates_matrix_is_diagonal(floor):
    p = problem("before")
    for diagonal in (False, True):
        W_n = p.params.recurrent_weights[10:]
        W_n[:] = np.diag(np.diag(W_n)) if diagonal else W_n
        before = battery.run(floor, cell(floor, "keep", "before"), p, loop="gru_before")[0]
        given, p.params = p.params, ResetAfterGRUParams(*p.params, np.zeros(5))
        after = battery.run(floor, cell(floor, "keep", "after"), p)[0]
        p.params = given
        assert (np.abs(before - after).max() < 1e-14) == diagonal
        assert diagonal or np.abs(before - after).max() > 0.01


@FLOORS
@UPDATE
@RESET
def test_the_state_never_leaves_the_unit_interval(floor, update, reset):
    p = problem(reset, T=50, scale=3.0)
    p.start = (np.clip(p.start[0], -1, 1),)
    assert np.abs(battery.run(floor, cell(floor, update, reset), p, loop=loop(reset))[0]).max() <= 1


# torch


def layer(**settings):
    torch.manual_seed(2)
    return torch.nn.GRU(2, 5, dtype=torch.float64, **settings)


@FLOORS
@pytest.mark.parametrize("bias", [True, False])
def test_a_torch_gru_computes_the_same_here(floor, bias):
    module, p = layer(bias=bias), problem("after")
    p.params = bridge_gates.gru_from_torch(module)
    hidden, last = module(torch.tensor(p.x), torch.tensor(p.start[0]).expand(1, 3, 5).contiguous())
    agree(battery.run(floor, floor.gru.reset_after(), p)[:2], (hidden, (last[0],)), 1e-12)


@FLOORS
def test_our_gru_computes_the_same_in_torch_with_all_its_gradients(floor):
    p = problem("after")
    module = bridge_gates.gru_to_torch(p.params)
    x = torch.tensor(p.x, requires_grad=True)
    h_0 = torch.tensor(p.start[0]).expand(1, 3, 5).clone().requires_grad_()
    hidden, last = module(x, h_0)
    torch.autograd.backward([hidden, last], [torch.tensor(p.g), torch.tensor(p.d_final[0][None])])
    theirs = ResetAfterGRUParams(
        module.weight_ih_l0.grad, module.weight_hh_l0.grad, module.bias_ih_l0.grad, module.bias_hh_l0.grad[10:]
    )
    oracle = (hidden, (last[0],), theirs, x.grad, (h_0.grad[0].sum(dim=0),))
    agree(battery.run(floor, floor.gru.reset_after(), p)[:5], oracle, 1e-12)


@FLOORS
def test_lengths_mean_what_packed_sequences_mean(floor):
    p = problem("after")
    module = bridge_gates.gru_to_torch(p.params)
    packed = torch.nn.utils.rnn.pack_padded_sequence(torch.tensor(p.x), LENGTHS, enforce_sorted=False)
    out, last = module(packed)
    hidden, _ = torch.nn.utils.rnn.pad_packed_sequence(out)
    for b, length in enumerate(LENGTHS):
        p.x[length:, b] = np.nan
    ours = battery.run(floor, floor.gru.reset_after(), p, LENGTHS, start="none")[:2]
    agree(ours, (hidden, (last[0],)), 1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_round_trips(dtype):
    params = problem("after", dtype=dtype).params
    for given in (params, bridge.to_torch(params)):
        back = bridge_gates.gru_from_torch(bridge_gates.gru_to_torch(given))
        assert all(a.dtype == b.dtype and np.array_equal(a, b) for a, b in zip(params, back, strict=True))


def test_what_torch_cannot_hold_is_refused():
    for field in ResetAfterGRUParams._fields:
        with pytest.raises(ValueError, match=f"{field}: expected shape"):
            bridge_gates.gru_to_torch(problem("after").params._replace(**{field: np.zeros((3, 2, 2))}))
    with pytest.raises(ValueError, match=r"params: expected ResetAfterGRUParams.*got GRUParams"):
        bridge_gates.gru_to_torch(problem("before").params)
    with pytest.raises(ValueError, match=r"module: expected a torch.nn.GRU, got RNN"):
        bridge_gates.gru_from_torch(torch.nn.RNN(2, 5))
    with pytest.raises(ValueError, match="module: expected one direction"):
        bridge_gates.gru_from_torch(layer(bidirectional=True))


# Doors

BAD = {
    "two blocks": lambda p: (p.params._replace(recurrent_weights=p.params.recurrent_weights[:10]), p.x, None),
    "two states": lambda p: (p.params, p.x, (p.start[0], p.start[0])),
    "no NamedTuple": lambda p: (tuple(p.params), p.x, None),
    "nan": lambda p: (p.params, p.x * np.nan, None),
    "start": lambda p: (p.params, p.x, p.start[0][:3]),
}


@UPDATE
@RESET
@pytest.mark.parametrize("name", BAD)
def test_both_floors_refuse_in_the_same_words(update, reset, name):
    said = []
    for floor in (reference, gpu):
        params, x, start = BAD[name](problem(reset))
        if floor is gpu:
            params, x = bridge.to_torch((params, x))
            start = bridge.to_torch(start) if start is not None else None
        with pytest.raises(ValueError) as refusal:
            getattr(floor, loop(reset)).forward(cell(floor, update, reset), params, x, start)
        said.append(str(refusal.value))
    assert said[0] == said[1]


@FLOORS
def test_doors_of_backward(floor):
    p = problem("before")
    tree = (p.params, p.x, p.g, p.d_final)
    params, x, g, d_final = tree if floor is reference else bridge.to_torch(tree)
    tape = floor.gru_before.forward(floor.gru_before.reset_before(), params, x)[2]
    for bad, says in [
        ((g[:3], None), r"d_outputs: expected shape \(7, 3, 5\), got \(3, 3, 5\)"),
        ((g, (*d_final, *d_final)), r"d_final_state: expected 1 array\(s\), got 2"),
        ((g, (d_final[0][:2],)), r"d_final_state: expected shape \(3, 5\), got \(2, 5\)"),
    ]:
        with pytest.raises(ValueError, match=says):
            floor.gru_before.backward(tape, *bad)


@FLOORS
def test_the_wrong_loop_says_so(floor):
    p = problem("before")
    tree = (p.params, p.x)
    tree = tree if floor is reference else bridge.to_torch(tree)
    with pytest.raises(ValueError, match="needs the loop of gru_before"):
        floor.unroll.forward(floor.gru_before.reset_before(), *tree)
    with pytest.raises(ValueError, match="needs the loop of gru_before"):
        floor.state_jacobians.steps(floor.gru_before.forward(floor.gru_before.reset_before(), *tree)[2])
    for other in (floor.cells.rnn(), floor.gru.reset_after(), floor.lstm.plain()):
        with pytest.raises(ValueError, match=f"cell: the loop of gru_before runs reset_before, got {other.name}"):
            floor.gru_before.forward(other, *tree)
    for make in (floor.gru.reset_after, floor.gru_before.reset_before):
        with pytest.raises(ValueError, match="update: expected one of 'keep', 'write', got 'forget'"):
            make("forget")


@pytest.mark.cuda
@UPDATE
@RESET
def test_on_a_device(update, reset):
    battery.on_a_device(lambda floor: cell(floor, update, reset), battery.ragged(problem(reset)), loop(reset))


# What the pull says at every step


def sums(params, x, state):
    W_x, W_h, b, _ = params
    return W_x @ x + b, W_h @ state[0]


def from_sums(update):
    """The equations of one step from its two products on."""

    def step(params, given, state):
        (x_r, x_z, x_n), (h_r, h_z, h_n) = (rows.reshape(3, -1) for rows in given)
        r, z = torch.sigmoid(x_r + h_r), torch.sigmoid(x_z + h_z)
        n = torch.tanh(x_n + r * (h_n + params.candidate_bias))
        return ((z * state[0] + (1 - z) * n) if update == "keep" else ((1 - z) * state[0] + z * n),)

    return step


@UPDATE
def test_the_gradient_of_every_gate_at_every_step(update):
    p = problem("after", T=9, B=1)
    (by_x, by_h), (d_h,) = oracles.watched(p, from_sums(update), sums)
    to_x, to_h, s = battery.pulled(cell(reference, update, "after"), p)
    agree((to_x, to_h, s), (by_x, by_h, d_h), 1e-13)
    assert np.array_equal(to_x[:, :10], to_h[:, :10]) and not np.allclose(to_x[:, 10:], to_h[:, 10:])
