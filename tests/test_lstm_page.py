"""The equations of chapter 07, each against a judge that shares no code with the library."""

import cell_battery as battery
import cell_oracles as oracles
import numpy as np
import pytest
import torch
from proof import agree, verifies
from test_lstm import from_sums, problem, sums

from rnncourse import bridge_gates, gate_params, gradcheck, reference
from rnncourse.reference import layer_norm, lstm, unroll

H = 5


def run(p, form="plain"):
    return unroll.forward(getattr(lstm, form)(), p.params, p.x, tuple(p.start))[2]


def saved(tape):
    """i, f, candidate, o (T, H each), c_{t-1} and tanh(c_t) of the first sequence."""
    gates, before, seen = (np.array(arrays)[:, 0] for arrays in zip(*tape.saved, strict=True))
    return *np.split(gates, 4, axis=1), before, seen


def watched(p, form="plain"):
    """dL/da_t, dL/dh_t and dL/dc_t of one sequence, by autograd through a plain loop."""
    (delta,), (s, s_c) = oracles.watched(p, from_sums(form), sums)
    return delta, s, s_c


def later(rows, end=0.0):
    """The rows of the step after, and at the last step what arrives from beyond."""
    return np.concatenate([rows[1:], np.broadcast_to(end, rows[:1].shape)])


@verifies("eq-lstm-output-gradient", oracle="autograd")
def test_what_reaches_the_output():
    p = problem("plain", T=9, B=1)
    p.d_final = (np.zeros((1, H)), np.zeros((1, H)))
    delta, s, _ = watched(p)
    agree(p.g[:, 0] + later(delta) @ p.params.recurrent_weights, s, 1e-13)
    agree(unroll.backward(run(p), p.g).hidden[:, 0], s, 1e-13)


@verifies("eq-lstm-memory-gradient", oracle="autograd")
def test_what_reaches_the_memory():
    p = problem("plain", T=9, B=1)
    _, s, s_c = watched(p)
    *_, ours_s, beyond = battery.pulled(lstm.plain(), p)
    _, f, _, o, _, seen = saved(run(p))
    agree(beyond + ours_s * o * (1 - seen**2), s_c, 1e-13)  # as the library carries it
    agree(o * (1 - seen**2) * s + later(f * s_c, p.d_final[1]), s_c, 1e-13)  # as the page writes it


@verifies("eq-lstm-gate-gradients", oracle="autograd")
def test_what_reaches_the_gates():
    p = problem("plain", T=9, B=1)
    delta, s, s_c = watched(p)
    i, f, new, o, before, seen = saved(run(p))
    page = [s_c * new * i * (1 - i), s_c * before * f * (1 - f), s_c * i * (1 - new**2), s * seen * o * (1 - o)]
    agree(np.concatenate(page, axis=1), delta, 1e-13)
    agree(battery.pulled(lstm.plain(), p)[0], delta, 1e-13)


@verifies("eq-lstm-weight-gradients", oracle="autograd")
def test_the_weights():
    p = problem("plain")
    agree(unroll.backward(run(p), p.g, p.d_final).params, oracles.autograd(p, oracles.lstm).params, 1e-13)


@verifies("eq-lstm-weight-gradients", oracle="torch.nn.LSTM")
@verifies("eq-lstm-other-gradients", oracle="torch.nn.LSTM")
def test_torchs_layer():
    p = problem("plain")
    layer = bridge_gates.lstm_to_torch(p.params)
    x, start = torch.tensor(p.x, requires_grad=True), [torch.tensor(part, requires_grad=True) for part in p.start]
    outputs, final = layer(x, tuple(part.expand(1, 3, H) for part in start))
    torch.autograd.backward((outputs, *final), (torch.tensor(p.g), *(torch.tensor(d)[None] for d in p.d_final)))
    ours, ours_final, tape = unroll.forward(lstm.plain(), p.params, p.x, tuple(p.start))
    back = unroll.backward(tape, p.g, p.d_final)
    agree((ours, *ours_final), (outputs, *(part[0] for part in final)), 1e-14)
    theirs = layer.weight_ih_l0.grad, layer.weight_hh_l0.grad, layer.bias_ih_l0.grad
    agree(tuple(back.params), theirs, 1e-12)
    agree((back.inputs, *back.initial_state), (x.grad, *(part.grad for part in start)), 1e-12)


@verifies("eq-lstm-other-gradients", oracle="autograd")
def test_inputs_and_starts():
    p = problem("plain")
    back, oracle = unroll.backward(run(p), p.g, p.d_final), oracles.autograd(p, oracles.lstm)
    agree((back.inputs, back.initial_state), (oracle.inputs, oracle.initial_state), 1e-13)


def through_gates(p, tape, t):
    """C_t as the page writes it: three slopes on the rows of three blocks of W_h."""
    W_i, W_f, W_c, W_o = np.split(p.params.recurrent_weights, 4)
    i, f, new, o, before, _ = (part[t] for part in saved(tape))
    C = (before * f * (1 - f))[:, None] * W_f + (new * i * (1 - i))[:, None] * W_i + (i * (1 - new**2))[:, None] * W_c
    return C, (o * (1 - o))[:, None] * W_o


@verifies("eq-lstm-through-gates", oracle="torch.autograd.functional.jacobian")
@verifies("eq-lstm-jacobian", oracle="torch.autograd.functional.jacobian")
def test_the_step_jacobian():
    p = problem("plain", B=1)
    tape, oracle = run(p), oracles.dense_jacobians(p, oracles.lstm)
    agree(reference.state_jacobians.steps(tape)[:, 0], oracle, 1e-13)
    for t, J in enumerate(oracle):
        (_, f, _, o, _, seen), (C, to_o) = (part[t] for part in saved(tape)), through_gates(p, tape, t)
        S = np.diag(o * (1 - seen**2))
        agree(C, J[H:, :H], 1e-13)
        agree(np.block([[S @ C + np.diag(seen) @ to_o, S * f], [C, np.diag(f)]]), J, 1e-13)


@verifies("eq-lstm-direct-path", oracle="autograd with gates and candidate detached")
def test_the_memorys_own_path():
    p = problem("plain", T=6, B=1)
    W_x, W_h, b = (torch.tensor(array) for array in p.params)

    def last(c, free=False):
        h = torch.tensor(p.start[0])
        for x in torch.tensor(p.x[:, 0]):
            i, f, new, o = (W_x @ x + W_h @ h + b).reshape(4, -1)
            i, f, o = (gate.sigmoid().detach() for gate in (i, f, o))
            c = f * c + i * (new.tanh() if free else new.tanh().detach())
            h = o * c.tanh()
        return c

    oracle = torch.autograd.functional.jacobian(last, torch.tensor(p.start[1]))
    tape = run(p)
    agree(reference.lstm_paths.carried(reference.lstm_paths.steps(tape), 0, 6).direct[0, H:, H:], oracle, 1e-13)
    agree(np.diag(saved(tape)[1].prod(axis=0)), oracle, 1e-13)
    free = torch.autograd.functional.jacobian(lambda c: last(c, free=True), torch.tensor(p.start[1]))
    assert gradcheck.relative_error(oracle.numpy(), free.numpy()) > 0.01  # the candidate must be held, too


@verifies("eq-lstm-bounds", oracle="the largest entry of many saturated runs")
def test_the_output_is_bounded_and_the_memory_grows_by_one_a_step_at_most():
    p = problem("plain", T=40, B=3, scale=4.0)
    p.start = (p.start[0], 100 * p.start[1])
    tape = run(p)
    c = np.array([before for _, before, _ in tape.saved])
    assert np.abs(tape.hidden[1:]).max() <= 1 and np.abs(tape.hidden[1:]).max() > 0.9
    room = np.abs(p.start[1]) + np.arange(40)[:, None, None]
    agree(np.maximum(np.abs(c), room), np.broadcast_to(room, c.shape), 1e-15)  # never above
    open_wide = gate_params.LSTMParams(np.zeros((4, 1)), np.zeros((4, 1)), np.full(4, 40.0))
    c = np.array([b for _, b, _ in unroll.forward(lstm.plain(), open_wide, np.zeros((1000, 1, 1)))[2].saved])
    agree(c[:, 0, 0], np.arange(1000.0), 1e-15)  # and nothing less will do


@verifies("eq-lstm-leaky-bound", oracle="geometric series, summed term by term")
def test_a_forget_gate_below_one_bounds_the_memory():
    phi, start = 0.8, 7.0
    params = gate_params.LSTMParams(
        np.zeros((4, 1)), np.zeros((4, 1)), np.array([40.0, np.log(phi / (1 - phi)), 40, 0])
    )
    tape = unroll.forward(lstm.plain(), params, np.zeros((60, 1, 1)), (np.zeros(1), np.array([start])))[2]
    c = np.array([before[0, 0] for _, before, _ in tape.saved])
    series = np.array([phi**t * start + sum(phi**k for k in range(t)) for t in range(60)])
    bound = np.array([phi**t * start + (1 - phi**t) / (1 - phi) for t in range(60)])
    agree(bound, series, 1e-13)
    agree(c, series, 1e-13)  # reached, with gate and candidate open
    p = problem("plain", T=60, B=3, scale=2.0)
    p.params.recurrent_weights[H : 2 * H] = p.params.input_weights[H : 2 * H] = 0
    p.params.bias[H : 2 * H] = np.log(phi / (1 - phi))
    c = np.array([before for _, before, _ in run(p).saved])
    t = np.arange(60)[:, None, None]
    room = np.broadcast_to(phi**t * np.abs(p.start[1]) + (1 - phi**t) / (1 - phi), c.shape)
    agree(np.maximum(np.abs(c), room), room, 1e-15)  # never above


@verifies("eq-lstm-forward-mode", oracle="autograd")
def test_the_derivative_run_forwards():
    """dc_t/dW and do_t/dW by all of W_h, as the page has it; against autograd of the last memory."""
    p = problem("plain", T=6, B=1)
    tape = run(p)
    size = p.params.recurrent_weights.size
    d_c, d_o = np.zeros((H, size)), np.zeros((H, size))
    for t in range(6):
        i, f, new, o, before, _ = (part[t] for part in saved(tape))
        C, to_o = through_gates(p, tape, t)
        old = saved(tape)[3][t - 1] if t else np.zeros(H)
        squashed = np.tanh(before)
        S = np.diag(old * (1 - squashed**2)) if t else np.zeros((H, H))
        shown = np.diag(squashed) if t else np.zeros((H, H))
        slopes = before * f * (1 - f), new * i * (1 - i), i * (1 - new**2), o * (1 - o)
        here = np.zeros((2, H, 4 * H, H))
        for k in range(H):
            for block, slope in zip((1, 0, 2), slopes[:3], strict=True):
                here[0, k, block * H + k] = slope[k] * tape.hidden[t, 0]
            here[1, k, 3 * H + k] = slopes[3][k] * tape.hidden[t, 0]
        by_c, by_o = here.reshape(2, H, size)
        moved = S @ d_c + shown @ d_o
        d_c, d_o = (np.diag(f) + C @ S) @ d_c + C @ shown @ d_o + by_c, to_o @ moved + by_o
    W_x, W_h, b = (torch.tensor(array) for array in p.params)

    def last(W):
        state = tuple(map(torch.tensor, p.start))
        for x in torch.tensor(p.x[:, 0]):
            state = oracles.lstm((W_x, W, b), x, state)
        return state[1]

    agree(d_c, torch.autograd.functional.jacobian(last, W_h).reshape(H, size), 1e-13)


@verifies("eq-lstm-weight-gradients", oracle="autograd")
@verifies("eq-lstm-other-gradients", oracle="autograd")
def test_weights_inputs_and_starts_as_the_page_writes_them():
    p = problem("plain", T=9, B=1)
    delta, _, s_c = watched(p)
    tape, oracle = run(p), oracles.autograd(p, oracles.lstm)
    page = delta.T @ tape.hidden[:-1, 0], delta.T @ p.x[:, 0], delta.sum(axis=0)
    right = oracle.params
    agree(page, (right.recurrent_weights, right.input_weights, right.bias), 1e-13)
    page = delta @ p.params.input_weights, delta[0] @ p.params.recurrent_weights, saved(tape)[1][0] * s_c[0]
    agree(page, (oracle.inputs[:, 0], *(np.ravel(start) for start in oracle.initial_state)), 1e-13)


@verifies("eq-half-life", oracle="bisection on repeated products")
@pytest.mark.parametrize("bias", [-1.0, 0.0, 1.0, 3.0, 5.0])
def test_half_life(bias):
    f = torch.sigmoid(torch.tensor(bias, dtype=torch.float64)).item()
    low, high = 0.0, 1e6
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if f**middle > 0.5 else (low, middle)
    agree(np.log(2) / np.log1p(np.exp(-bias)), low, 1e-12)
    agree(np.log(2) / -np.log(reference.activations.sigmoid(np.array(bias))), low, 1e-12)


@verifies("eq-chrono", oracle="fractions, and bisection on repeated products")
def test_chrono_gates():
    rng = np.random.default_rng(0)
    b_f = gate_params.chrono_bias(rng, 200, 100)
    u = np.random.default_rng(0).uniform(1, 99, 200)
    params = gate_params.chrono_lstm(np.random.default_rng(0), gate_params.init_lstm(rng, 2, 200), 100)
    i, f, *_ = np.split(lstm.squash(params.bias[None])[0], 4)
    agree((f, i), (u / (1 + u), 1 / (1 + u)), 1e-13)
    agree(f + i, np.ones(200), 1e-13)
    n = np.log(2) / np.log1p(np.exp(-b_f))
    agree(f**n, np.full(200, 0.5), 1e-12)
    assert (u * np.log(2) < n).all() and (n < (u + 1) * np.log(2)).all()


@verifies("eq-peephole-memory-gradient", oracle="autograd")
@verifies("eq-peephole-gradients", oracle="autograd")
def test_peepholes():
    p = problem("peephole", T=9, B=1)
    delta, s, s_c = watched(p, "peephole")
    tape = run(p, "peephole")
    gates, before, c, seen = (np.array(arrays)[:, 0] for arrays in zip(*tape.saved, strict=True))
    p_i, p_f, p_o = np.split(p.params.peepholes, 3)
    (_, f, _, o), (d_i, d_f, _, d_o) = np.split(gates, 4, axis=1), np.split(delta, 4, axis=1)
    from_later = later(f * s_c + p_i * d_i + p_f * d_f, p.d_final[1])
    agree(o * (1 - seen**2) * s + p_o * d_o + from_later, s_c, 1e-13)
    ours = unroll.backward(tape, p.g, p.d_final).params.peepholes
    right = oracles.autograd(p, oracles.peephole_lstm)
    oracle = right.params.peepholes
    agree(ours, oracle, 1e-13)
    agree(f[0] * s_c[0] + p_i * d_i[0] + p_f * d_f[0], np.ravel(right.initial_state[1]), 1e-13)  # c_0's readers
    agree(np.concatenate([(d_i * before).sum(0), (d_f * before).sum(0), (d_o * c).sum(0)]), oracle, 1e-13)


@verifies("eq-row-norm-gradient", oracle="autograd of torch's layer_norm, and the complex step")
def test_layer_normalisation():
    rng = np.random.default_rng(2)
    a, d_y = rng.standard_normal((2, 6, 7))
    gain, shift = rng.standard_normal((2, 7))
    rows = torch.tensor(a, requires_grad=True)
    torch.nn.functional.layer_norm(rows, (7,), torch.tensor(gain), torch.tensor(shift), 1e-5).backward(
        torch.tensor(d_y)
    )
    _, tape = layer_norm.forward(gate_params.LayerNormParams(gain, shift), a)
    agree(layer_norm.backward(tape, d_y)[1], rows.grad, 1e-13)
    by_step = gradcheck.complex_step(lambda a: ((layer_norm.normalise(a, 1e-5)[0] * gain + shift) * d_y).sum(), a)
    agree(layer_norm.backward(tape, d_y)[1], by_step, 1e-13)
    d, n, rho = gain * d_y, tape.normalised, tape.precision
    page = rho * (d - d.mean(axis=1, keepdims=True) - n * (d * n).mean(axis=1, keepdims=True))
    agree(page, rows.grad, 1e-13)
