"""The best factorised posterior of a linear system for what it is allowed to see, and what its bound misses.

Small by nature: the states of all T steps are one vector of T H entries, the outputs one of T O.
"""

from typing import NamedTuple

import torch

from rnncourse import doors
from rnncourse.gpu import kalman, lds_joint, state_space
from rnncourse.gpu.gaussians import check_covariance, log_determinant, symmetric
from rnncourse.latent_params import Diagonal
from rnncourse.lds_params import LDSParams

WINDOWS = ("all", "filter", "frame", "past")
_MOST = 4096  # unknown weights; their equations are one dense matrix


class Posterior(NamedTuple):
    """The exact posterior of all states, given all outputs, for any outputs.

    Attributes:
        precision: Lambda, shape (T H, T H).
        weights: W*, what takes outputs to posterior means, shape (T H, T O).
        state_mean: of the states before anything is seen, shape (T H,).
        output_mean: of the outputs, shape (T O,).
        output_covariance: S, of the outputs, shape (T O, T O).
    """

    precision: torch.Tensor
    weights: torch.Tensor
    state_mean: torch.Tensor
    output_mean: torch.Tensor
    output_covariance: torch.Tensor


class Family(NamedTuple):
    """A factorised posterior whose means are linear in the outputs. It fits every sequence of T steps.

    Attributes:
        weights: W, from outputs less their mean to means less theirs, shape (T H, T O).
        variances: s, the same for all outputs, shape (T, H).
        factors: nats that it costs to be factorised, at these variances, if the means were exact.
        window: nats that the means add, on average over the outputs.
    """

    weights: torch.Tensor
    variances: torch.Tensor
    factors: float
    window: float

    @property
    def gap(self) -> float:
        """The mean of log p(x) less the bound, in nats."""
        return self.factors + self.window


def posterior(params: LDSParams, steps: int) -> Posterior:
    """Condition the dense joint of a system, :eq:`eq-ssm-posterior`.

    Args:
        params: the system.
        steps: T.

    Returns:
        The exact posterior.

    Raises:
        ValueError: if a shape does not fit, or a noise is singular.
    """
    H, _ = state_space.checked(params)
    mean, S = lds_joint.dense(params, steps)
    z, x = slice(H, (steps + 1) * H), slice((steps + 1) * H, None)
    weights = torch.linalg.solve(S[x, x], S[x, z]).T
    precision = symmetric(torch.linalg.inv(S[z, z] - weights @ S[x, z]))
    return Posterior(precision, weights, mean[z], mean[x], S[x, x])


def visible(window: str, steps: int) -> torch.Tensor:
    """Which outputs the posterior of each state may see.

    Args:
        window: "all"; "filter", x_1..x_t; "frame", x_t alone; "past", x_1..x_{t-1}.
        steps: T.

    Returns:
        Booleans, shape (T, T): row t the state, column the output.

    Raises:
        ValueError: if there is no such window, or no step.
    """
    doors.one_of("window", window, WINDOWS)
    doors.at_least("steps", steps, 1)
    whole = torch.ones(steps, steps, dtype=torch.bool)
    made = {"all": whole, "filter": whole.tril(), "frame": torch.eye(steps, dtype=torch.bool), "past": whole.tril(-1)}
    return made[window]


def best(exact: Posterior, seen, output_covariance=None) -> Family:
    """The best of all factorised posteriors that see no more than they may, :eq:`eq-best-window`.

    Args:
        exact: from :func:`posterior`.
        seen: booleans, shape (T, T), from :func:`visible` or your own.
        output_covariance: of the outputs that there are, shape (T O, T O); the model's own unless given.

    Returns:
        The family's optimum and its price.

    Raises:
        ValueError: if a shape does not fit, or there are more than 4096 weights to find.
    """
    T, H, O, S = _sizes(exact, seen, output_covariance)
    mask = torch.kron(torch.as_tensor(seen).to(S), torch.ones(H, O).to(S))
    i, j = torch.nonzero(mask, as_tuple=True)  # which weights there are
    if len(i) > _MOST:
        raise ValueError(f"seen: expected at most {_MOST} weights to find, got {len(i)}")
    wanted = (exact.precision @ exact.weights @ S)[i, j]
    found = torch.linalg.solve(exact.precision[i][:, i] * S[j][:, j], wanted)
    weights = torch.zeros_like(exact.weights).index_put((i, j), found)
    return priced(exact, weights, 1 / torch.diagonal(exact.precision).reshape(T, H), S)


def priced(exact: Posterior, weights, variances, output_covariance=None) -> Family:
    """What a factorised posterior costs, best or not, :eq:`eq-ssm-price`.

    Args:
        exact: from :func:`posterior`.
        weights: W, shape (T H, T O).
        variances: s, shape (T, H).
        output_covariance: of the outputs that there are, shape (T O, T O); the model's own unless given.

    Returns:
        The family with its price.

    Raises:
        ValueError: if a shape does not fit.
    """
    S = exact.output_covariance if output_covariance is None else output_covariance
    doors.shape("weights", weights, exact.weights.shape)
    doors.shape("variances", variances, ("T", "H"))
    doors.shape("variances", variances.reshape(-1), (len(weights),))
    s, off = variances.reshape(-1), weights - exact.weights
    factors = torch.diagonal(exact.precision) @ s - len(s) - torch.log(s).sum() - log_determinant(exact.precision)
    window = (exact.precision * (off @ S @ off.T)).sum()
    return Family(weights, variances, 0.5 * factors, 0.5 * window)


def marginals(params: LDSParams, steps: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The Kalman filter as one matrix: its means are linear in the outputs, its variances do not see them.

    Args:
        params: the system.
        steps: T.

    Returns:
        ``(weights, variances)``: shapes (T H, T O) and (T, H), the diagonals of the filter's covariances.

    Raises:
        ValueError: if a shape does not fit, or a noise is singular.
    """
    H, O = state_space.checked(params)
    centred = params._replace(initial_mean=torch.zeros_like(params.initial_mean))
    kicks = torch.eye(steps * O).to(params.transition).reshape(steps * O, steps, O)
    found, _ = kalman.forward(centred, torch.transpose(kicks, 0, 1))
    weights = torch.transpose(found.means, 1, 2).reshape(steps * H, steps * O)
    return weights, torch.diagonal(found.covariances[:, 0], dim1=-2, dim2=-1).clone()


def apply(family: Family, exact: Posterior, outputs) -> Diagonal:
    """The posterior of given outputs.

    Args:
        family: which.
        exact: from :func:`posterior`, for the means before anything is seen.
        outputs: x, shape (T, B, O).

    Returns:
        Mean and log variance of every state, each of shape (T, B, H).

    Raises:
        ValueError: if a shape does not fit.
    """
    T, H = family.variances.shape
    doors.sequences("outputs", outputs, len(exact.output_mean) // T)
    doors.shape("outputs", outputs, (T, *outputs.shape[1:]))
    B = outputs.shape[1]
    rows = torch.transpose(outputs, 0, 1).reshape(B, -1) - exact.output_mean
    means = (exact.state_mean + rows @ family.weights.T).reshape(B, T, H)
    return Diagonal(torch.transpose(means, 0, 1), torch.log(family.variances)[:, None].expand(T, B, H))


def _sizes(exact: Posterior, seen, S) -> tuple:
    T = len(seen)
    doors.shape("seen", torch.as_tensor(seen), (T, T))
    S = exact.output_covariance if S is None else S
    doors.shape("output_covariance", S, exact.output_covariance.shape)
    check_covariance("output_covariance", S)
    if len(exact.precision) % T or len(S) % T:
        raise ValueError(f"seen: expected a row for each step, got {T} for {len(exact.precision)} states")
    return T, len(exact.precision) // T, len(S) // T, S
