"""Between the library and the gated layers of ``torch.nn``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rnncourse import doors
from rnncourse.bridge import to_numpy
from rnncourse.gate_params import LSTMParams, ResetAfterGRUParams
from rnncourse.params import RNNParams
from rnncourse.stack_params import BothWays

if TYPE_CHECKING:
    import torch


def lstm_from_torch(module: torch.nn.LSTM) -> LSTMParams:
    """Read the parameters of a torch layer; its two biases always appear as a sum, so they become one.

    Args:
        module: a layer with one direction and one level, without a projection.

    Returns:
        W_x (4 H, D), W_h (4 H, H) and b (4 H,), NumPy arrays of the layer's precision.

    Raises:
        ValueError: if it is no ``torch.nn.LSTM``, or has two directions, several levels or a projection.
    """
    return _lstm(*_single(module, "LSTM"))


def lstm_to_torch(params: LSTMParams) -> torch.nn.LSTM:
    """Make a torch layer that computes what ``unroll.forward`` computes with ``lstm.plain()``.

    Args:
        params: W_x (4 H, D), W_h (4 H, H) and b (4 H,), arrays or tensors.

    Returns:
        A layer of the same precision on the same device, its second bias zero. It takes (T, B, D).

    Raises:
        ValueError: if a shape does not fit.
    """
    return _layer("LSTM", 4, *params, 0 * params[2])


def gru_from_torch(module: torch.nn.GRU) -> ResetAfterGRUParams:
    """Read the parameters of a torch layer, whose reset comes after the product and whose update gate keeps.

    Its two biases appear as a sum in the gates, but not in the candidate, where the reset acts on one.

    Args:
        module: a layer with one direction and one level.

    Returns:
        W_x (3 H, D), W_h (3 H, H), b (3 H,) and b_hn (H,), NumPy arrays of the layer's precision.

    Raises:
        ValueError: if it is no ``torch.nn.GRU``, or has two directions or several levels.
    """
    return _gru(*_single(module, "GRU"))


def gru_to_torch(params: ResetAfterGRUParams) -> torch.nn.GRU:
    """Make a torch layer that computes what ``unroll.forward`` computes with ``gru.reset_after("keep")``.

    Args:
        params: W_x (3 H, D), W_h (3 H, H), b (3 H,) and b_hn (H,), arrays or tensors. For an update gate
            that writes, first ``gate_params.swap_update``.

    Returns:
        A layer of the same precision on the same device. It takes (T, B, D).

    Raises:
        ValueError: if a shape does not fit, or the parameters are of a GRU that resets before its product.
    """
    import torch

    if not isinstance(params, ResetAfterGRUParams):
        got = type(params).__name__
        raise ValueError(f"params: expected ResetAfterGRUParams, torch resets after the product; got {got}")
    W_x, W_h, b, b_hn = (torch.as_tensor(array).detach() for array in params)
    doors.shape("recurrent_weights", W_h, ("3*H", "H"))
    doors.shape("candidate_bias", b_hn, (W_h.shape[1],))
    return _layer("GRU", 3, W_x, W_h, b, torch.cat([b_hn.new_zeros(2 * len(b_hn)), b_hn]))


def stack_from_torch(module: torch.nn.RNNBase) -> tuple:
    """Read every level and direction of a torch layer.

    Args:
        module: an RNN, LSTM or GRU of torch, of any depth, one direction or two.

    Returns:
        What ``stack.forward`` takes: a tuple with one entry for each level, ``BothWays`` if there are two
        directions. Parameters name no activation: those of an RNN with nonlinearity="relu" need
        ``cells.rnn("relu")``. Nor do they drop units: compare with the layer in its mode ``eval()``.

    Raises:
        ValueError: if it is none of the three, or projects its state.
    """
    import torch

    kinds = {torch.nn.RNN: _rnn, torch.nn.LSTM: _lstm, torch.nn.GRU: _gru}
    if type(module) not in kinds:
        raise ValueError(f"module: expected an RNN, LSTM or GRU of torch.nn, got {type(module).__name__}")
    make = kinds[type(module)]
    ways = ("", "_reverse") if module.bidirectional else ("",)
    levels = [[make(*level(module, f"_l{k}{way}")) for way in ways] for k in range(module.num_layers)]
    return tuple(BothWays(*both) if module.bidirectional else both[0] for both in levels)


def _rnn(W_x, W_h, b_x, b_h) -> RNNParams:
    return RNNParams(W_x, W_h, b_x + b_h)


def _lstm(W_x, W_h, b_x, b_h) -> LSTMParams:
    return LSTMParams(W_x, W_h, b_x + b_h)


def _gru(W_x, W_h, b_x, b_h) -> ResetAfterGRUParams:
    gates = 2 * W_h.shape[1]
    b = np.concatenate([b_x[:gates] + b_h[:gates], b_x[gates:]])
    return ResetAfterGRUParams(W_x, W_h, b, b_h[gates:])


def _single(module, kind: str) -> tuple:
    """The four arrays of a layer with one direction and one level."""
    import torch

    if not isinstance(module, getattr(torch.nn, kind)):
        raise ValueError(f"module: expected a torch.nn.{kind}, got {type(module).__name__}")
    if module.bidirectional:
        raise ValueError("module: expected one direction, got a bidirectional layer")
    if module.num_layers != 1:
        raise ValueError(f"module: expected one level, got num_layers={module.num_layers}")
    return level(module, "_l0")


def level(module: torch.nn.RNNBase, suffix: str) -> tuple:
    """One level and direction of a torch layer, as torch holds it.

    Args:
        module: an RNN, LSTM or GRU of torch.
        suffix: "_l0" for the first level, "_l0_reverse" for its way back in time, "_l1" for the second.

    Returns:
        W_x, W_h and two biases, copied to NumPy; zeros where the layer has no biases.

    Raises:
        ValueError: if the layer projects its state.
    """
    if module.proj_size:
        raise ValueError(f"module: expected no projection, got proj_size={module.proj_size}")
    names = ("weight_ih", "weight_hh", *(("bias_ih", "bias_hh") if module.bias else ()))
    W_x, W_h, *biases = to_numpy(tuple(getattr(module, name + suffix) for name in names))
    return W_x, W_h, *(biases or [np.zeros_like(W_h[:, 0]), np.zeros_like(W_h[:, 0])])


def _layer(kind: str, gates: int, W_x, W_h, b_x, b_h):
    """A torch layer with these arrays."""
    import torch

    W_x, W_h, b_x, b_h = (torch.as_tensor(array).detach() for array in (W_x, W_h, b_x, b_h))
    doors.shape("recurrent_weights", W_h, (f"{gates}*H", "H"))
    H = W_h.shape[1]
    doors.shape("recurrent_weights", W_h, (gates * H, H))
    doors.shape("input_weights", W_x, (gates * H, "D"))
    doors.shape("bias", b_x, (gates * H,))
    module = getattr(torch.nn, kind)(W_x.shape[1], H, dtype=W_x.dtype, device=W_x.device)
    with torch.no_grad():
        for own, given in zip(module.parameters(), (W_x, W_h, b_x, b_h), strict=True):
            own.copy_(given)
    return module
