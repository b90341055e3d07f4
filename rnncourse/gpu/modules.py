"""Thin ``nn.Module`` classes: parameters plus a call."""

import torch
from torch import nn

from rnncourse.gpu import cells, unroll
from rnncourse.params import RNNParams, named_arrays


class RNN(nn.Module):
    """A vanilla recurrent layer that an optimiser of torch can train.

    Args:
        params: where to start: W_x (H, D), W_h (H, H), b_h (H,), NumPy arrays or tensors, copied.
        activation: phi: "tanh", "sigmoid", "relu" or "identity".
    """

    def __init__(self, params: RNNParams, activation: str = "tanh"):
        super().__init__()
        self.cell = cells.rnn(activation)
        for name, array in named_arrays(params):
            self.register_parameter(name, nn.Parameter(torch.as_tensor(array).detach().clone()))

    @property
    def params(self) -> RNNParams:
        """The parameters as they are now, in the form every function of this floor takes."""
        return RNNParams(self.input_weights, self.recurrent_weights, self.bias)

    def forward(self, inputs, initial_state=None, lengths=None) -> tuple[torch.Tensor, tuple]:
        """Run over a batch of sequences.

        Args:
            inputs: x, shape (T, B, D).
            initial_state: h_0, shape (H,) or (B, H); zeros unless given.
            lengths: real steps of each sequence, shape (B,); all T unless given.

        Returns:
            ``(outputs, final_state)``: h_1..h_T, shape (T, B, H), and a tuple of one (B, H).

        Raises:
            ValueError: if a shape does not fit, or a length is out of range.
        """
        outputs, final_state, _ = unroll.forward(self.cell, self.params, inputs, initial_state, lengths)
        return outputs, final_state
