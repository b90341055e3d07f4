"""Between the library and models of filterpy, which need not be installed: their attributes are all that counts."""

from typing import Any

import numpy as np

from rnncourse import doors
from rnncourse.lds_params import COVARIANCES, LDSParams, check

LETTERS = {"transition": "F", "input_weights": "B", "emission": "H", "state_noise": "Q", "output_noise": "R"}


def lds_from_filterpy(model: Any) -> LDSParams:
    """Read a linear system from a Kalman filter that has not run yet.

    Its x and P are taken for z_0, before the first ``predict``; what it calls H is our C, its F our A.

    Args:
        model: anything with the attributes x, P, F, H, Q, R and B of ``filterpy.kalman.KalmanFilter``;
            x of shape (H,) or (H, 1), B missing, None or 0 where there are no inputs.

    Returns:
        The system, NumPy arrays, float64.

    Raises:
        ValueError: if an attribute is missing, or a shape does not fit.
    """
    missing = [name for name in ("x", "P", "F", "H", "Q", "R") if not hasattr(model, name)]
    if missing:
        raise ValueError(f"model: expected the attributes of a Kalman filter, {', '.join(missing)} missing")
    read = {field: np.array(getattr(model, LETTERS[field]), dtype=float) for field in LETTERS if LETTERS[field] != "B"}
    mean = np.array(model.x, dtype=float).reshape(-1)
    W = getattr(model, "B", None)
    W = np.zeros((len(mean), 0)) if W is None or np.ndim(W) == 0 else np.array(W, dtype=float)
    params = LDSParams(**read, input_weights=W, initial_mean=mean, initial_covariance=np.array(model.P, dtype=float))
    check(params, 1, 1)
    return params


def lds_to_filterpy(params: LDSParams, model: Any) -> Any:
    """Write a linear system into a Kalman filter, ready for its first ``predict``.

    Args:
        params: the system, arrays; no matrix may change with time.
        model: of the right sizes, for example ``filterpy.kalman.KalmanFilter(dim_x=H, dim_z=O)``. If it
            already has an x, its shape is kept: (H,) or (H, 1).

    Returns:
        The model.

    Raises:
        ValueError: if a matrix changes with time, or a covariance is not symmetric.
    """
    check(params, 1, 1)
    for field, letter in LETTERS.items():
        matrix = np.array(getattr(params, field), dtype=float)
        doors.shape(field, matrix, matrix.shape[-2:])
        setattr(model, letter, matrix)
    for field in COVARIANCES:
        if not np.allclose(getattr(params, field), np.asarray(getattr(params, field)).T):
            raise ValueError(f"{field}: expected a symmetric matrix")
    if not params.input_weights.shape[1]:
        model.B = None
    column = np.ndim(getattr(model, "x", np.zeros((1, 1)))) == 2
    mean = np.array(params.initial_mean, dtype=float)
    model.x, model.P = mean[:, None] if column else mean, np.array(params.initial_covariance, dtype=float)
    return model
