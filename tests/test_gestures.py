"""Gestures lie on one curve, each drawn at its own pace."""

import numpy as np
import pytest

from rnncourse.data import gestures


def test_they_lie_on_the_curve():
    hands = gestures.gestures(np.random.default_rng(0), 20, 60, noise=0.0)
    assert hands.shape == (60, 20, 3)
    across, up, away = np.moveaxis(hands, 2, 0)
    reach = np.sqrt(across**2 + (away / 0.5) ** 2)
    assert np.allclose(reach, reach[0]) and reach.min() >= 0.8 and reach.max() <= 1.2
    assert np.allclose(up * reach, 0.7 * 2 * across * away / 0.5)  # sin 2 a = 2 sin a cos a
    turns = np.unwrap(np.arctan2(across, away / 0.5), axis=0)
    pace = np.diff(turns, axis=0)
    assert (pace > 0).all()
    assert (pace.max(axis=0) / pace.min(axis=0) > 1.5).all(), "one loop is faster"
    assert np.ptp(pace.mean(axis=0)) > 0.1, "each has its own pace"
    assert np.ptp(turns[0] % (2 * np.pi)) > 4, "they begin in different places"
    for b in range(20):  # the pace follows the cosine of the turn: one fast loop and one slow one
        turned = turns[:-1, b] + pace[:, b] / 2
        causes = np.stack([np.ones(59), *[f(k * turned) for k in (1, 2) for f in (np.cos, np.sin)]], axis=1)
        _, first, _, second, _ = np.linalg.lstsq(causes, pace[:, b], rcond=None)[0]
        assert first > 2 * abs(second)


def test_noise_and_bad_input():
    clean, seen = (gestures.gestures(np.random.default_rng(0), 50, 80, noise=n) for n in (0.0, 0.2))
    assert abs((seen - clean).std() - 0.2) < 0.01
    between = np.corrcoef((seen - clean).reshape(-1, 3).T)
    assert np.abs(between - np.eye(3)).max() < 0.1, "each channel has a noise of its own"
    rng = np.random.default_rng(0)
    for name, arguments in {
        "size": (0, 5),
        "steps": (5, 0),
        "noise": (5, 5, -1.0),
        "pace": (5, 5, 0.1, (2, 1)),
    }.items():
        with pytest.raises(ValueError, match=rf"^{name}: "):
            gestures.gestures(rng, *arguments)
