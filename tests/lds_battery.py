"""What the tests of linear systems share: both floors behind one call, and the cases that each must pass."""

import importlib

import lds_oracles as oracles
import numpy as np
import pytest
import torch

FLOORS = ("reference", "gpu")
both_floors = pytest.mark.parametrize("floor", FLOORS)


def on(floor, name):
    """A function of one floor, ``module.function``, that takes and returns NumPy arrays."""
    module, function = name.split(".")
    function = getattr(importlib.import_module(f"rnncourse.{floor}.{module}"), function)
    if floor == "reference":
        return function

    def call(*arguments, **options):
        options = {name: _there(value) if name != "lengths" else value for name, value in options.items()}
        return _back(function(*map(_there, arguments), **options))

    return call


def _each(tree, function):
    if isinstance(tree, tuple):
        parts = [_each(part, function) for part in tree]
        return type(tree)(*parts) if hasattr(tree, "_fields") else tuple(parts)
    return function(tree)


def _there(tree):
    # a copy in C order would lose the zero strides of what is shared
    return _each(tree, lambda part: torch.from_numpy(np.asarray(part)) if isinstance(part, np.ndarray) else part)


def _back(tree):
    return _each(tree, lambda part: part.detach().numpy() if isinstance(part, torch.Tensor) else part)


def _plain(**options):
    return oracles.problem(**options), {}


def _missing(seed=2, **options):
    p = oracles.problem(seed, **options)
    return p, {"observed": p.rng.random(p.y.shape) < 0.6}


def _whole_steps(seed=12):
    p = oracles.problem(seed)
    return p, {"observed": np.tile(p.rng.random((p.T, 1)) < 0.5, (1, p.B))}


def _ragged(seed=3):
    return oracles.problem(seed), {"lengths": np.array([6, 3, 1])}


def _ragged_and_missing(seed=4):
    p = oracles.problem(seed)
    return p, {"observed": p.rng.random(p.y.shape) < 0.6, "lengths": np.array([6, 0, 2])}


def _varying(seed=5):
    return oracles.varying(oracles.problem(seed)), {}


def _by_sequence(seed=6):
    """A system for each step of each sequence, as a linearised network has."""
    p = oracles.problem(seed)
    parts = [np.repeat(part[None, None], p.B, axis=1) for part in p.params[:5]]
    parts = [part * (1 + 0.2 * p.rng.standard_normal((p.T, p.B, 1, 1)) ** 2) for part in parts]
    p.params = type(p.params)(*parts, *p.params[5:])
    return p, {}


def _singular(seed=8):
    """Noise of the state in two directions of three, a start that is known, one output without noise."""
    p = oracles.problem(seed)
    push = np.array([[1.0, 2.0, 3.0], [1.0, -1.0, 0.5]])
    R = np.diag([0.0, 1.0])
    p.params = p.params._replace(state_noise=push.T @ push, initial_covariance=np.zeros((3, 3)), output_noise=R)
    return p, {}


def _no_noise_in_the_state(seed=9):
    p = oracles.problem(seed)
    p.params = p.params._replace(state_noise=np.zeros((3, 3)), initial_covariance=np.zeros((3, 3)))
    return p, {}


CASES = {
    "plain": _plain,
    "one step": lambda: _plain(seed=1, H=1, O=1, D=1, T=1, B=1),
    "wide outputs, no inputs": lambda: _plain(seed=7, H=2, O=4, D=0),
    "missing entries": _missing,
    "missing steps": _whole_steps,
    "ragged": _ragged,
    "ragged, missing": _ragged_and_missing,
    "varying": _varying,
    "by sequence": _by_sequence,
    "singular noise": _singular,
    "no noise in the state": _no_noise_in_the_state,
    "unstable": lambda: _plain(seed=10, radius=1.5, T=12),
    "large mean": lambda: _plain(seed=11, offset=1e6),
}
cases = pytest.mark.parametrize("case", CASES)


def draw(case):
    """A problem and its options; what was not seen holds NaN."""
    p, options = CASES[case]()
    observed = np.asarray(options.get("observed", True))
    seen = np.broadcast_to(observed[..., None] if observed.ndim == 2 else observed, p.y.shape).copy()
    p.lengths = options.get("lengths", np.full(p.B, p.T))
    p.seen = seen & (np.arange(p.T)[:, None] < p.lengths)[:, :, None]
    if case == "large mean":  # outputs of the size that such a mean makes
        p.y += (p.params.emission @ p.params.initial_mean) * (np.arange(1, p.T + 1) == 1)[:, None, None]
    p.truth = p.y
    p.y = np.where(p.seen, p.y, np.nan)
    p.x = np.where(np.arange(p.T)[:, None, None] < p.lengths[:, None], p.x, np.nan)
    return p, options


def alone(p, b):
    """One sequence of a problem without its padding: parameters, inputs, outputs, and what was seen."""
    n = p.lengths[b]
    cut = [part[:n, b] if part.ndim == 4 else part[:n] if part.ndim == 3 else part for part in p.params[:5]]
    return type(p.params)(*cut, *p.params[5:]), p.x[:n, b], p.truth[:n, b], p.seen[:n, b]


def group(stack, b):
    """The matrices of one sequence."""
    return stack[:, b if stack.shape[1] > 1 else 0]
