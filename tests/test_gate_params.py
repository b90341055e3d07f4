"""How gated cells start."""

from types import SimpleNamespace

import numpy as np
import pytest
from proof import agree

from rnncourse import gate_params, reference

RNG = np.random.default_rng
INIT = {
    "lstm": (gate_params.init_lstm, 4, reference.lstm.plain()),
    "peephole": (gate_params.init_peephole_lstm, 4, reference.lstm.peephole()),
    "normed": (gate_params.init_layer_norm_lstm, 4, reference.lstm.normed()),
    "gru": (gate_params.init_gru, 3, None),
    "reset after": (gate_params.init_reset_after_gru, 3, reference.gru.reset_after()),
}


@pytest.mark.parametrize("name", INIT)
def test_every_gate_starts_with_an_orthogonal_recurrence(name):
    init, gates, cell = INIT[name]
    params = init(RNG(0), 3, 5)
    assert params.input_weights.shape == (gates * 5, 3) and params.bias.shape == (gates * 5,)
    for block in np.split(params.recurrent_weights, gates):
        agree(block @ block.T, np.eye(5), 1e-13)
    if cell is not None:
        assert np.isfinite(reference.unroll.forward(cell, params, np.ones((4, 2, 3)))[0]).all()


@pytest.mark.parametrize("name", INIT)
def test_sizes_are_checked(name):
    for sizes in [(0, 5), (3, 0), (3, 2.5)]:
        with pytest.raises(ValueError, match="expected a whole number >= 1"):
            INIT[name][0](RNG(0), *sizes)


def test_the_input_scale_is_that_asked_for():
    W_x = gate_params.init_lstm(RNG(0), 400, 50).input_weights
    assert abs(W_x.std() - 0.05) < 1e-3
    assert abs(gate_params.init_gru(RNG(0), 400, 50, input_scale=3.0).input_weights.std() - 3) < 0.05


def test_the_forget_bias_is_in_the_forget_gate_alone():
    assert np.array_equal(gate_params.init_lstm(RNG(0), 3, 2, forget_bias=1.5).bias, [0, 0, 1.5, 1.5, 0, 0, 0, 0])
    normed = gate_params.init_layer_norm_lstm(RNG(0), 3, 2, forget_bias=1.5, gain=0.1)
    assert np.array_equal(normed.shift, [0, 0, 1.5, 1.5, 0, 0, 0, 0]) and not normed.bias.any()
    assert (normed.input_gain == 0.1).all() and (normed.recurrent_gain == 0.1).all()
    assert normed.input_gain is not normed.recurrent_gain and (normed.cell_gain == 1).all()


def test_without_input_the_cell_decays_as_the_forget_bias_says():
    """h_0 = 0 and silent weights: what is left of c after t steps is sigma(b_f)^t."""
    H = 3
    for b_f in (0.0, 1.0, 5.0):
        b = np.zeros(4 * H)
        b[H : 2 * H] = b_f
        params = gate_params.LSTMParams(np.zeros((4 * H, 1)), np.zeros((4 * H, H)), b)
        start = np.zeros(H), np.ones(H)
        _, (_, c), _ = reference.unroll.forward(reference.lstm.plain(), params, np.zeros((10, 1, 1)), start)
        agree(c[0], np.full(H, (1 / (1 + np.exp(-b_f))) ** 10), 1e-13)


def test_chrono_biases_are_the_logarithms_of_time_scales():
    scales = np.exp(gate_params.chrono_bias(RNG(0), 20000, 100))
    assert scales.min() >= 1 and scales.max() <= 99 and abs(scales.mean() - 50) < 1
    for init in (gate_params.init_lstm, gate_params.init_peephole_lstm):
        plain = init(RNG(0), 3, 50)
        chrono = gate_params.chrono_lstm(RNG(1), plain, 100)
        b_i, b_f, b_g, b_o = np.split(chrono.bias, 4)
        assert type(chrono) is type(plain) and np.array_equal(b_i, -b_f) and not b_g.any() and not b_o.any()
        agree(1 / (1 + np.exp(-b_i)), 1 - 1 / (1 + np.exp(-b_f)), 1e-13)
        assert plain.bias[50] == 1.0  # the old ones are left alone
        drawn = plain._replace(bias=RNG(2).standard_normal(200))
        kept = gate_params.chrono_lstm(RNG(1), drawn, 100).bias[100:]
        assert np.array_equal(kept, drawn.bias[100:])  # so are candidate and output gate


def test_a_chrono_unit_halves_what_it_holds_in_about_u_log_2_steps():
    for u in (20.0, 80.0):
        fixed = SimpleNamespace(uniform=lambda low, high, size, u=u: np.full(size, u))
        f = (1 / (1 + np.exp(-gate_params.chrono_bias(fixed, 1, 100)))).item()
        assert abs(np.log(2) / -np.log(f) / (u * np.log(2)) - 1) < 0.03


def test_chrono_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match="longest: expected a whole number >= 3, got 2"):
        gate_params.chrono_bias(RNG(0), 3, 2)
    with pytest.raises(ValueError, match="hidden: expected a whole number >= 1, got 0"):
        gate_params.chrono_bias(RNG(0), 0, 20)
    with pytest.raises(ValueError, match="params: expected LSTMParams or PeepholeLSTMParams, got LayerNormLSTMParams"):
        gate_params.chrono_lstm(RNG(0), gate_params.init_layer_norm_lstm(RNG(0), 3, 2), 20)


def test_the_update_bias_is_in_the_update_gate_alone():
    assert np.array_equal(gate_params.init_gru(RNG(0), 3, 2, update_bias=2.0).bias, [0, 0, 2, 2, 0, 0])
    assert not gate_params.init_reset_after_gru(RNG(0), 3, 2).candidate_bias.any()
    made = gate_params.init_reset_after_gru(RNG(0), 3, 2, update_bias=2.0)
    assert np.array_equal(made.bias, [0, 0, 2, 2, 0, 0])
