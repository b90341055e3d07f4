"""Feedback alignment: against autograd with other matrices on the way back; BPTT where the matrices are the weights."""

from types import SimpleNamespace

import brain_oracles as oracles
import numpy as np
import pytest
from oracles import problem as draw_model
from proof import agree, verifies

from rnncourse import brain_params, bridge, gpu, reference
from rnncourse.brain_params import Feedback

FLOORS = pytest.mark.parametrize("floor", [reference, gpu], ids=["reference", "gpu"])


def problem(seed=0, **sizes):
    """A model, its trials with yes-or-no targets, a mask, and feedback that has nothing to do with the weights."""
    p = draw_model(seed, **sizes)
    answers = (p.targets > 0).astype(float)
    mask = p.rng.random(answers.shape[:2]) < 0.7
    mask[-1] = True
    (O, H) = p.params.readout.weights.shape
    feedback = Feedback(p.rng.standard_normal((H, H)), p.rng.standard_normal((O, H)))
    return SimpleNamespace(params=p.params, inputs=p.inputs, targets=answers, mask=mask, feedback=feedback, rng=p.rng)


def run(floor, module, cell, p, feedback, **options):
    """A rule's result, as arrays."""
    give = (lambda tree: tree) if floor is reference else bridge.to_torch
    found = getattr(floor, module).full(
        *(cell, give(p.params), give(feedback), give(p.inputs), give(p.targets), floor.losses.bernoulli),
        mask=give(p.mask),
        **options,
    )
    return found if floor is reference else found._replace(gradients=bridge.to_numpy(found.gradients))


@verifies("eq-feedback-alignment", oracle="autograd with another backward")
@FLOORS
@pytest.mark.parametrize("alpha", [0.3, 1.0])
@pytest.mark.parametrize(("T", "B", "D", "H", "O"), [(7, 3, 2, 5, 4), (1, 1, 1, 1, 1), (6, 1, 3, 4, 1)])
def test_against_autograd(floor, alpha, T, B, D, H, O):
    p = problem(T=T, B=B, D=D, H=H, O=O)
    found = run(floor, "feedback_alignment", floor.rates.leaky(alpha), p, p.feedback)
    loss, oracle = oracles.swapped(p, alpha, *p.feedback)
    agree(float(found.loss), loss, 1e-12)
    agree(found.gradients, oracle, 1e-12)


@FLOORS
def test_with_the_weights_as_feedback_it_is_the_gradient(floor):
    p = problem()
    own = Feedback(p.params.cell.recurrent_weights, p.params.readout.weights)
    found = run(floor, "feedback_alignment", floor.rates.leaky(0.3), p, own)
    give = (lambda tree: tree) if floor is reference else bridge.to_torch
    true = floor.bptt.full(
        *(floor.rates.leaky(0.3), give(p.params), give(p.inputs), give(p.targets), floor.losses.bernoulli),
        mask=give(p.mask),
    ).gradients
    true = true if floor is reference else bridge.to_numpy(true)
    agree(found.gradients[:2], true[:2], 1e-13)
    other = run(floor, "feedback_alignment", floor.rates.leaky(0.3), p, p.feedback).gradients
    assert abs(brain_params.cosine(other.cell, true.cell)) < 0.99


def test_other_cells_and_ragged_lengths_on_both_floors():
    from cell_oracles import draw_problem

    from rnncourse.gate_params import LSTMParams
    from rnncourse.params import ModelParams, ReadoutParams

    q = draw_problem(LSTMParams, gates=4, states=2)
    readout = ReadoutParams(q.rng.standard_normal((2, 5)), np.zeros(2))
    model = ModelParams(q.params, readout, tuple(q.start))
    feedback = Feedback(q.rng.standard_normal((20, 5)), q.rng.standard_normal((2, 5)))
    targets = q.rng.standard_normal((7, 3, 2))
    ours = reference.feedback_alignment.full(
        reference.lstm.plain(), model, feedback, q.x, targets, lengths=[7, 3, 1], reduction="mean"
    )
    theirs = gpu.feedback_alignment.full(
        gpu.lstm.plain(), *bridge.to_torch((model, feedback, q.x, targets)), lengths=[7, 3, 1], reduction="mean"
    )
    agree(ours.gradients, bridge.to_numpy(theirs.gradients), 1e-12)
    agree(ours.loss, float(theirs.loss), 1e-13)


@FLOORS
def test_doors(floor):
    p = problem()
    for wrong, words in [
        (
            p.feedback._replace(recurrent_weights=np.ones((5, 4))),
            r"recurrent_weights: expected shape \(5, 5\)",
        ),
        (p.feedback._replace(readout_weights=np.ones((3, 5))), r"readout_weights: expected shape \(4, 5\)"),
    ]:
        with pytest.raises(ValueError, match=f"feedback.{words}"):
            run(floor, "feedback_alignment", floor.rates.leaky(0.3), p, wrong)


def test_fresh_feedback_has_the_scale_that_it_says():
    B_h, B_y = brain_params.init_feedback(np.random.default_rng(0), 200, 3)
    assert 0.9 < np.linalg.norm(B_h, 2) < 1.1 and B_y.shape == (3, 200)
    assert np.std(B_y) == pytest.approx(200**-0.5, rel=0.1)
