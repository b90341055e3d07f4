"""Peers that a GPU machine may have installed; without one, or where it cannot run, there is no contender.

Their names and calls are those of accelerated-scan 0.3.1 and dynamax 1.0.3.
"""

import importlib.util
import os
from collections.abc import Callable

import numpy as np

os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # or JAX takes the memory that torch races in


def accelerated_scan(a, b, fetched: Callable) -> dict[str, Callable]:
    """accelerated-scan's kernel, which wants (B, H, T), a power of two of steps up to 65,536, and a CUDA device.

    Args:
        a: factors, shape (T, B, H).
        b: what is added, likewise.
        fetched: wraps a result, so that copying it home is no part of the race.

    Returns:
        The contender by its name, or nothing.
    """
    if not a.is_cuda or not scannable(len(a)) or importlib.util.find_spec("accelerated_scan") is None:
        return {}
    try:  # it is compiled when it is imported, for which it needs CUDA's compiler and ninja
        from accelerated_scan.warp import scan
    except (ImportError, RuntimeError, OSError) as reason:
        print(f"accelerated-scan stays away: {reason}")
        return {}
    gates, tokens = (tensor.permute(1, 2, 0).contiguous() for tensor in (a, b))
    return {"accelerated-scan": lambda: [fetched(scan(gates, tokens).permute(2, 0, 1))]}


def scannable(T: int) -> bool:
    """Whether accelerated-scan takes so many steps."""
    return 32 <= T <= 65_536 and not T & (T - 1)


def dynamax_hmm(pi: np.ndarray, P: np.ndarray, shown: np.ndarray, x: np.ndarray) -> dict[str, Callable]:
    """dynamax's parallel smoother on JAX's default device, in float64.

    Args:
        pi: the start, shape (K,).
        P: transitions, shape (K, K).
        shown: emissions, shape (K, V).
        x: symbols, shape (T, 1).

    Returns:
        The contender by its name, or nothing. It returns log p(x) and the posterior.
    """
    if importlib.util.find_spec("dynamax") is None:
        return {}
    import jax

    jax.config.update("jax_enable_x64", True)
    from dynamax.hidden_markov_model import parallel_hmm_smoother

    def smoothed(*given):
        post = parallel_hmm_smoother(*given)
        return jax.numpy.asarray(post.marginal_loglik)[None], post.smoothed_probs[:, None]

    given = [jax.numpy.asarray(array) for array in (pi, P, np.log(shown[:, x[:, 0]].T))]
    return compiled(smoothed, *given)


def compiled(function: Callable, *given) -> dict[str, Callable]:
    """dynamax's contender, named after JAX's device: results stay there, so that copying is no part of the race."""
    import jax

    run = jax.jit(function)
    return {f"dynamax on {jax.devices()[0].device_kind}": lambda: jax.block_until_ready(run(*given))}


def dynamax_kalman(system, y: np.ndarray) -> dict[str, Callable]:
    """dynamax's parallel filter on JAX's default device, in float64. Its prior is of z_1, ours of z_0.

    Args:
        system: ``LDSParams`` without inputs.
        y: outputs, shape (T, 1, O).

    Returns:
        The contender by its name, or nothing. It returns the filtered means.
    """
    if importlib.util.find_spec("dynamax") is None:
        return {}
    import jax

    jax.config.update("jax_enable_x64", True)
    from dynamax.linear_gaussian_ssm import parallel_lgssm_filter
    from dynamax.linear_gaussian_ssm.inference import (
        ParamsLGSSM,
        ParamsLGSSMDynamics,
        ParamsLGSSMEmissions,
        ParamsLGSSMInitial,
    )

    A, Q = system.transition, system.state_noise
    mean, covariance = A @ system.initial_mean, A @ system.initial_covariance @ A.T + Q
    H, O = len(A), len(system.emission)
    none = [np.zeros(shape) for shape in ((H,), (H, 0), (O,), (O, 0))]
    given = ParamsLGSSM(
        ParamsLGSSMInitial(mean, covariance),
        ParamsLGSSMDynamics(A, none[0], none[1], Q),
        ParamsLGSSMEmissions(system.emission, none[2], none[3], system.output_noise),
    )
    given, series = jax.tree.map(jax.numpy.asarray, (given, y[:, 0]))
    return compiled(lambda *both: [parallel_lgssm_filter(*both).filtered_means[:, None]], given, series)
