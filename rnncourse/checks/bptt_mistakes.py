"""The well-known mistakes of back-propagation through time, and the answers they give.

Each function yields :class:`Mistake`, the most likely first.
"""

from collections.abc import Iterator

import numpy as np

from rnncourse.checks.bptt_answers import (
    Run,
    all_gradients,
    cell_gradients,
    chunk_pairs,
    drifting,
    moved,
    one_step,
    piled,
    restarted,
    sweep,
    truncated,
    window_pairs,
    wrapped,
)
from rnncourse.checks.compare import Mistake

TOO_EARLY = "does your loop stop one step too early? range() leaves its end out: to reach 0, it must end at -1."


def of_one_step(W_h, x, h_previous, h, s) -> Iterator[Mistake]:
    """Mistakes in one step backward.

    Args:
        W_h: recurrent weights, shape (H, H).
        x: input, shape (D,).
        h_previous: state before, shape (H,).
        h: state after, shape (H,).
        s: gradient arriving at it, shape (H,).

    Yields:
        The mistakes.
    """
    slope = 1 - h * h
    right = one_step(W_h, x, h_previous, s, slope)
    yield Mistake(
        "did you forget the transpose in the recurrence? Going back, the gradient meets W_h.T.",
        one_step(W_h.T, x, h_previous, s, slope),
    )
    yield Mistake(
        "did you drop phi'? The gradient passes through tanh before it meets anything else.",
        one_step(W_h, x, h_previous, s, 1.0),
    )
    yield Mistake(
        "is that the slope of the step before? phi'(a_t) is a function of h_t, not of h_{t-1}.",
        one_step(W_h, x, h_previous, s, 1 - h_previous**2),
    )
    yield Mistake(
        "did you apply tanh twice? h_t is tanh(a_t) already, so the slope is 1 - h_t**2.",
        one_step(W_h, x, h_previous, s, 1 - np.tanh(h) ** 2),
    )
    yield Mistake("is the square missing? The slope is 1 - h_t**2.", one_step(W_h, x, h_previous, s, 1 - h))
    yield Mistake("is that the slope of the sigmoid? Here phi is tanh.", one_step(W_h, x, h_previous, s, h * (1 - h)))
    yield Mistake(
        "are you off by one in time? At step t the recurrent weights multiply h_{t-1}, not h_t.",
        {**right, "d_W_h": np.outer(right["delta"], h)},
    )
    yield Mistake(
        "did you use s_t where delta_t belongs? The weights sit behind the tanh.",
        {**right, "d_W_x": np.outer(s, x), "d_W_h": np.outer(s, h_previous), "d_b_h": s},
    )
    yield Mistake(
        "did you send s_t back instead of delta_t? The slope is part of the Jacobian.",
        {**right, "d_h_previous": W_h.T @ s},
    )


def of_recursion(r: Run) -> Iterator[Mistake]:
    """Mistakes in the recursion and in the weight gradients.

    Args:
        r: the run.

    Yields:
        The mistakes.
    """
    W_h, g, slope, before = r.params.cell.recurrent_weights, r.g, r.slope, r.h[:-1]
    s, start = sweep(g, slope, W_h)

    def outcome(s, start, slope=slope):
        return {**cell_gradients(slope * s, r.x, before), "d_h_0": start.sum(axis=0)}

    yield Mistake(
        "did you forget the transpose in the recurrence? In rows, the gradient goes back by delta @ W_h, "
        "where the state came by h @ W_h.T.",
        outcome(*sweep(g, slope, W_h.T)),
    )
    yield Mistake("did you drop phi'? Use delta_t = phi'(a_t) * s_t.", outcome(*sweep(g, np.ones_like(g), W_h), 1.0))
    yield Mistake(
        "is phi' missing from the recursion? The Jacobian has it too: send delta back, not s.",
        outcome(*sweep(g, np.ones_like(g), W_h)),
    )
    yield Mistake("is phi' missing from the weight gradients? They take delta_t, not s_t.", outcome(s, start, 1.0))
    yield Mistake(
        "is there a minus sign in the recursion? Both parts of s_t are added.", outcome(*sweep(g, slope, -W_h))
    )
    yield Mistake(
        "is that the slope of the step before? phi'(a_t) is a function of h_t, not of h_{t-1}.",
        outcome(*sweep(g, 1 - before**2, W_h), 1 - before**2),
    )
    twice = 1 - np.tanh(r.h[1:]) ** 2
    yield Mistake(
        "did you apply tanh twice? h_t is tanh(a_t) already, so the slope is 1 - h_t**2.",
        outcome(*sweep(g, twice, W_h), twice),
    )
    yield Mistake(
        "are you off by one in time? At step t the recurrent weights multiply h_{t-1}, not h_t.",
        {"d_W_h": cell_gradients(slope * s, r.x, r.h[1:])["d_W_h"]},
    )
    yield Mistake(
        "did you write the immediate gradient where the total one is needed? s_t must also hold what comes back "
        "from step t + 1.",
        outcome(g, slope[0] * g[0] @ W_h),
    )
    late = slope * s * (np.arange(len(g)) > 0)[:, None, None]  # nothing at step 1
    yield Mistake(TOO_EARLY, {**cell_gradients(late, r.x, before), "d_h_0": (late[1:2] @ W_h).sum(axis=(0, 1))})
    last = np.zeros_like(g)
    last[-1] = g[-1]
    yield Mistake(
        "did you forget the immediate gradient g_t? Every step has a loss of its own, not only the last.",
        outcome(*sweep(last, slope, W_h)),
    )
    yield Mistake(
        "do you count paths more than once? The total gradient s_t already holds everything from later steps: "
        "multiply it by the immediate derivative, and do not feed it into the recursion again.",
        outcome(*sweep(s, slope, W_h)),
    )


def of_sums(r: Run) -> Iterator[Mistake]:
    """Mistakes in the sums over time and over the batch, in the loss, and at the two ends.

    Args:
        r: the run.

    Yields:
        The mistakes.
    """
    W_h = r.params.cell.recurrent_weights
    s, _ = sweep(r.g, r.slope, W_h)
    delta, right = r.slope * s, all_gradients(r)
    for kept, end in [(slice(0, 1), "first"), (slice(-1, None), "last")]:
        yield Mistake(
            f"did you overwrite instead of accumulate? Only the {end} step's share is left: use +=, or one product.",
            {
                **cell_gradients(delta[kept], r.x[kept], r.h[:-1][kept]),
                "d_W_y": np.einsum("tbi,tbj->ij", r.e[kept], r.h[1:][kept]),
                "d_b_y": r.e[kept].sum(axis=(0, 1)),
            },
        )
    summed = {"delta": delta, "x": r.x, "h_before": r.h[:-1]}
    yield Mistake(
        "did you sum over the batch too early? First the product for each sequence, then the sum.",
        {
            **cell_gradients(**{name: array.sum(axis=1, keepdims=True) for name, array in summed.items()}),
            "d_W_y": np.einsum("ti,tj->ij", r.e.sum(axis=1), r.h[1:].sum(axis=1)),
        },
    )
    T, B, _ = r.x.shape
    for size, what in [(B, "the sequences of the batch"), (T, "the steps"), (T * B, "steps and sequences")]:
        yield Mistake(
            f"did you average over {what}? The loss is a sum, and so is its gradient.",
            {name: array / size for name, array in right.items()},
        )
    yield Mistake(
        "did you differentiate the square without its one half? e_t is y_t minus target.", all_gradients(r, 2 * r.e)
    )
    yield Mistake("is the sign of e_t wrong? It is y_t minus target.", all_gradients(r, -r.e))
    yield Mistake(
        "does the readout read h_t or h_{t-1}? It reads the new state.",
        {"d_W_y": np.einsum("tbi,tbj->ij", r.e, r.h[:-1])},
    )
    yield Mistake("did you stop one step early? This is s_1; one more W_h.T to reach h_0.", {"d_h_0": s[0].sum(axis=0)})
    yield Mistake("did you stop one step early? This is delta_1; h_0 lies behind W_h.", {"d_h_0": delta[0].sum(axis=0)})


def of_full(r: Run) -> Iterator[Mistake]:
    """Mistakes in full back-propagation.

    Args:
        r: the run.

    Yields:
        The mistakes.
    """
    yield from of_recursion(r)
    yield from of_sums(r)


def of_sliding(r: Run, window: int) -> Iterator[Mistake]:
    """Mistakes in a sliding window.

    Args:
        r: the run.
        window: m.

    Yields:
        The mistakes.
    """
    T = len(r.x)
    kept = window_pairs(T, window)
    yield Mistake(
        "is the window one too short? At most m Jacobians means m + 1 terms for each loss: tau = t - m, ..., t.",
        truncated(r, window_pairs(T, window - 1)),
    )
    yield Mistake(
        "is the window one too long? tau goes from t - m to t, that is m + 1 terms.",
        truncated(r, window_pairs(T, window + 1)),
    )
    inner = window_pairs(T, window - 1) & (np.arange(T) > 0)
    yield Mistake(TOO_EARLY, truncated(r, inner))
    yield Mistake("nothing has been cut off: this is the full gradient.", truncated(r, window_pairs(T, T)))
    yield Mistake(
        "do you carry the gradient across windows, and so count paths more than once? A window starts from g_t, "
        "its own loss alone, and not from the total s_t.",
        truncated(r, kept, g=sweep(r.g, r.slope, r.params.cell.recurrent_weights)[0]),
    )
    for chunk in {window, window + 1} - {0}:
        yield Mistake(
            "are these chunks? A window slides: every t has one of its own.", truncated(r, chunk_pairs(T, chunk))
        )
    yield Mistake(
        "do your indices run off the start of the sequence? x[-1] is the last step: stop at tau = 1.",
        wrapped(r, window),
    )
    yield Mistake("is `window` used at all? These are the terms tau = t alone.", truncated(r, window_pairs(T, 0)))
    yield Mistake(
        "do you add g again on the way back? A window carries the gradient of its own loss alone.", piled(r, window)
    )
    yield from _of_places(r, kept)
    yield from _of_pairs(r, kept)


def of_chunked(r: Run, chunk: int) -> Iterator[Mistake]:
    """Mistakes in chunked truncation.

    Args:
        r: the run.
        chunk: k.

    Yields:
        The mistakes.
    """
    T = len(r.x)
    starts = range(0, T, chunk)
    kept = chunk_pairs(T, chunk)
    losses = np.arange(T)[:, None]
    yield Mistake(
        "did you carry the gradient across the cut? Only the state crosses it; s starts from zero in every chunk.",
        truncated(r, window_pairs(T, T)),
    )
    for h_0 in (r.params.initial_state, np.zeros_like(r.params.initial_state)):
        yield Mistake(
            "did you forget to carry the state? A chunk starts where the chunk before it ended.",
            restarted(r, chunk, h_0),
        )
    yield Mistake(
        "did you overwrite instead of accumulate? Only the last chunk is left.",
        truncated(r, kept & (losses >= starts[-1])),
    )
    if T % chunk:
        yield Mistake(
            "did you drop the last chunk? It may be shorter than the others, but it counts.",
            truncated(r, kept & (losses < starts[-1])),
        )
    yield Mistake(
        "did you average over the chunks? The loss is a sum over all of them.",
        {name: array / len(starts) for name, array in truncated(r, kept).items()},
    )
    yield Mistake(
        "does only the last loss of each chunk count? Every step has a loss of its own: add g_t at each.",
        truncated(r, kept & (((losses + 1) % chunk == 0) | (losses == T - 1))),
    )
    yield Mistake(TOO_EARLY, truncated(r, kept & (np.arange(T) % chunk > 0)))
    if chunk > 1:
        yield Mistake("are your chunks one step too short?", truncated(r, chunk_pairs(T, chunk - 1)))
    yield Mistake("are your chunks one step too long?", truncated(r, chunk_pairs(T, chunk + 1)))
    hint = "is this a sliding window? A chunk's first loss reaches back over nothing."
    for window in (chunk, chunk - 1):
        yield Mistake(hint, truncated(r, window_pairs(T, window)))
    yield Mistake(
        "do you start a chunk from the state before its last? It starts where the chunk before it ended, at h[-1].",
        restarted(r, chunk, r.params.initial_state, behind=1),
    )
    yield from _of_places(r, kept)
    yield from _of_pairs(r, kept)


def _of_places(r: Run, kept: np.ndarray) -> Iterator[Mistake]:
    """Mistakes about where in time a truncated sum takes what it multiplies."""
    at_tau, at_t = (truncated(r, kept, meets=meets) for meets in ("tau", "t"))
    yield Mistake(
        "are you off by one in time? At step tau the recurrent weights met h_{tau-1}, not h_tau.",
        truncated(r, kept) | {"d_W_h": at_tau["d_W_h"]},
    )
    yield Mistake(
        "do your products take x and h from step t? The weights were used at step tau: x_tau and h_{tau-1}.", at_t
    )
    yield Mistake(
        "is that the slope of the step before? phi'(a_tau) is a function of h_tau.",
        truncated(r, kept, slope=1 - r.h[:-1] ** 2),
    )


def _of_pairs(r: Run, kept: np.ndarray) -> Iterator[Mistake]:
    """Mistakes that any truncation shares."""
    W_h = r.params.cell.recurrent_weights
    yield Mistake("did you forget the transpose in the recurrence?", truncated(r, kept, W_h=W_h.T))
    yield Mistake("did you drop phi'?", truncated(r, kept, slope=np.ones_like(r.slope)))
    last = kept & (np.arange(len(kept))[:, None] == len(kept) - 1)
    yield Mistake("only the last loss has arrived: every t sends its own g_t.", truncated(r, last))


def of_differences(f, theta: np.ndarray, step: float) -> Iterator[Mistake]:
    """Mistakes in central differences.

    Args:
        f: from an array to a number.
        theta: where to differentiate, any shape.
        step: how far to move an entry.

    Yields:
        The mistakes.
    """
    here = f(theta)
    ahead, behind = (np.array([f(moved) for moved in moved(theta, sign * step)]) for sign in (1, -1))

    def shaped(values):
        return {"gradient": np.reshape(values, theta.shape)}

    yield Mistake(
        "is this the one-sided difference, forwards? Its error shrinks only like the step, not like its square.",
        shaped((ahead - here) / step),
    )
    yield Mistake("is this the one-sided difference, backwards?", shaped((here - behind) / step))
    yield Mistake("did you forget the division? Two steps lie between the two values.", shaped(ahead - behind))
    yield Mistake(
        "did you divide by one step? From theta - step to theta + step it is two.", shaped((ahead - behind) / step)
    )
    yield Mistake(
        "are parentheses missing? a - b / c divides b alone, and x / 2 * step multiplies by step.",
        shaped((ahead - behind) / 2 * step),
    )
    small = 1e-5
    fixed = [
        (f(up) - f(down)) / (2 * small) for up, down in zip(moved(theta, small), moved(theta, -small), strict=True)
    ]
    yield Mistake("do you use a step of your own? Use the `step` that you were given.", shaped(fixed))
    together = (f(theta + step) - f(theta - step)) / (2 * step)
    yield Mistake(
        "did you move all entries at once? Move one, and leave the others where they are.",
        shaped(np.full(theta.size, together)),
    )
    for left_at in (step, -step):
        yield Mistake(
            "did you leave an entry where you moved it? Put it back before you move the next.",
            shaped(drifting(f, theta, step, left_at)),
        )
