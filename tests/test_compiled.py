"""Every function of the torch floor under ``torch.compile``: the same numbers as without.

The checks at a function's door look at values, which splits the compiled graph there; the bare loops
``unroll.run`` and ``gru_before.run`` have no doors and compile in one piece. The back end is torch's
``eager``, which traces and does not fuse, so that no C++ compiler is needed; forward-over-reverse
derivatives need ``aot_eager``, since ``eager`` cannot trace them yet.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
from proof import agree

from rnncourse import (
    bridge,
    diagonal_params,
    gate_params,
    gpu,
    hmm_params,
    lds_params,
    minimal_params,
    params,
    seq2seq_params,
    sequence_vae_params,
    trees,
)
from rnncourse.brain_params import Feedback, Neuron
from rnncourse.latent_params import Diagonal
from rnncourse.stack_params import BothWays

T, B, D, H, O = 3, 2, 2, 3, 2
NOT_COMPILED = {
    "cuda_graphs": "records what a device is asked to do, compiled or not",
    "forecaster": "a torch.nn module around torch's own layers, which is for torch to compile",
    "fused": "without a CUDA device it is the loop; tests/kernel_worker.py compiles around a kernel",
    "graph": "records tensors and differentiates; every backward pass here goes through it",
    "language": "a torch.nn module around torch's own layers, which is for torch to compile",
    "pixels": "a torch.nn module around torch's own layers and gpu.diagonal",
    "processes": "talks to other processes",
    "readers": "a torch.nn module around torch's own layers",
    "resume": "reads and writes files",
    "search": "loops in Python around any decoder, and stops where what was found says so",
    "speller": "a torch.nn module around torch's own layers",
    "state_readers": "torch.nn modules around torch's own layers",
    "training": "a loop in Python around any module, compiled or not",
    "deep_markov": "a torch.nn module around torch's own layers",
    "module_weights": "reads and writes files",
    "rolls": "counting, stretches of data, and a torch.nn module around torch's own layers",
    "sequence_bound": "draws and sums around a torch.nn module",
    "variational_rnn": "a torch.nn module around torch's own layers",
    "translator": "a torch.nn module around torch's own layers",
    "word_vae": "a torch.nn module around torch's own layers",
}


def numbers(*shape: int) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(sum(shape)))


def chances(*shape: int) -> torch.Tensor:
    return torch.softmax(numbers(*shape), dim=-1)


def drawn(init, *sizes):
    return bridge.to_torch(init(np.random.default_rng(0), *sizes))


MODEL, TARGETS, WEIGHTS = drawn(params.init_model, D, H, O), numbers(T, B, O) + 1, numbers(T, B, H)
CELL, KEPT, GRU = gpu.cells.rnn(), gpu.lstm.plain(), drawn(gate_params.init_gru, D, H)
NORMED = drawn(gate_params.init_layer_norm_rnn, D, H)
LSTM, RESET_AFTER = drawn(gate_params.init_lstm, D, H), drawn(gate_params.init_reset_after_gru, D, H)
TREE = trees.balanced(4)
PAIR = BothWays(MODEL.cell, MODEL.cell)
NODES = params.ReadoutParams(numbers(3, H), numbers(3))

LDS = drawn(lds_params.init_lds, H, O, D)
HMM = drawn(hmm_params.init_gaussian, np.random.default_rng(1).standard_normal((9, B, D)), 3)
DRAWS = gpu.particles.draw(np.random.default_rng(0), T, B, 20, H)
STILL = drawn(lds_params.init_lds, H, O, 0)
PAIRS = drawn(seq2seq_params.init_seq2seq, 3, 3, 2, H, "dot")
SAID, ANSWER = np.array([[1, 2], [2, 0], [0, 0]]), np.array([[2, 1], [0, 1], [0, 0]])
WORDS = drawn(sequence_vae_params.init_sequence_vae, 4, D, H, H)
LOOK, OVER = PAIRS.attention, drawn(diagonal_params.init_diagonal, D, H)
SIGNS = torch.tensor([1.0, -1.0, 1.0])
LEAKY, FEEDBACK = gpu.rates.leaky(0.3), Feedback(numbers(H, H), numbers(O, H))
LIGHT = drawn(minimal_params.init_minimal, "lstm", D, H)
MAPS = numbers(T, B, H, H)
BELL = gpu.gaussians.Gaussian(numbers(H), torch.eye(H, dtype=torch.float64) + 0.1)


def tape(x: torch.Tensor):
    return gpu.unroll.forward(CELL, MODEL.cell, x)[2]


def memory(x: torch.Tensor):
    return gpu.unroll.forward(KEPT, LSTM, x)[2]


def filtered(x: torch.Tensor):
    return gpu.kalman.forward(LDS, TARGETS, x)[1]


def symbols(a: torch.Tensor):
    """A model whose emissions are the softmax of what is given, and the gradient by scores."""
    model = HMM._replace(emission=hmm_params.Categorical(torch.softmax(a, dim=-1)))
    return gpu.hmm_gradient.centred(model, torch.arange(T * B).reshape(T, B) % 4)


def learned(x: torch.Tensor):
    """What a filter over the weights makes of a sequence with a gap."""
    learner = gpu.ekf_training.start(MODEL, groups="unit", batch=B)
    seen = torch.ones(T, B, O, dtype=torch.bool)
    seen[1, 0] = False
    return gpu.ekf_training.run(CELL, learner, x, TARGETS, torch.eye(O, dtype=torch.float64), 0.01, seen)


def windowed(params):
    exact = gpu.posterior_families.posterior(params, 2)
    return gpu.posterior_families.best(exact, gpu.posterior_families.visible("filter", 2))


def bounded(x: torch.Tensor):
    return gpu.state_space.forward(STILL, Diagonal(x, -x), TARGETS)


def both_ways(run, back, *given):
    """A function that runs forward and backward, and hands out what both say."""

    def whole(x):
        result, *_, kept = run(x, *given)
        return result, back(kept, torch.ones_like(result))

    return whole


X, STATES = numbers(T, B, D), numbers(T, B, H)
CASES = {
    "activations": (lambda a: [gpu.activations.get(name).function(a) for name in ("tanh", "sigmoid", "relu")], STATES),
    "attention": (
        both_ways(lambda x: gpu.attention.forward(LOOK, x, WEIGHTS, [3, 2]), gpu.attention.backward),
        WEIGHTS,
    ),
    "baum_welch": (lambda x: gpu.baum_welch.step(HMM, x), X),
    "bidirectional": (both_ways(lambda x: gpu.bidirectional.forward(CELL, PAIR, x), gpu.bidirectional.backward), X),
    "bptt": (lambda x: gpu.bptt.full(CELL, MODEL, x, TARGETS).gradients, X),
    "bptt, chunked": (lambda x: gpu.bptt.chunked(CELL, MODEL, x, TARGETS, chunk=2).gradients, X),
    "bptt, sliding": (lambda x: gpu.bptt.sliding(CELL, MODEL, x, TARGETS, 2).gradients, X),
    "cells": (lambda x: list(gpu.unroll.run(CELL, MODEL.cell, x, (STATES[0],)))[-1], X),
    "bounds": (lambda x: [gpu.bounds.importance(x), gpu.bounds.free_bits(x * x, 0.1)], numbers(4, B)),
    "bptt_scan": (lambda x: gpu.bptt_scan.hidden(tape(x), WEIGHTS), X),
    "checkpoint": (lambda x: gpu.checkpoint.full(CELL, MODEL, x, TARGETS, segment=2).gradients, X),
    "classes": (lambda x: gpu.classes.as_classes((x > 0).long(), 2).sum(), X),
    "diagonal": (
        both_ways(lambda x: gpu.diagonal.forward(KEPT, OVER, x), gpu.diagonal.backward),
        numbers(2, T, B, D),
    ),
    "dale": (both_ways(lambda M: gpu.dale.forward(M, SIGNS), gpu.dale.backward), numbers(H, H)),
    "ekf": (lambda x: gpu.ekf.forward(LDS, TARGETS, x, lengths=[3, 2], passes=2)[0], X),
    "ekf_training": (learned, X),
    "embedding": (both_ways(lambda t: gpu.embedding.forward(t, [1, 2, 1]), gpu.embedding.backward), numbers(5, 4)),
    "emissions": (lambda x: gpu.emissions.maximise(HMM.emission, x, chances(T, B, 3)), X),
    "feedback_alignment": (lambda x: gpu.feedback_alignment.full(CELL, MODEL, FEEDBACK, x, TARGETS).gradients, X),
    "fixed_points": (lambda h: gpu.fixed_points.find(LEAKY, MODEL.cell, h, X[0, 0], iterations=3), STATES[0]),
    "gauss_newton": (lambda x: gpu.gauss_newton.trial(CELL, MODEL, x, TARGETS, 0.1).params, X),
    "gaussians": (lambda W: gpu.gaussians.affine(BELL, W, W[0], W @ W.mT), numbers(H, H)),
    "gru": (lambda x: gpu.unroll.forward(gpu.gru.reset_after("keep"), RESET_AFTER, x)[0], X),
    "gru_before": (lambda x: gpu.gru_before.forward(gpu.gru_before.reset_before("keep"), GRU, x)[0], X),
    "hmm": (lambda x: gpu.hmm.backward(gpu.hmm.forward(HMM, x, [3, 2])[1]), X),
    "hmm_cell": (
        lambda a: gpu.hmm_cell.filtering().step((), a, chances(B, 3), (chances(B, 3), numbers(B, 1))),
        numbers(B, 3),
    ),
    "hmm_gradient": (symbols, numbers(3, 4)),
    "hmm_log": (lambda x: gpu.hmm_log.backward(gpu.hmm_log.forward(HMM, x, [3, 2])[1]), X),
    "hmm_scan": (lambda x: gpu.hmm_scan.backward(gpu.hmm_scan.forward(HMM, x)[1]), X),
    "integrate_fire": (lambda u: gpu.integrate_fire.simulate(Neuron(refractory=1.0), 9 * u, 1.0)[0], numbers(12, 2)),
    "jacobians": (lambda x: gpu.jacobians.steps(tape(x)), X),
    "kalman": (lambda x: gpu.kalman.forward(LDS, TARGETS, x, lengths=[3, 2])[0], X),
    "kalman_adjoint": (lambda x: gpu.kalman_adjoint.sweep(filtered(x)), X),
    "kalman_ahead": (lambda x: gpu.kalman_ahead.forward(STILL, x, BELL.covariance.expand(B, H, H), 3), WEIGHTS[0]),
    "latent": (lambda x: gpu.latent.kl(Diagonal(x, -x), gpu.latent.standard((x, x))), X),
    "kalman_scan": (lambda x: gpu.kalman_scan.smooth(gpu.kalman_scan.forward(LDS, TARGETS, x)[1]), X),
    "layer_norm": (lambda x: gpu.unroll.forward(gpu.layer_norm.rnn(), NORMED, x)[0], X),
    "lds_em": (lambda x: gpu.lds_em.fit(LDS, TARGETS, x, iterations=1), X),
    "lds_entry": (lambda x: gpu.lds_entry.enter(LDS, TARGETS, x).drive, X),
    "lds_joint": (lambda x: gpu.lds_joint.dense(LDS, T, x[:, 0]), X),
    "lds_likelihood": (lambda x: gpu.lds_likelihood.backward(gpu.lds_likelihood.forward(LDS, TARGETS, x)[1]), X),
    "local_rule": (lambda x: gpu.local_rule.full(LEAKY, MODEL, FEEDBACK[1], x, TARGETS, carry="own").gradients, X),
    "linear_recurrence": (
        both_ways(lambda b: gpu.linear_recurrence.forward(MAPS, b), gpu.linear_recurrence.backward),
        WEIGHTS,
    ),
    "linear_scan": (lambda x: gpu.linear_scan.forward(torch.sigmoid(x), x), X),
    "losses": (both_ways(lambda y: gpu.losses.squared_error(y, TARGETS), lambda t, _: gpu.losses.backward(t)), X),
    "losses, classes": (lambda y: gpu.losses.cross_entropy(y, torch.ones(T, B, dtype=torch.long))[0], X),
    "lstm": (both_ways(lambda x: gpu.unroll.forward(KEPT, LSTM, x), gpu.unroll.backward), X),
    "lstm_paths": (lambda x: gpu.lstm_paths.carried(gpu.lstm_paths.steps(memory(x)), 0, 2), X),
    "lyapunov": (lambda x: gpu.lyapunov.exponents(gpu.jacobians.steps(tape(x))), X),
    "minimal_gates": (
        both_ways(lambda x: gpu.minimal_gates.forward("lstm", LIGHT, x), gpu.minimal_gates.backward),
        X,
    ),
    "modules": (gpu.modules.RNN(MODEL.cell), X),
    "newton_rnn": (lambda x: gpu.newton_rnn.solve(CELL, MODEL.cell, x, limit=2).hidden, X),
    "orthogonal": (both_ways(gpu.orthogonal.forward, gpu.orthogonal.backward), numbers(H, H)),
    "particles": (lambda x: gpu.particles.forward(LDS, TARGETS, DRAWS, x, lengths=[3, 2]), X),
    "posterior_families": (lambda x: windowed(STILL._replace(emission=x))[:2], STILL.emission),
    "products": (lambda x: [gpu.products.pull(tape(x), WEIGHTS[0]), gpu.products.push(tape(x), WEIGHTS[0])], X),
    "profiles": (lambda x: gpu.profiles.by_lag(tape(x), WEIGHTS, 2), X),
    "rates": (lambda x: gpu.unroll.forward(LEAKY, MODEL.cell, x)[0], X),
    "readout": (both_ways(lambda h: gpu.readout.forward(MODEL.readout, h), gpu.readout.backward), STATES),
    "rtrl": (lambda x: gpu.rtrl.full(CELL, MODEL, x, TARGETS).gradients, X),
    "sampling": (lambda a: gpu.sampling.draw(gpu.sampling.nucleus(gpu.sampling.softmax(a), 0.8), [0.3, 0.9]), X[0]),
    "scan": (lambda x: [gpu.scan.prefixes(torch.mul, x), gpu.scan.suffixes(torch.mul, x)], X),
    "seq2seq": (lambda v: gpu.seq2seq.full(KEPT, PAIRS._replace(source_table=v), SAID, ANSWER), PAIRS.source_table),
    "sequence_vae": (lambda z: gpu.sequence_vae.full(KEPT, WORDS, SAID, z), numbers(B, H)),
    "smoother": (lambda x: [gpu.smoother.rts(filtered(x)), gpu.smoother.adjoint(filtered(x))], X),
    "softmax_tree": (lambda h: gpu.softmax_tree.log_probabilities(NODES, TREE, h), STATES),
    "spectra": (lambda W: [gpu.spectra.radius(W), gpu.spectra.growth(W, 4)], numbers(H, H)),
    "square_root": (lambda x: gpu.square_root.forward(LDS, TARGETS, x), X),
    "stack": (both_ways(lambda x: gpu.stack.forward(CELL, (MODEL.cell,), x), gpu.stack.backward), X),
    "state_jacobians": (lambda x: gpu.state_jacobians.steps(memory(x)), X),
    "state_space": (lambda x: gpu.state_space.backward(bounded(x)[1])[1:], WEIGHTS),
    "structured_posterior": (lambda x: gpu.structured_posterior.forward(STILL, x), TARGETS),
    "unroll": (both_ways(lambda x: gpu.unroll.forward(CELL, MODEL.cell, x, lengths=[3, 2]), gpu.unroll.backward), X),
    "viterbi": (lambda x: gpu.viterbi.path(HMM, x, [3, 2]), X),
    "windows": (lambda x: [gpu.windows.split(x, 2), gpu.windows.vote(gpu.windows.features(x, 2))], X),
    "word_vectors": (lambda v: gpu.word_vectors.nearest(v, 0, 2), numbers(5, 4)),
}
BACK_ENDS = {"gauss_newton": "aot_eager"}
MODULES = {file.stem for file in Path(gpu.__file__).parent.glob("*.py")} - {"__init__"}


def flat(tree) -> list:
    """The tensors of tuples and lists, nested; numbers become tensors."""
    if isinstance(tree, list | tuple):
        return [tensor for part in tree for tensor in flat(part)]
    return [torch.as_tensor(tree, dtype=torch.float64).detach()]


@pytest.mark.parametrize("name", CASES)
def test_the_same_numbers(name):
    torch._dynamo.reset()
    function, x = CASES[name]
    compiled = torch.compile(function, backend=BACK_ENDS.get(name, "eager"))
    for scale in (1.0, -0.5):  # other numbers through what was compiled for the first
        plain = flat(function(scale * x))
        assert plain and any(tensor.any() for tensor in plain)
        agree(tuple(flat(compiled(scale * x))), tuple(plain), 1e-13)


def test_no_module_is_left_out():
    assert {name.split(",")[0] for name in CASES} | set(NOT_COMPILED) == MODULES
    assert not {name.split(",")[0] for name in CASES} & set(NOT_COMPILED)
