"""An encoder and a decoder to train: torch's own LSTM layers, the library's attention between them."""

from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from rnncourse import doors
from rnncourse.bridge import to_numpy
from rnncourse.bridge_gates import stack_from_torch
from rnncourse.data import pairs
from rnncourse.gpu import attention as attend
from rnncourse.gpu.training import Batch
from rnncourse.params import ReadoutParams
from rnncourse.seq2seq_params import AdditiveParams, DotParams, NoAttention, Seq2SeqParams, init_attention

ATTENTIONS = {"none": NoAttention, "dot": DotParams, "additive": AdditiveParams}


class Translator(nn.Module):
    """Source and true target in, logits of the target out, as ``seq2seq.forward`` computes them.

    Recurrent matrices start orthogonal, forget gates mostly open (bias 1).

    Args:
        sources: V_x, symbols of the source, the end among them.
        targets: V_y, symbols of the target, the end among them.
        features: D, the length of an embedding, on both sides.
        hidden: H, units of the decoder; the encoder has as many, half of them for each direction of two.
        attention: "none", "dot" or "additive".
        both_ways: whether the encoder reads in both directions.
        seed: of the initial weights.

    Raises:
        ValueError: if the attention is unknown, a size is less than 1, or H is odd with two directions.
    """

    def __init__(
        self, sources: int, targets: int, features=32, hidden=64, attention="none", both_ways=False, seed: int = 0
    ):
        super().__init__()
        doors.one_of("attention", attention, ATTENTIONS)
        for name, size in (("sources", sources), ("targets", targets), ("features", features), ("hidden", hidden)):
            doors.at_least(name, size, 1)
        if both_ways and hidden % 2:
            raise ValueError(f"hidden: expected an even number for an encoder that reads both ways, got {hidden}")
        self.kind = ATTENTIONS[attention]
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.source_table = nn.Embedding(sources, features)
            self.encoder = nn.LSTM(features, hidden // 2 if both_ways else hidden, bidirectional=both_ways)
            self.target_table = nn.Embedding(targets, features)
            self.decoder = nn.LSTM(features, hidden)
            self.readout = nn.Linear(hidden * (1 if attention == "none" else 2), targets)
            for layer in (self.encoder, self.decoder):
                _start(layer)
        weights = init_attention(np.random.default_rng(seed), hidden, attention)
        self.attention = nn.ParameterList([torch.tensor(array, dtype=torch.float32) for array in weights])

    def forward(self, source: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Read the source, write the target with teacher forcing.

        Args:
            source: integers, an end in every column, shape (T, B).
            targets: the same, shape (N, B).

        Returns:
            Logits, shape (N, B, V_y).
        """
        lengths = 1 + (source == pairs.END).int().argmax(dim=0).cpu()
        x = self.source_table(source)
        keys, start = self.encoder(x) if (lengths == len(source)).all() else self._read_ragged(x, lengths)
        if self.encoder.bidirectional:
            start = tuple(torch.cat(tuple(state), dim=1)[None] for state in start)
        heard = torch.cat([torch.zeros_like(targets[:1]), targets[:-1]])
        d, _ = self.decoder(self.target_table(heard), start)
        if self.attention:
            contexts, _ = attend.forward(self.kind(*self.attention), d, keys, lengths)
            d = torch.cat([d, contexts], dim=2)
        return self.readout(d)

    def _read_ragged(self, x: torch.Tensor, lengths: torch.Tensor):
        """The backward direction must begin at each sequence's own end: that takes torch's packing, which is slower."""
        packed, start = self.encoder(nn.utils.rnn.pack_padded_sequence(x, lengths, enforce_sorted=False))
        return nn.utils.rnn.pad_packed_sequence(packed)[0], start


def _start(layer: nn.LSTM) -> None:
    for name, array in layer.named_parameters():
        if "weight_hh" in name:
            for block in array.split(layer.hidden_size):
                nn.init.orthogonal_(block)
        elif "bias" in name:
            nn.init.zeros_(array)
            if "bias_ih" in name:
                nn.init.ones_(array[layer.hidden_size : 2 * layer.hidden_size])


def loss(model: Translator, inputs: torch.Tensor, targets: torch.Tensor, carry=None):
    """Mean cross-entropy of a symbol, ends counted and padding not, in the form that ``training.fit`` takes.

    Args:
        model: a :class:`Translator`.
        inputs: sources, shape (T, B).
        targets: shape (N, B).
        carry: nothing is carried.

    Returns:
        ``(loss, None)``.
    """
    real = torch.arange(len(targets), device=targets.device)[:, None] <= (targets == pairs.END).int().argmax(dim=0)
    judged = targets.where(real, -100)  # what cross_entropy passes over
    return nn.functional.cross_entropy(model(inputs, targets).flatten(0, 1), judged.flatten()), None


def sampled(source: np.ndarray, targets: np.ndarray, size: int, seed: int = 0) -> Callable[[int], Batch]:
    """Draw batches from a list of pairs, each a function of the number of the update.

    The sources of a batch are of one length, drawn as often as it occurs: no step is spent on padding.

    Args:
        source: all sources, shape (T, pairs).
        targets: all targets, shape (N, pairs).
        size: B, pairs in a batch, drawn with replacement.
        seed: of the draws.

    Returns:
        From the number of an update to its batch, no longer than its longest sequences.
    """
    T, N = pairs.lengths(source), pairs.lengths(targets)
    alike = {length: np.flatnonzero(length == T) for length in np.unique(T)}

    def batch(step: int) -> Batch:
        rng = np.random.default_rng([seed, step])
        length = rng.choice(T)
        some = rng.choice(alike[length], size)
        parts = source[:length, some], targets[: N[some].max(), some]
        return Batch(*(torch.from_numpy(np.ascontiguousarray(part)) for part in parts))

    return batch


def exported(model: Translator) -> Seq2SeqParams:
    """The parameters as the library's functions take them.

    Args:
        model: a trained module.

    Returns:
        NumPy arrays in the module's precision; for the torch floor, ``bridge.to_torch`` of it.
    """
    tables = to_numpy((model.source_table.weight, model.target_table.weight))
    (encoder,), (decoder,) = (stack_from_torch(layer) for layer in (model.encoder, model.decoder))
    found = to_numpy(model.kind(*model.attention))
    readout = ReadoutParams(*to_numpy((model.readout.weight, model.readout.bias)))
    return Seq2SeqParams(tables[0], encoder, tables[1], decoder, found, readout)
