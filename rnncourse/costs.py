"""What a recurrence costs, counted: operations, numbers kept, and the rounds that must wait for each other.

Counts are those of the matrix products alone, a multiplication and an addition for each term; what is
done entry by entry comes on top, and for H beyond a few units is small beside them.
"""

from typing import NamedTuple

from rnncourse import doors


class Cost(NamedTuple):
    """What one pass costs.

    Attributes:
        flops: multiplications and additions of the matrix products.
        kept: numbers that must be kept for the way back, parameters not counted.
        rounds: sequential depth: products that have to wait for the one before.
    """

    flops: int
    kept: int
    rounds: int


def recurrent(steps: int, batch: int, inputs: int, hidden: int, outputs: int = 0, gates: int = 1) -> Cost:
    """One forward pass of a recurrent layer and its readout, step by step, :eq:`eq-cost-recurrent`.

    The way back takes twice the operations and as many rounds again. What is kept is that of a vanilla cell.

    Args:
        steps: T.
        batch: B.
        inputs: D.
        hidden: H.
        outputs: O, 0 for no readout.
        gates: blocks of pre-activations: 1 for the vanilla cell, 3 for a GRU, 4 for an LSTM.

    Returns:
        The counts.

    Raises:
        ValueError: if a size is too small.
    """
    for name, size in (("steps", steps), ("batch", batch), ("inputs", inputs), ("hidden", hidden), ("gates", gates)):
        doors.at_least(name, size, 1)
    doors.at_least("outputs", outputs, 0)
    flops = 2 * steps * batch * hidden * (gates * (inputs + hidden) + outputs)
    return Cost(flops, batch * (steps * (hidden + inputs) + hidden), steps)


def linear(steps: int, batch: int, hidden: int, pairs: int, rounds: int, diagonal: bool = False) -> Cost:
    """A linear recurrence of matrices or diagonals by a scan, :eq:`eq-cost-scan`.

    Args:
        steps: T.
        batch: B.
        hidden: H.
        pairs: as ``scan.count`` says.
        rounds: likewise.
        diagonal: a pair of diagonals takes 3 H operations, one of matrices 2 H^3 + 2 H^2.

    Returns:
        The counts; the states and the transitions are kept.

    Raises:
        ValueError: if a size is too small.
    """
    for name, size in (("steps", steps), ("batch", batch), ("hidden", hidden)):
        doors.at_least(name, size, 1)
    each = 3 * hidden if diagonal else 2 * hidden**3 + 2 * hidden**2
    wide = hidden if diagonal else hidden**2
    return Cost(batch * pairs * each, batch * (steps * (hidden + wide) + hidden), rounds)
