"""Recurrences by scans and by loops on a CPU: the library's two floors, and torch's own scan.

Three line-ups: a diagonal recurrence, one of matrices, and a Kalman filter. Scans do more work in fewer
rounds, so a machine of few cores is not where they must win; the race says by how much they do or do not.
"""

from collections.abc import Callable, Iterator

import numpy as np
import torch

from benchmarks.race import Case
from rnncourse import bridge, lds_params
from rnncourse.gpu import kalman as kalman_on_torch
from rnncourse.gpu import kalman_scan as kalman_scan_on_torch
from rnncourse.gpu import linear_recurrence as on_torch
from rnncourse.reference import kalman, kalman_scan, linear_recurrence

STEPS, BATCH, WIDTHS = 4_001, 1, (4, 32)


def cases(steps: int = STEPS, batch: int = BATCH, widths=WIDTHS) -> Iterator[Case]:
    """Three line-ups for every size of the state.

    Args:
        steps: T, the length of the sequences.
        batch: B, how many there are.
        widths: values of H.

    Yields:
        Cases for :func:`benchmarks.race.run`.
    """
    for H in widths:
        rng = np.random.default_rng(H)
        b = rng.standard_normal((steps, batch, H))
        diagonal = rng.uniform(0.5, 1, (steps, batch, H))
        yield linear("diagonal", diagonal, b, {"torch's scan": torch_scan(diagonal, b)})
        matrices = rng.standard_normal((steps, batch, H, H)) / (2 * H**0.5)
        yield linear("matrices", matrices, b, {})
        yield filters(lds_params.init_lds(rng, H, 2), rng.standard_normal((steps, batch, 2)))


def linear(form: str, A: np.ndarray, b: np.ndarray, peers: dict[str, Callable]) -> Case:
    """h_t = A_t h_{t-1} + b_t; the truth is summed in a loop of its own."""
    there = torch.tensor(A), torch.tensor(b)
    contenders = {
        "rnncourse scan": lambda: [linear_recurrence.forward(A, b)[0]],
        "rnncourse loop": lambda: [linear_recurrence.loop(A, b)[0]],
        "torch floor, scan": lambda: [on_torch.forward(*there)[0].numpy()],
        "torch floor, loop": lambda: [on_torch.loop(*there)[0].numpy()],
        **peers,
    }
    facts = {"recurrence": form, "T": len(b), "B": b.shape[1], "H": b.shape[2]}
    return Case(facts, contenders, [plain(A, b)])


def plain(A: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The states, one multiplication and addition after the other."""
    h = np.empty_like(b)
    state = np.zeros_like(b[0])
    for t, (A_t, b_t) in enumerate(zip(A, b, strict=True)):
        product = A_t * state if A_t.ndim == state.ndim else (A_t * state[:, None, :]).sum(axis=2)
        h[t] = state = product + b_t
    return h


def torch_scan(a: np.ndarray, b: np.ndarray) -> Callable:
    """torch's associative scan, in the form that needs no compiler."""
    from torch._higher_order_ops.associative_scan import associative_scan

    def join(early, late):
        return early[0] * late[0], late[0] * early[1] + late[1]

    run = torch.compile(lambda a, b: associative_scan(join, (a, b), 0, combine_mode="generic")[1], backend="eager")
    there = torch.tensor(a), torch.tensor(b)
    return lambda: [run(*there).numpy()]


def filters(system, y: np.ndarray) -> Case:
    """A Kalman filter's means, by the scan and by the loop; the truth is the textbook's form."""
    there, seen = bridge.to_torch(system), torch.tensor(y)
    contenders = {
        "rnncourse scan": lambda: [kalman_scan.forward(system, y)[0].means],
        "rnncourse loop": lambda: [kalman.forward(system, y)[0].means],
        "torch floor, scan": lambda: [kalman_scan_on_torch.forward(there, seen)[0].means.numpy()],
        "torch floor, loop": lambda: [kalman_on_torch.forward(there, seen)[0].means.numpy()],
    }
    facts = {"recurrence": "Kalman filter", "T": len(y), "B": y.shape[1], "H": len(system.transition)}
    return Case(facts, contenders, [joseph(system, y)])


def joseph(system, y: np.ndarray) -> np.ndarray:
    """The means by the textbook's two steps, covariances in Joseph's form."""
    A, C, Q, R = system.transition, system.emission, system.state_noise, system.output_noise
    mean = np.repeat(system.initial_mean[None], y.shape[1], axis=0)
    P, means = system.initial_covariance, []
    for y_t in y:
        mean, P = mean @ A.T, A @ P @ A.T + Q
        K = np.linalg.solve(C @ P @ C.T + R, C @ P).T
        mean, rest = mean + (y_t - mean @ C.T) @ K.T, np.eye(len(A)) - K @ C
        P = rest @ P @ rest.T + K @ R @ K.T
        means.append(mean)
    return np.array(means)
