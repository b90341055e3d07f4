"""Recurrent networks that read a sequence and say what its hidden states were: amortised posteriors.

What such a network may see decides what it can know; see :mod:`rnncourse.gpu.posterior_families`.
"""

import math

import torch
from torch import nn

from rnncourse import doors
from rnncourse.gpu import state_space
from rnncourse.latent_params import Diagonal
from rnncourse.lds_params import LDSParams

WINDOWS = ("all", "filter", "frame", "past", "chain")


class StateReader(nn.Module):
    """GRUs over what may be seen, and a layer that reads mean and log variance of each state off them.

    Args:
        outputs: O, the length of an output.
        states: H, the length of a state.
        window: "all"; "filter", x_1..x_t; "frame", x_t alone; "past", x_1..x_{t-1}; these give
            q(z_t). "chain", x_t..x_T and z_{t-1}, gives q(z_t | z_{t-1}).
        hidden: units of each GRU.
        seed: of the initial weights.

    Raises:
        ValueError: if there is no such window, or a size is less than 1.
    """

    def __init__(self, outputs: int, states: int, window: str, hidden: int = 24, seed: int = 0):
        super().__init__()
        doors.one_of("window", window, WINDOWS)
        for name, size in (("outputs", outputs), ("states", states), ("hidden", hidden)):
            doors.at_least(name, size, 1)
        self.window, self.states = window, states
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.recurrence = nn.GRU(outputs, hidden, bidirectional=window == "all")
            sees = hidden * (2 if window == "all" else 1) + (0 if window == "past" else outputs)
            self.readout = nn.Linear(sees + (states if window == "chain" else 0), 2 * states)

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """What is known at each step about what may be seen; the present frame, where it may, once more.

        Args:
            x: shape (T, B, O).

        Returns:
            Shape (T, B, F).
        """
        T, B, O = x.shape
        if self.window == "frame":  # every frame is a sequence of its own
            return torch.cat([self.recurrence(x.reshape(1, T * B, O))[0].reshape(T, B, -1), x], -1)
        if self.window == "past":
            return self.recurrence(torch.cat([torch.zeros_like(x[:1]), x[:-1]]))[0]
        if self.window == "chain":
            return torch.cat([self.recurrence(x.flip(0))[0].flip(0), x], -1)
        return torch.cat([self.recurrence(x)[0], x], -1)

    def forward(self, x: torch.Tensor) -> Diagonal:
        """Read a batch; not for a chain, whose moments depend on the state before.

        Args:
            x: shape (T, B, O).

        Returns:
            Mean and log variance of each state, shape (T, B, H).

        Raises:
            ValueError: for a chain.
        """
        if self.window == "chain":
            raise ValueError("window: a chain has no moments without its draws; use draw")
        return Diagonal(*self.readout(self.features(x)).chunk(2, dim=-1))

    def draw(self, x: torch.Tensor, noise: torch.Tensor):
        """Draw all states, from the first to the last; each reads the one before.

        Args:
            x: shape (T, B, O).
            noise: standard normal, shape (T, B, H).

        Returns:
            ``(states, log_density)``: shapes (T, B, H) and (B,).
        """
        known, z, total, drawn = self.features(x), torch.zeros_like(noise[0]), 0.0, []
        for t in range(len(x)):
            seen = torch.cat([known[t], z], -1) if self.window == "chain" else known[t]
            mean, log_variance = self.readout(seen).chunk(2, dim=-1)
            z = mean + torch.exp(log_variance / 2) * noise[t]
            drawn.append(z)
            total = total - 0.5 * (noise[t] ** 2 + log_variance + math.log(2 * math.pi)).sum(dim=-1)
        return torch.stack(drawn), total


def bound(model: StateReader, params: LDSParams, x: torch.Tensor, noise: torch.Tensor | None = None) -> torch.Tensor:
    """The evidence lower bound of a reader for a known system: exact means, or one draw for a chain.

    Args:
        model: the reader.
        params: the system, of the type of x.
        x: shape (T, B, O).
        noise: for a chain, standard normal, shape (T, B, H); drawn by torch unless given.

    Returns:
        One number for each sequence, shape (B,), in nats.

    Raises:
        ValueError: if the system or a shape does not fit.
    """
    if model.window != "chain":
        steps, _ = state_space.forward(params, model(x), x)
        return (steps.reconstruction - steps.kl).sum(dim=0)
    noise = torch.randn(*x.shape[:2], model.states).to(x) if noise is None else noise
    doors.shape("noise", noise, (*x.shape[:2], model.states))
    states, log_q = model.draw(x, noise)
    return state_space.log_joint(params, states, x) - log_q


def loss(params: LDSParams):
    """Minus the bound, averaged over the batch, in the form that ``training.fit`` takes.

    Args:
        params: the system.

    Returns:
        A function of model, inputs x (T, B, O), targets and carry, neither of which is used.
    """

    def minus(model: StateReader, x: torch.Tensor, targets=None, carry=None):
        return -bound(model, params, x).mean(), None

    return minus
