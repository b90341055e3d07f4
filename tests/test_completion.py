"""Completion against a joint distribution written down as a table; the order of reading; counts."""

import numpy as np
import pytest
from pixel_oracles import Table
from proof import agree, verifies

from rnncourse import completion, pixel_counts, raster

HOLES = {
    "suffix": [[0, 0, 0], [0, 0, 1], [1, 1, 1]],
    "middle": [[0, 0, 0], [0, 1, 0], [0, 0, 0]],
    "column": [[0, 1, 0], [0, 1, 0], [0, 1, 0]],
    "scattered": [[1, 0, 0], [0, 1, 1], [0, 0, 1]],
    "everything": [[1, 1, 1], [1, 1, 1], [1, 1, 1]],
}
EVERY = pytest.mark.parametrize("name", HOLES)
TABLE = Table()


def uniform_model(images):
    return np.full((*np.shape(images), 2), -np.log(2))


def hole(name):
    return np.array(HOLES[name], bool)


@verifies("eq-pixel-factorisation", oracle="a joint table")
@pytest.mark.parametrize(("M", "N", "V"), [(3, 3, 2), (2, 2, 4), (1, 3, 3)])
def test_terms_make_the_joint(M, N, V):
    table = Table(M, N, V)
    images = raster.every(M, N, V)
    log_p = completion.log_pixels(table.conditionals, images).sum(axis=(1, 2))
    agree(np.exp(log_p), table.p.ravel(), 1e-12)


@verifies("eq-bits-per-dimension", oracle="a joint table")
def test_bits():
    images = raster.every(3, 3)[[5, 77, 300]]
    wanted = -np.log2(TABLE.p.ravel()[[5, 77, 300]]).sum() / 27
    agree(completion.bits(TABLE.conditionals, images), wanted, 1e-12)
    uniform = completion.bits(lambda x: np.full((*x.shape, 17), -np.log(17)), images)
    assert uniform == pytest.approx(np.log2(17))
    one = np.zeros((3, 3), bool)
    one[0, 0] = True
    first = TABLE.p.sum(axis=tuple(range(1, 9)))
    agree(completion.bits(TABLE.conditionals, images, one), -np.log2(first[images[:, 0, 0]]).mean(), 1e-12)
    some = np.random.default_rng(0).random((3, 3, 3)) < [[[0.2]], [[0.5]], [[0.8]]]
    terms = completion.log_pixels(TABLE.conditionals, images)
    agree(completion.bits(TABLE.conditionals, images, some), -terms[some].sum() / some.sum() / np.log(2), 1e-12)
    with pytest.raises(ValueError, match="counts"):
        completion.bits(TABLE.conditionals, images, ~np.ones((3, 3), bool))


@verifies("eq-suffix", oracle="a slice of a joint table")
def test_a_suffix_by_forward_sampling_is_exact():
    for start in range(9):
        unknown = (np.arange(9) >= start).reshape(3, 3)
        image = raster.every(3, 3)[457]
        ours = np.exp(completion.forward_distribution(TABLE.conditionals, image, unknown))
        agree(ours, TABLE.given(image, unknown), 1e-12)
        assert completion.is_suffix(unknown)


@EVERY
@verifies("eq-hole", oracle="a slice of a joint table")
def test_any_hole_by_enumeration(name):
    for number in (0, 457, 511):
        image = raster.every(3, 3)[number]
        ours = np.exp(completion.exact(TABLE.conditionals, image, hole(name)))
        agree(ours, TABLE.given(image, hole(name)), 1e-12)


@pytest.mark.parametrize("name", ["middle", "column", "scattered"])
def test_forward_sampling_is_wrong_in_other_holes(name):
    image = raster.every(3, 3)[457]
    ours = np.exp(completion.forward_distribution(TABLE.conditionals, image, hole(name)))
    assert 0.5 * np.abs(ours - TABLE.given(image, hole(name))).sum() > 0.02
    assert not completion.is_suffix(hole(name))


@EVERY
@verifies("eq-hole-weights", oracle="a slice of a joint table")
def test_weights_turn_forward_draws_into_right_ones(name):
    """The expectation over forward draws, taken exactly: each filling once, with its probability."""
    unknown, image = hole(name), raster.every(3, 3)[457]
    fillings = raster.fillings(int(unknown.sum()))
    q = np.exp(completion.forward_distribution(TABLE.conditionals, image, unknown))
    images = np.repeat(image[None], len(fillings), axis=0)
    images[:, unknown] = fillings
    later = np.logical_or.accumulate(unknown.ravel()).reshape(3, 3) & ~unknown
    w = np.exp(completion.log_pixels(TABLE.conditionals, images)[:, later].sum(axis=1))
    right = TABLE.given(image, unknown)
    agree(q * w / (q * w).sum(), right, 1e-12)
    found = draws(name, 200)[2]
    agree(np.exp(found.log_weights), w[codes(found.images, unknown)], 1e-12)
    f = np.random.default_rng(1).standard_normal(len(fillings))
    once = completion.Completions(images, np.log(q), np.log(q * w))  # each filling, as if drawn in proportion to q
    agree(completion.estimate(completion.shares(once), f)[0], right @ f, 1e-12)


@EVERY
@verifies("eq-forward-cost", oracle="conditional mutual information of a joint table")
def test_what_forward_sampling_costs(name):
    flat = hole(name).ravel()
    wanted = sum(
        TABLE.information(k, [m for m in range(k) if flat[m]], [m for m in range(k) if not flat[m]])
        for k in range(9)
        if not flat[k] and flat[:k].any()
    )
    ours = completion.forward_cost(TABLE.conditionals, hole(name))
    agree(1 + ours, 1 + wanted, 1e-12)
    assert (wanted > 1e-3) != completion.is_suffix(hole(name))


def test_what_forward_sampling_costs_with_four_levels_and_with_what_cannot_be():
    table = Table(2, 2, 4)
    for flat in ([1, 0, 0, 0], [0, 1, 0, 1], [1, 1, 0, 0]):
        wanted = sum(
            table.information(k, [m for m in range(k) if flat[m]], [m for m in range(k) if not flat[m]])
            for k in range(4)
            if not flat[k] and any(flat[:k])
        )
        unknown = np.array(flat, bool).reshape(2, 2)
        assert completion.forward_cost(table.conditionals, unknown) == pytest.approx(wanted, abs=1e-12)

    def copies(images):
        """Three pixels: a coin, always white, and a copy of the first."""
        p = np.full((*images.shape, 2), 0.5)
        p[:, 0, 1] = [1, 0]
        p[:, 0, 2] = np.eye(2)[images[:, 0, 0]]
        with np.errstate(divide="ignore"):
            return np.log(p)

    first, second = np.array([[True, False, False]]), np.array([[False, True, False]])
    assert completion.forward_cost(copies, first) == pytest.approx(np.log(2))  # the border is sure, and it costs
    assert completion.forward_cost(copies, second) == 0
    image = np.array([[0, 0, 1]])
    with pytest.raises(ValueError, match="probability zero"):
        completion.exact(copies, image, second)
    with pytest.raises(ValueError, match="probability zero"):
        completion.gibbs(copies, image[None], second, np.full((1, 1, 1), 0.5))
    first_value = completion.forward_sampling(copies, np.ones((1, 1, 3), int), ~second, np.zeros((2, 1))).images
    assert first_value.tolist() == [[[0, 1, 0]]]
    flipped = completion.forward_sampling(lambda x: copies(1 - x)[..., ::-1], image[None], second, np.zeros((1, 1)))
    assert flipped.images[0, 0, 1] == 1  # at u = 0, too, a value of probability zero is not drawn


def codes(images, unknown):
    bits = images[:, unknown]
    return bits @ 2 ** np.arange(bits.shape[1])[::-1]


def chi_square(observed, expected):
    """How far counts are from what was expected, in standard deviations of the statistic."""
    kept = expected > 5
    observed = np.append(observed[kept], observed[~kept].sum())
    expected = np.append(expected[kept], expected[~kept].sum())
    good = expected > 0
    freedom = good.sum() - 1
    return (((observed - expected)[good] ** 2 / expected[good]).sum() - freedom) / (2 * freedom) ** 0.5


def draws(name, count=20_000, seed=0):
    unknown, image = hole(name), raster.every(3, 3)[457]
    uniforms = np.random.default_rng(seed).random((int(unknown.sum()), count))
    return (
        image,
        unknown,
        completion.forward_sampling(TABLE.conditionals, np.repeat(image[None], count, axis=0), unknown, uniforms),
    )


@pytest.mark.parametrize("name", ["suffix", "everything"])
def test_draws_of_a_suffix_have_the_right_frequencies(name):
    image, unknown, found = draws(name)
    right = TABLE.given(image, unknown)
    counts = np.bincount(codes(found.images, unknown), minlength=len(right))
    assert abs(chi_square(counts, right * counts.sum())) < 4


def test_the_same_judge_refuses_forward_draws_in_a_middle_hole():
    image, unknown, found = draws("scattered")
    right = TABLE.given(image, unknown)
    counts = np.bincount(codes(found.images, unknown), minlength=len(right))
    assert chi_square(counts, right * counts.sum()) > 50


@EVERY
def test_known_pixels_stay_and_log_probabilities_are_those_of_the_draws(name):
    image, unknown, found = draws(name, 500)
    assert (found.images[:, ~unknown] == image[~unknown]).all()
    log_q = completion.forward_distribution(TABLE.conditionals, image, unknown)[codes(found.images, unknown)]
    np.testing.assert_allclose(found.log_proposals, log_q, atol=1e-12)


def test_what_stands_in_the_hole_does_not_matter():
    unknown, u = hole("scattered"), np.random.default_rng(0).random((4, 10))
    images = np.repeat(raster.every(3, 3)[457][None], 10, axis=0)
    other = images.copy()
    other[:, unknown] ^= 1
    kept = other.copy()
    first, second = (completion.forward_sampling(TABLE.conditionals, x, unknown, u) for x in (images, other))
    assert (first.images == second.images).all() and (other == kept).all()

    def sees_all(x):
        """No model of the kind: it reads ahead, and would read what stands in the hole."""
        return np.stack([np.zeros(x.shape), x.sum(axis=(1, 2), keepdims=True) + np.zeros(x.shape)], axis=3)

    first, second = (completion.forward_sampling(sees_all, x, unknown, u).images for x in (images, other))
    assert (first == second).all()


def test_an_empty_hole_is_a_suffix():
    assert completion.is_suffix(np.zeros((3, 3), bool))
    for bad in (np.zeros(9, bool), np.zeros((3, 3), int)):
        with pytest.raises(ValueError, match="unknown"):
            completion.is_suffix(bad)


def test_weighted_draws_and_their_error_bar():
    image, unknown, found = draws("scattered")
    right = TABLE.given(image, unknown) @ raster.fillings(int(unknown.sum()))
    shares = completion.shares(found)
    mean, error = completion.estimate(shares, found.images[:, unknown])
    assert (np.abs(mean - right) < 4 * error).all() and error.max() < 0.02
    naive = found.images[:, unknown].mean(axis=0)
    assert np.abs(naive - right).max() > 10 * error.max()
    assert 1 < completion.effective(shares) < len(shares)
    assert completion.effective(np.full(8, 1 / 8)) == pytest.approx(8)


def test_the_error_bar_by_hand():
    mean, error = completion.estimate(np.array([0.75, 0.25]), np.array([1.0, 5.0]))
    assert mean == 2 and error == pytest.approx((0.75**2 * 1 + 0.25**2 * 9) ** 0.5)


def test_the_error_bar_covers_as_often_as_it_says():
    inside = []
    for seed in range(200):
        image, unknown, found = draws("column", 300, seed)
        right = TABLE.given(image, unknown) @ raster.fillings(3)
        mean, error = completion.estimate(completion.shares(found), found.images[:, unknown])
        inside.append(np.abs(mean - right) < 2 * error)
    assert 0.9 < np.mean(inside) < 0.99


def test_gibbs_reaches_the_right_distribution():
    unknown, image, B = hole("scattered"), raster.every(3, 3)[457], 3000
    uniforms = np.random.default_rng(1).random((20, 4, B))
    found = completion.gibbs(TABLE.conditionals, np.repeat(image[None], B, axis=0), unknown, uniforms)
    assert found.shape == (20, B, 3, 3) and (found[:, :, ~unknown] == image[~unknown]).all()
    right = TABLE.given(image, unknown)
    counts = np.bincount(codes(found[-1], unknown), minlength=16)
    assert abs(chi_square(counts, right * B)) < 4


def test_gibbs_keeps_the_right_distribution_round_by_round():
    """One round from draws of the right distribution leaves it as it was, also with four levels."""
    table = Table(2, 2, 4)
    unknown = np.array([[False, True], [True, False]])
    image = np.array([[2, 0], [0, 3]])
    right = table.given(image, unknown)
    rng, B = np.random.default_rng(0), 20_000
    images = np.repeat(image[None], B, axis=0)
    images[:, unknown] = raster.fillings(2, 4)[rng.choice(16, B, p=right)]
    after = completion.gibbs(table.conditionals, images, unknown, rng.random((1, 2, B)))[0]
    counts = np.bincount(after[:, unknown] @ [4, 1], minlength=16)
    assert abs(chi_square(counts, right * B)) < 4 and (after != images).any()


@pytest.mark.parametrize(
    ("message", "call"),
    [
        ("images", lambda x, h, u: completion.forward_sampling(TABLE.conditionals, x[0], h, u)),
        ("images", lambda x, h, u: completion.log_pixels(TABLE.conditionals, x.astype(float))),
        ("unknown", lambda x, h, u: completion.forward_sampling(TABLE.conditionals, x, h.astype(int), u)),
        ("unknown", lambda x, h, u: completion.exact(TABLE.conditionals, x[0], h[:2])),
        ("uniforms", lambda x, h, u: completion.forward_sampling(TABLE.conditionals, x, h, u[:2])),
        ("uniforms", lambda x, h, u: completion.forward_sampling(TABLE.conditionals, x, h, u + 1)),
        ("uniforms", lambda x, h, u: completion.gibbs(TABLE.conditionals, x, h, u)),
        ("images", lambda x, h, u: completion.log_pixels(uniform_model, x - 1)),
        ("images", lambda x, h, u: completion.log_pixels(uniform_model, x + 1)),
        ("images", lambda x, h, u: pixel_counts.fit("left", x - 1, 2, 1.0)),
        ("images", lambda x, h, u: pixel_counts.fit("left", x, 1, 1.0)),
        ("images", lambda x, h, u: pixel_counts.fit("left", x > 0, 2, 1.0)),
        ("images", lambda x, h, u: pixel_counts.fit("left", x, 2, 1.0)(x[:, :2])),
        ("images", lambda x, h, u: pixel_counts.fit("left", x, 2, 1.0)(x + 1)),
        ("unknown", lambda x, h, u: completion.forward_cost(uniform_model, h.astype(int))),
        ("rows", lambda x, h, u: raster.every(0, 3)),
    ],
)
def test_refusals(message, call):
    images = np.repeat(raster.every(3, 3)[457][None], 5, axis=0)
    with pytest.raises(ValueError, match=message):
        call(images, hole("scattered"), np.full((4, 5), 0.5))


# --- The order of reading ---------------------------------------------------------------------


def test_there_and_back():
    images = np.random.default_rng(0).integers(0, 17, (5, 3, 4))
    sequence = raster.sequence(images)
    assert sequence.shape == (12, 5) and sequence[5, 2] == images[2, 1, 1]
    assert (raster.images(sequence, 3) == images).all()
    with pytest.raises(ValueError, match="rows"):
        raster.images(sequence, 5)


def test_neighbours():
    image = np.arange(6).reshape(1, 2, 3)
    assert raster.left(image, 9).tolist() == [[[9, 0, 1], [9, 3, 4]]]
    assert raster.above(image, 9).tolist() == [[[9, 9, 9], [0, 1, 2]]]
    assert image.tolist() == [[[0, 1, 2], [3, 4, 5]]]


def test_what_lies_before():
    past = raster.past(2, 3)
    assert past[0, 2].tolist() == [[True, True, False], [False] * 3]
    assert raster.quadrant(2, 3)[1, 1].tolist() == [[True, True, False], [True, False, False]]
    order = [(i, j) for i, j in np.ndindex(2, 3)]
    for a, b in np.ndindex(6, 6):
        assert past[(*order[a], *order[b])] == (b < a)


def test_antidiagonals_visit_every_pixel_once_and_after_its_neighbours():
    for M, N in [(3, 4), (4, 3), (1, 5), (5, 1)]:
        seen = {}
        for d, (i, j) in enumerate(raster.antidiagonals(M, N)):
            seen |= {pair: d for pair in zip(i.tolist(), j.tolist(), strict=True)}
        assert sorted(seen) == sorted(np.ndindex(M, N))
        assert all(d == sum(pair) for pair, d in seen.items())


def test_lists_of_images():
    assert raster.every(1, 2, 3).reshape(9, 2).tolist() == [[a, b] for a in range(3) for b in range(3)]
    assert raster.fillings(0).shape == (1, 0)
    with pytest.raises(ValueError, match="too many"):
        raster.every(5, 5)


# --- Counting models --------------------------------------------------------------------------


@pytest.mark.parametrize("kind", pixel_counts.KINDS)
def test_counts_are_distributions_and_depend_on_what_they_should(kind):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 3, (50, 3, 4))
    conditionals = pixel_counts.fit(kind, images, 3, 0.7)
    log_p = conditionals(images)
    np.testing.assert_allclose(np.exp(log_p).sum(axis=3), 1, atol=1e-12)
    seen = np.zeros((3, 4, 3, 4), bool)
    for k, l in np.ndindex(3, 4):
        changed = images.copy()
        changed[:, k, l] = (changed[:, k, l] + 1) % 3
        seen[:, :, k, l] = np.abs(conditionals(changed) - log_p).max(axis=(0, 3)) > 0
    i, j, k, l = np.indices((3, 4, 3, 4))
    left, above = (k == i) & (l == j - 1), (k == i - 1) & (l == j)
    wanted = {"left": left, "above": above, "left and above": left | above}.get(kind, np.zeros_like(left))
    assert (seen == wanted).all()


def test_counts_by_hand():
    images = np.array([[[0, 1]], [[0, 0]], [[1, 1]]])
    place = np.exp(pixel_counts.fit("place", images, 2, 1.0)(images[:1]))[0, 0]
    base = np.array([3 + 0.5, 3 + 0.5]) / 7
    np.testing.assert_allclose(place, [(np.array([2, 1]) + base) / 4, (np.array([1, 2]) + base) / 4])
    left = np.exp(pixel_counts.fit("left", images, 2, 1.0)(images[:1]))[0, 0, 1]  # the second pixel after a 0
    np.testing.assert_allclose(left, (np.array([1, 1]) + place[1]) / 3)
    corner = np.exp(pixel_counts.fit("left and above", images, 2, 1.0)(images[:1]))[0, 0, 1]  # nothing is above
    np.testing.assert_allclose(corner, (np.array([1, 1]) + left) / 3)
    with pytest.raises(ValueError, match="smoothing"):
        pixel_counts.fit("left", images, 2, 0)
