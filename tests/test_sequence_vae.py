"""A whole small sequence model with one latent: against torch's own layers, the complex step and a plain loop."""

import itertools

import numpy as np
import pytest
import torch
from proof import agree, verifies

from rnncourse import bridge, bridge_gates, gpu, gradcheck, reference
from rnncourse.checks import sequence_vae as exercise
from rnncourse.checks.core import Wrong
from rnncourse.data import pairs
from rnncourse.gate_params import init_reset_after_gru
from rnncourse.gpu import word_vae
from rnncourse.params import named_arrays
from rnncourse.reference import latent, lstm, search, sequence_vae
from rnncourse.sequence_vae_params import check, heard, init_sequence_vae

CELL = lstm.plain()
V, D, H, Z = 5, 3, 4, 2


def case(seed=0, sizes=((3, 1, 4), (2,), (1, 1), (4, 3, 2, 1))):
    rng = np.random.default_rng(seed)
    params = init_sequence_vae(rng, V, D, H, Z)
    words = pairs.pad(sizes)
    return params, words, rng.standard_normal((len(sizes), Z)), rng


def by_torch(params, words, noise, hears=None):
    """Leaves and both sides of the ELBO, by torch's layers and distributions, each word by itself."""
    leaves = bridge.to_torch(params)
    flat = [part.requires_grad_() for _, part in named_arrays(leaves)]
    values, costs = [], []
    for b, length in enumerate(pairs.lengths(words)):
        word = torch.tensor(words[:length, b])
        last = run(leaves.encoder, leaves.table[word])[-1]
        both = leaves.posterior.weights @ last + leaves.posterior.bias
        q = torch.distributions.Normal(both[: len(both) // 2], (both[len(both) // 2 :] / 2).exp())
        z = q.loc + q.scale * torch.tensor(noise[b])
        before = torch.cat([torch.zeros(1, dtype=torch.long), word[:-1]]) if hears is None else hears[:length, b]
        x = torch.cat([leaves.table[torch.as_tensor(before)], z.expand(length, -1)], dim=1)
        logits = run(leaves.decoder, x) @ leaves.readout.weights.T + leaves.readout.bias
        values.append(torch.distributions.Categorical(logits=logits).log_prob(word).sum())
        costs.append(torch.distributions.kl_divergence(q, torch.distributions.Normal(0.0, 1.0)))
    assert len(params.readout.bias) == V
    return flat, torch.stack(values), torch.stack(costs)


def run(cell, x):
    """torch's functional LSTM over one sequence; differentiable by the weights."""
    W_x, W_h, b = cell
    hidden = x.new_zeros(1, 1, W_h.shape[1])
    out, *_ = torch.lstm(
        x[:, None], (hidden, hidden), [W_x, W_h, b, torch.zeros_like(b)], True, 1, 0.0, False, False, False
    )
    return out[:, 0]


@verifies("eq-latent-gradient", oracle="autograd through torch.lstm and torch.distributions")
@pytest.mark.parametrize("weight, share", [(1.0, 0.0), (0.3, 0.5), (0.0, 1.0)])
def test_the_whole_gradient(weight, share):
    params, words, noise, rng = case()
    hears = heard(words, V, rng.random(words.shape), share)
    flat, values, costs = by_torch(params, words, noise, hears)
    loss = -values.mean() + weight * costs.sum(dim=1).mean()
    found = sequence_vae.full(CELL, params, words, noise, weight, hears=hears)
    agree(found.loss, loss.detach(), 1e-13)
    agree((found.terms.log_likelihood, found.terms.kl), (values.detach(), costs.detach()), 1e-12)
    oracle = torch.autograd.grad(loss, flat, materialize_grads=True)
    agree(tuple(part for _, part in named_arrays(found.gradients)), oracle, 1e-12)
    twin = gpu.sequence_vae.full(
        gpu.lstm.plain(), bridge.to_torch(params), words, torch.tensor(noise), weight, 0.0, hears
    )
    agree(tuple(part for _, part in named_arrays(twin.gradients)), oracle, 1e-12)
    agree(twin.loss, loss.detach(), 1e-13)


def test_the_complex_step_agrees():
    params, words, noise, _ = case(1)
    found = sequence_vae.full(CELL, params, words, noise, 0.7)
    step = gradcheck.complex_step(lambda W: sequence_vae.full(CELL, W, words, noise, 0.7).loss, params)
    assert gradcheck.relative_error(found.gradients, step) < 1e-12


def test_another_cell():
    """A recurrence with one state in place of two: the gradient is as exact."""
    rng = np.random.default_rng(11)
    params = init_sequence_vae(rng, V, D, H, Z, init=init_reset_after_gru)
    words, noise = pairs.pad([(3, 1, 4), (2,)]), rng.standard_normal((2, Z))
    cell = reference.gru.reset_after()
    found = sequence_vae.full(cell, params, words, noise, 0.7)
    step = gradcheck.complex_step(lambda W: sequence_vae.full(cell, W, words, noise, 0.7).loss, params)
    assert gradcheck.relative_error(found.gradients, step) < 1e-12


def test_how_a_module_starts():
    model = word_vae.WordVAE(V, D, H, Z, seed=3)
    for layer in (model.encoder, model.decoder):
        for block in layer.weight_hh_l0.detach().split(H):
            agree(block @ block.T, np.eye(H), 1e-5)
        bias = (layer.bias_ih_l0 + layer.bias_hh_l0).detach().numpy()
        assert bias.tolist() == np.repeat([0.0, 1.0, 0.0, 0.0], H).tolist()  # input, forget, candidate, output


def test_free_bits_stop_the_cheap_units():
    """One unit's cost is put under the floor; then the cost no longer pulls at it, and autograd agrees."""
    params, words, noise, _ = case(2)
    terms, _ = sequence_vae.forward(CELL, params, words, noise)
    floor = float(terms.kl.mean(axis=0).mean())
    found = sequence_vae.full(CELL, params, words, noise, 1.0, floor)
    flat, values, costs = by_torch(params, words, noise)
    loss = -values.mean() + torch.maximum(costs.mean(dim=0), torch.tensor(floor, dtype=torch.float64)).sum()
    agree(found.loss, loss.detach(), 1e-13)
    oracle = torch.autograd.grad(loss, flat, materialize_grads=True)
    agree(tuple(part for _, part in named_arrays(found.gradients)), oracle, 1e-12)


@pytest.mark.parametrize("sizes", [((),), ((1,),), ((1, 2, 3), ()), (tuple(1 + k % 4 for k in range(60)),)])
def test_short_and_long(sizes):
    params, words, noise, _ = case(3, sizes)
    flat, values, costs = by_torch(params, words, noise)
    loss = -values.mean() + costs.sum(dim=1).mean()
    found = sequence_vae.full(CELL, params, words, noise)
    oracle = torch.autograd.grad(loss, flat, materialize_grads=True)
    agree(tuple(part for _, part in named_arrays(found.gradients)), oracle, 1e-11)


def test_padding_says_nothing():
    params, words, noise, _ = case(4)
    longer = np.concatenate([words, np.full((3, words.shape[1]), 4)])
    longer[len(words) - 1] = words[-1]
    a, b = (sequence_vae.full(CELL, params, some, noise) for some in (words, longer))
    agree(a.gradients, b.gradients, 1e-12)


def test_probabilities_of_all_words_sum_to_one():
    """For any z: every word of at most three symbols, and every beginning of three that has not ended."""
    params, _, _, rng = case(5)
    z = rng.standard_normal((1, 1, Z))
    ended = [w for n in range(4) for w in itertools.product(range(1, V), repeat=n)]
    words = pairs.pad(ended)
    logs = sequence_vae.log_likelihood(CELL, params, words, np.repeat(z, words.shape[1], axis=1))
    step, state = sequence_vae.stepper(CELL, params, z[0])
    every = search.exhaustive(step, state, limit=4)
    agree(np.exp(logs).sum(), np.exp(every.log_probabilities).sum(), 1e-12)
    assert 0 < np.exp(logs).sum() < 1


def test_many_latents_at_once():
    params, words, _, rng = case(6)
    z = rng.standard_normal((3, words.shape[1], Z))
    many = sequence_vae.log_likelihood(CELL, params, words, z)
    for k in range(3):
        agree(many[k], sequence_vae.log_likelihood(CELL, params, words, z[k : k + 1])[0], 1e-13)
    there = gpu.sequence_vae.log_likelihood(gpu.lstm.plain(), bridge.to_torch(params), words, torch.tensor(z))
    agree(there, many, 1e-12)


def test_draws_and_likelihood_fit():
    params, words, noise, _ = case(7)
    q = sequence_vae.encode(CELL, params, words)
    terms, _ = sequence_vae.forward(CELL, params, words, noise)
    agree(
        sequence_vae.log_likelihood(CELL, params, words, latent.sample(q, noise)[None])[0], terms.log_likelihood, 1e-13
    )
    there = gpu.sequence_vae.encode(gpu.lstm.plain(), bridge.to_torch(params), words)
    agree(tuple(there), tuple(q), 1e-12)


def test_the_free_decoder_says_what_the_taught_one_judges():
    params, _, _, rng = case(8)
    z = rng.standard_normal((2, Z))
    found = search.beam(*sequence_vae.stepper(CELL, params, z), width=3, limit=4)
    for b in range(2):
        for tokens, value in zip(found.tokens[b], found.log_probabilities[b], strict=True):
            if (tokens == 0).any():
                agree(
                    sequence_vae.log_likelihood(CELL, params, tokens[:, None], z[None, b : b + 1])[0, 0], value, 1e-12
                )
    step, state = gpu.sequence_vae.stepper(gpu.lstm.plain(), bridge.to_torch(params), torch.tensor(z))
    plain, start = sequence_vae.stepper(CELL, params, z)
    agree(step(torch.tensor([1, 2]), state)[0], plain(np.array([1, 2]), start)[0], 1e-13)


def test_hearing():
    words = pairs.pad([(3, 1, 4), (2,)])
    assert heard(words, V)[:, 0].tolist() == [0, 3, 1, 4] and heard(words, V)[:, 1].tolist() == [0, 2, 0, 0]
    uniforms = np.zeros(words.shape)
    assert heard(words, V, uniforms, 0.5)[:, 0].tolist() == [0, V, V, V]
    assert (heard(words, V, uniforms, 0.0) == heard(words, V)).all()


@pytest.mark.parametrize("share", [0.0, 0.4])
def test_the_module_is_the_library(share):
    """Same noise, same hidden symbols: same terms, and the loss that it is trained with."""
    model = word_vae.WordVAE(V, D, H, Z, seed=1).double()
    params = word_vae.exported(model)
    words = torch.from_numpy(pairs.pad([(3, 1, 4), (2,), (), (4, 4)]))
    torch.manual_seed(3)
    loss, _ = word_vae.objective(0.2, share)(model, words, torch.full((1, 4), 0.6))
    torch.manual_seed(3)
    hears = heard(words, V, torch.rand(words.shape).numpy(), share) if share else None
    noise = torch.randn(4, Z, dtype=torch.float64).numpy()
    agree(sequence_vae.full(CELL, params, words.numpy(), noise, 0.6, 0.2, hears).loss, loss.detach(), 1e-6)
    both = model.read(words)
    agree(tuple(sequence_vae.encode(CELL, params, words.numpy())), tuple(both), 1e-12)


def test_a_module_without_latent_is_a_language_model():
    model = word_vae.WordVAE(V, D, H, 0).double()
    words = torch.from_numpy(pairs.pad([(3, 1, 4), (2,)]))
    value, kl = model(words)
    (decoder,) = bridge_gates.stack_from_torch(model.decoder)
    x = bridge.to_numpy(model.table.weight)[heard(words, V)]
    d, _, _ = reference.unroll.forward(CELL, decoder, x)
    logits = d @ bridge.to_numpy(model.readout.weight).T + bridge.to_numpy(model.readout.bias)
    logs = np.take_along_axis(sequence_vae.log_softmax(logits), words.numpy()[:, :, None], axis=2)[:, :, 0]
    agree(value, [logs[:4, 0].sum(), logs[:2, 1].sum()], 1e-12)
    assert kl.shape == (2, 0)
    with pytest.raises(ValueError, match="expected a latent"):
        word_vae.exported(model)


def test_batches_are_functions_of_their_number():
    words = pairs.pad([(3, 1, 4), (2,), (), (4, 4)])
    batch = word_vae.sampled(words, 6, warm=10, seed=3)
    a, b = batch(5), batch(5)
    assert (a.inputs == b.inputs).all() and a.targets[0, 0] == 0.5 and batch(40).targets[0, 0] == 1
    assert word_vae.sampled(words, 6)(0).targets[0, 0] == 1
    short = pairs.lengths(a.inputs.numpy())
    assert len(a.inputs) == short.max()


BAD = {
    "noise": lambda f, c, W, x, n: f.forward(c, W, x, n[:2]),
    "words": lambda f, c, W, x, n: f.forward(c, W, x + 1, n),
    "class": lambda f, c, W, x, n: f.encode(c, W, x * 2),
    "hears": lambda f, c, W, x, n: f.forward(c, W, x, n, x[:2]),
    "z": lambda f, c, W, x, n: f.log_likelihood(c, W, x, n),
    "stepper's table": lambda f, c, W, x, n: f.stepper(c, W._replace(table=W.table[1:]), n),
    "d_kl": lambda f, c, W, x, n: f.backward(f.forward(c, W, x, n)[1], n[:, 0], n[:2]),
    "z width": lambda f, c, W, x, n: f.stepper(c, W, n[:, :1]),
    "table": lambda f, c, W, x, n: f.encode(c, W._replace(table=W.table[1:]), x),
    "posterior": lambda f, c, W, x, n: f.encode(c, W._replace(posterior=W.readout), x),
    "floor": lambda f, c, W, x, n: f.full(c, W, x, n, 1.0, -0.1),
    "back": lambda f, c, W, x, n: f.backward(f.forward(c, W, x, n)[1], n[0], n),
}


@pytest.mark.parametrize("name", BAD)
def test_both_refuse_in_the_same_words(name):
    params, words, noise, _ = case(9)
    said = []
    for floor, cell, W, n in (
        (sequence_vae, CELL, params, noise),
        (gpu.sequence_vae, gpu.lstm.plain(), bridge.to_torch(params), torch.tensor(noise)),
    ):
        with pytest.raises(ValueError) as refusal:
            BAD[name](floor, cell, W, words, n)
        said.append(str(refusal.value))
    assert said[0] == said[1]


@pytest.mark.parametrize("counts", [None, [[1], [1, 1]], "one"])
def test_the_exercise_refuses_in_words(counts):
    """Whatever a student returns, there is a verdict and no other error."""
    with pytest.raises(Wrong, match="counts: expected an array of real numbers"):
        exercise.hear.require(lambda words, uniforms, share, V: (words, words, counts))


def test_refusals_of_parameters():
    params, words, _, _ = case(10)
    with pytest.raises(ValueError, match="share"):
        heard(words, V, np.zeros(words.shape), 1.5)
    with pytest.raises(ValueError, match="uniforms"):
        heard(words, V, np.zeros(3), 0.5)
    with pytest.raises(ValueError, match="latent"):
        init_sequence_vae(np.random.default_rng(0), V, D, H, 0)
    with pytest.raises(ValueError, match=r"decoder.input_weights"):
        check(params._replace(decoder=params.encoder))
    with pytest.raises(ValueError, match=r"encoder.input_weights"):
        check(params._replace(encoder=params.decoder))
    with pytest.raises(ValueError, match=r"posterior.bias"):
        check(params._replace(posterior=params.posterior._replace(bias=params.posterior.bias[:-1])))
