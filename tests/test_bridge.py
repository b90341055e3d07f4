"""The bridge: nothing is lost on the way there and back, and torch.nn.RNN computes what we compute."""

from typing import NamedTuple

import numpy as np
import pytest
import torch
from oracles import problem
from proof import agree

from rnncourse import bridge, gpu, reference
from rnncourse.params import RNNParams, named_arrays

LENGTHS = (7, 3, 5)


class Nest(NamedTuple):
    params: RNNParams
    both: tuple
    classes: np.ndarray


@pytest.fixture
def nest():
    p = problem(1, kind="classes")
    return Nest(p.params.cell, (p.inputs, p.inputs > 0), p.targets)


def test_there_and_back_changes_nothing(nest):
    there = bridge.to_torch(nest)
    back = bridge.to_numpy(there)
    assert type(back) is Nest and type(back.params) is RNNParams and type(back.both) is tuple
    for a, b in [(nest.params.bias, back.params.bias), *zip(nest.both, back.both, strict=True), (nest[2], back[2])]:
        assert a.dtype == b.dtype and np.array_equal(a, b)


def test_both_ways_copy(nest):
    there = bridge.to_torch(nest)
    there.params.bias[0] = 99.0
    assert nest.params.bias[0] != 99.0
    back = bridge.to_numpy(there)
    back.params.bias[0] = -1.0
    assert there.params.bias[0] == 99.0


def test_precision_is_changed_where_there_is_some(nest):
    there = bridge.to_torch(nest, dtype=torch.float32)
    assert there.params.bias.dtype == there.both[0].dtype == torch.float32
    assert (there.both[1].dtype, there.classes.dtype) == (torch.bool, torch.int64)
    assert bridge.to_torch(nest, device="meta").params.bias.device.type == "meta"


def test_gradients_leave_their_graph(nest):
    leaf = torch.ones(3, requires_grad=True)
    assert np.array_equal(bridge.to_numpy(leaf * 2), [2, 2, 2])
    assert float(bridge.to_numpy(bridge.to_torch(np.float64(0.1)))) == 0.1


def layer(activation, **settings):
    torch.manual_seed(2)
    return torch.nn.RNN(2, 5, nonlinearity=activation, dtype=torch.float64, **settings)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_what_torch_has_computes_the_same_here(activation, bias):
    module, p = layer(activation, bias=bias), problem(3)
    params = bridge.rnn_from_torch(module)
    h_0 = p.params.initial_state
    hidden, final = module(torch.tensor(p.inputs), torch.tensor(h_0).expand(1, 3, 5).contiguous())
    cell = reference.cells.rnn(activation)
    agree(reference.unroll.forward(cell, params, p.inputs, h_0)[:2], (hidden, (final[0],)), 1e-12)


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_what_we_have_computes_the_same_in_torch(activation):
    p = problem(4)
    module = bridge.rnn_to_torch(p.params.cell, activation)
    x, h_0 = torch.tensor(p.inputs, requires_grad=True), torch.tensor(p.params.initial_state).expand(1, 3, 5).clone()
    hidden, _ = module(x, h_0.requires_grad_())
    g = p.rng.standard_normal((7, 3, 5))
    hidden.backward(torch.tensor(g))
    cell = reference.cells.rnn(activation)
    ours, _, tape = reference.unroll.forward(cell, p.params.cell, p.inputs, p.params.initial_state)
    back = reference.unroll.backward(tape, g)
    theirs = RNNParams(module.weight_ih_l0.grad, module.weight_hh_l0.grad, module.bias_ih_l0.grad)
    agree((ours, back.params, back.inputs), (hidden, theirs, x.grad), 1e-12)
    agree(back.initial_state[0], h_0.grad[0].sum(dim=0), 1e-12)
    assert not module.bias_hh_l0.any()


def test_lengths_mean_what_packed_sequences_mean():
    p = problem(5)
    module = bridge.rnn_to_torch(p.params.cell)
    pack, unpack = torch.nn.utils.rnn.pack_padded_sequence, torch.nn.utils.rnn.pad_packed_sequence
    packed, final = module(pack(torch.tensor(p.inputs), LENGTHS, enforce_sorted=False))
    hidden, _ = unpack(packed)
    for b, length in enumerate(LENGTHS):
        p.inputs[length:, b] = np.nan
    for floor, params, x in [
        (reference, p.params.cell, p.inputs),
        (gpu, *bridge.to_torch((p.params.cell, p.inputs))),
    ]:
        agree(floor.unroll.forward(floor.cells.rnn(), params, x, lengths=LENGTHS)[:2], (hidden, (final[0],)), 1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_round_trips(dtype):
    params = problem(6, dtype=dtype).params.cell
    for given in (params, bridge.to_torch(params)):
        back = bridge.rnn_from_torch(bridge.rnn_to_torch(given, "relu"))
        for (name, a), (_, b) in zip(named_arrays(params), named_arrays(back), strict=True):
            assert a.dtype == b.dtype and np.array_equal(a, b), name


def test_a_layer_is_left_alone():
    module = layer("tanh")
    params = bridge.rnn_from_torch(module)
    before = module.bias_ih_l0.detach().clone()
    params.bias[:] = 0.0
    params.input_weights[:] = 0.0
    assert torch.equal(module.bias_ih_l0, before) and module.weight_ih_l0.any()


@pytest.mark.parametrize(
    "module, says",
    [
        (lambda: layer("tanh", bidirectional=True), "module: expected one direction"),
        (lambda: layer("tanh", num_layers=2), "module: expected one level, got num_layers=2"),
        (lambda: torch.nn.LSTM(2, 5), r"module: expected a torch.nn.RNN, got LSTM"),
        (lambda: torch.nn.Linear(2, 5), r"module: expected a torch.nn.RNN, got Linear"),
    ],
)
def test_what_does_not_fit_is_refused(module, says):
    with pytest.raises(ValueError, match=says):
        bridge.rnn_from_torch(module())


@pytest.mark.parametrize(
    "field, activation, says",
    [
        (None, "sigmoid", "activation: expected one of 'tanh', 'relu', got 'sigmoid'"),
        ("input_weights", "tanh", "input_weights: expected shape"),
        ("recurrent_weights", "tanh", "recurrent_weights: expected shape"),
        ("bias", "tanh", "bias: expected shape"),
    ],
)
def test_what_torch_cannot_hold_is_refused(field, activation, says):
    params = problem(7).params.cell
    params = params._replace(**{field: np.zeros((2, 2, 2))}) if field else params
    with pytest.raises(ValueError, match=says):
        bridge.rnn_to_torch(params, activation)


@pytest.mark.cuda
def test_there_and_back_over_a_device(nest):
    there = bridge.to_torch(nest, "cuda")
    assert there.params.bias.is_cuda and bridge.rnn_to_torch(there.params).bias_hh_l0.is_cuda
    agree(bridge.to_numpy(there), nest, 0.0)
