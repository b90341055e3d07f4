"""Parameters of an encoder, a decoder and attention: the same on both floors, and how they start."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from rnncourse import doors
from rnncourse.gate_params import init_lstm
from rnncourse.params import Array, ReadoutParams, init_readout
from rnncourse.stack_params import BothWays

ATTENTIONS = ("none", "dot", "additive")


class NoAttention(NamedTuple):
    """No attention: the decoder knows what was handed over, and no more. Empty, so it counts as false."""


class DotParams(NamedTuple):
    """Attention by a dot product.

    Attributes:
        query_weights: W_q, shape (M, H): turns a decoder state into something as long as a key.
    """

    query_weights: Array


class AdditiveParams(NamedTuple):
    """Attention by a small network.

    Attributes:
        query_weights: W_q, shape (A, H).
        key_weights: W_k, shape (A, M).
        vector: w, shape (A,).
    """

    query_weights: Array
    key_weights: Array
    vector: Array


class Seq2SeqParams(NamedTuple):
    """An encoder that reads, a decoder that writes, and what lies between.

    Attributes:
        source_table: E, shape (V_x, D), a row for each symbol of the source.
        encoder: a cell's parameters with H hidden units; or ``BothWays`` of two cells with H / 2 each.
        target_table: F, shape (V_y, D'), a row for each symbol of the target.
        decoder: a cell's parameters with H hidden units.
        attention: ``NoAttention``, ``DotParams`` or ``AdditiveParams``.
        readout: W_y (V_y, H) and b_y (V_y,); with attention W_y is (V_y, 2 H), state first, context second.
    """

    source_table: Array
    encoder: NamedTuple
    target_table: Array
    decoder: NamedTuple
    attention: NoAttention | DotParams | AdditiveParams
    readout: ReadoutParams


def init_seq2seq(
    rng: np.random.Generator,
    sources: int,
    targets: int,
    features: int,
    hidden: int,
    attention: str = "none",
    both_ways: bool = False,
    init: Callable = init_lstm,
) -> Seq2SeqParams:
    """Start an encoder and a decoder.

    Args:
        rng: the source of randomness.
        sources: V_x, symbols of the source, the end among them.
        targets: V_y, symbols of the target, the end among them.
        features: D, the length of a symbol's vector, on both sides.
        hidden: H, units of the decoder; even where the encoder reads both ways.
        attention: "none", "dot" or "additive" (whose small network has H / 2 units, rounded up).
        both_ways: whether the encoder reads in both directions, with H / 2 units each.
        init: starts one cell, called as init(rng, features, hidden).

    Returns:
        The parameters, float64.

    Raises:
        ValueError: if a size is no whole number, or too small, or the attention is unknown.
    """
    doors.one_of("attention", attention, ATTENTIONS)
    for name, size in (("sources", sources), ("targets", targets)):
        doors.at_least(name, size, 2)
    doors.at_least("features", features, 1)
    doors.at_least("hidden", hidden, 1 + both_ways)
    if both_ways and hidden % 2:
        raise ValueError(f"hidden: expected an even number for an encoder that reads both ways, got {hidden}")
    half = hidden // 2
    encoder = (
        BothWays(init(rng, features, half), init(rng, features, half)) if both_ways else init(rng, features, hidden)
    )
    return Seq2SeqParams(
        source_table=rng.standard_normal((sources, features)),
        encoder=encoder,
        target_table=rng.standard_normal((targets, features)),
        decoder=init(rng, features, hidden),
        attention=init_attention(rng, hidden, attention),
        readout=init_readout(rng, hidden * (1 if attention == "none" else 2), targets),
    )


def init_attention(rng: np.random.Generator, hidden: int, attention: str) -> NoAttention | DotParams | AdditiveParams:
    """Start attention between states of H numbers on both sides.

    Args:
        rng: the source of randomness.
        hidden: H.
        attention: "none", "dot" or "additive".

    Returns:
        ``NoAttention``, ``DotParams`` or ``AdditiveParams``, float64.

    Raises:
        ValueError: if there is no such attention, or H is no whole number, or less than 1.
    """
    doors.one_of("attention", attention, ATTENTIONS)
    doors.at_least("hidden", hidden, 1)
    scale, units = hidden**-0.5, (hidden + 1) // 2
    if attention == "none":
        return NoAttention()
    if attention == "dot":
        return DotParams(scale * rng.standard_normal((hidden, hidden)))
    W_q, W_k = (scale * rng.standard_normal((units, hidden)) for _ in range(2))
    return AdditiveParams(W_q, W_k, units**-0.5 * rng.standard_normal(units))


def check(params: Seq2SeqParams) -> None:
    """Check that the parts fit each other; what is inside a cell its own loop checks.

    Args:
        params: the parameters.

    Raises:
        ValueError: if a shape does not fit, or the attention is of an unknown type.
    """
    E, encoder, F, decoder, attention, (W_y, b_y) = params
    doors.shape("source_table", E, ("V_x", "D"))
    doors.shape("target_table", F, ("V_y", "D"))
    H, one_way = decoder[1].shape[1], not isinstance(encoder, BothWays)
    for part in (encoder,) if one_way else encoder:
        doors.shape("encoder.input_weights", part[0], ("G*H", E.shape[1]))
        width = part[1].shape[1] * (1 if one_way else 2)
        if width != H:
            raise ValueError(f"encoder: expected {H} units in all, as many as the decoder's, got {width}")
    doors.shape("decoder.input_weights", decoder[0], ("G*H", F.shape[1]))
    doors.shape("readout.weights", W_y, (len(F), H * (2 if attention else 1)))
    doors.shape("readout.bias", b_y, (len(F),))
    if attention:
        check_attention(attention, H, H)


def check_attention(params: tuple, queries: int, keys: int) -> None:
    """Check attention's parameters.

    Args:
        params: ``DotParams`` or ``AdditiveParams``.
        queries: H, the length of a query.
        keys: M, the length of a key.

    Raises:
        ValueError: if they are of another type, or a shape does not fit.
    """
    if isinstance(params, DotParams):
        doors.shape("query_weights", params.query_weights, (keys, queries))
    elif isinstance(params, AdditiveParams):
        A = params.vector.shape[0]
        doors.shape("query_weights", params.query_weights, (A, queries))
        doors.shape("key_weights", params.key_weights, (A, keys))
        doors.shape("vector", params.vector, (A,))
    else:
        raise ValueError(f"params: expected DotParams or AdditiveParams, got {type(params).__name__}")
