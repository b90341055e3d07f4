"""Beam search with a GRU decoder: a batch of hypotheses against one hypothesis at a time, and against torch.

All keep the same hypotheses and return the same log-probabilities. The batched torch is the library's other
floor, in float64 as well.
"""

from collections.abc import Callable, Iterator

import numpy as np
import torch

from benchmarks.race import Case
from rnncourse import bridge, bridge_gates, gpu, reference
from rnncourse.data import pairs
from rnncourse.gate_params import init_reset_after_gru
from rnncourse.reference import seq2seq
from rnncourse.reference.activations import sigmoid
from rnncourse.seq2seq_params import Seq2SeqParams, init_seq2seq

STEPS, KEPT, SYMBOLS = 20, 8, 1000
WIDTHS = (128,)


def cases(steps: int = STEPS, batch: int = KEPT, widths=WIDTHS, symbols: int = SYMBOLS) -> Iterator[Case]:
    """One source; the decoder writes until the limit.

    Args:
        steps: the limit.
        batch: K, hypotheses kept.
        widths: values of H.
        symbols: V.

    Yields:
        Cases for :func:`benchmarks.race.run`.
    """
    torch.set_num_threads(1)
    for H in widths:
        params = problem(H, symbols)
        source = pairs.reversals(np.random.default_rng(1), 1, 10, symbols - 1)[0]
        contenders = {
            "rnncourse": batched(reference, params, source, batch, steps),
            "loop in NumPy": one_by_one(params, source, batch, steps),
            "loop in torch": one_by_one_torch(params, source, batch, steps),
            "batched torch": batched(gpu, bridge.to_torch(params), source, batch, steps),
        }
        facts = {"H": H, "V": symbols, "K": batch, "steps": steps}
        yield Case(facts, contenders, by_strings(params, source, batch, steps))


def problem(H: int, V: int) -> Seq2SeqParams:
    """A decoder with opinions, which is slow to come to an end, so that no search may stop before the limit."""
    params = init_seq2seq(np.random.default_rng(0), V, V, H, H, init=init_reset_after_gru)
    W_y, b_y = params.readout
    return params._replace(readout=params.readout._replace(weights=4 * W_y, bias=b_y - 30 * (np.arange(V) == 0)))


def batched(floor, params: Seq2SeqParams, source: np.ndarray, K: int, steps: int) -> Callable:
    cell = floor.gru.reset_after()
    memory = floor.seq2seq.encode(cell, params, source)

    def work():
        found = floor.search.beam(*floor.seq2seq.stepper(cell, params, memory), K, steps)
        return [np.asarray(found.log_probabilities)]

    return work


def one_by_one(params: Seq2SeqParams, source: np.ndarray, K: int, steps: int) -> Callable:
    """The equations as they stand, a matrix times a column, one hypothesis after the other."""
    start = reference.seq2seq.encode(reference.gru.reset_after(), params, source).start[0][0]
    W_x, W_h, b, b_hn = params.decoder
    W_y, b_y = params.readout
    H = len(b_hn)

    def step(symbol, h):
        ax, ah = W_x @ params.target_table[symbol] + b, W_h @ h
        r, z = np.split(sigmoid(ax[: 2 * H] + ah[: 2 * H]), 2)
        n = np.tanh(ax[2 * H :] + r * (ah[2 * H :] + b_hn))
        h = z * h + (1 - z) * n
        logits = W_y @ h + b_y
        logits -= logits.max()
        return logits - np.log(np.exp(logits).sum()), h

    def work():
        alive, ended = [(0.0, (), start)], []
        for n in range(1, steps + 1):
            longer = []
            for total, said, h in alive:
                log_p, h = step(said[-1] if said else 0, h)
                ended.append(total + log_p[0])
                for v in np.argsort(-log_p)[: K + 1]:  # no more than these can be among the K best
                    if v != 0:
                        longer.append((total + log_p[v], (*said, int(v)), h))
            alive = sorted(longer, key=lambda one: -one[0])[:K]
            ended = sorted(ended, reverse=True)[:K]
            if n == steps or (len(ended) == K and ended[-1] >= alive[0][0]):
                break
        return [np.array(ended)[None]]

    return work


def one_by_one_torch(params: Seq2SeqParams, source: np.ndarray, K: int, steps: int) -> Callable:
    """The same loop as it is usually written: one call of torch's own cell for each hypothesis."""
    start = reference.seq2seq.encode(reference.gru.reset_after(), params, source).start[0]
    start, table, W_y, b_y = bridge.to_torch((start, params.target_table, *params.readout))
    layer = bridge_gates.gru_to_torch(params.decoder)
    cell = torch.nn.GRUCell(layer.input_size, layer.hidden_size, dtype=torch.float64)
    for mine, its in zip(cell.parameters(), layer.parameters(), strict=True):
        mine.data.copy_(its)

    @torch.no_grad()
    def work():
        alive, ended = [(0.0, (), start)], []
        for n in range(1, steps + 1):
            longer = []
            for total, said, h in alive:
                h = cell(table[said[-1] if said else 0][None], h)
                log_p = torch.log_softmax(h[0] @ W_y.T + b_y, dim=0)
                ended.append(total + float(log_p[0]))
                best, which = log_p.topk(K + 1)
                for value, v in zip(best.tolist(), which.tolist(), strict=True):
                    if v != 0:
                        longer.append((total + value, (*said, v), h))
            alive = sorted(longer, key=lambda one: -one[0])[:K]
            ended = sorted(ended, reverse=True)[:K]
            if n == steps or (len(ended) == K and ended[-1] >= alive[0][0]):
                break
        return [np.array(ended)[None]]

    return work


def by_strings(params: Seq2SeqParams, source: np.ndarray, K: int, steps: int) -> list[np.ndarray]:
    """The truth: hypotheses as strings, each scored by a taught run from the beginning."""
    cell = reference.gru.reset_after()

    def logs(strings):
        targets = pairs.pad(strings)
        logits, _ = seq2seq.forward(cell, params, np.repeat(source, len(strings), axis=1), targets)
        return seq2seq.log_softmax(logits)

    alive, totals, ended = [()], np.zeros(1), []
    for n in range(steps):
        now = totals[:, None] + logs(alive)[n]
        ended = sorted([*ended, *now[:, 0]], reverse=True)[:K]
        flat = np.argsort(-now[:, 1:], axis=None, kind="stable")[:K]
        rows, symbols = np.unravel_index(flat, now[:, 1:].shape)
        totals = now[rows, symbols + 1]
        alive = [(*alive[row], int(symbol) + 1) for row, symbol in zip(rows, symbols, strict=True)]
    return [np.array(ended)[None]]
