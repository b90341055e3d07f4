"""Exercise 09-lds: what is graded, mutants of its solution, and rewrites that are as right."""

POINTS = 20
GRADED = ["test-step", "test-run", "test-settled", "test-smooth", "test-regress"]
WAITING = []

MUTANTS = {
    ("kalman-step", "test-step"): [
        ("p = A @ m + W_x @ x\n    P = A @ V @ A.T + Q", "p = m + W_x @ x\n    P = V + Q", "did you forget to move"),
        ("A @ m + W_x @ x", "A @ m", "did you forget the input?"),
        ("P = A @ V @ A.T + Q", "P = A @ V @ A.T", "did you forget to add Q"),
        ("S = C @ P @ C.T + R", "S = C @ P @ C.T", "did you forget R"),
        ("P - K @ C @ P, K", "P, K", "is this the covariance before the look?"),
        ("K @ (y - C @ p)", "K @ (C @ p - y)", "is the sign of the surprise wrong?"),
        (
            "S = C @ P @ C.T + R\n    K = np.linalg.solve(S, C @ P).T",
            "K = np.linalg.solve(C @ V @ C.T + R, C @ V).T",
            "before the prediction?",
        ),
        ("K = np.linalg.solve(S, C @ P).T", "K = np.linalg.solve(S, C @ P)", "kalman_step"),
        ("A @ V @ A.T", "A.T @ V @ A", "on which side does the transpose stand?"),
    ],
    ("kalman-filter", "test-run"): [
        (
            "        if not np.isnan(y_t).any():\n",
            "        if True:\n            y_t = np.where(np.isnan(y_t), 0, y_t)\n",
            "did you put zero where nothing was seen?",
        ),
        (
            "        m, V = A @ m + W_x @ x_t, A @ V @ A.T + Q\n",
            """        if np.isnan(y_t).any():
            means.append(m)
            continue
        m, V = A @ m + W_x @ x_t, A @ V @ A.T + Q
""",
            "does time stand still at a gap?",
        ),
        (" + np.linalg.slogdet(S)[1]", "", "did you forget the log-determinant"),
        (" + len(e) * np.log(2 * np.pi)", "", "did you forget O log 2 pi?"),
        ("-= 0.5 * (e", "-= (e", "did you forget the factor one half?"),
        ("log_likelihood -=", "log_likelihood +=", "is the sign of the log-likelihood wrong?"),
        ("np.array(means), log_likelihood", "np.array(means)", "expected 2 arrays"),
    ],
    ("settled-gain", "test-settled"): [
        ("return K", "return A @ K", "is this A K"),
        ("return K", "return P", "K: expected shape (3, 2), got (3, 3)."),
        ("return K", "return np.linalg.solve(C @ V @ C.T + R, C @ V).T", "before the last prediction?"),
        ("return K", "return np.linalg.solve(C @ Q @ C.T + R, C @ Q).T", "is this the first gain"),
    ],
    ("rts", "test-smooth"): [
        ("G @ (means[t + 1] - p[t])", "G @ (m[t + 1] - p[t])", "do you compare with the filter's next mean?"),
        ("(covariances[t + 1] - P[t])", "covariances[t + 1]", "did you forget to take off the predicted covariance?"),
        ("np.linalg.solve(P[t], A @ V[t]).T", "np.linalg.solve(V[t + 1], A @ V[t]).T", "after the update?"),
        ("cross[t] = covariances[t + 1] @ G.T", "cross[t] = G @ covariances[t + 1]", "is cross transposed?"),
        ("(means[t + 1] - p[t])", "(means[t + 1] - m[t])", "did you take off m_t"),
        (
            "means, covariances, cross = m.copy(), V.copy()",
            "means, covariances, cross = m, V",
            "rts changed its argument",
        ),
    ],
    ("em-step", "test-regress"): [
        ("m[1:].T @ m[:-1] + cross.sum(axis=0)", "m[1:].T @ m[:-1]", "did you leave out the cross-covariances?"),
        ("+ cross.sum(axis=0)", "+ cross.sum(axis=0).T", "are the cross-covariances transposed?"),
        ("np.linalg.solve(earlier, both.T)", "np.linalg.solve(later, both.T)", "the moments of the later states?"),
        ("/ len(cross)", "/ len(m)", "did you divide Q by the number of states?"),
        (
            "    return A, Q",
            """    A = np.linalg.lstsq(m[:-1], m[1:], rcond=None)[0].T
    e = m[1:] - m[:-1] @ A.T
    return A, e.T @ e / len(e)""",
            "did you regress the means alone?",
        ),
    ],
}

REWRITES = {
    ("kalman-step", "test-step"): """
def kalman_step(A, W_x, C, Q, R, m, V, x, y):
    p, P = W_x @ x + A @ m, Q + A @ (V @ A.T)
    K = P @ C.T @ np.linalg.inv(R + C @ P @ C.T)
    keep = np.eye(len(m)) - K @ C
    return keep @ p + K @ y, keep @ P @ keep.T + K @ R @ K.T, K
""",
    ("kalman-filter", "test-run"): """
def kalman_filter(A, W_x, C, Q, R, m, V, x, y):
    means, logs = np.empty((len(y), len(m))), []
    for t in range(len(y)):
        p, P = A @ m + W_x @ x[t], A @ V @ A.T + Q
        seen = ~np.isnan(y[t])
        C_t, R_t = C[seen], R[np.ix_(seen, seen)]
        S = C_t @ P @ C_t.T + R_t
        e, K = y[t][seen] - C_t @ p, P @ C_t.T @ np.linalg.inv(S)
        logs.append(-0.5 * (e @ np.linalg.inv(S) @ e + np.log(np.linalg.det(2 * np.pi * S))))
        m, V = p + K @ e, P - K @ S @ K.T
        means[t] = m
    return means, sum(logs)
""",
    ("settled-gain", "test-settled"): """
def settled_gain(A, C, Q, R):
    P = np.eye(len(A))
    for _ in range(3000):
        K = P @ C.T @ np.linalg.inv(C @ P @ C.T + R)
        P = A @ (P - K @ C @ P) @ A.T + Q
    return P @ C.T @ np.linalg.inv(C @ P @ C.T + R)
""",
    ("rts", "test-smooth"): """
def rts(A, m, V, p, P):
    means, covariances, cross = [m[-1]], [V[-1]], []
    for t in range(len(p) - 1, -1, -1):
        G = V[t] @ A.T @ np.linalg.inv(P[t])
        cross.insert(0, covariances[0] @ G.T)
        means.insert(0, m[t] + G @ (means[0] - p[t]))
        covariances.insert(0, V[t] - G @ (P[t] - covariances[0]) @ G.T)
    return np.array(means), np.array(covariances), np.array(cross)
""",
    ("em-step", "test-regress"): """
def em_step(m, V, cross):
    both = np.einsum("ti,tj->ij", m[1:], m[:-1]) + cross.sum(0)
    earlier = np.einsum("ti,tj->ij", m[:-1], m[:-1]) + V[:-1].sum(0)
    A = both @ np.linalg.inv(earlier)
    Q = sum(np.outer(e, e) for e in m[1:] - m[:-1] @ A.T)
    for t in range(len(cross)):
        Q = Q + V[t + 1] - A @ cross[t].T - cross[t] @ A.T + A @ V[t] @ A.T
    return A, Q / len(cross)
""",
}
NARROW = {("kalman-step", "test-step"): ("W_x @ x", "W_x[:, 0] * x[0]")}
