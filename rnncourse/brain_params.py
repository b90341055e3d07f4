"""What models of the brain need on both floors: time constants, baselines, signs, neurons, fixed feedback."""

import math
from typing import Any, NamedTuple

import numpy as np

from rnncourse import doors
from rnncourse.params import Array, RNNParams, named_arrays

SCHEMES = ("euler", "exact")


class Neuron(NamedTuple):
    """A leaky integrate-and-fire neuron, its voltage measured from rest.

    Attributes:
        time_constant: tau_m, in units of time, say milliseconds.
        refractory: t_ref, how long it stays silent after a spike, in the same units.
        threshold: the voltage at which it spikes.
        reset: the voltage from which it starts again, below the threshold.
    """

    time_constant: float = 20.0
    refractory: float = 2.0
    threshold: float = 1.0
    reset: float = 0.0


class Feedback(NamedTuple):
    """Fixed matrices that carry errors back, in the shapes of the weights whose place they take.

    Attributes:
        recurrent_weights: B_h, shape (H, H), in the place of W_h.
        readout_weights: B_y, shape (O, H), in the place of W_y.
    """

    recurrent_weights: Array
    readout_weights: Array


def check_neuron(neuron: Neuron) -> None:
    """Check the constants of a neuron.

    Args:
        neuron: its constants.

    Raises:
        ValueError: if the time constant is not positive, the refractory period negative, or the
            reset not below the threshold.
    """
    tau, pause, threshold, reset = neuron
    if not 0 < tau < math.inf:
        raise ValueError(f"neuron: expected a positive time constant, got {tau!r}")
    if not 0 <= pause < math.inf:
        raise ValueError(f"neuron: expected a refractory period of 0 or more, got {pause!r}")
    if not -math.inf < reset < threshold < math.inf:
        raise ValueError(f"neuron: expected a reset below the threshold, got {reset!r} and {threshold!r}")


def leak(step: float, time_constant: float, scheme: str = "euler") -> float:
    """The share alpha of a state that one step replaces, :eq:`def-leak` and :eq:`eq-exact-leak`.

    Args:
        step: Delta t, the length of a step.
        time_constant: tau_m, in the same units.
        scheme: "euler", Delta t / tau_m; or "exact", 1 - exp(-Delta t / tau_m), which is right for a
            drive that stands still during the step.

    Returns:
        alpha, above 0, at most 1.

    Raises:
        ValueError: if a number is not positive, there is no such scheme, or an Euler step is longer
            than the time constant.
    """
    doors.one_of("scheme", scheme, SCHEMES)
    for name, value in (("step", step), ("time_constant", time_constant)):
        if not 0 < value < math.inf:
            raise ValueError(f"{name}: expected a positive number, got {value!r}")
    if scheme == "exact":
        return -math.expm1(-step / time_constant)
    if step > time_constant:
        raise ValueError(f"step: expected at most the time constant {time_constant!r}, got {step!r}")
    return step / time_constant


def in_rates(params: RNNParams, baseline: Any, swing: float = 1.0) -> RNNParams:
    """The same network with rates in the place of offsets, :eq:`eq-baseline-current`.

    If h runs with the parameters given, rho = baseline + swing h runs with these, in the cell
    ``rates.leaky(alpha, activation, baseline, swing)``: the constant current of the baselines is
    taken out of the bias.

    Args:
        params: W_x, W_h and b_h of a network of offsets.
        baseline: rho_0, a number or shape (H,).
        swing: rho_1, the rate that an offset of 1 stands for; not 0.

    Returns:
        W_x, W_h / rho_1 and b_h - W_h rho_0 / rho_1.

    Raises:
        ValueError: if the swing is 0.
    """
    if not swing:
        raise ValueError("swing: expected a rate other than 0: an offset of 1 must stand for something")
    W_x, W_h, b = params
    W = W_h / swing
    return RNNParams(W_x, W, b - W @ (baseline + 0 * b))


def signs(hidden: int, excitatory: float = 0.8) -> np.ndarray:
    """The sign of each neuron: the first ones excite, the rest inhibit.

    Args:
        hidden: H, the number of neurons.
        excitatory: the share that excites, rounded to whole neurons.

    Returns:
        +1 and -1, shape (H,), float64.

    Raises:
        ValueError: if the size is no whole number or less than 1, or the share not in 0..1.
    """
    doors.at_least("hidden", hidden, 1)
    if not 0 <= excitatory <= 1:
        raise ValueError(f"excitatory: expected a share in 0..1, got {excitatory!r}")
    return np.where(np.arange(hidden) < round(excitatory * hidden), 1.0, -1.0)


def init_magnitudes(rng: np.random.Generator, signs: np.ndarray, radius: float = 0.9) -> np.ndarray:
    """Sizes of recurrent weights to start from: excitation and inhibition cancel on average in every row.

    Args:
        rng: the source of randomness.
        signs: of the presynaptic neurons, shape (H,); with both signs among them, the rarer one is made stronger.
        radius: the spectral radius of the signed matrix.

    Returns:
        Positive sizes, shape (H, H).

    Raises:
        ValueError: if the signs are not +1 and -1, or the radius is not positive.
    """
    check_signs(signs)
    if not radius > 0:
        raise ValueError(f"radius: expected a positive number, got {radius!r}")
    H = len(signs)
    sizes = rng.gamma(2.0, 1.0, (H, H)) + 1e-3
    share = np.array([(signs == sign).mean() for sign in signs])
    sizes = sizes / share if share.min() < 1 else sizes
    return sizes * (radius / abs(np.linalg.eigvals(sizes * signs)).max())


def check_signs(signs: Any) -> None:
    """Check the signs of neurons.

    Args:
        signs: what was given.

    Raises:
        ValueError: if they are not +1 and -1, of shape (H,).
    """
    doors.shape("signs", signs, ("H",))
    if not bool((abs(signs) == 1).all()):
        raise ValueError("signs: expected +1 and -1 alone")


def init_feedback(rng: np.random.Generator, hidden: int, outputs: int) -> Feedback:
    """Draw fixed feedback: B_h of spectral norm near 1, B_y with the scale of a fresh readout.

    Args:
        rng: the source of randomness.
        hidden: H, the number of hidden units.
        outputs: O, the number of outputs.

    Returns:
        Normal entries of standard deviation 1/(2 sqrt(H)) and 1/sqrt(H).

    Raises:
        ValueError: if a size is no whole number, or less than 1.
    """
    doors.at_least("hidden", hidden, 1)
    doors.at_least("outputs", outputs, 1)
    scale = hidden**-0.5
    return Feedback(0.5 * scale * rng.standard_normal((hidden, hidden)), scale * rng.standard_normal((outputs, hidden)))


def cosine(ours: Any, other: Any) -> float:
    """The cosine of the angle between two gradients, each read as one long vector.

    Args:
        ours: nested NamedTuples of arrays or tensors, or one array.
        other: of the same form.

    Returns:
        1 where they point the same way, 0 where they stand at right angles, -1 where they are opposed.

    Raises:
        ValueError: if one of them is zero.
    """
    pairs = list(zip(named_arrays(ours), named_arrays(other), strict=True))
    inner = sum(float((a * b).sum()) for (_, a), (_, b) in pairs)
    squares = [math.fsum(float((pair[k][1] * pair[k][1]).sum()) for pair in pairs) for k in (0, 1)]
    if not all(squares):
        raise ValueError("ours, other: a gradient of zero has no direction")
    return inner / math.sqrt(squares[0] * squares[1])
