"""A sequence model with one latent, to train: torch's own LSTM layers around the library's bound."""

from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from rnncourse import doors
from rnncourse.bridge import to_numpy
from rnncourse.bridge_gates import stack_from_torch
from rnncourse.data import pairs
from rnncourse.gpu import bounds, latent
from rnncourse.gpu.training import Batch
from rnncourse.latent_params import Diagonal
from rnncourse.params import ReadoutParams
from rnncourse.sequence_vae_params import SequenceVAEParams


class WordVAE(nn.Module):
    """Sequences in, both sides of the ELBO out, as ``sequence_vae.forward`` computes them.

    Recurrent matrices start orthogonal, forget gates mostly open (bias 1).

    Args:
        symbols: V, the end among them.
        features: D, the length of an embedding.
        hidden: H, units of encoder and decoder.
        latent: Z, the length of the latent; with 0 it is the decoder alone, a language model.
        seed: of the initial weights.

    Raises:
        ValueError: if a size is too small.
    """

    def __init__(self, symbols: int, features=24, hidden=64, latent=8, seed: int = 0):
        super().__init__()
        for name, size, least in (("symbols", symbols, 2), ("features", features, 1), ("hidden", hidden, 1)):
            doors.at_least(name, size, least)
        doors.at_least("latent", latent, 0)
        self.symbols, self.latent = symbols, latent
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.table = nn.Embedding(symbols + 1, features)
            self.decoder = nn.LSTM(features + latent, hidden)
            self.readout = nn.Linear(hidden, symbols)
            self.encoder = nn.LSTM(features, hidden) if latent else None
            self.posterior = nn.Linear(hidden, 2 * latent) if latent else None
            for layer in (self.encoder, self.decoder):
                _start(layer)

    def read(self, words: torch.Tensor) -> Diagonal:
        """Say where the latent of each sequence lies.

        Args:
            words: integers, an end in every column, shape (T, B).

        Returns:
            q(z | x), shapes (B, Z).
        """
        if not self.latent:
            none = self.table.weight.new_zeros(words.shape[1], 0)
            return Diagonal(none, none)
        states, _ = self.encoder(self.table(words))
        last = states[(words == pairs.END).int().argmax(dim=0), torch.arange(words.shape[1], device=words.device)]
        return Diagonal(*self.posterior(last).chunk(2, dim=1))

    def write(self, words: torch.Tensor, z: torch.Tensor, hides: torch.Tensor | None = None) -> torch.Tensor:
        """Judge sequences, given their latents.

        Args:
            words: integers, an end in every column, shape (T, B).
            z: shape (B, Z).
            hides: booleans, shape (T, B): where the symbol before is not heard.

        Returns:
            log p(x | z) in nats, ends counted, shape (B,).
        """
        before = torch.cat([torch.zeros_like(words[:1]), words[:-1]])
        if hides is not None:
            before = before.where(~hides, self.symbols)
        x = torch.cat([self.table(before), z.expand(len(words), *z.shape)], dim=2)
        logits = self.readout(self.decoder(x)[0])
        said = -nn.functional.cross_entropy(logits.flatten(0, 1), words.flatten(), reduction="none").view(words.shape)
        ended = (words == pairs.END).int().cumsum(dim=0) - (words == pairs.END).int()
        return said.where(ended == 0, 0).sum(dim=0)

    def forward(self, words: torch.Tensor, hides: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """Read, draw and write.

        Args:
            words: integers, an end in every column, shape (T, B).
            hides: booleans, shape (T, B): where the decoder does not hear the symbol before.

        Returns:
            log p(x | z), shape (B,), and what each unit costs in nats, shape (B, Z).
        """
        q = self.read(words)
        z = latent.sample(q, torch.randn_like(q.mean))
        return self.write(words, z, hides), latent.kl_units(q, latent.standard(q))


def _start(layer: nn.LSTM | None) -> None:
    for name, array in layer.named_parameters() if layer is not None else ():
        if "weight_hh" in name:
            for block in array.split(layer.hidden_size):
                nn.init.orthogonal_(block)
        elif "bias" in name:
            nn.init.zeros_(array)
            if "bias_ih" in name:
                nn.init.ones_(array[layer.hidden_size : 2 * layer.hidden_size])


def objective(floor: float = 0.0, share: float = 0.0) -> Callable:
    """Make the loss that ``training.fit`` takes: a mean over sequences, :eq:`def-sequence-loss`.

    Args:
        floor: lambda, nats that each latent unit may use for nothing.
        share: how many of the symbols that the decoder hears are hidden, by chance.

    Returns:
        A function of model, sequences (T, B) and the weight of the divergence, the same for all, (1, B).
    """

    def loss(model: WordVAE, inputs: torch.Tensor, targets: torch.Tensor, carry=None):
        hides = None
        if share:
            hides = torch.rand(inputs.shape, device=inputs.device) < share
            hides[0] = False  # the first step hears the beginning, which says nothing
        log_likelihood, kl = model(inputs, hides)
        return -log_likelihood.mean() + targets[0, 0] * bounds.free_bits(kl, floor), None

    return loss


def sampled(words: np.ndarray, size: int, warm: int = 0, seed: int = 0) -> Callable[[int], Batch]:
    """Draw batches from a list of sequences, each a function of the number of the update.

    Args:
        words: all sequences, shape (T, N).
        size: B, sequences in a batch, drawn with replacement.
        warm: updates in which the weight of the divergence rises evenly from 0 to 1; 1 from the first unless given.
        seed: of the draws.

    Returns:
        From the number of an update to its batch: sequences, and the weight, shape (1, B).
    """
    lengths = pairs.lengths(words)

    def batch(step: int) -> Batch:
        some = np.random.default_rng([seed, step]).integers(words.shape[1], size=size)
        part = torch.from_numpy(np.ascontiguousarray(words[: lengths[some].max(), some]))
        return Batch(part, torch.full((1, size), min(1.0, step / warm) if warm else 1.0))

    return batch


def exported(model: WordVAE) -> SequenceVAEParams:
    """The parameters as the library's functions take them.

    Args:
        model: a trained module with a latent.

    Returns:
        NumPy arrays in the module's precision; for the torch floor, ``bridge.to_torch`` of it.

    Raises:
        ValueError: if the module has no latent.
    """
    if not model.latent:
        raise ValueError("model: expected a latent, got a decoder alone")
    (encoder,), (decoder,) = (stack_from_torch(layer) for layer in (model.encoder, model.decoder))
    posterior, readout = (
        ReadoutParams(*to_numpy((layer.weight, layer.bias))) for layer in (model.posterior, model.readout)
    )
    return SequenceVAEParams(to_numpy(model.table.weight), encoder, posterior, decoder, readout)
