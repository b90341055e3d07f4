"""Models of images to train: what a pixel sees, that nothing leaks, that they are distributions, that they learn."""

import numpy as np
import pytest
import torch
from proof import agree, verifies

from rnncourse import raster
from rnncourse.gpu import pixels, training

EVERY = pytest.mark.parametrize("kind", pixels.KINDS)


def model(kind, shape=(3, 4), levels=3, **options):
    return pixels.PixelRNN(kind, shape, levels, hidden=6, features=4, seed=1, **options).double().eval()


def images(count, shape=(3, 4), levels=3, seed=0):
    return np.random.default_rng(seed).integers(0, levels, (count, *shape))


def field(net, shape=(3, 4), levels=3):
    """Which pixel's logits move when which pixel is changed."""
    given = images(4, shape, levels)
    before = pixels.log_conditionals(net, given)
    seen = np.zeros((*shape, *shape), bool)
    for i, j in np.ndindex(*shape):
        changed = given.copy()
        changed[:, i, j] = (changed[:, i, j] + 1) % levels
        moved = np.abs(pixels.log_conditionals(net, changed) - before).max(axis=(0, 3))
        seen[:, :, i, j] = moved > 0
    return seen


SHAPES = pytest.mark.parametrize("shape", [(3, 4), (4, 3), (1, 5), (5, 1)])


@SHAPES
@verifies("eq-receptive-field", oracle="every pixel changed in turn")
def test_two_corners_see_together_what_comes_before_a_pixel(shape):
    """Both sides as printed, as sets, against what the network sees."""
    seen, every = field(model("diagonal", shape), shape), set(np.ndindex(*shape))
    for i, j in every:
        first = {(k, l) for k, l in every if k <= i and l <= j} - {(i, j)}
        second = {(k, l) for k, l in every if k < i and l >= j}
        before = {(k, l) for k, l in every if k < i or (k == i and l < j)}
        for side in (first | second, before):
            agree(np.array([[(k, l) in side for l in range(shape[1])] for k in range(shape[0])]), seen[i, j], 0)


@SHAPES
@EVERY
def test_a_pixel_sees_what_comes_before_it_and_nothing_else(kind, shape):
    assert (field(model(kind, shape), shape) == raster.past(*shape)).all()


def test_each_corner_sees_its_part():
    """The readout cut to one way: the second one's part is a column wider than what it needs to be."""
    i, j, k, l = np.indices((3, 4, 3, 4))
    for way, wanted in ((slice(6, 12), raster.quadrant(3, 4)), (slice(0, 6), (k < i) & (l >= j - 1))):
        net = model("diagonal")
        with torch.no_grad():
            net.readout.weight[:, way] = 0
        assert (field(net) == wanted).all()


@EVERY
def test_every_weight_has_a_part(kind):
    """Also those for what lies outside, for places, and of both ways."""
    net = model(kind)
    tokens = torch.from_numpy(raster.sequence(images(20)).copy())
    pixels.loss(net, tokens, tokens)[0].backward()
    for name, part in net.named_parameters():
        assert (part.grad.reshape(len(part), -1).abs().amax(dim=1) > 0).all(), name


def test_the_start_leaves_the_generator_alone():
    before = torch.random.get_rng_state()
    net = model("lstm")
    assert torch.equal(before, torch.random.get_rng_state())
    bias = (net.recurrence.bias_ih_l0 + net.recurrence.bias_hh_l0).detach()
    assert bias.reshape(4, 6).tolist() == [[0.0] * 6, [1.0] * 6, [0.0] * 6, [0.0] * 6]
    for kind in ("rnn", "lstm"):
        for block in model(kind).recurrence.weight_hh_l0.detach().split(6):
            np.testing.assert_allclose(block @ block.T, np.eye(6), atol=1e-6)


def test_without_the_step_down_the_second_way_leaks(monkeypatch):
    right = pixels.moved
    monkeypatch.setattr(
        pixels, "moved", lambda x, down, across, outside: right(x, min(down, 1 - across), across, outside)
    )
    net = model("diagonal")
    assert (field(net) & ~raster.past(3, 4)).any()


@pytest.mark.parametrize("kind", ["lstm", "diagonal"])
def test_a_pixel_that_is_its_own_neighbour_is_seen(monkeypatch, kind):
    right = pixels.moved

    def wrong(image, down, across, outside):
        flat = image.shape[1] == 1 or (across and not down)  # the pixel read before, or the left neighbour
        return image if flat else right(image, down, across, outside)

    monkeypatch.setattr(pixels, "moved", wrong)
    seen = field(model(kind))
    assert all(seen[i, j, i, j] for i, j in np.ndindex(3, 4))


def test_a_left_neighbour_alone_leaves_a_blind_spot(monkeypatch):
    """In raster order the end of a row is nobody's left neighbour: the row below must not lose it."""
    right = pixels.moved

    def wrong(image, down, across, outside):
        if image.shape[1] > 1:
            return right(image, down, across, outside)
        return right(image.reshape(3, 4, -1), 0, 1, outside).reshape(image.shape)

    monkeypatch.setattr(pixels, "moved", wrong)
    seen = field(model("lstm"))
    assert not seen[1, 0, 0, 3] and raster.past(3, 4)[1, 0, 0, 3]


@EVERY
def test_all_images_together_have_probability_one(kind):
    every = raster.every(2, 3, 3)
    log_p = pixels.log_conditionals(model(kind, (2, 3)), every, size=200)
    total = np.take_along_axis(log_p, every[..., None], axis=3)[..., 0].sum(axis=(1, 2))
    assert np.exp(total).sum() == pytest.approx(1, abs=1e-12)


def test_bits_and_loss_are_the_same_number():
    net, given = model("lstm"), images(5)
    tokens = torch.from_numpy(raster.sequence(given).copy())
    nats, carry = pixels.loss(net, tokens, tokens)
    assert carry is None
    assert pixels.bits(net, given) == pytest.approx(float(nats.detach()) / np.log(2), abs=1e-12)


@pytest.mark.parametrize("name", ["dropout", "blur"])
def test_what_is_hidden_is_hidden_in_training_alone(name):
    net, given = model("lstm", **{name: 0.5}), images(5)
    tokens = torch.from_numpy(raster.sequence(given).copy())
    net.train()
    assert (net(tokens) != net(tokens)).any()
    assert pixels.bits(net.train(), given) == pixels.bits(net.train(), given)


@EVERY
def test_it_learns_stripes(kind):
    """Images whose rows all equal the first, which is a coin flip per column: M - 1 of M rows are sure."""
    given = np.repeat(np.random.default_rng(0).integers(0, 2, (200, 1, 4)), 3, axis=1)
    net = pixels.PixelRNN(kind, (3, 4), 2, hidden=16, features=4)
    settings = training.Settings(80, 0.02, every=80)
    training.fit(net, pixels.shuffled(given, 50), pixels.loss, settings)
    assert 0.3 < pixels.bits(net, given) < 0.4


def test_batches_show_every_image_once_a_round():
    given = np.arange(12).reshape(12, 1, 1)
    batch = pixels.shuffled(given, 4, seed=3)
    for start in (0, 3):
        seen = np.concatenate([batch(step).inputs.numpy().ravel() for step in range(start, start + 3)])
        assert sorted(seen.tolist()) == list(range(12))
    assert (batch(0).inputs != batch(3).inputs).any() and (batch(1).inputs == batch(1).targets).all()


@EVERY
def test_weights_put_into_another_model_make_it_the_same(kind):
    net, other = model(kind), pixels.PixelRNN(kind, (3, 4), 3, hidden=6, features=4, seed=9).double()
    arrays = tuple(part.detach().numpy() for part in net.parameters())
    assert pixels.bits(other, images(5)) != pixels.bits(net, images(5))
    assert pixels.bits(pixels.fill(other, arrays), images(5)) == pixels.bits(net, images(5))
    with pytest.raises(ValueError, match="arrays"):
        pixels.fill(other, arrays[1:])
    with pytest.raises(ValueError, match="arrays"):
        pixels.fill(other, arrays[::-1])


@pytest.mark.parametrize(
    ("message", "call"),
    [
        ("kind", lambda: pixels.PixelRNN("gru")),
        ("hidden", lambda: pixels.PixelRNN("lstm", hidden=0)),
        ("rows", lambda: pixels.PixelRNN("lstm", (0, 3))),
        ("size", lambda: pixels.shuffled(images(3), 4)),
        ("size", lambda: pixels.shuffled(images(3), 0)),
        ("size", lambda: pixels.shuffled(images(3), -1)),
        ("images", lambda: pixels.bits(model("lstm"), images(2, (4, 3)))),
        ("images", lambda: pixels.bits(model("lstm"), images(2) + 1)),
        ("images", lambda: pixels.bits(model("lstm"), images(2) - 1)),
        ("images", lambda: pixels.bits(model("lstm"), images(2) + 0.5)),
        ("images", lambda: pixels.bits(model("lstm"), images(2)[:0])),
    ],
)
def test_refusals(message, call):
    with pytest.raises(ValueError, match=message):
        call()
