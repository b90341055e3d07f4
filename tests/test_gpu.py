"""The torch floor against the NumPy floor: hand-derived gradients and autograd judge each other."""

import inspect
from operator import attrgetter
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from oracles import problem, torch_model
from proof import agree, verifies

from benchmarks import gpu as race_gpu
from rnncourse import bridge, gpu, reference
from rnncourse.params import RNNParams, map_arrays

TOLERANCE = {np.float64: 1e-12, np.float32: 2e-5}
ACTIVATIONS = list(reference.activations.ACTIVATIONS)
LOSSES = {"squared": "squared_error", "classes": "cross_entropy"}
SIZES = [(1, 1, 1, 1, 1), (1, 3, 2, 5, 4), (9, 1, 3, 4, 2), (7, 3, 2, 5, 4)]  # T, B, D, H, O
RAGGED = (7, 3, 0)


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
def device(request):
    return request.param


def ragged(seed=0, **settings):
    """A batch whose sequences end early, with NaN where nothing should look."""
    p = problem(seed, **settings)
    for b, length in enumerate(RAGGED):
        p.inputs[length:, b] = np.nan
        p.targets[length:, b] = np.nan if p.kind == "squared" else -99
    return p


def on_both(name, p, device, *args, activation="tanh", state=None, **settings):
    """The same call of a whole model on both floors; what each returns, the torch floor's as arrays."""
    dtype = p.inputs.dtype
    hand, auto = attrgetter(name)(reference), attrgetter(name)(gpu)
    wide = SimpleNamespace(**{key: map_arrays(_widened, getattr(p, key)) for key in ("params", "inputs", "targets")})
    extra = {} if state is None else {"state": (state,)}
    ours = hand(
        reference.cells.rnn(activation), wide.params, wide.inputs, wide.targets, *args,
        loss=getattr(reference.losses, LOSSES[p.kind]), **settings, **extra,
    )  # fmt: skip
    there = bridge.to_torch((p.params, p.inputs, p.targets), device)
    extra = bridge.to_torch((state,), device) if state is not None else None
    theirs = auto(
        gpu.cells.rnn(activation), *there, *args,
        loss=getattr(gpu.losses, LOSSES[p.kind]), **settings, **({} if state is None else {"state": extra}),
    )  # fmt: skip
    theirs = bridge.to_numpy(theirs)
    assert theirs.gradients.cell.bias.dtype == theirs.loss.dtype == dtype
    return ours, theirs


def _widened(array):
    """Float64 for the judge, who should not round; classes stay classes."""
    return array.astype(np.float64) if array.dtype.kind == "f" else array


def compare(name, p, device, *args, **settings):
    agree(*on_both(name, p, device, *args, **settings), TOLERANCE[p.inputs.dtype.type])


# Unrolling: outputs, final state, and every total derivative


def unrolled(floor, p, activation, initial_state, lengths, device=None):
    tree = (p.params.cell, p.inputs, initial_state, p.g, (p.d_final,))
    if floor is gpu:
        tree = tuple(None if part is None else bridge.to_torch(part, device) for part in tree)
    cell, x, start, g, d_final = tree
    outputs, final, tape = floor.unroll.forward(floor.cells.rnn(activation), cell, x, start, lengths)
    back = floor.unroll.backward(tape, g, d_final)
    return outputs, final, tape.hidden, tuple(back)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("T, B, D, H, O", SIZES)
@verifies("eq-bptt-recursion", oracle="autograd on the torch floor")
@verifies("eq-weight-gradients", oracle="autograd on the torch floor")
@verifies("eq-input-gradients", oracle="autograd on the torch floor")
@verifies("eq-initial-state-gradient", oracle="autograd on the torch floor")
def test_unroll(T, B, D, H, O, activation, device):
    p = problem(T + B, T, B, D, H, O)
    p.g, p.d_final = p.rng.standard_normal((T, B, H)), p.rng.standard_normal((B, H))
    ours, theirs = (unrolled(f, p, activation, p.params.initial_state, None, device) for f in (reference, gpu))
    agree(ours, theirs, 1e-12)


@pytest.mark.parametrize("start", ["none", "shared", "each"])
def test_unroll_ragged(start, device):
    p = ragged(3)
    each = p.rng.standard_normal((3, 5))
    p.g, p.d_final = p.rng.standard_normal((7, 3, 5)), p.rng.standard_normal((3, 5))
    for b, length in enumerate(RAGGED):
        p.g[length:, b] = np.nan
    h_0 = {"none": None, "shared": p.params.initial_state, "each": each}[start]
    ours, theirs = (unrolled(f, p, "tanh", h_0, RAGGED, device) for f in (reference, gpu))
    agree(ours, theirs, 1e-12)


def test_padding_changes_no_bit(device):
    p = ragged()
    clean = [array.copy() for array in (p.inputs, p.targets)]
    for array in clean:
        array[np.isnan(array)] = 0.0
    results = []
    for x, y in [(p.inputs, p.targets), clean]:
        model, x, y = bridge.to_torch((p.params, x, y), device)
        results.append(bridge.to_numpy(gpu.bptt.full(gpu.cells.rnn(), model, x, y, lengths=torch.tensor(RAGGED))))
    for a, b in zip(*map(flat, results), strict=True):
        assert np.array_equal(a, b)


def test_padded_and_alone_agree(device):
    p = ragged()
    model, x = bridge.to_torch((p.params, p.inputs), device)
    run = gpu.unroll.forward
    outputs, (final,), _ = run(gpu.cells.rnn(), model.cell, x, model.initial_state, RAGGED)
    for b, length in enumerate(RAGGED):
        assert not outputs[length:, b].any()
        if length:
            alone, (last,), _ = run(gpu.cells.rnn(), model.cell, x[:length, b : b + 1], model.initial_state)
            agree((outputs[:length, b], final[b]), (alone[:, 0], last[0]), 1e-13)
        else:
            assert torch.equal(final[b], model.initial_state)


def flat(tree):
    return [leaf for part in tree for leaf in flat(part)] if isinstance(tree, tuple) else [tree]


# Readout and losses


@verifies("eq-readout-gradients", oracle="autograd on the torch floor")
@verifies("eq-immediate-gradient", oracle="autograd on the torch floor")
def test_readout(device):
    p = problem()
    h, e = p.rng.standard_normal((7, 3, 5)), p.rng.standard_normal((7, 3, 4))
    results = []
    given = (p.params.readout, h, e)
    for floor, (readout, hidden, d_outputs) in [(reference, given), (gpu, bridge.to_torch(given, device))]:
        outputs, tape = floor.readout.forward(readout, hidden)
        results.append((outputs, *floor.readout.backward(tape, d_outputs)))
    agree(*results, 1e-12)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("kind", LOSSES)
@verifies("eq-loss-gradients", oracle="autograd on the torch floor")
def test_losses(kind, reduction, masked, device):
    p = ragged(1, kind=kind) if masked else problem(1, kind=kind)
    mask = np.arange(7)[:, None] < RAGGED if masked else None
    y = 30 * p.rng.standard_normal((7, 3, 4))  # large logits must not overflow
    if masked:
        y[~mask] = np.nan
    results, given = [], (y, p.targets)
    for floor, (outputs, targets) in [(reference, given), (gpu, bridge.to_torch(given, device))]:
        value, tape = getattr(floor.losses, LOSSES[kind])(outputs, targets, mask, reduction)
        results.append((value, floor.losses.backward(tape)))
    agree(*results, 1e-12)


@pytest.mark.parametrize("reduction", ["sum", "mean"])
@verifies("eq-mean-minus-target", oracle="autograd on the torch floor")
def test_yes_or_no(reduction, device):
    p = ragged(1)
    mask, targets = np.arange(7)[:, None] < RAGGED, p.rng.integers(0, 2, (7, 3, 4)).astype(float)
    y = 30 * p.rng.standard_normal((7, 3, 4))
    y[~mask] = targets[~mask] = np.nan
    results, given = [], (y, targets)
    for floor, (outputs, wanted) in [(reference, given), (gpu, bridge.to_torch(given, device))]:
        value, tape = floor.losses.bernoulli(outputs, wanted, mask, reduction)
        results.append((value, floor.losses.backward(tape)))
    agree(*results, 1e-12)


# Whole models


@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("kind", LOSSES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("name", ["bptt.full", "checkpoint.full", "rtrl.full"])
def test_exact_gradients(name, activation, kind, reduction, device):
    compare(name, problem(5, kind=kind), device, activation=activation, reduction=reduction)


@pytest.mark.parametrize("T, B, D, H, O", SIZES)
@pytest.mark.parametrize("kind", LOSSES)
@verifies("eq-rtrl-gradient", oracle="forward mode of torch.func")
def test_forward_mode(kind, T, B, D, H, O, device):
    compare("rtrl.full", problem(6, T, B, D, H, O, kind), device)


@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("kind", LOSSES)
def test_full_masked_ragged_and_carried(kind, reduction, device):
    p = ragged(2, kind=kind)
    mask, state = p.rng.random((7, 3)) < 0.6, p.rng.standard_normal((3, 5))
    compare("bptt.full", p, device, mask=mask, lengths=RAGGED, state=state, reduction=reduction)
    compare("bptt.full", p, device, mask=mask, lengths=RAGGED, reduction=reduction)
    compare("bptt.full", problem(2, kind=kind), device, mask=mask, reduction=reduction)


def test_a_start_for_each_sequence(device):
    p = ragged(4)
    p.params = p.params._replace(initial_state=p.rng.standard_normal((3, 5)))
    compare("bptt.full", p, device, lengths=RAGGED)
    compare("bptt.sliding", p, device, 3, lengths=RAGGED)


@pytest.mark.parametrize("T, B, D, H, O", SIZES)
@pytest.mark.parametrize("kind", LOSSES)
@pytest.mark.parametrize("window", [0, 1, 3, 6, 7, 20])
@verifies("eq-sliding-truncation", oracle="autograd, every window unrolled apart")
def test_sliding(window, kind, T, B, D, H, O, device):
    compare("bptt.sliding", problem(7, T, B, D, H, O, kind), device, window)


@pytest.mark.parametrize("window", [0, 2, 5, 9])
@pytest.mark.parametrize("kind", LOSSES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_sliding_masked_and_ragged(activation, kind, window, device):
    p = ragged(8, kind=kind)
    mask = p.rng.random((7, 3)) < 0.6
    settings = {"activation": activation, "lengths": RAGGED, "reduction": "mean"}
    compare("bptt.sliding", p, device, window, mask=mask, **settings)
    compare("bptt.sliding", p, device, window, **settings)


@pytest.mark.parametrize("T, B, D, H, O", SIZES)
@pytest.mark.parametrize("kind", LOSSES)
@pytest.mark.parametrize("chunk", [1, 3, 7, 20])
@verifies("eq-chunked-truncation", oracle="autograd, detached at every cut")
def test_chunked(chunk, kind, T, B, D, H, O, device):
    for reduction in ("sum", "mean"):
        compare("bptt.chunked", problem(9, T, B, D, H, O, kind), device, chunk, reduction=reduction)


@pytest.mark.parametrize("T, B, D, H, O", SIZES)
@pytest.mark.parametrize("segment", [None, 1, 3, 20])
def test_checkpoint(segment, T, B, D, H, O, device):
    compare("checkpoint.full", problem(10, T, B, D, H, O), device, segment=segment)


@pytest.mark.parametrize(
    "name, args, settings",
    [
        ("bptt.full", (), {"lengths": RAGGED}),
        ("bptt.sliding", (2,), {"lengths": RAGGED}),
        ("bptt.chunked", (3,), {}),
        ("checkpoint.full", (), {}),
        ("rtrl.full", (), {}),
    ],
)
@pytest.mark.parametrize("kind", LOSSES)
def test_single_precision(kind, name, args, settings, device):
    p = (ragged if settings else problem)(11, kind=kind, dtype=np.float32)
    compare(name, p, device, *args, **settings)


# Jacobians


@pytest.mark.parametrize("lengths", [None, RAGGED])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@verifies("eq-step-jacobian", oracle="torch.func.jacrev")
def test_step_jacobians(activation, lengths, device):
    p = ragged(12) if lengths else problem(12)
    tapes = [
        floor.unroll.forward(floor.cells.rnn(activation), params.cell, x, params.initial_state, lengths)[2]
        for floor, (params, x) in [
            (reference, (p.params, p.inputs)),
            (gpu, bridge.to_torch((p.params, p.inputs), device)),
        ]
    ]
    agree(reference.jacobians.steps(tapes[0]), gpu.jacobians.steps(tapes[1]), 1e-12)


@pytest.mark.parametrize("start, stop", [(0, 7), (2, 5), (3, 4), (6, 6)])
@verifies("eq-jacobian-product", oracle="torch.func.jacrev through the whole stretch")
def test_jacobian_products(start, stop, device):
    p = problem(13)
    params, x = bridge.to_torch((p.params, p.inputs), device)
    tape = gpu.unroll.forward(gpu.cells.rnn(), params.cell, x, params.initial_state)[2]
    theirs = gpu.jacobians.product(gpu.jacobians.steps(tape), start, stop)
    ours = reference.unroll.forward(reference.cells.rnn(), p.params.cell, p.inputs, p.params.initial_state)[2]
    ours = reference.jacobians.product(reference.jacobians.steps(ours), start, stop)

    def last(h, x):
        *_, (end,) = gpu.unroll.run(gpu.cells.rnn(), params.cell, x[:, None], (h,))
        return end[0]

    h = tape.hidden[start].detach()
    truth = torch.func.vmap(torch.func.jacrev(last), in_dims=(0, 1))(h, x[start:stop]) if stop > start else None
    truth = torch.eye(5).double().expand(3, 5, 5) if truth is None else truth
    agree((ours, theirs), (truth, truth), 1e-12)


# What is recorded, and for whom


def test_against_a_plain_loop(device):
    """Both floors could share a misreading of the page; a loop over single sequences does not read it at all."""
    for kind in LOSSES:
        p = ragged(14, kind=kind)
        truth = torch_model(p, lengths=RAGGED, reduction="mean")
        model, x, y = bridge.to_torch((p.params, p.inputs, p.targets), device)
        loss = getattr(gpu.losses, LOSSES[kind])
        result = gpu.bptt.full(gpu.cells.rnn(), model, x, y, loss, lengths=RAGGED, reduction="mean")
        agree(tuple(result), (truth.loss, truth.gradients, (truth.final,)), 1e-12)


@pytest.mark.parametrize("lengths", [None, [4, 2]])
@pytest.mark.parametrize("activation", ["tanh", "sigmoid"])
def test_gradcheck_through_the_callers_graph(activation, lengths, device):
    p = problem(15, T=4, B=2, D=2, H=3, O=2)
    leaves = [
        part.requires_grad_() for part in bridge.to_torch((*p.params.cell, p.inputs, p.params.initial_state), device)
    ]

    def run(*parts):
        *cell, x, h_0 = parts
        params = type(p.params.cell)(*cell)
        outputs, (final,), _ = gpu.unroll.forward(gpu.cells.rnn(activation), params, x, h_0, lengths)
        return outputs, final

    assert torch.autograd.gradcheck(run, leaves)


def test_nothing_given_requires_gradients_so_nothing_returned_does():
    p = problem(16)
    params, x, y = bridge.to_torch((p.params, p.inputs, p.targets))
    outputs, (final,), tape = gpu.unroll.forward(gpu.cells.rnn(), params.cell, x)
    read, _ = gpu.readout.forward(params.readout, outputs)
    value, _ = gpu.losses.squared_error(read, y)
    back = gpu.unroll.backward(tape, outputs)
    assert not any(tensor.requires_grad for tensor in flat((outputs, final, read, value, tuple(back))))
    assert not any(tensor.requires_grad for tensor in flat((params, x)))
    assert all(torch.equal(a, b) for a, b in zip(flat(back), flat(gpu.unroll.backward(tape, outputs)), strict=True)), (
        "a tape may be used again"
    )


def test_what_requires_gradients_gets_them_the_usual_way():
    p = problem(17)
    params, x, y = bridge.to_torch((p.params, p.inputs, p.targets))
    oracle = gpu.bptt.full(gpu.cells.rnn(), params, x, y).gradients
    leaves = map_arrays(lambda tensor: tensor.clone().requires_grad_(), params)
    outputs, _, _ = gpu.unroll.forward(gpu.cells.rnn(), leaves.cell, x, leaves.initial_state)
    gpu.losses.squared_error(gpu.readout.forward(leaves.readout, outputs)[0], y)[0].backward()
    agree(map_arrays(lambda leaf: leaf.grad, leaves), oracle, 1e-14)
    untouched = map_arrays(lambda tensor: tensor.clone().requires_grad_(), params)
    for function in (gpu.bptt.full, gpu.checkpoint.full, gpu.rtrl.full):
        result = function(gpu.cells.rnn(), untouched, x, y)
        assert not any(tensor.requires_grad for tensor in flat(tuple(result)))
    assert all(leaf.grad is None for leaf in flat(untouched))


def test_without_recording_there_is_no_way_back():
    p = problem(18)
    params, x, y = bridge.to_torch((p.params, p.inputs, p.targets))
    with torch.no_grad():
        outputs, _, tape = gpu.unroll.forward(gpu.cells.rnn(), params.cell, x)
        inside = gpu.bptt.full(gpu.cells.rnn(), params, x, y)
    with pytest.raises(ValueError, match=r"tape: recorded under torch.no_grad"):
        gpu.unroll.backward(tape, outputs)
    agree(tuple(inside), tuple(gpu.bptt.full(gpu.cells.rnn(), params, x, y)), 0.0)


def test_mixed_precision_is_named_not_hidden():
    p = problem(19)
    params, x = bridge.to_torch((p.params, p.inputs))
    for bad in ("inputs", "bias", "initial_state"):
        cell, start = params.cell, params.initial_state
        cell = cell._replace(bias=cell.bias.float()) if bad == "bias" else cell
        start = start.float() if bad == "initial_state" else start
        with pytest.raises(ValueError, match=f"{bad}: expected torch.float64 on cpu like recurrent_weights"):
            gpu.unroll.forward(gpu.cells.rnn(), cell, x.float() if bad == "inputs" else x, start)


def test_integer_inputs_and_arrays_are_taken():
    p = problem(20)
    params = bridge.to_torch(p.params.cell)
    whole = np.arange(42).reshape(7, 3, 2) % 3
    outputs, _, _ = gpu.unroll.forward(gpu.cells.rnn(), params, whole)
    agree(outputs, reference.unroll.forward(reference.cells.rnn(), p.params.cell, whole)[0], 1e-13)


def test_the_loop_compiles_in_one_piece():
    p = problem(25)
    params, x, h_0 = bridge.to_torch((p.params.cell, p.inputs, p.params.initial_state))
    params = map_arrays(torch.Tensor.requires_grad_, params)

    def last(params, x):
        *_, (h,) = gpu.unroll.run(gpu.cells.rnn(), params, x, (h_0,))
        return h.square().sum(), *params

    results = []
    for function in (last, torch.compile(last, fullgraph=True, backend="aot_eager")):  # needs no C compiler
        value, *leaves = function(params, x)
        results.append((value, *torch.autograd.grad(value, leaves)))
    agree(*results, 1e-13)


@pytest.mark.parametrize("segment, calls", [(2, 14), (7, 14)])
def test_checkpointing_runs_every_step_twice_and_keeps_few_tensors(segment, calls):
    p = problem(21)
    params, x, y = bridge.to_torch((p.params, p.inputs, p.targets))
    counted = []
    plain = gpu.cells.rnn()
    cell = plain._replace(step=lambda *given: counted.append(0) or plain.step(*given))
    gpu.checkpoint.full(cell, params, x, y, segment=segment)
    assert len(counted) == calls
    gpu.bptt.full(cell, params, x, y)
    assert len(counted) == calls + 7


@pytest.mark.parametrize("T, segment", [(100, 10), (100, 7), (5, 9), (1, 1)])
def test_stored_states_are_counted_alike(T, segment):
    assert gpu.checkpoint.stored_states(T, segment) == reference.checkpoint.stored_states(T, segment)


# The run for machines with a GPU


def test_the_gpu_run_works_without_a_gpu(capsys, tmp_path):
    assert race_gpu.main(["--cpu", "--results", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert said.startswith("No CUDA device is used") and said.count("at most") == 2 * len(race_gpu.CHECKS)
    assert not list(tmp_path.iterdir())


def test_the_gpu_run_fails_where_a_gradient_is_off(monkeypatch):
    real = gpu.rtrl.full
    monkeypatch.setattr(gpu.rtrl, "full", lambda *given: real(*given)._replace(loss=torch.tensor(9.0)))
    assert race_gpu.main(["decoding", "--cpu"]) == 1


def test_a_device_names_its_record():
    assert race_gpu.slug("NVIDIA H200 (80GB)") == "nvidia-h200-80gb"


# Modules


def test_a_module_is_parameters_plus_a_call(device):
    p = ragged(22)
    module = gpu.modules.RNN(p.params.cell).to(device)
    x, h_0 = bridge.to_torch((p.inputs, p.params.initial_state), device)
    ours = reference.unroll.forward(reference.cells.rnn(), p.params.cell, p.inputs, p.params.initial_state, RAGGED)
    agree(ours[:2], module(x, h_0, RAGGED), 1e-13)
    assert set(module.state_dict()) == set(p.params.cell._fields)
    assert "tape" not in inspect.signature(module.forward).parameters


def test_one_module_reads_three_steps_and_three_hundred():
    """The graph is made anew for every input, and what lands in .grad is the sum over all copies."""
    p = problem(24, T=300, B=2)
    module = gpu.modules.RNN(p.params.cell)
    for T in (3, 300):
        g = p.rng.standard_normal((T, 2, 5))
        module.zero_grad()
        module(torch.tensor(p.inputs[:T]))[0].backward(torch.tensor(g))
        copies = [
            RNNParams(*(part.clone().detach().requires_grad_() for part in module.parameters())) for _ in range(T)
        ]
        h, each = torch.zeros(2, 5, dtype=torch.float64), []
        for t, (W_x, W_h, b) in enumerate(copies):
            h = torch.tanh(torch.tensor(p.inputs[t]) @ W_x.T + h @ W_h.T + b)
            each.append((h * torch.tensor(g[t])).sum())
        sum(each).backward()
        for k, part in enumerate(module.parameters()):
            agree(part.grad, sum(copy[k].grad for copy in copies), 1e-12)


def test_a_module_learns():
    rng = np.random.default_rng(23)
    p = problem(23, T=5, B=16, H=8)
    module, readout = gpu.modules.RNN(p.params.cell), torch.nn.Linear(8, 1).double()
    with torch.no_grad():
        readout.weight.fill_(0.1)
        readout.bias.zero_()
    x = torch.tensor(rng.standard_normal((5, 16, 2)))
    optimiser = torch.optim.Adam([*module.parameters(), *readout.parameters()], 0.04)
    history = []
    for _ in range(60):
        outputs, _ = module(x)
        loss = (readout(outputs)[2:, :, 0] - x[:-2, :, 0]).square().mean()  # what came two steps ago
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        history.append(loss.item())
    assert history[-1] < 0.2 * history[0]


@pytest.mark.cuda
def test_devices_are_not_mixed_in_silence():
    p = problem(24)
    params = bridge.to_torch(p.params.cell, "cuda")
    with pytest.raises(ValueError, match=r"inputs: expected torch.float64 on cuda:0 like recurrent_weights"):
        gpu.unroll.forward(gpu.cells.rnn(), params, torch.tensor(p.inputs))
