"""Gestures: a hand that draws a lying eight in the air, each time at its own pace, seen through noise.

The curve is the same in all sequences; pace, size and starting point are not, and must be found out while
watching. The hand moves faster through one loop than through the other. Synthetic: no person was recorded.
"""

import numpy as np

from rnncourse import doors

CHANNELS = ("across", "up", "away")


def gestures(
    rng: np.random.Generator, size: int, steps: int, noise: float = 0.05, pace: tuple[float, float] = (0.15, 0.45)
) -> np.ndarray:
    """Draw gestures.

    Args:
        rng: the source of randomness.
        size: B, how many.
        steps: T.
        noise: standard deviation of what the sensor adds to each channel.
        pace: the slowest and the fastest, in radians a step.

    Returns:
        Positions, shape (T, B, 3), channels as in ``CHANNELS``.

    Raises:
        ValueError: if a number is too small, the noise negative, or the paces are not in order.
    """
    doors.at_least("size", size, 1)
    doors.at_least("steps", steps, 1)
    if not noise >= 0:
        raise ValueError(f"noise: expected 0 or more, got {noise!r}")
    if not 0 < pace[0] <= pace[1]:
        raise ValueError(f"pace: expected two positive numbers in order, got {pace!r}")
    speed, reach = rng.uniform(*pace, size), rng.uniform(0.8, 1.2, size)
    turn = rng.uniform(0, 2 * np.pi, size) + np.arange(steps)[:, None] * speed
    phase = turn + 0.4 * np.sin(turn)  # faster through one loop than through the other
    clean = np.stack([np.sin(phase), 0.7 * np.sin(2 * phase), 0.5 * np.cos(phase)], axis=2) * reach[:, None]
    return clean + noise * rng.standard_normal(clean.shape)
