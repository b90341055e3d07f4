"""The variational RNN: a recurrent network with a draw at every step, which its state remembers.

After Chung, Kastner, Dinh, Goel, Courville and Bengio (2015). The prior of z_t knows all that was played before.
"""

import torch
from torch import nn

from rnncourse import doors
from rnncourse.gpu import latent
from rnncourse.gpu.rolls import mask
from rnncourse.gpu.sequence_bound import Inferred
from rnncourse.latent_params import Diagonal


class VariationalRNN(nn.Module):
    """Prior, posterior and emission hang on the state of one GRU, :eq:`def-vrnn`.

    Args:
        notes: O, rows of a roll.
        latent: L, the length of z.
        hidden: H, of the state and of the inner layers.
        dropout: share hidden in training, of what is read and of the emission's inner layer.
        seed: of the initial weights.

    Raises:
        ValueError: if a size is less than 1.
    """

    def __init__(self, notes: int, latent: int = 16, hidden: int = 128, dropout: float = 0.0, seed: int = 0):
        super().__init__()
        for name, size in [("notes", notes), ("latent", latent), ("hidden", hidden)]:
            doors.at_least(name, size, 1)
        self.latent, self.notes = latent, notes
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.see = nn.Sequential(nn.Linear(notes, hidden), nn.ReLU())
            self.prior = nn.Sequential(nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, 2 * latent))
            self.posterior = nn.Sequential(nn.Linear(2 * hidden, hidden), nn.ReLU(), nn.Linear(hidden, 2 * latent))
            self.unfold = nn.Sequential(nn.Linear(latent, hidden), nn.ReLU())
            self.emission = nn.Sequential(
                *(nn.Linear(2 * hidden, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, notes))
            )
            self.recurrence = nn.GRUCell(2 * hidden, hidden)
        self.dropout = nn.Dropout(dropout)
        self.register_buffer("updates", torch.zeros((), dtype=torch.long))

    def infer(self, rolls: torch.Tensor, noise: torch.Tensor, lengths=None) -> Inferred:
        """Draw a path from the posterior.

        Args:
            rolls: x, shape (T, B, O); padding may hold anything finite.
            noise: standard normal, shape (T, B, L).
            lengths: real frames, shape (B,), or None; the past never sees padding, so they change nothing here.

        Returns:
            The path and what was met on it.

        Raises:
            ValueError: if a shape does not fit.
        """
        doors.sequences("rolls", rolls, self.notes)
        T, B, _ = rolls.shape
        doors.shape("noise", noise, (T, B, self.latent))
        mask(lengths, T, rolls)
        seen, state = self.see(self.dropout(rolls)), rolls.new_zeros(B, self.recurrence.hidden_size)
        drawn, said, states, unfolded = [], [], [], []
        for t in range(T):
            states.append(state)
            said.append(Diagonal(*self.posterior(torch.cat([seen[t], state], dim=-1)).chunk(2, dim=-1)))
            drawn.append(latent.sample(said[-1], noise[t]))
            unfolded.append(self.unfold(drawn[-1]))
            state = self.recurrence(torch.cat([seen[t], unfolded[-1]], dim=-1), state)
        before = torch.stack(states)
        prior = Diagonal(*self.prior(before).chunk(2, dim=-1))
        logits = self.emission(torch.cat([torch.stack(unfolded), before], dim=-1))
        return Inferred(torch.stack(drawn), Diagonal(*map(torch.stack, zip(*said, strict=True))), prior, logits)

    forward = infer

    @torch.no_grad()
    def dream(self, steps: int, size: int, generator: torch.Generator | None = None) -> torch.Tensor:
        """Let the model play; what it has played is tossed note by note, and it hears it.

        Args:
            steps: T.
            size: B.
            generator: of the random numbers.

        Returns:
            What was played, 0 or 1, shape (T, B, O).
        """
        self.eval()
        state, played = torch.zeros(size, self.recurrence.hidden_size), []
        for _ in range(steps):
            prior = Diagonal(*self.prior(state).chunk(2, dim=-1))
            z = self.unfold(latent.sample(prior, torch.randn(size, self.latent, generator=generator)))
            chance = torch.sigmoid(self.emission(torch.cat([z, state], dim=-1)))
            played.append(torch.bernoulli(chance, generator=generator))
            state = self.recurrence(torch.cat([self.see(played[-1]), z], dim=-1), state)
        return torch.stack(played)
