"""What a linear system will show several steps from now: the Kalman filter's first half, again and again."""

from typing import NamedTuple

import torch

from rnncourse import doors
from rnncourse.gpu.gaussians import check_covariance
from rnncourse.gpu.kalman import predict
from rnncourse.lds_params import LDSParams


class Ahead(NamedTuple):
    """The outputs to come, each Gaussian.

    Attributes:
        means: of y_{t+1}, ..., y_{t+h}, shape (h, B, O).
        covariances: the same, shape (h, G, O, O): G is 1 where all sequences share them, else B.
    """

    means: torch.Tensor
    covariances: torch.Tensor


def forward(params: LDSParams, mean, covariance, steps: int) -> Ahead:
    """Forecast from what a filter knows, :eq:`eq-kalman-ahead`. The system has no inputs and does not change.

    Args:
        params: the system, D = 0.
        mean: m_t, of the state now, shape (B, H).
        covariance: V_t, shape (G, H, H) with G = 1 or B.
        steps: h, how far.

    Returns:
        Means and covariances.

    Raises:
        ValueError: if a shape does not fit, an entry is not finite, a matrix changes with time, there are
            inputs, or there is no step.
    """
    doors.at_least("steps", steps, 1)
    A, W_x, C, Q, R, m_0, _ = params
    H = len(m_0)
    for name, matrix, shape in (("transition", A, (H, H)), ("input_weights", W_x, (H, 0)), ("emission", C, ("O", H))):
        doors.shape(name, matrix, shape)
    doors.shape("mean", mean, ("B", H))
    doors.shape("covariance", covariance, (1 if len(covariance) == 1 else len(mean), H, H))
    doors.finite("mean", mean)
    check_covariance("covariance", covariance)
    means, covariances = [], []
    for _ in range(steps):
        mean, covariance = predict(mean, covariance, A, Q)
        means.append(mean @ C.T)
        covariances.append(C @ covariance @ C.mT + R)
    return Ahead(torch.stack(means), torch.stack(covariances))
