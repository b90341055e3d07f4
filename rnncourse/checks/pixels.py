"""The checks of the exercise on chapter 15: what a pixel sees, bits, completion, holes, and another corner."""

from collections.abc import Callable

import numpy as np

from rnncourse import raster
from rnncourse.checks.compare import Mistake, as_array, known, named_parts, require_arrays
from rnncourse.checks.core import Wrong, call, task
from rnncourse.checks.core import scoreboard as print_scoreboard
from rnncourse.diagonal_params import DiagonalParams, mirror
from rnncourse.reference import cells, diagonal

LN2 = float(np.log(2))


@task("1", "what a pixel may see", points=4)
def seen(neighbours: Callable, **sizes: int) -> None:
    """Judge the two pixels that a step is given.

    Args:
        neighbours: takes images (B, M, N) and a number for outside; returns the pixel read before and the one
            above, both (B, M, N).
        sizes: seed, rows, columns, levels.

    Raises:
        Wrong: with a diagnosis.
    """
    rng, (M, N), V = _sizes(**sizes)
    images, names = rng.integers(0, V, (3, M, N)), ("before", "above")
    for outside in (V, V + 3):
        found = call(neighbours, images, outside)
        answer = named_parts(tuple(found) if isinstance(found, np.ndarray) else found, names)
        slips = [Mistake(hint, dict(zip(names, wrong(images, outside), strict=True))) for hint, wrong in SEEN.items()]
        right = _before(images, outside), raster.above(images, outside)
        require_arrays(answer, dict(zip(names, right, strict=True)), slips)


@task("2", "bits per dimension of a part", points=4)
def cost(bits: Callable, **sizes: int) -> None:
    """Judge the bits per dimension of the pixels that count.

    Args:
        bits: takes log-probabilities (B, M, N, V), images (B, M, N) and booleans (M, N); returns a number.
        sizes: seed, rows, columns, levels.

    Raises:
        Wrong: with a diagnosis.
    """
    rng, (M, N), V = _sizes(**sizes)
    for B, share in ((5, 0.5), (3, 0.3), (2, 0.8)):
        images = rng.integers(0, V, (B, M, N))
        log_p = np.log(rng.dirichlet(np.ones(V), images.shape))
        problem = log_p, images, _hole(rng, M, N, share)
        answer = {"bits": _number(call(bits, *problem))}
        require_arrays(answer, {"bits": _bits(*problem)}, known("bits", BITS, *problem))


@task("3", "completion in any order", points=5)
def complete(complete: Callable, **sizes: int) -> None:
    """Judge one completion by forward sampling, in an order that is given.

    Args:
        complete: takes a model, an image (M, N), an order (M N, 2), the hole (M, N) and a number of [0, 1) for
            each pixel of the hole, in that order; returns the image completed.
        sizes: seed, rows, columns, levels.

    Raises:
        Wrong: with a diagnosis.
    """
    rng, (M, N), V = _sizes(**sizes)
    answers, rights, wrongs = [], [], {hint: [] for hint in COMPLETE}
    for _ in range(12):  # one image may come out right, or like a slip, by luck
        order = np.stack(np.unravel_index(rng.permutation(M * N), (M, N)), axis=1)
        model, image, hole = _model(rng, M, N, V, order), rng.integers(0, V, (M, N)), _hole(rng, M, N)
        uniforms = rng.random(int(hole.sum()))
        problem = model, image, order, hole, uniforms
        answer = call(complete, *problem)
        _whole("image", answer, V)
        rights.append(_completed(*problem))
        answers.append(as_array("image", answer, rights[-1]))
        for hint, wrong in COMPLETE.items():
            wrongs[hint].append(wrong(*problem))
    slips = [Mistake(hint, {"image": np.array(found)}) for hint, found in wrongs.items()]
    require_arrays({"image": np.array(answers)}, {"image": np.array(rights)}, slips)


@task("4", "the right answer for a hole", points=5)
def hole(hole_distribution: Callable, **sizes: int) -> None:
    """Judge the distribution of a hole given everything that is known.

    Args:
        hole_distribution: takes a model, an image (M, N), the hole (M, N) and its fillings (F, K); returns the
            probability of each filling, shape (F,).
        sizes: seed, rows, columns, levels.

    Raises:
        Wrong: with a diagnosis.
    """
    rng, (M, N), V = _sizes(**sizes)
    model = _model(rng, M, N, V, np.argwhere(np.ones((M, N))))
    image, unknown = rng.integers(0, V, (M, N)), _middle(rng, M, N)
    problem = model, image, unknown, raster.fillings(int(unknown.sum()), V)
    answer = {"probabilities": call(hole_distribution, *problem)}
    require_arrays(answer, {"probabilities": _posterior(*problem)}, known("probabilities", HOLE, *problem))


@task("5", "draws that count", points=4)
def weigh(weighted: Callable, **sizes: int) -> None:
    """Judge the weights of forward draws: the mean of a hole, and what the draws are worth.

    Args:
        weighted: takes a model, draws (B, M, N) and the hole (M, N); returns the mean of the hole's pixels, (K,),
            and the effective number of draws.
        sizes: seed, rows, columns, levels.

    Raises:
        Wrong: with a diagnosis.
    """
    rng, (M, N), V = _sizes(**sizes)
    model = _model(rng, M, N, V, np.argwhere(np.ones((M, N))))
    unknown = _middle(rng, M, N)
    draws = np.repeat(rng.integers(0, V, (1, M, N)), 40, axis=0)
    draws[:, unknown] = rng.integers(0, V, (40, int(unknown.sum())))
    problem = model, draws, unknown
    names = ("mean", "worth")
    answer = named_parts(call(weighted, *problem), names)
    answer["worth"] = _number(answer["worth"])
    slips = [Mistake(hint, dict(zip(names, wrong(*problem), strict=True))) for hint, wrong in WEIGH.items()]
    require_arrays(answer, dict(zip(names, _weighted(*problem), strict=True)), slips)


@task("6", "from the other corner", points=6)
def turn(corner: Callable, **sizes: int) -> None:
    """Judge a recurrence that comes from the upper right corner, and its way back.

    Args:
        corner: takes W_x (H, D), W_r and W_a (H, H), b (H,), inputs (M, N, D) and the gradients of the outputs
            (M, N, H); returns the states (M, N, H) and the gradient of W_r (H, H).
        sizes: seed, rows, columns, levels.

    Raises:
        Wrong: with a diagnosis.
    """
    rng, (M, N), D = _sizes(**sizes)
    params = [0.7 * rng.standard_normal(shape) for shape in ((3, D), (3, 3), (3, 3), (3,))]
    problem = *params, rng.standard_normal((M, N, D)), rng.standard_normal((M, N, 3))
    names = ("states", "dW_r")
    answer = named_parts(call(corner, *problem), names)
    slips = [Mistake(hint, dict(zip(names, wrong(*problem), strict=True))) for hint, wrong in TURN.items()]
    require_arrays(answer, dict(zip(names, _corner(*problem), strict=True)), slips)


def _sizes(seed: int = 0, rows: int = 3, columns: int = 3, levels: int = 2) -> tuple:
    return np.random.default_rng(seed), (rows, columns), levels


def _number(answer):
    """A number, also where it came as an array of one entry."""
    return np.reshape(answer, ()) if isinstance(answer, np.ndarray) and answer.size == 1 else answer


def _hole(rng, M: int, N: int, share: float = 0.5) -> np.ndarray:
    """A share of the pixels, never none and never all."""
    flat = np.zeros(M * N, bool)
    flat[rng.permutation(M * N)[: max(1, int(M * N * share))]] = True
    return flat.reshape(M, N)


def _middle(rng, M: int, N: int) -> np.ndarray:
    """A hole with a known pixel before its first one, one between and one after its last."""
    flat = np.zeros(M * N, bool)
    flat[[1, 3, 4 if M * N < 8 else 5]] = True
    return flat.reshape(M, N)


def _model(rng, M: int, N: int, V: int, order: np.ndarray) -> Callable:
    """A model that reads in an order: each pixel's probabilities are a softmax of what was read before it."""
    K = M * N
    effects, bias = 1.5 * rng.standard_normal((K, K, V, V)), rng.standard_normal((K, V))
    i, j = order.T

    def conditionals(images: np.ndarray) -> np.ndarray:
        read = np.asarray(images)[:, i, j]
        found = np.empty((*np.shape(images), V))
        for k in range(K):
            logits = sum((effects[k, m, read[:, m]] for m in range(k)), np.tile(bias[k], (len(read), 1)))
            found[:, i[k], j[k]] = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        return found

    return conditionals


def _whole(name: str, image, V: int) -> None:
    """Refuse what is no image before it is compared."""
    image = np.asarray(image)
    if image.dtype.kind not in "iuf":
        raise Wrong(f"{name}: expected integers, got {image.dtype}.")
    if not np.isin(image, np.arange(V)).all():
        raise Wrong(f"{name}: expected the values 0..{V - 1}, got others.")


def _before(images: np.ndarray, outside: int) -> np.ndarray:
    flat = images.reshape(len(images), -1)
    moved = np.concatenate([np.full_like(flat[:, :1], outside), flat[:, :-1]], axis=1)
    return moved.reshape(images.shape)


def _after(images: np.ndarray, outside: int) -> np.ndarray:
    return _before(images[:, ::-1, ::-1], outside)[:, ::-1, ::-1]


def _wrapped(images: np.ndarray, outside: int) -> tuple:
    """Rolled, so that the end comes in at the beginning."""
    flat = images.reshape(len(images), -1)
    return np.roll(flat, 1, axis=1).reshape(images.shape), np.roll(images, 1, axis=1)


def _columns(images: np.ndarray, outside: int) -> tuple:
    """Read by columns."""
    before, above = _before(images.swapaxes(1, 2), outside), raster.above(images.swapaxes(1, 2), outside)
    return before.swapaxes(1, 2), above.swapaxes(1, 2)


def _picked(log_p: np.ndarray, images: np.ndarray) -> np.ndarray:
    return np.take_along_axis(log_p, images[..., None], axis=3)[..., 0]


def _bits(log_p, images, counts, base=LN2, divide="counted", sign=-1.0) -> np.ndarray:
    """Bits per dimension, or one of its slips."""
    found = _picked(log_p, images)
    kept = found[:, counts] if divide != "everything" else found
    size = {"counted": kept.size, "everything": found.size, "all": found.size, "images": len(images), "none": 1}[divide]
    return np.array(sign * kept.sum() / size / base)


def _completed(model, image, order, hole, uniforms, keep=True, teacher=False, mode=False, wipe=False) -> np.ndarray:
    """The image completed, or one of its slips."""
    image, n = image.copy(), 0
    given = np.where(hole & wipe, 0, image)[None]
    for i, j in order:
        if keep and not hole[i, j]:
            continue
        p = np.exp(model(given if teacher else image[None])[0, i, j])
        value = int(np.argmax(p)) if mode else int((np.cumsum(p)[:-1] <= uniforms[n % len(uniforms)]).sum())
        image[i, j] = value
        n += 1
    return image


def _rows(model, image, order, hole, uniforms) -> np.ndarray:
    """Filled in reading order, whatever order the model has."""
    return _completed(model, image, np.argwhere(np.ones(image.shape)), hole, uniforms)


def _filled(image, unknown, fillings) -> np.ndarray:
    images = np.repeat(image[None], len(fillings), axis=0)
    images[:, unknown] = fillings
    return images


def _later(unknown: np.ndarray) -> np.ndarray:
    """Known pixels after the first of the hole."""
    flat = unknown.ravel()
    return (np.logical_or.accumulate(flat) & ~flat).reshape(unknown.shape)


def _last(unknown: np.ndarray) -> np.ndarray:
    """Known pixels after the last of the hole."""
    flat = unknown.ravel()
    return (~np.logical_or.accumulate(flat[::-1])[::-1]).reshape(unknown.shape)


def _posterior(model, image, unknown, fillings, which="all", normalise=True) -> np.ndarray:
    """Probabilities of the fillings, or one of the slips."""
    images = _filled(image, unknown, fillings)
    terms = _picked(model(images), images)
    judged = {"all": np.ones_like(unknown), "hole": unknown, "rest": ~unknown, "tail": unknown | _last(unknown)}[which]
    p = np.exp(terms[:, judged].sum(axis=1))
    return p / p.sum() if normalise else p


def _weighted(model, draws, unknown, which="later", worth="squares", weigh=True) -> tuple:
    """The mean and the effective number, or one of the slips."""
    terms = _picked(model(draws), draws)
    judged = {"later": _later(unknown), "all": np.ones_like(unknown), "hole": unknown, "tail": _last(unknown)}[which]
    log_w = terms[:, judged].sum(axis=1)
    w = log_w if weigh == "log" else np.exp(log_w - log_w.max())
    w = w / w.sum() if weigh is not False else np.full(len(draws), 1 / len(draws))
    mean = (w[:, None] * draws[:, unknown]).sum(axis=0)
    return mean, np.array(1 / (w**2).sum() if worth == "squares" else (w**2).sum())


def _corner(W_x, W_r, W_a, b, u, g, turned=mirror) -> tuple:
    """States and gradient by the library, on mirrored images."""
    outputs, tape = diagonal.forward(cells.rnn(), DiagonalParams(W_x, W_r, W_a, b), turned(u)[:, :, None])
    found = diagonal.backward(tape, turned(g)[:, :, None])
    return turned(outputs[:, :, 0]), found.params.left_weights


def _back(W_x, W_r, W_a, b, u, g, slope=True, below=True, turn=True, own=False) -> tuple:
    """The right states, and a slip on the way back."""
    h, _ = _corner(W_x, W_r, W_a, b, u, g)
    (M, N, H), dW = h.shape, np.zeros_like(W_r)
    right = np.concatenate([h[:, 1:], np.zeros((M, 1, H))], axis=1)
    delta = np.zeros((M + 1, N + 1, H))
    to_left, to_above = (W_r.T, W_a.T) if turn else (W_r, W_a)
    for i, j in np.ndindex(M, N):
        i = M - 1 - i
        s = g[i, j] + to_left @ delta[i, j] + below * (to_above @ delta[i + 1, j + 1])
        delta[i, j + 1] = (1 - h[i, j] ** 2) * s if slope else s
        dW += np.outer(delta[i, j + 1], h[i, j] if own else right[i, j])
    return h, dW


SEEN: dict[str, Callable] = {
    "does a pixel see itself? Move the images by one pixel.": lambda x, V: (x.copy(), x.copy()),
    "is this the next pixel? It is not drawn yet.": lambda x, V: (_after(x, V), _below(x, V)),
    "at the beginning of a row the pixel before is the end of the row above.": lambda x, V: (
        raster.left(x, V),
        raster.above(x, V),
    ),
    "does the end come in again at the beginning? There it is outside.": _wrapped,
    "are rows and columns exchanged?": _columns,
    "are the two exchanged?": lambda x, V: (raster.above(x, V), _before(x, V)),
    "does outside look like paper? It has a number of its own.": lambda x, V: (_before(x, 0), raster.above(x, 0)),
}
BITS: dict[str, Callable] = {
    "are these nats? Divide by the logarithm of 2.": lambda *p: _bits(*p, base=1.0),
    "did you divide by the number of images alone?": lambda *p: _bits(*p, divide="images"),
    "did you divide by all pixels? Those that count are fewer.": lambda *p: _bits(*p, divide="all"),
    "did you judge all pixels? Only some count.": lambda *p: _bits(*p, divide="everything"),
    "is this a sum? Divide by the number of pixels that count.": lambda *p: _bits(*p, divide="none"),
    "is the sign wrong? A logarithm of a probability is negative.": lambda *p: _bits(*p, sign=1.0),
}
COMPLETE: dict[str, Callable] = {
    "did you draw known pixels, too?": lambda *p: _completed(*p, keep=False),
    "do your conditionals still see what stood in the hole? Ask the model again after each draw.": lambda *p: (
        _completed(*p, teacher=True)
    ),
    "did you ask the model once? It must see your own draws: ask it again after each.": lambda *p: _completed(
        *p, teacher=True, wipe=True
    ),
    "did you take the most probable value? Draw.": lambda *p: _completed(*p, mode=True),
    "did you fill in reading order? The model has another.": _rows,
}
HOLE: dict[str, Callable] = {
    "is this forward sampling? What is known behind the hole counts, too.": lambda *p: _posterior(*p, which="hole"),
    "did you leave out the hole's own conditionals?": lambda *p: _posterior(*p, which="rest"),
    "did you leave out known pixels between those of the hole?": lambda *p: _posterior(*p, which="tail"),
    "did you forget to divide by the sum?": lambda *p: _posterior(*p, normalise=False),
    "are these logarithms?": lambda *p: np.log(_posterior(*p)),
}
WEIGH: dict[str, Callable] = {
    "does every draw count the same?": lambda *p: _weighted(*p, weigh=False),
    "do you weigh with whole images? The draws have followed q already.": lambda *p: _weighted(*p, which="all"),
    "do you weigh with the hole? The draws have followed q already.": lambda *p: _weighted(*p, which="hole"),
    "did you leave out known pixels between those of the hole?": lambda *p: _weighted(*p, which="tail"),
    "are the weights logarithms?": lambda *p: _weighted(*p, weigh="log"),
    "is worth turned over? It is one over the sum of squares.": lambda *p: _weighted(*p, worth="sum"),
}
TURN: dict[str, Callable] = {
    "did you begin on the left? This one comes from the right.": lambda *p: _corner(*p, turned=lambda x: x),
    "is the slope of tanh missing?": lambda *p: _back(*p, slope=False),
    "is a reader missing? The pixel below reads the state, too.": lambda *p: _back(*p, below=False),
    "on the way back the matrices are transposed.": lambda *p: _back(*p, turn=False),
    "does W_r meet the pixel's own state? It meets that of the right neighbour.": lambda *p: _back(*p, own=True),
}


def _below(images: np.ndarray, outside: int) -> np.ndarray:
    return raster.above(images[:, ::-1], outside)[:, ::-1]


def scoreboard() -> None:
    """Print which tasks of the notebook are done."""
    print_scoreboard([seen, cost, complete, hole, weigh, turn])
