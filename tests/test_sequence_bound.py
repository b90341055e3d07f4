"""The deep Markov model and the variational RNN, and bounds on their log p(x): by hand, by grids, by many draws."""

import itertools

import numpy as np
import pytest
import torch
from proof import agree, verifies
from roll_oracles import (
    DeepMarkovByHand,
    VariationalByHand,
    elbo,
    log_weight,
    markov_evidence,
    variational_evidence,
)

from rnncourse.gpu import latent, sequence_bound, training
from rnncourse.gpu.deep_markov import DeepMarkov, turn
from rnncourse.gpu.rolls import mask, stretches
from rnncourse.gpu.variational_rnn import VariationalRNN

KINDS = {"deep Markov": (DeepMarkov, DeepMarkovByHand), "variational": (VariationalRNN, VariationalByHand)}
both = pytest.mark.parametrize("kind", KINDS)
T, B, O, L = 6, 3, 5, 2
LENGTHS = [6, 3, 1]


def problem(kind, seed=0, latent=L, T=T, B=B, scale=0.3):
    """A model whose parts all matter, rolls, and noise."""
    rng = np.random.default_rng(seed)
    model = KINDS[kind][0](O, latent, 7, seed=seed).double()
    with torch.no_grad():
        for array in model.parameters():
            array += scale * torch.from_numpy(rng.standard_normal(array.shape))
    x = torch.from_numpy((rng.random((T, B, O)) < 0.4).astype(float))
    return model, x, torch.from_numpy(rng.standard_normal((T, B, latent))), KINDS[kind][1](model)


def by_hand(hand, x, noise, lengths):
    pairs = [elbo(hand, x[:n, b], noise[:n, b]) for b, n in enumerate(lengths)]
    return tuple(torch.stack(part) for part in zip(*pairs, strict=True))


@both
@verifies("eq-roll-elbo", oracle="a loop over each sequence alone, divergences by torch.distributions")
def test_elbo(kind):
    model, x, noise, hand = problem(kind)
    found = model.infer(x, noise, LENGTHS)
    fit, kl = sequence_bound.terms(found, x, mask(LENGTHS, T, x))
    agree((fit, kl), by_hand(hand, x, noise, LENGTHS), 1e-12)
    assert (kl > 0).all()
    whole = model.infer(x, noise)
    agree(tuple(sequence_bound.terms(whole, x, mask(None, T, x))), by_hand(hand, x, noise, [T] * B), 1e-12)


@both
@pytest.mark.parametrize("steps", [1, 6])
def test_one_step_and_one_sequence(kind, steps):
    model, x, noise, hand = problem(kind, 1, T=steps, B=1)
    found = sequence_bound.terms(model.infer(x, noise), x, mask(None, steps, x))
    agree(tuple(found), by_hand(hand, x, noise, [steps]), 1e-12)


@both
def test_weights(kind):
    model, x, noise, hand = problem(kind)
    oracle = torch.stack([log_weight(hand, x[:n, b], noise[:n, b]) for b, n in enumerate(LENGTHS)])
    found = model.infer(x, noise, LENGTHS)
    agree(sequence_bound.log_weights(found, x, mask(LENGTHS, T, x)), oracle, 1e-12)


@both
def test_elbo_is_the_mean_weight(kind):
    """The divergences in closed form and by simulation, on the same paths, differ by noise alone."""
    model, x, _, _ = problem(kind, 2, T=3, B=1)
    many = x.expand(3, 40_000, O)
    found = model.infer(many, torch.randn(3, 40_000, L, generator=torch.Generator().manual_seed(0)).double())
    real = mask(None, 3, many)
    fit, kl = sequence_bound.terms(found, many, real)
    difference = sequence_bound.log_weights(found, many, real) - (fit - kl)
    spread = difference.std() / 200
    assert abs(difference.mean()) < 4 * spread < 0.1


EVIDENCE = {"deep Markov": (markov_evidence, 4), "variational": (variational_evidence, 2)}


@both
def test_bounds_stay_below_the_evidence_and_draws_close_the_gap(kind):
    evidence, steps = EVIDENCE[kind]
    model, x, _, hand = problem(kind, 3, latent=1, T=steps, B=1, scale=0.15)
    with torch.no_grad():  # a posterior wider than the truth: weights of a narrow one have a tail too heavy to test
        list(model.posterior.parameters())[-1][1] += 2
    exact = evidence(hand, x[:, 0])
    chance = torch.Generator().manual_seed(0)
    low = -steps * sequence_bound.bound(model, x, None, 1000, chance)["nats"]
    bounds = [low]
    for draws in (5, 50):
        some = [float(sequence_bound.importance(model, x, [steps], draws, chance, draws)) for _ in range(100)]
        bounds.append(np.mean(some))
    assert bounds[0] < bounds[1] < bounds[2] < exact + 5e-3, "the more draws, the tighter"
    assert abs(sequence_bound.importance(model, x, [steps], 100_000, chance, 50_000)[0] / exact - 1) < 5e-3


@verifies("eq-roll-importance", oracle="logarithm of the mean weight, one draw after another")
def test_the_importance_bound_is_the_mean_weight():
    model, x, _, hand = problem("deep Markov")
    found = sequence_bound.importance(model, x, LENGTHS, 4, torch.Generator().manual_seed(5), at_once=2)
    chance = torch.Generator().manual_seed(5)
    noise = [torch.randn(T, 2 * B, L, generator=chance, dtype=torch.float64).reshape(T, 2, B, L) for _ in range(2)]
    draws = torch.cat(noise, dim=1)
    logs = [[log_weight(hand, x[:n, b], draws[:n, k, b]) for k in range(4)] for b, n in enumerate(LENGTHS)]
    agree(found, np.log(np.exp(np.array(logs, dtype=float)).mean(axis=1)), 1e-12)


@both
def test_where_the_latent_path_says_nothing_the_gap_is_the_divergence(kind):
    """An emission that does not listen: log p(x) is known, and the posterior should be the prior."""
    model, x, noise, _ = problem(kind)
    model.emission[-1].weight.data.zero_()
    found = model.infer(x, noise, LENGTHS)
    real = mask(LENGTHS, T, x)
    fit, kl = sequence_bound.terms(found, x, real)
    heard = torch.distributions.Bernoulli(logits=model.emission[-1].bias.detach())
    agree(fit, (heard.log_prob(x).sum(-1) * real).sum(0), 1e-12)
    assert (kl > 0.01).all()


@both
def test_padding_changes_nothing(kind):
    model, x, noise, _ = problem(kind)
    real = mask(LENGTHS, T, x)
    before = sequence_bound.terms(model.infer(x, noise, LENGTHS), x, real)
    wild = x + 3 * (1 - real)[..., None]
    stirred = noise - 2 * (1 - real)[..., None]
    agree(tuple(sequence_bound.terms(model.infer(wild, stirred, LENGTHS), wild, real)), tuple(before), 1e-13)
    longer = torch.cat([x, torch.ones(2, B, O).double()]), torch.cat([noise, torch.zeros(2, B, L).double()])
    found = sequence_bound.terms(model.infer(*longer, LENGTHS), longer[0], mask(LENGTHS, T + 2, longer[0]))
    agree(tuple(found), tuple(before), 1e-13)


def test_the_reader_hears_the_future_alone():
    model, x, _, _ = problem("deep Markov")
    heard = model.read(x, LENGTHS)
    for t in range(T):
        other = x.clone()
        other[t] = 1 - other[t]
        moved = (model.read(other, LENGTHS) != heard).any(dim=2)
        for b, n in enumerate(LENGTHS):
            assert moved[:n, b].tolist() == [s <= t < n for s in range(n)]


def test_the_posterior_of_a_deep_markov_model_sees_the_past_through_the_last_state_alone():
    model, x, noise, _ = problem("deep Markov")
    changed = x.clone()
    changed[0] = 1 - changed[0]
    q, p = (model.infer(roll, noise).posterior.mean for roll in (x, changed))
    assert (q[1] != p[1]).any()
    same = torch.ones(B, L).double()
    agree(model.guess(same, model.read(x)[1]), model.guess(same, model.read(changed)[1]), 0)


def test_the_prior_of_a_variational_rnn_has_not_heard_the_frame():
    model, x, noise, _ = problem("variational")
    before = model.infer(x, noise)
    for t in range(T):
        other = x.clone()
        other[t] = 1 - other[t]
        after = model.infer(other, noise)
        assert torch.equal(after.prior.mean[: t + 1], before.prior.mean[: t + 1])
        assert torch.equal(after.posterior.mean[:t], before.posterior.mean[:t])
        assert (after.posterior.mean[t] != before.posterior.mean[t]).any()
        assert t + 1 == T or (after.prior.mean[t + 1] != before.prior.mean[t + 1]).any()


def test_a_prior_that_does_not_move():
    """Then the divergences are those from N(0, I), and a dream forgets its last state."""
    model = DeepMarkov(O, L, 7, seed=1, moving=False).double()
    _, x, noise, _ = problem("deep Markov")
    found = model.infer(x, noise)
    q = torch.distributions.Normal(found.posterior.mean, torch.exp(found.posterior.log_variance / 2))
    still = torch.distributions.Normal(torch.zeros_like(noise), torch.ones_like(noise))
    kl = torch.distributions.kl_divergence(q, still).sum((0, 2))
    agree(sequence_bound.terms(found, x, mask(None, T, x)).kl, kl, 1e-12)
    assert not list(model.transition.parameters())


def test_turn():
    x = torch.arange(24.0).reshape(4, 3, 2)
    found = turn(x, [4, 2, 1])
    assert torch.equal(found[:, 0], x[:, 0].flip(0)) and torch.equal(found[:, 2], x[:, 2])
    assert torch.equal(found[:, 1], x[[1, 0, 2, 3], 1])
    assert torch.equal(turn(found, [4, 2, 1]), x) and torch.equal(turn(x), x.flip(0))


@both
def test_the_divergence_teaches_the_prior(kind):
    """It is no regulariser towards a fixed place: its gradient by the prior's own parameters is not zero."""
    model, x, noise, _ = problem(kind)
    sequence_bound.terms(model.infer(x, noise), x, mask(None, T, x)).kl.sum().backward()
    part = model.transition if kind == "deep Markov" else model.prior
    assert all(array.grad is not None and array.grad.abs().max() > 1e-6 for array in part.parameters())
    assert all(array.grad is None or not array.grad.any() for array in model.emission.parameters())


@both
def test_every_parameter_learns(kind):
    model, x, noise, _ = problem(kind)
    fit, kl = sequence_bound.terms(model.infer(x, noise), x, mask(None, T, x))
    (kl - fit).sum().backward()
    assert all(array.grad.abs().max() > 0 for array in model.parameters())


@both
def test_the_gradient_runs_through_draws_and_states(kind):
    """Along a random direction of all parameters of each part, against a central difference."""
    model, x, noise, _ = problem(kind)
    rng = np.random.default_rng(7)

    def loss():
        fit, kl = sequence_bound.terms(model.infer(x, noise, LENGTHS), x, mask(LENGTHS, T, x))
        return (kl - fit).sum()

    loss().backward()
    for name, part in model.named_children():
        arrays = list(part.parameters())
        ways = [torch.from_numpy(rng.standard_normal(array.shape)) for array in arrays]
        ends = []
        for step in (1e-5, -2e-5, 1e-5):  # there, beyond, and back
            with torch.no_grad():
                for array, way in zip(arrays, ways, strict=True):
                    array += step * way
                ends.append(float(loss()))
        slope = sum((array.grad * way).sum() for array, way in zip(arrays, ways, strict=True))
        if arrays:
            assert abs(slope) > 1e-3, name
            agree(slope, (ends[0] - ends[1]) / 2e-5, 1e-6)


@both
def test_warming(kind):
    warming = sequence_bound.Warming(10, start=0.2)
    assert [warming.weight(k) for k in (0, 5, 10, 99)] == pytest.approx([0.2, 0.6, 1, 1])
    assert sequence_bound.Warming(0).weight(0) == 1
    model, x, _, _ = problem(kind)
    real = mask(LENGTHS, T, x)
    model.updates += 5
    torch.manual_seed(3)
    value, carry = warming(model, x, real)
    torch.manual_seed(3)
    fit, kl = sequence_bound.terms(model.infer(x, sequence_bound.draw_noise(model, T, B), LENGTHS), x, real)
    agree(value, (0.6 * kl.sum() - fit.sum()) / sum(LENGTHS), 1e-13)
    assert carry is None and int(model.updates) == 6


@both
def test_training_goes_on_where_it_was_killed(kind, tmp_path):
    rolls = (np.random.default_rng(0).random((20, 4, O)) < 0.3).astype(np.float32)
    batch = stretches(rolls, [20, 15, 9, 3], 6, 5)

    def killed(step):
        if step == 7:
            raise KeyboardInterrupt
        return batch(step)

    def train(batch, file=None):
        model = KINDS[kind][0](O, 2, 6, seed=0, dropout=0.1)
        settings = training.Settings(10, 1e-2, every=4)
        return model, training.fit(model, batch, sequence_bound.Warming(8), settings, checkpoint=file)

    with pytest.raises(KeyboardInterrupt):
        train(killed, tmp_path / "it.pt")
    model, history = train(batch, tmp_path / "it.pt")
    other, the_same = train(batch)
    assert history == the_same
    agree(tuple(model.state_dict().values()), tuple(other.state_dict().values()), 0)


@both
def test_dreams(kind):
    model, *_ = problem(kind)
    model.float()
    one, same, other = (model.dream(9, 4, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))
    assert one.shape == (9, 4, O) and torch.equal(one, same) and not torch.equal(one, other)
    assert set(one.unique().tolist()) <= {0.0, 1.0}


def test_dreams_of_a_deep_markov_model_follow_it():
    """The share of each note in first frames, against the mean of the emission over the prior on a grid."""
    from roll_oracles import GRID, STEP

    model, _, _, hand = problem("deep Markov", 4, latent=1)
    density = hand.transition(hand.start()).log_prob(GRID).sum(-1).exp()
    chance = (density[:, None] * hand.emission(GRID).probs).sum(0) * STEP
    played = model.float().dream(1, 20_000, torch.Generator().manual_seed(0))[0]
    assert abs(played.double().mean(0) - chance).max() < 4 * 0.5 / 20_000**0.5


def test_dreams_of_a_variational_rnn_follow_it():
    from roll_oracles import GRID, STEP

    model, x, _, hand = problem("variational", 4, latent=1)
    h = hand.silence(x)
    density = hand.prior(h).log_prob(GRID).sum(-1).exp()
    chance = (density[:, None] * hand.emission(GRID, h.expand(len(GRID), -1)).probs).sum(0) * STEP
    played = model.float().dream(1, 20_000, torch.Generator().manual_seed(0))[0]
    assert abs(played.double().mean(0) - chance).max() < 4 * 0.5 / 20_000**0.5


@both
def test_dreams_of_two_frames(kind):
    """With one note and one latent number: how often each pair of frames is played, against log p(x) on a grid."""
    rng = np.random.default_rng(4)
    model = KINDS[kind][0](1, 1, 7, seed=4).double()
    with torch.no_grad():
        for array in model.parameters():
            array += 0.8 * torch.from_numpy(rng.standard_normal(array.shape))
        last = model.emission[-1]
        last.weight *= 3
        noise = torch.randn(1, 4000, 1, generator=torch.Generator().manual_seed(1)).double()
        last.bias -= model.infer(torch.ones_like(noise), noise).logits.median()  # neither sure nor out of question
    pairs = list(itertools.product((0.0, 1.0), repeat=2))
    evidence, hand = EVIDENCE[kind][0], KINDS[kind][1](model)
    right = np.exp([evidence(hand, torch.tensor(pair, dtype=torch.float64)[:, None]) for pair in pairs])
    assert abs(right.sum() - 1) < 1e-3
    played = model.float().dream(2, 40_000, torch.Generator().manual_seed(0))[:, :, 0].numpy()
    found = np.array([(played == np.array(pair)[:, None]).all(axis=0).mean() for pair in pairs])
    assert (abs(found - right) < 4 * np.sqrt(right * (1 - right) / 40_000) + 1e-3).all()


@both
def test_judged_and_played_without_dropout(kind):
    x = (torch.rand(6, 3, 5, generator=torch.Generator().manual_seed(0)) < 0.4).float()
    wet, dry = (KINDS[kind][0](5, 2, 7, dropout=rate, seed=1) for rate in (0.5, 0.0))

    def chance():
        return torch.Generator().manual_seed(0)

    for call in (
        lambda model: sequence_bound.bound(model, x, None, 1, chance())["nats"],
        lambda model: sequence_bound.importance(model, x, None, 2, chance()).sum().item(),
        lambda model: model.dream(5, 4, chance()).tolist(),
    ):
        assert call(wet.train()) == call(dry.train())
    torch.manual_seed(0)
    parts = [model.train().infer(x, torch.zeros(6, 3, 2)).posterior.mean for model in (wet, dry)]
    assert not torch.equal(*parts), "dropout of what is heard"


def test_the_line_begins_as_the_identity():
    line = DeepMarkov(5, 3, 4).transition.line
    assert torch.equal(line.weight, torch.eye(3)) and not line.bias.any()


@both
def test_bad_input(kind):
    model, x, noise, _ = problem(kind)
    cls = KINDS[kind][0]
    for name, call in {
        "latent": lambda: cls(O, 0),
        "rolls": lambda: model.infer(x[..., :2], noise),
        "noise": lambda: model.infer(x, noise[1:]),
        "lengths": lambda: model.infer(x, noise, [7, 1, 1]),
        "draws": lambda: sequence_bound.importance(model, x, None, 0),
        "steps": lambda: sequence_bound.Warming(-1),
    }.items():
        with pytest.raises(ValueError, match=rf"^{name}: "):
            call()


def test_the_prior_and_posterior_are_diagonals():
    model, x, noise, _ = problem("deep Markov")
    found = model.infer(x, noise)
    assert isinstance(found.prior, latent.Diagonal) and found.prior.mean.shape == (T, B, L)
    agree(latent.sample(found.posterior, noise), found.z, 1e-14)
