"""A network that watches a series and says at each step what the next h values will be.

It says how much they will differ from the value now. A network that says nothing, zero, is persistence:
so whatever it gains on that rival it has learned.
"""

import numpy as np
import torch
from torch import nn

from rnncourse import doors

KINDS = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}


class Forecaster(nn.Module):
    """A series in, forecasts of the next h values out at each step. It begins as persistence.

    Args:
        outputs: O, the number of channels.
        steps: h, how far it looks ahead.
        kind: "rnn" (tanh), "lstm" or "gru".
        hidden: H, the number of hidden units.
        differences: show it the last change instead of the value; then its answer cannot depend on the level.
        seed: of the initial weights.

    Raises:
        ValueError: if the kind is unknown or a size is less than 1.
    """

    def __init__(self, outputs: int, steps: int, kind="gru", hidden=64, differences=False, seed=0):
        super().__init__()
        doors.one_of("kind", kind, KINDS)
        for name, size in [("outputs", outputs), ("steps", steps), ("hidden", hidden)]:
            doors.at_least(name, size, 1)
        self.steps, self.differences = steps, differences
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.recurrence = KINDS[kind](outputs, hidden)
            self.readout = nn.Linear(hidden, steps * outputs)
        nn.init.zeros_(self.readout.weight)
        nn.init.zeros_(self.readout.bias)

    def forward(self, series: torch.Tensor) -> torch.Tensor:
        """Watch a batch.

        Args:
            series: y, shape (T, B, O).

        Returns:
            Forecasts of y_{t+1}, ..., y_{t+h} made at t, shape (T, h, B, O).
        """
        T, B, O = series.shape
        seen = torch.cat([torch.zeros_like(series[:1]), series.diff(dim=0)]) if self.differences else series
        change = self.readout(self.recurrence(seen)[0]).reshape(T, B, self.steps, O)
        return series[:, None] + change.transpose(1, 2)


def loss(model: nn.Module, series: torch.Tensor, targets: torch.Tensor, carry=None):
    """Mean squared error over all steps and all distances, in the form that ``training.fit`` takes.

    Args:
        model: a :class:`Forecaster`.
        series: shape (T, B, O).
        targets: what comes after each step, shape (T, B, h, O), NaN where the forecast is not judged.
        carry: not used; every batch begins anew.

    Returns:
        ``(loss, None)``.
    """
    wanted = targets.transpose(1, 2)
    judged = ~wanted.isnan()
    return nn.functional.mse_loss(model(series)[judged], wanted[judged]), None


def targets(series, steps: int, warm: int = 0) -> np.ndarray:
    """What comes after each step.

    Args:
        series: y, shape (T, B, O).
        steps: h.
        warm: forecasts made at the first ``warm`` steps are not judged.

    Returns:
        y_{t+1}, ..., y_{t+h} for each t, shape (T, B, h, O), NaN beyond the end and where nothing is judged.

    Raises:
        ValueError: if a shape does not fit, or nothing would be judged.
    """
    doors.at_least("steps", steps, 1)
    doors.at_least("warm", warm, 0)
    y = np.asarray(series)
    doors.sequences("series", y, "O")
    T, B, O = y.shape
    if warm + 1 >= T:
        raise ValueError(f"warm: expected less than {T - 1}, got {warm}")
    found = np.full((T, B, steps, O), np.nan, y.dtype)
    for j in range(1, min(steps, T - 1) + 1):
        found[: T - j, :, j - 1] = y[j:]
    found[:warm] = np.nan
    return found
