"""CUDA graphs: the same numbers behind one switch; without CUDA, or switched off, nothing is recorded."""

from functools import partial

import numpy as np
import pytest
import torch

from rnncourse import bridge, gate_params, gpu, seq2seq_params
from rnncourse.gpu import cuda_graphs, search
from rnncourse.gpu.cuda_graphs import graphed

LSTM = bridge.to_torch(gate_params.init_lstm(np.random.default_rng(0), 2, 5))
X = torch.randn(7, 3, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def loop(x, W=LSTM):
    start = (x.new_zeros(3, 5), x.new_zeros(3, 5))
    return torch.stack([state[0] for state in gpu.unroll.run(gpu.lstm.plain(), W, x, start)])


def step_of_training(W, x):
    """The loss and its gradients, recorded as a whole."""
    W = gpu.graph.fresh(W)
    start = (x.new_zeros(3, 5), x.new_zeros(3, 5))
    last = list(gpu.unroll.run(gpu.lstm.plain(), W, x, start))[-1][0]
    return last.square().sum(), *torch.autograd.grad(last.square().sum(), list(W))


@pytest.mark.parametrize("enabled", [True, False])
def test_on_the_cpu_the_function_itself_is_called(enabled, monkeypatch):
    monkeypatch.setattr(cuda_graphs, "record", lambda *_: pytest.fail("recorded on the CPU"))
    assert torch.equal(graphed(loop, enabled)(X), loop(X))


class Pretended:
    """Stands for a CUDA graph: replaying it does the work again on the memory it was recorded with."""

    def __init__(self, work):
        self.replay, self.replays = work, 0


def pretend(monkeypatch):
    """Everything but the device: recordings by shape, arguments copied in, results copied out."""
    made = []

    def record(function, arguments):
        held = gpu.graph.cut(cuda_graphs.map_arrays(torch.clone, arguments))
        results = cuda_graphs.map_arrays(torch.clone, function(*held))

        def work():
            for place, new in zip(gpu.graph.tensors(results), gpu.graph.tensors(function(*held)), strict=True):
                place.copy_(new)

        made.append(cuda_graphs.Recording(Pretended(work), held, results))
        return made[-1]

    monkeypatch.setattr(cuda_graphs, "record", record)
    monkeypatch.setattr(cuda_graphs, "_on_cuda", lambda arguments: True)
    return made


def test_a_recording_serves_all_calls_of_its_shape(monkeypatch):
    made = pretend(monkeypatch)
    function = lambda x, pair: (2 * x, pair[0] + pair[1])  # noqa: E731
    ours, kept = graphed(function), []
    for scale in (1.0, -3.0, 0.5):
        x = scale * X
        kept.append((x, ours(x, (x, X))))
    assert len(made) == 1
    for x, (twice, total) in kept:  # copies: a later call has not changed them
        assert torch.equal(twice, 2 * x) and torch.equal(total, x + X)
    ours(X[:2], (X, X))
    ours(X.float(), (X, X))
    assert len(made) == 3


def test_switched_off_nothing_is_recorded(monkeypatch):
    made = pretend(monkeypatch)
    assert torch.equal(graphed(loop, enabled=False)(X), loop(X)) and not made


def decoder(device):
    params = bridge.to_torch(seq2seq_params.init_seq2seq(np.random.default_rng(0), 5, 5, 4, 6), device)
    cell, source = gpu.lstm.plain(), np.array([[1, 2], [3, 1], [0, 0]])
    return gpu.seq2seq.stepper(cell, params, gpu.seq2seq.encode(cell, params, source))


def test_a_decoding_step_is_graphed_for_each_number_of_rows(monkeypatch):
    step, state = decoder("cpu")
    plain = search.beam(step, state, 3, 6)
    made = pretend(monkeypatch)
    again = search.beam(graphed(step), state, 3, 6)
    assert torch.equal(again.tokens, plain.tokens) and torch.equal(again.log_probabilities, plain.log_probabilities)
    assert 1 <= len(made) <= 2


@pytest.mark.cuda
@pytest.mark.parametrize("whole", [False, True])
def test_a_graph_gives_the_same_numbers(whole):
    there = type(LSTM)(*(tensor.cuda() for tensor in LSTM))
    function = partial(step_of_training, there) if whole else partial(loop, W=there)
    ours = graphed(function)
    for scale in (1.0, -0.5):
        x = scale * X.cuda()
        for a, b in zip(gpu.graph.tensors((ours(x),)), gpu.graph.tensors((function(x),)), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-13)


@pytest.mark.cuda
def test_the_first_call_runs_a_function_more_than_once():
    """Which is why it must change nothing: a counter shows the calls before the recording, and the replay."""
    counter = torch.zeros((), device="cuda")
    ours = graphed(lambda x: x + counter.add_(1))
    ours(X.cuda())
    assert counter.item() == cuda_graphs.WARM + 1
    ours(X.cuda())
    assert counter.item() == cuda_graphs.WARM + 2


@pytest.mark.cuda
def test_a_graphed_decoder_finds_the_same():
    step, state = decoder("cuda")
    plain, again = search.beam(step, state, 3, 6), search.beam(graphed(step), state, 3, 6)
    assert torch.equal(again.tokens, plain.tokens)
