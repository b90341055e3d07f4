"""What the well-known mistakes answer to the exercises on extended Kalman filters."""

from collections.abc import Callable

import numpy as np


def _slope(A, W, C, alpha, m, x, at=None):
    """alpha times the slope of tanh, at m unless told."""
    return alpha * (1 - np.tanh(A @ (m if at is None else at) + W @ x) ** 2)


def _mean(A, W, C, alpha, m, x):
    return (1 - alpha) * m + alpha * np.tanh(A @ m + W @ x)


def _transition(*given, at=None, leak=True):
    A, alpha = given[0], given[3]
    return (1 - alpha) * leak * np.eye(len(A)) + _slope(*given, at=at)[:, None] * A


def _through_columns(*given):
    A, alpha = given[0], given[3]
    return (1 - alpha) * np.eye(len(A)) + A * _slope(*given)


def _slope_of_the_mean(*given):
    A, alpha = given[0], given[3]
    return (1 - alpha) * np.eye(len(A)) + alpha * (1 - _mean(*given) ** 2)[:, None] * A


LINE: dict[str, Callable] = {
    "is the transition linearised at p? It starts from m.": lambda *g: {"A_tilde": _transition(*g, at=_mean(*g))},
    "is the output linearised at m? Before the look, z_t is believed to be near p.": lambda *g: {
        "C_tilde": 2 * g[2] * g[4]
    },
    "does the output come from m? It is that of the new state.": lambda *g: {
        "output": g[2] @ g[4] ** 2,
        "C_tilde": 2 * g[2] * g[4],
    },
    "is the leak missing from the Jacobian? (1 - alpha) z has a slope too.": lambda *g: {
        "A_tilde": _transition(*g, leak=False)
    },
    "does the slope scale columns? Row i of A belongs to unit i.": lambda *g: {"A_tilde": _through_columns(*g)},
    "is the slope read off p? That is tanh mixed with the leak: 1 - tanh^2 wants tanh itself.": lambda *g: {
        "A_tilde": _slope_of_the_mean(*g)
    },
    "did the mean go through the Jacobian? It goes through the network itself.": lambda *g: {
        "p": _transition(*g) @ g[4]
    },
    "are alpha and 1 - alpha exchanged?": lambda *g: {
        "p": g[3] * g[4] + (1 - g[3]) * np.tanh(g[0] @ g[4] + g[1] @ g[5])
    },
    "did you forget the 2 in the derivative of a square?": lambda *g: {"C_tilde": g[2] * _mean(*g)},
    "did you push a mean through the Jacobian? At p, C_tilde p is twice the output.": lambda *g: {
        "output": 2 * g[2] @ _mean(*g) ** 2
    },
}


def _update(p, P, output, C, R, y, fill=False, skip=False, noise=1.0, sign=1.0, shrink=True, silent=False, from_p=True):
    """m, V, log-density, or one of their slips."""
    seen = ~np.isnan(y)
    if skip and not seen.all():
        return p, P, np.zeros(())
    there = np.ones_like(seen) if fill or silent else seen
    e = (np.where(seen, y, 0) - output if fill else np.where(seen, y - output, 0))[there]
    C, R = C[there], noise * R[np.ix_(there, there)]
    S = C @ P @ C.T + R
    K = P @ C.T @ np.linalg.pinv(S)
    V = P - K @ C @ P if shrink else P
    return from_p * p + sign * K @ e, V, _density(e, S)


def _density(e, S, determinant=1.0, factor=0.5, count=None):
    count = len(e) if count is None else count
    with np.errstate(all="ignore"):
        size = determinant * np.linalg.slogdet(S)[1] + count * np.log(2 * np.pi)
    return np.asarray(-factor * (e @ np.linalg.pinv(S) @ e + size))


def _other_density(p, P, output, C, R, y, **choices):
    m, V, _ = _update(p, P, output, C, R, y)
    seen = ~np.isnan(y)
    S = C[seen] @ P @ C[seen].T + R[np.ix_(seen, seen)]
    choices = {**choices, "count": len(y)} if choices.pop("every", False) else choices
    return m, V, _density((y - output)[seen], S, **choices)


def _turned(p, P, output, C, R, y):
    m, _, log_density = _update(p, P, output, C, R, y)
    seen = ~np.isnan(y)
    C, R = C[seen], R[np.ix_(seen, seen)]
    K = P @ C.T @ np.linalg.pinv(C @ P @ C.T + R)
    return m, P @ (np.eye(len(p)) - K @ C), log_density


UPDATE: dict[str, Callable] = {
    "did you put zero where nothing was seen?": lambda *g: _update(*g, fill=True),
    "one entry that is missing does not make the others worthless.": lambda *g: _update(*g, skip=True),
    "a surprise of zero is not no surprise: the missing entry still shrinks V. Drop its row of C_tilde, "
    "and its row and column of R.": lambda *g: _update(*g, silent=True),
    "did you forget R?": lambda *g: _update(*g, noise=0.0),
    "is the sign of the surprise wrong?": lambda *g: _update(*g, sign=-1.0),
    "is this the covariance before the look?": lambda *g: _update(*g, shrink=False),
    "did you forget p? The gain moves a mean, it does not make one.": lambda *g: _update(*g, from_p=False),
    "did you forget the log-determinant?": lambda *g: _other_density(*g, determinant=0.0),
    "did you forget the factor one half?": lambda *g: _other_density(*g, factor=1.0),
    "log 2 pi counts the entries that were seen.": lambda *g: _other_density(*g, every=True),
    "is the factor (I - K C_tilde) on the wrong side of P?": _turned,
}


def _squares(errors, covariances):
    return np.array([e @ np.linalg.pinv(S) @ e for e, S in zip(errors, covariances, strict=True)])


def _interval(y, by=None, two=2.0, root=True, count=None):
    T, O = y.shape
    by, spread = O if by is None else by, two * O / (T if count is None else count)
    half = 1.96 * (np.sqrt(spread) if root else spread)
    return {"interval": np.array([by - half, by + half])}


HONEST: dict[str, Callable] = {
    "do p and P judge nu? It asks about m and V.": lambda z, y, m, V, p, P, C, R: {"nu": _squares(z - p, P)},
    "did you multiply by V? Its inverse measures.": lambda z, y, m, V, p, P, C, R: {
        "nu": np.array([e @ W @ e for e, W in zip(z - m, V, strict=True)])
    },
    "is this the variances alone? V is not diagonal.": lambda z, y, m, V, p, P, C, R: {
        "nu": ((z - m) ** 2 / np.diagonal(V, axis1=1, axis2=2)).sum(axis=1)
    },
    "did you divide by H? The mean of nu is H.": lambda z, y, m, V, p, P, C, R: {"nu": _squares(z - m, V) / z.shape[1]},
    "filtered moments have seen y_t: it cannot surprise them. Use the predicted ones.": lambda z, y, m, V, p, P, C, R: {
        "nu_y": _squares(y - m @ C.T, C @ V @ C.T + R)
    },
    "is the mean filtered? It has seen y_t, and S is that of the prediction.": lambda z, y, m, V, p, P, C, R: {
        "nu_y": _squares(y - m @ C.T, C @ P @ C.T + R)
    },
    "is the covariance filtered? Before the look it is P.": lambda z, y, m, V, p, P, C, R: {
        "nu_y": _squares(y - p @ C.T, C @ V @ C.T + R)
    },
    "did you forget R? An output has noise of its own.": lambda z, y, m, V, p, P, C, R: {
        "nu_y": _squares(y - p @ C.T, C @ P @ C.T)
    },
    "is this the interval of a single step? The mean of T scatters less.": lambda z, y, *_: _interval(y, count=1),
    "did you forget the 2? A squared standard normal has variance 2.": lambda z, y, *_: _interval(y, two=1.0),
    "did you add the variance? The interval wants its root.": lambda z, y, *_: _interval(y, root=False),
    "is the interval about H? An output has O entries.": lambda z, y, *_: _interval(y, by=z.shape[1]),
}


def parents(logs, n, u):
    """Who stands at (k + u) / n, k = 0..n-1, when the stretches are as long as the weights.

    Args:
        logs: log-weights up to a constant, shape (N,).
        n: how many children.
        u: in [0, 1).

    Returns:
        Particles, shape (n,).
    """
    weights = np.exp(logs - logs.max())
    return _stand(weights / weights.sum(), (np.arange(n) + u) / n)


def _stand(weights, points):
    ends = np.cumsum(weights)
    return np.minimum(np.searchsorted(ends, points, side="right"), len(weights) - 1)


def _shares(logs):
    return np.exp(logs - logs.max()) / np.exp(logs - logs.max()).sum()


def _twice(logs):
    return _shares(np.exp(logs - logs.max()))


SEATS: dict[str, Callable] = {
    "is u left out? Then some particles always win: over all u, each must have n w_i children.": lambda l, n, u: (
        parents(l, n, 0.0)
    ),
    "is u always one half? A rule without chance is not unbiased.": lambda l, n, u: parents(l, n, 0.5),
    "did you divide by the number of particles? There are n places.": lambda l, n, u: _stand(
        _shares(l), (np.arange(n) + u) / len(l)
    ),
    "did you add u to k / n? It must stay within its n-th: (k + u) / n.": lambda l, n, u: _stand(
        _shares(l), np.arange(n) / n + u
    ),
    "are the weights not divided by their sum?": lambda l, n, u: _stand(np.exp(l), (np.arange(n) + u) / n),
    "is it the particle before? The i-th partial sum has particle i in it.": lambda l, n, u: parents(l, n, u) - 1,
    "are log-weights taken for weights?": lambda l, n, u: _stand(l / l.sum(), (np.arange(n) + u) / n),
}


def _bootstrap(
    a, q, r, z, moves, u, y, share=True, root=True, constant=True, draw=_shares, late=False, zero=False, inside=False,
    stay=False, keep=False,
):  # fmt: skip
    """Means and log-likelihood of a crowd, or one of their slips."""
    means, total, N = [], 0.0, len(z)
    logs = np.zeros(N)
    for step, place, look in zip(moves, u, y, strict=True):
        if stay and np.isnan(look):  # time stands still
            means.append(z.mean())
            continue
        noise = (np.sqrt(q) if root else q) * step
        z = np.tanh(a * z + noise) if inside else np.tanh(a * z) + noise
        if np.isnan(look) and not zero:
            means.append((_shares(logs) * z).sum())
            continue
        fits = logs - 0.5 * ((0 if np.isnan(look) else look) - z) ** 2 / r
        top = fits.max()
        each = top + np.log(np.exp(fits - top).sum())
        total += each - share * np.log(N) - 0.5 * constant * np.log(2 * np.pi * r)
        before, weights = z, _shares(fits)
        z = z[_stand(draw(fits), (np.arange(N) + place) / N)] if draw else z
        logs = fits - each + np.log(N) if keep else logs
        means.append(z.mean() if late else (weights * before).sum())
    return np.array(means), np.asarray(total)


CROWD: dict[str, Callable] = {
    "did you sum over the crowd? The likelihood is a mean: divide by N.": lambda *g: _bootstrap(*g, share=False),
    "q is a variance: its root scales the moves.": lambda *g: _bootstrap(*g, root=False),
    "did you forget 2 pi r in the density?": lambda *g: _bootstrap(*g, constant=False),
    "did you keep the weights in the place of resampling?": lambda *g: _bootstrap(*g, draw=None, keep=True),
    "did you resample by equal weights, or not at all? Then each look is forgotten.": lambda *g: _bootstrap(
        *g, draw=None
    ),
    "are weights taken for log-weights?": lambda *g: _bootstrap(*g, draw=_twice),
    "is this the mean after resampling? Take it before: resampling only adds noise.": lambda *g: _bootstrap(
        *g, late=True
    ),
    "did you put zero where nothing was seen?": lambda *g: _bootstrap(*g, zero=True),
    "is the noise inside tanh? It is added to the state.": lambda *g: _bootstrap(*g, inside=True),
    "does time stand still at a gap? The crowd moves on.": lambda *g: _bootstrap(*g, stay=True),
    "do weights live on after resampling? Then they count twice.": lambda *g: _bootstrap(*g, keep=True),
}


def _joint(
    m, V, x, y, q, drift, r, cross=True, slope=True, late=False, last=1.0, wander=True, split=False, linear=False,
    before=False, through=False,
):  # fmt: skip
    """The filter of state and weight, or one of its slips."""
    means, C = [], np.array([1.0, 0.0])
    for drive, look in zip(x, y, strict=True):
        z, w = m
        p = np.array([np.tanh(w * z + drive), w])
        s = 1 - p[0] ** 2 if slope else 1.0
        J = np.array([[s * w, cross * s * (p[0] if late else z)], [0.0, last]])
        p = J @ m if through else p
        P = J @ V @ J.T + np.diag([q, wander * drift])
        W = V if before else P
        K = W @ C / (C @ W @ C + r)
        m, V = p + K * (look - p[0]), P - np.outer(K, C @ P)
        V = np.diag(np.diag(V)) if split else V
        means.append(m)
    return np.array(means), V


JOINT: dict[str, Callable] = {
    "is the derivative of the state by the weight missing? Without it the weight never learns.": lambda *g: _joint(
        *g, cross=False
    ),
    "did you forget the slope of tanh?": lambda *g: _joint(*g, slope=False),
    "is the derivative by the weight taken at z_t? It is z_{t-1} that the weight meets.": lambda *g: _joint(
        *g, late=True
    ),
    "does the weight forget itself? Its own derivative by itself is 1.": lambda *g: _joint(*g, last=0.0),
    "did you forget the drift of the weight?": lambda *g: _joint(*g, wander=False),
    "did you drop the covariance of state and weight? It is all that a look can teach the weight by.": lambda *g: (
        _joint(*g, split=True)
    ),
    "is the gain made of the filtered V? Before the look there is P.": lambda *g: _joint(*g, before=True),
    "did the mean go through the Jacobian? It goes through the network itself.": lambda *g: _joint(*g, through=True),
}
