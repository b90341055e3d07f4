"""The local rule: against autograd with the recurrence cut, and the true gradient where nothing is dropped."""

import brain_oracles as oracles
import numpy as np
import pytest
from proof import agree, verifies
from test_feedback_alignment import problem, run

from rnncourse import brain_params, bridge, gpu, reference
from rnncourse.params import map_arrays

FLOORS = pytest.mark.parametrize("floor", [reference, gpu], ids=["reference", "gpu"])
CARRY = {"leak": "none", "own": "own"}


@verifies("eq-local-rule", oracle="autograd with the recurrence cut")
@verifies("eq-eligibility", oracle="autograd with the recurrence cut")
@FLOORS
@pytest.mark.parametrize("carry", CARRY)
@pytest.mark.parametrize("alpha", [0.3, 1.0])
@pytest.mark.parametrize(("T", "B", "D", "H", "O"), [(7, 3, 2, 5, 4), (1, 1, 1, 1, 1), (6, 1, 3, 4, 1)])
def test_against_autograd(floor, carry, alpha, T, B, D, H, O):
    p = problem(T=T, B=B, D=D, H=H, O=O)
    found = run(floor, "local_rule", floor.rates.leaky(alpha), p, p.feedback.readout_weights, carry=carry)
    loss, oracle = oracles.swapped(p, alpha, *p.feedback, product=CARRY[carry])
    agree(float(found.loss), loss, 1e-12)
    agree(found.gradients, oracle, 1e-12)
    mean = run(
        *(floor, "local_rule", floor.rates.leaky(alpha), p, p.feedback.readout_weights),
        carry=carry,
        reduction="mean",
    )
    agree(float(mean.loss), loss / p.mask.sum(), 1e-12)
    agree(mean.gradients, map_arrays(lambda part: part / p.mask.sum(), oracle), 1e-12)


def rtrl(p, alpha):
    """The whole influence matrix of a leaky tanh network, carried forwards; the gradient of [W_x W_h b]."""
    (W_x, W_h, b), (W_y, b_y), start = p.params
    H, D = W_x.shape
    total = 0.0
    for n in range(p.inputs.shape[1]):
        h, P = start, np.zeros((H, H, D + H + 1))
        for t in range(len(p.inputs)):
            z = np.concatenate([p.inputs[t, n], h, [1.0]])
            driven = np.tanh(W_x @ p.inputs[t, n] + W_h @ h + b)
            J = (1 - alpha) * np.eye(H) + alpha * (1 - driven**2)[:, None] * W_h
            P = np.einsum("ij,jkl->ikl", J, P)
            for i in range(H):
                P[i, i] += alpha * (1 - driven[i] ** 2) * z
            h = (1 - alpha) * h + alpha * driven
            if p.mask[t, n]:
                e = 1 / (1 + np.exp(-(W_y @ h + b_y))) - p.targets[t, n]
                total = total + np.einsum("i,ijk->jk", W_y.T @ e, P)
    return total


def joined(cell):
    return np.concatenate([cell.input_weights, cell.recurrent_weights, cell.bias[:, None]], axis=1)


@verifies("eq-local-exact", oracle="RTRL")
@FLOORS
@pytest.mark.parametrize("carry", CARRY)
def test_where_it_is_exact(floor, carry):
    """With no recurrence the leak is all there is; with a diagonal one, what a unit keeps of itself."""
    p = problem()
    W_h = 0.8 * np.diag(p.rng.standard_normal(5)) if carry == "own" else np.zeros((5, 5))
    p.params = p.params._replace(cell=p.params.cell._replace(recurrent_weights=W_h))
    found = run(floor, "local_rule", floor.rates.leaky(0.3), p, p.params.readout.weights, carry=carry)
    agree(joined(found.gradients.cell), rtrl(p, 0.3), 1e-12)
    if carry == "own":
        less = run(floor, "local_rule", floor.rates.leaky(0.3), p, p.params.readout.weights)
        assert abs(joined(less.gradients.cell) - rtrl(p, 0.3)).max() > 0.01


@verifies("eq-rules-meet", oracle="the other rule, backwards in time")
@FLOORS
def test_feedback_alignment_without_recurrent_feedback_is_the_local_rule(floor):
    p = problem()
    none = p.feedback._replace(recurrent_weights=np.zeros((5, 5)))
    backwards = run(floor, "feedback_alignment", floor.rates.leaky(0.3), p, none)
    forwards = run(floor, "local_rule", floor.rates.leaky(0.3), p, p.feedback.readout_weights)
    agree(forwards.gradients, backwards.gradients, 1e-12)
    some = run(floor, "feedback_alignment", floor.rates.leaky(0.3), p, p.feedback)
    assert abs(joined(some.gradients.cell) - joined(forwards.gradients.cell)).max() > 0.1


def test_the_oracle_is_the_gradient_and_the_rule_is_not():
    p = problem()
    true = reference.bptt.full(
        *(reference.rates.leaky(0.3), p.params, p.inputs, p.targets, reference.losses.bernoulli), mask=p.mask
    ).gradients
    agree(joined(true.cell), rtrl(p, 0.3), 1e-12)
    found = run(reference, "local_rule", reference.rates.leaky(0.3), p, p.params.readout.weights).gradients
    assert 0.1 < brain_params.cosine(found.cell, true.cell) < 0.99


@FLOORS
def test_what_a_trace_keeps(floor):
    p = problem()
    give = (lambda tree: tree) if floor is reference else bridge.to_torch
    tape = floor.unroll.forward(floor.rates.leaky(0.3), *give((p.params.cell, p.inputs)))[2]
    slope, kept = floor.local_rule.rates(tape, 2)
    W_x, W_h, b = p.params.cell
    h = np.zeros((3, 5))
    for x in p.inputs[:3]:
        a = x @ W_x.T + h @ W_h.T + b
        h = 0.7 * h + 0.3 * np.tanh(a)
    agree(slope, 0.3 / np.cosh(a) ** 2, 1e-12)
    agree(kept, np.full((3, 5), 0.7), 1e-14)
    agree(floor.local_rule.rates(tape, 2, "own")[1], 0.7 + 0.3 / np.cosh(a) ** 2 * np.diag(W_h), 1e-12)


@FLOORS
def test_doors(floor):
    p = problem()
    with pytest.raises(ValueError, match="cell: expected units of one state and one current"):
        run(floor, "local_rule", floor.lstm.plain(), p, p.feedback.readout_weights)
    with pytest.raises(ValueError, match=r"feedback: expected shape \(4, 5\)"):
        run(floor, "local_rule", floor.rates.leaky(0.3), p, np.ones((4, 4)))
    with pytest.raises(ValueError, match="carry: expected one of 'leak', 'own'"):
        run(floor, "local_rule", floor.rates.leaky(0.3), p, p.feedback.readout_weights, carry="all")
