"""The gradient of the likelihood: by hand, by autograd, through the dense density, by the complex step."""

import lds_oracles as oracles
import numpy as np
import pytest
import torch
from lds_battery import alone, both_floors, cases, draw
from proof import agree, verifies

from rnncourse import gradcheck
from rnncourse.lds_params import LDSParams
from rnncourse.reference import kalman, lds_likelihood, smoother


def by_hand(floor, p, options, weights):
    _, tape = lds_likelihood_on(floor, "forward")(p.params, p.y, p.x, **options)
    return lds_likelihood_on(floor, "backward")(tape, weights)


def lds_likelihood_on(floor, name):
    if floor == "reference":
        return getattr(lds_likelihood, name)
    from rnncourse import bridge
    from rnncourse.gpu import lds_likelihood as twin

    if name == "forward":
        return lambda *given, **options: twin.forward(*map(bridge.to_torch, given), **options)
    return lambda tape, weights=None: bridge.to_numpy(twin.backward(tape, weights))


@both_floors
@cases
@verifies("eq-lds-gradients", oracle="autograd of the dense density")
def test_gradients(floor, case):
    p, options = draw(case)
    weights = p.rng.standard_normal(p.B)
    ours = by_hand(floor, p, options, weights)
    if case == "by sequence":
        parts = [
            oracles.likelihood_gradients(a, x[:, None], y[:, None], s[:, None], [w])
            for (a, x, y, s), w in zip([alone(p, b) for b in range(p.B)], weights, strict=True)
        ]
        by_step = [np.stack([part[0][i] for part in parts], axis=1) for i in range(5)]
        params = LDSParams(*by_step, *(sum(part[0][i] for part in parts) for i in (5, 6)))
        d_y = np.concatenate([part[2] for part in parts], axis=1)
    else:
        x = np.where(np.isnan(p.x), 0, p.x)
        params, d_x, d_y = oracles.likelihood_gradients(p.params, x, p.truth, p.seen, weights)
        if p.D:
            agree(ours.inputs * (np.arange(p.T)[:, None] < p.lengths)[:, :, None], d_x, 1e-9)
    for _name, part, oracle in zip(LDSParams._fields, ours.params, params, strict=True):
        if oracle.size:
            agree(part, oracle, 1e-8 if case == "large mean" else 1e-9)
    agree(ours.outputs, np.where(p.seen, d_y, 0), 1e-9)


@cases
@verifies("eq-lds-gradients", oracle="complex step")
def test_gradients_by_the_complex_step(case):
    p, options = draw(case)
    weights = p.rng.standard_normal(p.B)
    ours = lds_likelihood.backward(lds_likelihood.forward(p.params, p.y, p.x, **options)[1], weights)
    if case == "by sequence":
        pytest.skip("a thousand entries, one at a time; autograd has judged them")
    used = [field for field in LDSParams._fields if getattr(p.params, field).size]

    def value(*parts):
        params = p.params._replace(**dict(zip(used, parts, strict=True)))
        return (weights * lds_likelihood.forward(params, p.y, p.x, **options)[0]).sum()

    found = gradcheck.complex_step(lambda parts: value(*parts), tuple_of(p.params, used))
    agree(tuple_of(ours.params, used), found, 1e-8 if case == "large mean" else 1e-9)


def tuple_of(params, fields):
    from collections import namedtuple

    return namedtuple("Used", fields)(*(getattr(params, field) for field in fields))


@verifies("eq-fisher", oracle="autograd of the dense density")
def test_fishers_identity():
    """The mean of the complete data's gradient, given the outputs: three regressions' normal equations."""
    p, _ = draw("plain")
    A, W, C, Q, R, _, _ = p.params
    tape = kalman.forward(p.params, p.y, p.x)[1]
    m, V, cross = smoother.rts(tape)
    oracle = oracles.likelihood_gradients(p.params, p.x, p.y, p.seen, np.ones(p.B))[0]
    moved = m[1:] - m[:-1] @ A.T - p.x @ W.T
    pairs = np.einsum("tbi,tbj->ij", moved, m[:-1]) + p.B * (cross - A @ V[:-1]).sum(axis=(0, 1))
    agree(np.linalg.solve(Q, pairs), oracle.transition, 1e-10)
    error = p.y - m[1:] @ C.T
    looks = np.einsum("tbi,tbj->ij", error, m[1:]) - p.B * (C @ V[1:]).sum(axis=(0, 1))
    agree(np.linalg.solve(R, looks), oracle.emission, 1e-10)
    spread = np.einsum("tbi,tbj->ij", error, error) + p.B * (C @ V[1:] @ C.T).sum(axis=(0, 1)) - p.T * p.B * R
    agree(0.5 * np.linalg.solve(R, np.linalg.solve(R, spread).T), oracle.output_noise, 1e-10)


def test_weights_default_to_one_and_add_up():
    p, _ = draw("plain")
    tape = lds_likelihood.forward(p.params, p.y, p.x)[1]
    whole = lds_likelihood.backward(tape)
    parts = [lds_likelihood.backward(tape, np.eye(p.B)[b]) for b in range(p.B)]
    agree(whole.params, type(p.params)(*map(sum, zip(*(part.params for part in parts), strict=True))), 1e-12)
    for part in parts[0].params[3:5]:
        assert np.allclose(part, part.T)


@both_floors
def test_doors(floor):
    p, _ = draw("plain")
    _, tape = lds_likelihood_on(floor, "forward")(p.params, p.y, p.x)
    with pytest.raises(ValueError, match=r"^d_log_likelihood: "):
        lds_likelihood_on(floor, "backward")(tape, np.ones(p.B + 1))


def test_training_on_tensors_stays_in_the_callers_graph():
    from rnncourse import bridge
    from rnncourse.gpu import lds_likelihood as twin

    p, _ = draw("plain")
    params = type(p.params)(*(part.requires_grad_() for part in bridge.to_torch(p.params)))
    twin.forward(params, torch.tensor(p.y), torch.tensor(p.x))[0].sum().backward()
    agree(
        params.transition.grad, lds_likelihood.backward(kalman.forward(p.params, p.y, p.x)[1]).params.transition, 1e-12
    )
