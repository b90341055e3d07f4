"""The LSTM: a memory cell that is multiplied by one gate and added to through another. ::

    i, f, o = sigma(a_i), sigma(a_f), sigma(a_o)      how much to write, to keep, to show
    g = tanh(a_g)                                     what to write
    c_t = f * c_{t-1} + i * g                         the memory cell
    h_t = o * tanh(c_t)                               what others see

The pre-activations lie side by side in torch's order, a = (a_i, a_f, a_g, a_o), shape (B, 4 H).
The state is (h, c).
"""

import torch

from rnncourse.gpu import layer_norm
from rnncourse.gpu.cells import Cell


def plain() -> Cell:
    """Make the LSTM cell.

    Returns:
        The cell; its parameters are ``gate_params.LSTMParams``.
    """

    def step(own, ax, ah, state):
        _, before = state
        i, f, g, o = gates(ax + ah)
        c = f * before + i * g
        return o * torch.tanh(c), c

    return Cell("lstm", gates=4, states=2, step=step)


def peephole() -> Cell:
    """Make the LSTM cell with peepholes (Gers and Schmidhuber, 2000): gates that look at the memory cell.

    a_i and a_f gain p_i * c_{t-1} and p_f * c_{t-1}; a_o gains p_o * c_t, the cell as it now is.

    Returns:
        The cell; its parameters are ``gate_params.PeepholeLSTMParams``.
    """

    def step(own, ax, ah, state):
        _, before = state
        p_i, p_f, p_o = own[0].chunk(3)
        a_i, a_f, a_g, a_o = (ax + ah).chunk(4, dim=-1)
        i, f, g = torch.sigmoid(a_i + p_i * before), torch.sigmoid(a_f + p_f * before), torch.tanh(a_g)
        c = f * before + i * g
        return torch.sigmoid(a_o + p_o * c) * torch.tanh(c), c

    return Cell("peephole-lstm", gates=4, states=2, step=step, own=((3,),))


def normed(epsilon: float = 1e-5) -> Cell:
    """Make the LSTM cell with layer normalisation (Ba, Kiros and Hinton, 2016, in its supplement).

    Three rows are normalised: W_x x_t + b and W_h h_{t-1}, each over all 4 H of its entries, before
    they are added, a = gamma_x * n_x + gamma_h * n_h + beta; and the cell on its way out,
    h_t = o * tanh(gamma_c * n_c + beta_c). The cell itself is carried on as it is.

    Args:
        epsilon: added to the variance of a row.

    Returns:
        The cell; its parameters are ``gate_params.LayerNormLSTMParams``.

    Raises:
        ValueError: if epsilon is not positive.
    """
    layer_norm.check_epsilon(epsilon)

    def step(own, ax, ah, state):
        _, before = state
        gamma_x, gamma_h, beta, gamma_c, beta_c = own
        n_x, n_h = (layer_norm.normalise(rows, epsilon)[0] for rows in (ax, ah))
        i, f, g, o = gates(gamma_x * n_x + gamma_h * n_h + beta)
        c = f * before + i * g
        n_c, _ = layer_norm.normalise(c, epsilon)
        return o * torch.tanh(gamma_c * n_c + beta_c), c

    return Cell("layer-norm-lstm", gates=4, states=2, step=step, own=((4,), (4,), (4,), (1,), (1,)))


def gates(a: torch.Tensor) -> tuple:
    """sigma over i, f and o, tanh over g.

    Args:
        a: pre-activations, shape (..., 4 H).

    Returns:
        i, f, g, o, each (..., H).
    """
    a_i, a_f, a_g, a_o = a.chunk(4, dim=-1)
    return torch.sigmoid(a_i), torch.sigmoid(a_f), torch.tanh(a_g), torch.sigmoid(a_o)
