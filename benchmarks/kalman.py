"""The Kalman filter, of one long series and of a batch, against a textbook's loop and, where installed, its peers.

filterpy and statsmodels are not among the pinned packages: install them beside, and they join the race.
All compute the filter's means and the log-likelihood or less; ours, both, with every covariance.
"""

from collections.abc import Callable, Iterator

import numpy as np

from benchmarks.race import Case
from rnncourse import bridge_kalman
from rnncourse.data import linear_systems
from rnncourse.lds_params import LDSParams, init_lds
from rnncourse.reference import kalman, square_root, steady

STEPS, BATCH = 10_000, 64
WIDTHS = (4, 32)


def cases(steps: int = STEPS, batch: int = BATCH, widths=WIDTHS) -> Iterator[Case]:
    """One long series for every width, with the system constant and with it spelt out step by step; then a batch.

    Args:
        steps: T, the length of the series; the sequences of the batch have a tenth of it.
        batch: B, how many sequences the batch has.
        widths: values of H; there are half as many outputs, at most eight.

    Yields:
        Cases for :func:`benchmarks.race.run`.
    """
    for H in widths:
        params, y = problem(steps, 1, H)
        spelt = params._replace(transition=np.tile(params.transition, (steps, 1, 1)))
        peers = {"textbook NumPy": textbook(params, y), **filterpy(params, y)}
        truth = [square_root.forward(spelt, y).means]
        facts = {"T": steps, "B": 1, "H": H}
        yield Case({**facts, "system": "constant"}, {"rnncourse steady": settled(params, y), **peers}, truth)
        yield Case({**facts, "system": "constant, kalman"}, {"rnncourse": general(params, y), **peers}, truth)
        yield Case({**facts, "system": "varying"}, {"rnncourse": general(spelt, y), **peers}, truth)
    params, y = problem(max(steps // 10, 2), batch, widths[0])
    contenders = {"rnncourse steady": settled(params, y), "rnncourse": general(params, y), **statsmodels(params, y)}
    yield Case({"T": len(y), "B": batch, "H": widths[0]}, contenders, [square_root.forward(params, y).means])


def problem(steps: int, batch: int, width: int) -> tuple[LDSParams, np.ndarray]:
    """A system and outputs drawn from it."""
    rng = np.random.default_rng(0)
    params = init_lds(rng, width, min(max(width // 2, 1), 8), radius=0.95)
    return params, linear_systems.sample(rng, params, steps, batch).observations


def general(params: LDSParams, y: np.ndarray) -> Callable:
    return lambda: [kalman.forward(params, y)[0].means]


def settled(params: LDSParams, y: np.ndarray) -> Callable:
    return lambda: [steady.forward(params, y).means]


def textbook(params: LDSParams, y: np.ndarray) -> Callable:
    """The equations as they stand, one step after the other."""
    A, _, C, Q, R, first, P_0 = params

    def work():
        m, V, found = first, P_0, np.empty((len(y), 1, len(A)))
        for t, row in enumerate(y[:, 0]):
            p, P = A @ m, A @ V @ A.T + Q
            K = P @ C.T @ np.linalg.inv(C @ P @ C.T + R)
            found[t, 0] = m = p + K @ (row - C @ p)
            V = P - K @ C @ P
        return [found]

    return work


def filterpy(params: LDSParams, y: np.ndarray) -> dict[str, Callable]:
    """The peer for one series, if it is there."""
    try:
        from filterpy.kalman import KalmanFilter
    except ImportError:
        return {}

    def work():
        model = bridge_kalman.lds_to_filterpy(params, KalmanFilter(len(params.transition), y.shape[2]))
        found = np.empty((len(y), 1, len(params.transition)))
        for t, row in enumerate(y[:, 0]):
            model.predict()
            model.update(row[:, None])
            found[t, 0] = model.x[:, 0]
        return [found]

    return {"filterpy": work}


def statsmodels(params: LDSParams, y: np.ndarray) -> dict[str, Callable]:
    """The peer for a batch, one sequence after the other, if it is there."""
    try:
        from statsmodels.tsa.statespace.kalman_filter import KalmanFilter
    except ImportError:
        return {}
    A, _, C, Q, R, m, P = params

    def one(series):
        model = KalmanFilter(k_endog=series.shape[1], k_states=len(A))
        model.bind(np.ascontiguousarray(series))
        for name, matrix in (("design", C), ("transition", A), ("selection", np.eye(len(A))), ("state_cov", Q)):
            model[name] = matrix
        model["obs_cov"] = R
        model.initialize_known(A @ m, A @ P @ A.T + Q)
        return model.filter().filtered_state.T

    return {"statsmodels": lambda: [np.stack([one(y[:, b]) for b in range(y.shape[1])], axis=1)]}
