"""The deep Markov model: a latent path that moves by a gated network, seen through another, inferred from its future.

After Krishnan, Shalit and Sontag (2017), with one draw of z_t from q(z_t | z_{t-1}, x_t..x_T) at each step.
"""

import torch
from torch import nn

from rnncourse import doors
from rnncourse.gpu import latent
from rnncourse.gpu.rolls import mask
from rnncourse.gpu.sequence_bound import Inferred
from rnncourse.latent_params import Diagonal


class Transition(nn.Module):
    """p(z_t | z_{t-1}): between a straight line and a curve, :eq:`def-gated-transition`.

    Args:
        latent: L.
        hidden: of the two inner layers.
    """

    def __init__(self, latent: int, hidden: int):
        super().__init__()
        self.gate = nn.Sequential(nn.Linear(latent, hidden), nn.ReLU(), nn.Linear(hidden, latent), nn.Sigmoid())
        self.curve = nn.Sequential(nn.Linear(latent, hidden), nn.ReLU(), nn.Linear(hidden, latent))
        self.line = nn.Linear(latent, latent)
        self.log_variance = nn.Linear(latent, latent)
        nn.init.eye_(self.line.weight)
        nn.init.zeros_(self.line.bias)

    def forward(self, z: torch.Tensor) -> Diagonal:
        """The distribution of the next state.

        Args:
            z: shape (..., L).

        Returns:
            Shapes (..., L).
        """
        gate, curve = self.gate(z), self.curve(z)
        return Diagonal((1 - gate) * self.line(z) + gate * curve, self.log_variance(torch.relu(curve)))


class Standard(nn.Module):
    """A prior without dynamics and with nothing to learn: N(0, I) at every step."""

    def forward(self, z: torch.Tensor) -> Diagonal:
        """The same distribution whatever the last state.

        Args:
            z: shape (..., L).

        Returns:
            Shapes (..., L).
        """
        return latent.standard(Diagonal(z, z))


class DeepMarkov(nn.Module):
    """A state-space model whose three parts are networks, and its posterior.

    Args:
        notes: O, rows of a roll.
        latent: L, the length of z.
        hidden: H, of the inner layers and of the network that reads backwards.
        dropout: share hidden in training, of what is read and of the emission's inner layer.
        seed: of the initial weights.
        moving: whether the prior is a :class:`Transition`; if not, it is N(0, I) at every step.

    Raises:
        ValueError: if a size is less than 1.
    """

    def __init__(self, notes: int, latent=32, hidden=128, dropout: float = 0.0, seed: int = 0, moving: bool = True):
        super().__init__()
        for name, size in [("notes", notes), ("latent", latent), ("hidden", hidden)]:
            doors.at_least(name, size, 1)
        self.latent = latent
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.start = nn.Parameter(torch.zeros(latent))
            self.transition = Transition(latent, hidden) if moving else Standard()
            self.emission = nn.Sequential(
                *(nn.Linear(latent, hidden), nn.ReLU(), nn.Dropout(dropout)),
                *(nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, notes)),
            )
            self.reader = nn.GRU(notes, hidden)
            self.combine = nn.Linear(latent, hidden)
            self.posterior = nn.Linear(hidden, 2 * latent)
        self.dropout = nn.Dropout(dropout)
        self.register_buffer("updates", torch.zeros((), dtype=torch.long))

    def read(self, rolls: torch.Tensor, lengths=None) -> torch.Tensor:
        """What the network that reads backwards knows of x_t, ..., x_T; each sequence from its own end.

        Args:
            rolls: x, shape (T, B, O).
            lengths: real frames, shape (B,), or None.

        Returns:
            Shape (T, B, H); what stands in padding means nothing.
        """
        return turn(self.reader(self.dropout(turn(rolls, lengths)))[0], lengths)

    def guess(self, z: torch.Tensor, future: torch.Tensor) -> Diagonal:
        """q(z_t | z_{t-1}, x_t..x_T), :eq:`def-combiner`.

        Args:
            z: z_{t-1}, shape (B, L).
            future: h_t of :meth:`read`, shape (B, H).

        Returns:
            Shapes (B, L).
        """
        return Diagonal(*self.posterior((torch.tanh(self.combine(z)) + future) / 2).chunk(2, dim=-1))

    def infer(self, rolls: torch.Tensor, noise: torch.Tensor, lengths=None) -> Inferred:
        """Draw a path from the posterior.

        Args:
            rolls: x, shape (T, B, O); padding may hold anything finite.
            noise: standard normal, shape (T, B, L).
            lengths: real frames, shape (B,), or None.

        Returns:
            The path and what was met on it.

        Raises:
            ValueError: if a shape does not fit.
        """
        doors.sequences("rolls", rolls, self.reader.input_size)
        T, B, _ = rolls.shape
        doors.shape("noise", noise, (T, B, self.latent))
        mask(lengths, T, rolls)
        future, z, drawn, said = self.read(rolls, lengths), self.start.expand(B, -1), [], []
        befores = []
        for t in range(T):
            befores.append(z)
            said.append(self.guess(z, future[t]))
            z = latent.sample(said[-1], noise[t])
            drawn.append(z)
        posterior = Diagonal(*map(torch.stack, zip(*said, strict=True)))
        path = torch.stack(drawn)
        return Inferred(path, posterior, self.transition(torch.stack(befores)), self.emission(path))

    forward = infer

    @torch.no_grad()
    def dream(self, steps: int, size: int, generator: torch.Generator | None = None) -> torch.Tensor:
        """Let the model play: z from its prior, notes from its emission, nothing from data.

        Args:
            steps: T.
            size: B.
            generator: of the random numbers.

        Returns:
            What was played, 0 or 1, shape (T, B, O).
        """
        self.eval()
        z, path = self.start.expand(size, -1), []
        for _ in range(steps):
            z = latent.sample(self.transition(z), torch.randn(z.shape, generator=generator))
            path.append(z)
        return torch.bernoulli(torch.sigmoid(self.emission(torch.stack(path))), generator=generator)


def turn(x: torch.Tensor, lengths=None) -> torch.Tensor:
    """Sequences the other way round, each within its own length; padding stays behind.

    Args:
        x: shape (T, B, F).
        lengths: real steps, shape (B,), or None.

    Returns:
        The same shape; twice is what was given.
    """
    if lengths is None:
        return x.flip(0)
    lengths, t = torch.as_tensor(lengths, device=x.device), torch.arange(len(x), device=x.device)[:, None]
    order = torch.where(t < lengths, lengths - 1 - t, t)
    return x.gather(0, order[..., None].expand_as(x))
