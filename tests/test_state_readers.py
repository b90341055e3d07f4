"""What each reader may see, what it draws, and that its bound is the library's."""

import lds_oracles
import numpy as np
import pytest
import ssm_oracles as oracles
import torch
from proof import agree
from torch.distributions import Normal

from rnncourse import bridge
from rnncourse.gpu import state_readers, training

T, B, O, H = 5, 3, 2, 3


def data(seed=0):
    return torch.randn(T, B, O, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def reader(window):
    return state_readers.StateReader(O, H, window, hidden=4).double()


@pytest.mark.parametrize("window", state_readers.WINDOWS)
def test_each_sees_what_it_may_and_no_more(window):
    model, x = reader(window), data().requires_grad_()
    known = model.features(x)
    seen = np.zeros((T, T), bool)
    for t in range(T):
        (slope,) = torch.autograd.grad(known[t].sum(), x, retain_graph=True, allow_unused=True)
        seen[t] = False if slope is None else slope.abs().sum(dim=(1, 2)).numpy() > 0
    whole = np.ones((T, T), bool)
    right = {
        "all": whole,
        "filter": np.tril(whole),
        "frame": np.eye(T),
        "past": np.tril(whole, -1),
        "chain": np.triu(whole),
    }
    assert (seen == right[window].astype(bool)).all()


@pytest.mark.parametrize("window", state_readers.WINDOWS)
def test_a_draw_and_its_density(window):
    model, x, noise = reader(window), data(), torch.randn(T, B, H, dtype=torch.float64)
    z, log_q = model.draw(x, noise)
    assert z.shape == (T, B, H) and log_q.shape == (B,)
    before = torch.cat([torch.zeros_like(z[:1]), z[:-1]])
    sees = [model.features(x), before] if window == "chain" else [model.features(x)]
    mean, rho = model.readout(torch.cat(sees, -1)).chunk(2, dim=-1)
    agree(log_q, Normal(mean, torch.exp(rho / 2)).log_prob(z).sum(dim=(0, 2)), 1e-12)
    agree(z, mean + torch.exp(rho / 2) * noise, 1e-12)
    moved, _ = model.draw(x, noise + (torch.arange(T) == 1)[:, None, None])
    assert ((moved - z).abs().sum(dim=(1, 2)) > 0).tolist() == [False, True, *[window == "chain"] * 3]


@pytest.mark.parametrize("window", state_readers.WINDOWS)
def test_the_bound(window):
    params, model, x = lds_oracles.system(D=0), reader(window), data()
    noise = torch.randn(T, B, H, dtype=torch.float64)
    ours = state_readers.bound(model, bridge.to_torch(params), x, noise)
    if window == "chain":
        z, log_q = model.draw(x, noise)
        right = [oracles.log_joint(params, z[:, b].detach(), x[:, b]) - log_q[b] for b in range(B)]
    else:
        q = model(x)
        right = [
            oracles.log_likelihood(params, x[:, b])
            - oracles.divergence(q.mean[:, b], q.log_variance[:, b].exp(), params, x[:, b])
            for b in range(B)
        ]
    agree(ours, torch.stack(right), 1e-9)


def test_the_loss_is_minus_the_mean_bound():
    params, model, x = bridge.to_torch(lds_oracles.system(D=0)), reader("filter"), data()
    value, carry = state_readers.loss(params)(model, x)
    agree(value, -state_readers.bound(model, params, x).mean(), 1e-12)
    assert carry is None


def test_training_raises_the_bound():
    params = bridge.to_torch(lds_oracles.system(D=0))
    for window in ("filter", "chain"):
        model, x = reader(window), data()
        batch = training.Batch(x, torch.zeros(T, B))
        looks = training.fit(
            model, lambda _, b=batch: b, state_readers.loss(params), training.Settings(60, 0.02, every=20)
        )
        assert looks[-1].train < looks[0].train


def test_seeds_and_doors():
    one, again, other = (state_readers.StateReader(O, H, "filter", seed=seed) for seed in (1, 1, 2))
    assert torch.equal(one.readout.weight, again.readout.weight)
    assert not torch.equal(one.readout.weight, other.readout.weight)
    for name, arguments in {"window": (O, H, "future"), "outputs": (0, H, "all"), "states": (O, 0, "all")}.items():
        with pytest.raises(ValueError, match=f"^{name}: "):
            state_readers.StateReader(*arguments)
    with pytest.raises(ValueError, match=r"^window: "):
        reader("chain")(data())
    with pytest.raises(ValueError, match=r"^noise: "):
        state_readers.bound(reader("chain"), bridge.to_torch(lds_oracles.system(D=0)), data(), data())
    with pytest.raises(ValueError, match=r"^hidden: "):
        state_readers.StateReader(O, H, "all", hidden=0)
