"""The extended Kalman filter, of one sequence and of batches, and the resampling of a large crowd of particles.

The peers are loops as a textbook has them and, where installed, filterpy, which is not among the pinned
packages: install it beside, and it joins the race. It knows one sequence, so it takes a batch one by one.
Ours also returns the log-likelihood, and what a smoother needs; filterpy keeps neither.
"""

from collections.abc import Callable, Iterator

import numpy as np
import torch

from benchmarks.race import Case
from rnncourse import bridge, gpu
from rnncourse.data import stochastic_rnn
from rnncourse.lds_params import LDSParams
from rnncourse.reference import ekf, particles

STEPS, BATCH, WIDTHS = 1000, 64, (4,)
FUNCTIONS = ("tanh", "tanh")
CROWD = 100  # particles for each step of the sequences: a hundred thousand


def cases(steps: int = STEPS, batch: int = BATCH, widths=WIDTHS) -> Iterator[Case]:
    """One sequence, a quarter of the batch, and the batch, for every width; then a crowd for every scheme.

    Args:
        steps: T, the length of the sequences; the crowd has a hundred times as many particles.
        batch: B, how many sequences the largest batch has.
        widths: values of H; there are half as many outputs.

    Yields:
        Cases for :func:`benchmarks.race.run`.
    """
    for H in widths:
        for B in sorted({1, max(batch // 4, 1), batch}):
            params, y = problem(steps, B, H)
            contenders = {"rnncourse": ours(params, y), "textbook NumPy": textbook(params, y), **filterpy(params, y)}
            yield Case({"T": steps, "B": B, "H": H, "O": y.shape[2]}, contenders, truth(params, y))
    rng = np.random.default_rng(0)
    weights = rng.dirichlet(np.ones(CROWD * steps))
    for scheme in ("systematic", "stratified", "multinomial"):
        yield Case({"scheme": scheme, "N": len(weights)}, resamplers(scheme, weights), [drawn(scheme, weights)])


def problem(steps: int, batch: int, width: int) -> tuple[LDSParams, np.ndarray]:
    """A tanh network that never settles, and outputs drawn from it."""
    rng = np.random.default_rng(0)
    A, O = 1.6 * np.linalg.qr(rng.standard_normal((width, width)))[0], max(width // 2, 1)
    C, start = 1.2 * rng.standard_normal((O, width)), (np.zeros(width), np.eye(width) / 4)
    params = LDSParams(A, np.zeros((width, 0)), C, 0.05 * np.eye(width), 0.05 * np.eye(O), *start)
    return params, stochastic_rnn.sample(rng, params, steps, batch, functions=FUNCTIONS).observations


def truth(params: LDSParams, y: np.ndarray) -> list[np.ndarray]:
    """Means and covariances by the torch floor, whose Jacobians are autograd's."""
    found, _ = gpu.ekf.forward(bridge.to_torch(params), torch.as_tensor(y), functions=FUNCTIONS)
    return [found.means.numpy(), found.covariances.numpy()]


def ours(params: LDSParams, y: np.ndarray) -> Callable:
    return lambda: list(ekf.forward(params, y, functions=FUNCTIONS)[0][:2])


def textbook(params: LDSParams, y: np.ndarray) -> Callable:
    """The equations as they stand, one step after the other, one sequence after the other."""
    A, _, C, Q, R, first, P_0 = params

    def one(series):
        m, V, means, spreads = first, P_0, [], []
        for row in series:
            p = np.tanh(A @ m)
            J = (1 - p * p)[:, None] * A
            P = J @ V @ J.T + Q
            seen = np.tanh(C @ p)
            G = (1 - seen * seen)[:, None] * C
            K = P @ G.T @ np.linalg.inv(G @ P @ G.T + R)
            m, V = p + K @ (row - seen), P - K @ G @ P
            means.append(m)
            spreads.append(V)
        return means, spreads

    return lambda: _together([one(y[:, b]) for b in range(y.shape[1])])


def filterpy(params: LDSParams, y: np.ndarray) -> dict[str, Callable]:
    """The peer, if it is there: the nonlinear mean and the Jacobian are put in, as its own class asks for."""
    try:
        from filterpy.kalman import ExtendedKalmanFilter
    except ImportError:
        return {}
    A, _, C, Q, R, first, P_0 = params

    class Network(ExtendedKalmanFilter):
        def predict_x(self, u=0):
            self.x = np.tanh(A @ self.x)
            self.F = (1 - self.x * self.x)[:, None] * A

    def look(x):
        return np.tanh(C @ x)

    def slope(x):
        output = look(x)
        return (1 - output * output)[:, None] * C

    def one(series):
        model = Network(len(A), len(C))
        model.x, model.P, model.Q, model.R, means, spreads = first.copy(), P_0.copy(), Q, R, [], []
        for row in series:
            model.predict()
            model.update(row, slope, look)
            means.append(model.x)
            spreads.append(model.P)
        return means, spreads

    return {"filterpy": lambda: _together([one(y[:, b]) for b in range(y.shape[1])])}


def resamplers(scheme: str, weights: np.ndarray) -> dict[str, Callable]:
    """Ours, a loop, and the peer if it is there; all with the same random numbers, drawn in the race."""

    def our():
        return [particles.resample(weights, uniforms(scheme, len(weights)), scheme)]

    def loop():
        found, i, end = [], 0, weights[0]
        for place in places(scheme, len(weights)):
            while place >= end and i < len(weights) - 1:
                i += 1
                end += weights[i]
            found.append(i)
        return [np.array(found)]

    contenders = {"rnncourse": our} if scheme == "multinomial" else {"rnncourse": our, "a loop": loop}
    try:
        from filterpy import monte_carlo
    except ImportError:
        return contenders
    peer = getattr(monte_carlo, f"{scheme}_resample")

    def theirs():
        np.random.seed(0)  # it takes no random numbers, it draws them
        return [peer(weights)]

    return {**contenders, "filterpy": theirs}


def uniforms(scheme: str, count: int) -> np.ndarray:
    """The numbers that filterpy draws; where one is enough, one, which stands for all."""
    source = np.random.RandomState(0)
    return np.broadcast_to(source.random_sample(), count) if scheme == "systematic" else source.random_sample(count)


def places(scheme: str, count: int) -> np.ndarray:
    """Where the draws fall in [0, 1)."""
    u = uniforms(scheme, count)
    return u if scheme == "multinomial" else (np.arange(count) + u) / count


def drawn(scheme: str, weights: np.ndarray) -> np.ndarray:
    """The particle at every place, by NumPy's ``digitize``."""
    return np.digitize(places(scheme, len(weights)), np.cumsum(weights))


def _together(found: list[tuple]) -> list[np.ndarray]:
    """From lists over sequences to arrays (T, B, ...)."""
    return [np.stack([np.array(one) for one in kind], axis=1) for kind in zip(*found, strict=True)]
