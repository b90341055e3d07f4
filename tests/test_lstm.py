"""The LSTM in its three forms, on both floors, against autograd, the complex step, central differences and torch."""

from functools import partial

import cell_battery as battery
import cell_oracles as oracles
import numpy as np
import pytest
import torch
from cell_oracles import RAGGED, SHAPES, draw_problem
from proof import agree

from rnncourse import bridge, gpu, gradcheck, reference
from rnncourse.gate_params import LayerNormLSTMParams, LSTMParams, PeepholeLSTMParams

FORMS = {
    "plain": (LSTMParams, (), oracles.lstm),
    "peephole": (PeepholeLSTMParams, (3,), oracles.peephole_lstm),
    "normed": (LayerNormLSTMParams, (4, 4, 4, 1, 1), oracles.layer_norm_lstm),
}
FLOORS = pytest.mark.parametrize("floor", [reference, gpu], ids=["reference", "gpu"])
EVERY = pytest.mark.parametrize("form", FORMS)


def problem(form, **settings):
    kind, own, _ = FORMS[form]
    return draw_problem(kind, gates=4, own=own, states=2, **settings)


def cell(floor, form):
    return getattr(floor.lstm, form)()


@FLOORS
@EVERY
@pytest.mark.parametrize(("T", "B", "D", "H"), SHAPES)
def test_against_autograd(floor, form, T, B, D, H):
    H = max(H, 3) if form == "normed" else H  # a row of one has nothing to normalise: test below
    p = problem(form, T=T, B=B, D=D, H=H)
    battery.against_autograd(floor, cell(floor, form), p, FORMS[form][2])


@FLOORS
@EVERY
def test_ragged_with_nan_in_the_padding(floor, form):
    p = battery.ragged(problem(form))
    battery.against_autograd(floor, cell(floor, form), p, FORMS[form][2], RAGGED)


@EVERY
def test_against_the_complex_step(form):
    battery.without_calculus(cell(reference, form), problem(form, T=4, B=2, H=4), "complex_step", 1e-12)


@EVERY
def test_against_central_differences(form):
    battery.without_calculus(cell(reference, form), problem(form, T=4, B=2, H=4), "central_difference", 1e-7)


@EVERY
def test_pull(form):
    battery.pull_is_linear_and_writes_nowhere(cell(reference, form), problem(form))


@FLOORS
@EVERY
def test_float32(floor, form):
    battery.float32_stays(floor, cell(floor, form), problem(form, dtype=np.float32), tolerance=1e-4)


@FLOORS
@EVERY
def test_saturated_gates(floor, form):
    p = problem(form)
    where = p.params.shift if form == "normed" else p.params.bias
    where[0], where[5], where[11], where[16] = 40.0, -40.0, 40.0, -800.0  # one unit of each gate
    battery.against_autograd(floor, cell(floor, form), p, FORMS[form][2])


@FLOORS
@EVERY
def test_a_thousand_steps_with_an_open_forget_gate(floor, form):
    p = problem(form, T=1000, B=1, H=3, scale=0.4)
    (p.params.shift if form == "normed" else p.params.bias)[3:6] = 5.0
    battery.against_autograd(floor, cell(floor, form), p, FORMS[form][2], tolerance=1e-11)


@FLOORS
def test_epsilon_reaches_every_row(floor):
    oracle = partial(oracles.layer_norm_lstm, epsilon=0.1)
    battery.against_autograd(floor, floor.lstm.normed(0.1), problem("normed"), oracle)


@FLOORS
def test_one_normalised_unit_is_a_constant(floor):
    p = problem("normed", H=1)
    outputs = battery.run(floor, cell(floor, "normed"), p)[0]
    assert np.isfinite(outputs).all()


def test_a_start_may_be_left_out():
    for form in FORMS:
        p = problem(form)
        p.start = (np.zeros(5), np.zeros(5))
        ours = battery.run(reference, cell(reference, form), p, start="none")
        agree(ours[:2], battery.run(gpu, cell(gpu, form), p)[:2], 1e-13)


def test_closed_peepholes_change_nothing():
    p = problem("plain")
    shut = PeepholeLSTMParams(*p.params, np.zeros(15))
    plain, looking = (reference.unroll.forward(cell(reference, form), params, p.x, tuple(p.start))[:2]
                      for form, params in (("plain", p.params), ("peephole", shut)))  # fmt: skip
    agree(looking, plain, 1e-15)


@EVERY
def test_compiled(form):
    battery.compiled(lambda floor: cell(floor, form), problem(form, T=3))


def test_gates_of_extreme_rows():
    a = np.array([[-1e4, -50.0, 0.0, 50.0, 1e4, 0.3, -0.3, 2.0]])
    gates = reference.lstm.squash(a)
    with np.errstate(over="ignore"):
        sigma = 1 / (1 + np.exp(-a[:, [0, 1, 2, 3, 6, 7]]))
    agree(gates[:, [0, 1, 2, 3, 6, 7]], sigma, 1e-15)
    agree(gates[:, 4:6], np.tanh(a[:, 4:6]), 1e-15)
    assert gates.min() >= -1 and gates.max() <= 1


def test_slopes_are_derivatives():
    a = np.random.default_rng(0).standard_normal((1, 8))
    oracle = gradcheck.complex_step(lambda a: reference.lstm.squash(a).sum(), a)
    agree(reference.lstm.slopes(reference.lstm.squash(a)), oracle, 1e-14)


BAD = {
    "three blocks": (
        lambda p: (p.params._replace(recurrent_weights=p.params.recurrent_weights[:15]), p.x, None),
        r"recurrent_weights: expected shape \(20, 5\), got \(15, 5\)",
    ),
    "one state": (
        lambda p: (p.params, p.x, p.start[0]),
        r"initial_state: the \S*lstm cell has 2 state array\(s\), got 1",
    ),
    "wrong kind": (lambda p: (p.params[:3], p.x, None), "params: expected a NamedTuple of W_x, W_h, b and"),
    "nan": (lambda p: (p.params, p.x * np.nan, None), "inputs: 42 of 42 entries are NaN"),
}


@FLOORS
@EVERY
@pytest.mark.parametrize("name", BAD)
def test_bad_input(floor, form, name):
    make, says = BAD[name]
    params, x, start = make(problem(form))
    if floor is gpu:
        params, x = bridge.to_torch((params, x))
        start = None if start is None else torch.tensor(start)
    with pytest.raises(ValueError, match=says):
        floor.unroll.forward(cell(floor, form), params, x, start)


@FLOORS
def test_epsilon(floor):
    with pytest.raises(ValueError, match="epsilon: expected a positive number, got -1"):
        floor.lstm.normed(-1)


@FLOORS
def test_peepholes_of_the_wrong_size(floor):
    p = problem("peephole")
    params = p.params._replace(peepholes=np.zeros(20))
    with pytest.raises(ValueError, match=r"peepholes: expected shape \(15,\), got \(20,\)"):
        floor.unroll.forward(cell(floor, "peephole"), params if floor is reference else bridge.to_torch(params), p.x)


def test_a_model_with_two_states_trains_by_every_route():
    """bptt.full and checkpoint.full take the cell as they take any other."""
    p = problem("plain", T=6)
    readout = reference.readout.ReadoutParams(p.rng.standard_normal((2, 5)), p.rng.standard_normal(2))
    model = reference.bptt.ModelParams(p.params, readout, tuple(p.start))
    targets = p.rng.standard_normal((6, 3, 2))
    full = reference.bptt.full(reference.lstm.plain(), model, p.x, targets)
    saving = reference.checkpoint.full(reference.lstm.plain(), model, p.x, targets, segment=2)
    theirs = gpu.bptt.full(gpu.lstm.plain(), *bridge.to_torch((model, p.x, targets)))
    agree(tuple(full), tuple(bridge.to_numpy(theirs)), 1e-12)
    agree(saving.gradients, full.gradients, 1e-13)


@pytest.mark.cuda
@EVERY
def test_on_a_device(form):
    battery.on_a_device(lambda floor: cell(floor, form), battery.ragged(problem(form)))


# What the pull says at every step


def sums(params, x, state):
    W_x, W_h, b, *_ = params
    return (W_x @ x + W_h @ state[0] + b,)


def from_sums(form):
    """The equations of one step from its pre-activations on."""

    def step(params, given, state):
        a_i, a_f, a_g, a_o = given[0].reshape(4, -1)
        p_i, p_f, p_o = params.peepholes.reshape(3, -1) if form == "peephole" else (0.0, 0.0, 0.0)
        c = torch.sigmoid(a_f + p_f * state[1]) * state[1] + torch.sigmoid(a_i + p_i * state[1]) * torch.tanh(a_g)
        return torch.sigmoid(a_o + p_o * c) * torch.tanh(c), c

    return step


@pytest.mark.parametrize("form", ["plain", "peephole"])
def test_the_gradient_of_every_gate_at_every_step(form):
    p = problem(form, T=9, B=1)
    (oracle,), _ = oracles.watched(p, from_sums(form), sums)
    delta, to_h, *_ = battery.pulled(cell(reference, form), p)
    agree(delta, oracle, 1e-13)
    assert np.array_equal(delta, to_h)


def test_the_gradient_of_the_memory_cell_at_every_step():
    """The recursion dL/dc_t = dL/dc_{t+1} * f_{t+1} + dL/dh_t * o_t * (1 - tanh(c_t)^2), from what pull is given."""
    p = problem("plain", T=9, B=1)
    _, (d_h, d_c) = oracles.watched(p, from_sums("plain"), sums)
    *_, s, beyond = battery.pulled(cell(reference, "plain"), p)
    tape = reference.unroll.forward(cell(reference, "plain"), p.params, p.x, tuple(p.start))[2]
    gates, _, seen = (np.array(arrays)[:, 0] for arrays in zip(*tape.saved, strict=True))
    agree(s, d_h, 1e-13)
    agree(beyond + s * gates[:, 15:] * (1 - seen**2), d_c, 1e-13)
