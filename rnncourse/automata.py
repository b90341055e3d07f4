"""Finite automata, and the recurrent networks that are the same machines, with weights set by hand.

An automaton reads a symbol, looks up its next state in a table, and answers. The network of
:func:`as_rnn` does the same with rectified units, exactly: every number in it is 0, 1 or -1.
"""

from typing import NamedTuple

import numpy as np

from rnncourse import doors
from rnncourse.params import ModelParams, ReadoutParams, RNNParams, map_arrays


class Automaton(NamedTuple):
    """A finite automaton with an answer at every step.

    Attributes:
        table: the state that follows state q when symbol v is read, integers, shape (Q, V).
        answers: the answer given on arriving in state q by symbol v, integers, shape (Q, V).
        start: the state before the first symbol.
    """

    table: np.ndarray
    answers: np.ndarray
    start: int = 0


def parity() -> Automaton:
    """The automaton that says whether the ones so far are odd in number.

    Returns:
        Two states, two symbols; the state is the answer.
    """
    return Automaton(np.array([[0, 1], [1, 0]]), np.array([[0, 0], [1, 1]]))


def run(automaton: Automaton, symbols) -> tuple[np.ndarray, np.ndarray]:
    """Run an automaton by looking up its table.

    Args:
        automaton: Q states, V symbols.
        symbols: v_1..v_T, integers in 0..V-1, shape (T,).

    Returns:
        ``(states, answers)``: q_1..q_T and the answers, integers, shape (T,).

    Raises:
        ValueError: if the automaton is no automaton, or a symbol is out of range.
    """
    table, answers, state = _check(automaton)
    symbols = _symbols(symbols, table.shape[1])
    rows, states = table.tolist(), []
    for symbol in symbols.tolist():
        state = rows[state][symbol]
        states.append(state)
    states = np.array(states, dtype=np.int64)
    return states, answers[states, symbols]


def as_rnn(automaton: Automaton, dtype: type = np.float64) -> ModelParams:
    """Build the rectified network that is this automaton, :eq:`eq-automaton`.

    Unit (q, v), at place q * V + v, is 1 when the automaton has just arrived in q by reading v, and
    0 otherwise. The readout gives 1 to the answer and 0 to the others.

    Args:
        automaton: Q states, V symbols, answers 0..O-1.
        dtype: the precision of the weights; the network is exact in every one.

    Returns:
        W_x (Q V, V), W_h (Q V, Q V), b_h = -1, W_y (O, Q V), b_y = 0 and h_0, for a cell with
        activation "relu" and one-hot inputs.

    Raises:
        ValueError: if the automaton is no automaton.
    """
    table, answers, start = _check(automaton)
    Q, V = table.shape
    leads = np.arange(Q)[:, None, None] == table  # [q, p, v]: in p, v leads to q
    # Unit (q, v) listens to (p, r) if v leads from p to q, whatever r led to p.
    W_h = np.repeat(leads.transpose(0, 2, 1).reshape(Q * V, Q), V, axis=1)
    W_x = np.tile(np.eye(V), (Q, 1))
    W_y = np.arange(answers.max() + 1)[:, None] == answers.reshape(-1)
    h_0 = np.arange(Q * V) == start * V  # any unit of the start state will do
    cell = RNNParams(W_x, W_h, -np.ones(Q * V))
    model = ModelParams(cell, ReadoutParams(W_y, np.zeros(len(W_y))), h_0)
    return map_arrays(lambda array: array.astype(dtype), model)


def one_hot(symbols, count: int, dtype: type = np.float64) -> np.ndarray:
    """Write symbols as the inputs that the network of :func:`as_rnn` takes, a batch of one.

    Args:
        symbols: integers in 0..V-1, shape (T,).
        count: V.
        dtype: of the result.

    Returns:
        x, shape (T, 1, V): 1 at the symbol, 0 elsewhere.

    Raises:
        ValueError: if a symbol is out of range.
    """
    doors.at_least("count", count, 1)
    symbols = _symbols(symbols, count)
    return (np.arange(count) == symbols[:, None, None]).astype(dtype)


def _check(automaton: Automaton) -> tuple[np.ndarray, np.ndarray, int]:
    """The automaton's parts as arrays, checked."""
    table, answers, start = np.asarray(automaton.table), np.asarray(automaton.answers), automaton.start
    doors.shape("table", table, ("Q", "V"))
    doors.shape("answers", answers, table.shape)
    for name, array, end in [("table", table, len(table)), ("answers", answers, None)]:
        if not np.issubdtype(array.dtype, np.integer):
            raise ValueError(f"{name}: expected integers, got {array.dtype}")
        if array.size == 0 or array.min() < 0 or (end and array.max() >= end):
            raise ValueError(f"{name}: expected entries in 0..{end - 1 if end else 'O-1'}, got {array.tolist()}")
    doors.at_least("start", start, 0)
    if start >= len(table):
        raise ValueError(f"start: expected a state in 0..{len(table) - 1}, got {start}")
    return table, answers, int(start)


def _symbols(symbols, count: int) -> np.ndarray:
    symbols = np.asarray(symbols)
    doors.shape("symbols", symbols, ("T",))
    if not np.issubdtype(symbols.dtype, np.integer):
        raise ValueError(f"symbols: expected integers, got {symbols.dtype}")
    if symbols.size and (symbols.min() < 0 or symbols.max() >= count):
        raise ValueError(f"symbols: expected entries in 0..{count - 1}, got {symbols.min()}..{symbols.max()}")
    return symbols
