"""The bridge to torch's gated layers: both ways, nothing lost, the same function and the same gradients."""

import cell_battery as battery
import numpy as np
import pytest
import torch
from cell_oracles import draw_problem
from proof import agree

from rnncourse import bridge, bridge_gates, gpu, reference
from rnncourse.gate_params import LSTMParams

FLOORS = pytest.mark.parametrize("floor", [reference, gpu], ids=["reference", "gpu"])
LENGTHS = (7, 3, 5)


def lstm_problem(**settings):
    return draw_problem(LSTMParams, gates=4, states=2, **settings)


def layer(kind, *sizes, **settings):
    torch.manual_seed(2)
    return getattr(torch.nn, kind)(*(sizes or (2, 5)), dtype=torch.float64, **settings)


@FLOORS
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("T", "B", "D", "H"), [(1, 1, 1, 1), (7, 3, 2, 5), (12, 1, 3, 4)])
def test_a_torch_lstm_computes_the_same_here(floor, T, B, D, H, bias):
    module, p = layer("LSTM", D, H, bias=bias), lstm_problem(T=T, B=B, D=D, H=H)
    p.params = bridge_gates.lstm_from_torch(module)
    start = tuple(torch.tensor(h).expand(1, B, H).contiguous() for h in p.start)
    hidden, finals = module(torch.tensor(p.x), start)
    ours = battery.run(floor, floor.lstm.plain(), p)[:2]
    agree(ours, (hidden, tuple(part[0] for part in finals)), 1e-12)


@FLOORS
def test_our_lstm_computes_the_same_in_torch_with_all_its_gradients(floor):
    p = lstm_problem()
    module = bridge_gates.lstm_to_torch(p.params)
    x = torch.tensor(p.x, requires_grad=True)
    start = tuple(torch.tensor(h).expand(1, 3, 5).clone().requires_grad_() for h in p.start)
    hidden, finals = module(x, start)
    torch.autograd.backward([hidden, *finals], [torch.tensor(d) for d in (p.g, p.d_final[0][None], p.d_final[1][None])])
    theirs = LSTMParams(module.weight_ih_l0.grad, module.weight_hh_l0.grad, module.bias_ih_l0.grad)
    d_start = tuple(h.grad[0].sum(dim=0) for h in start)
    last = tuple(part[0] for part in finals)
    agree(battery.run(floor, floor.lstm.plain(), p)[:5], (hidden, last, theirs, x.grad, d_start), 1e-12)
    assert not module.bias_hh_l0.any()


@FLOORS
def test_lengths_mean_what_packed_sequences_mean(floor):
    p = lstm_problem()
    module = bridge_gates.lstm_to_torch(p.params)
    packed = torch.nn.utils.rnn.pack_padded_sequence(torch.tensor(p.x), LENGTHS, enforce_sorted=False)
    out, finals = module(packed)
    hidden, _ = torch.nn.utils.rnn.pad_packed_sequence(out)
    for b, length in enumerate(LENGTHS):
        p.x[length:, b] = np.nan
    ours = battery.run(floor, floor.lstm.plain(), p, LENGTHS, start="none")[:2]
    agree(ours, (hidden, tuple(part[0] for part in finals)), 1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_round_trips(dtype):
    params = lstm_problem(dtype=dtype).params
    for given in (params, bridge.to_torch(params)):
        back = bridge_gates.lstm_from_torch(bridge_gates.lstm_to_torch(given))
        assert all(a.dtype == b.dtype and np.array_equal(a, b) for a, b in zip(params, back, strict=True))


@pytest.mark.parametrize(
    ("module", "says"),
    [
        (lambda: layer("LSTM", bidirectional=True), "module: expected one direction"),
        (lambda: layer("LSTM", num_layers=2), "module: expected one level, got num_layers=2"),
        (lambda: layer("LSTM", proj_size=3), "module: expected no projection, got proj_size=3"),
        (lambda: layer("GRU"), r"module: expected a torch.nn.LSTM, got GRU"),
    ],
)
def test_what_does_not_fit_is_refused(module, says):
    with pytest.raises(ValueError, match=says):
        bridge_gates.lstm_from_torch(module())


@pytest.mark.parametrize("field", LSTMParams._fields)
def test_what_torch_cannot_hold_is_refused(field):
    params = lstm_problem().params._replace(**{field: np.zeros((3, 2, 2))})
    with pytest.raises(ValueError, match=f"{field}: expected shape"):
        bridge_gates.lstm_to_torch(params)
