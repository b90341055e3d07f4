"""Parameters of a sequence model with one latent for the whole: the same on both floors, and how they start."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from rnncourse import doors
from rnncourse.data import pairs
from rnncourse.gate_params import init_lstm
from rnncourse.params import Array, ReadoutParams, init_readout


class SequenceVAEParams(NamedTuple):
    """An encoder that reads a sequence and says where its latent lies, and a decoder that hears the latent.

    Attributes:
        table: E, shape (V + 1, D): a row for each symbol, 0 being the end; the last is heard where a symbol is hidden.
        encoder: a cell's parameters with D inputs and H' units.
        posterior: W_q (2 Z, H') and b_q (2 Z,): the mean of q first, then its log variance.
        decoder: a cell's parameters with D + Z inputs and H units: the symbol before, then the latent.
        readout: W_y (V, H) and b_y (V,).
    """

    table: Array
    encoder: NamedTuple
    posterior: ReadoutParams
    decoder: NamedTuple
    readout: ReadoutParams


def init_sequence_vae(
    rng: np.random.Generator, symbols: int, features: int, hidden: int, latent: int, init: Callable = init_lstm
) -> SequenceVAEParams:
    """Start an encoder and a decoder.

    Args:
        rng: the source of randomness.
        symbols: V, the end among them.
        features: D, the length of a symbol's vector.
        hidden: units of encoder and decoder.
        latent: Z, the length of the latent.
        init: starts one cell, called as init(rng, inputs, hidden).

    Returns:
        The parameters, float64.

    Raises:
        ValueError: if a size is no whole number, or too small.
    """
    for name, size, least in (("symbols", symbols, 2), ("features", features, 1), ("latent", latent, 1)):
        doors.at_least(name, size, least)
    return SequenceVAEParams(
        table=rng.standard_normal((symbols + 1, features)),
        encoder=init(rng, features, hidden),
        posterior=init_readout(rng, hidden, 2 * latent),
        decoder=init(rng, features + latent, hidden),
        readout=init_readout(rng, hidden, symbols),
    )


def check(params: SequenceVAEParams) -> None:
    """Check that the parts fit each other; what is inside a cell its own loop checks.

    Args:
        params: the parameters.

    Raises:
        ValueError: if a shape does not fit.
    """
    E, encoder, (W_q, b_q), decoder, (W_y, b_y) = params
    doors.shape("table", E, ("V+1", "D"))
    V, D = E.shape[0] - 1, E.shape[1]
    doors.shape("encoder.input_weights", encoder[0], ("G*H", D))
    doors.shape("posterior.weights", W_q, ("2*Z", encoder[1].shape[1]))
    doors.shape("posterior.bias", b_q, (W_q.shape[0],))
    if W_q.shape[0] % 2:
        raise ValueError(f"posterior.weights: expected an even number of rows, got {W_q.shape[0]}")
    doors.shape("decoder.input_weights", decoder[0], ("G*H", D + W_q.shape[0] // 2))
    doors.shape("readout.weights", W_y, (V, decoder[1].shape[1]))
    doors.shape("readout.bias", b_y, (V,))


def heard(words, symbols: int, uniforms=None, share: float = 0.0) -> np.ndarray:
    """What the decoder hears: the symbol before, each hidden by chance. What it must say is not touched.

    Args:
        words: integers with an end in every column (see ``data.pairs``), shape (T, B).
        symbols: V; a hidden symbol is heard as V.
        uniforms: numbers in [0, 1), drawn evenly, shape (T, B); nothing is hidden unless given.
        share: how many are hidden. The first step hears the end in any case: it has nothing to hide.

    Returns:
        Integers in 0..V, shape (T, B).

    Raises:
        ValueError: if a shape does not fit, a class is out of range, a column has no end, or the share is
            not between 0 and 1.
    """
    before = pairs.shifted(pairs.checked(words, symbols))
    if not 0 <= share <= 1:
        raise ValueError(f"share: expected a number in 0..1, got {share}")
    if uniforms is None:
        return before
    doors.shape("uniforms", uniforms, before.shape)
    hidden = np.asarray(uniforms) < share
    hidden[0] = False
    return np.where(hidden, symbols, before)
