"""How much of each client's head is in that of another. Shapes: N clients, F features of all classes."""

import numpy as np
import scipy  # its members are loaded when they are named

from interlude.simulator.arrays import Floats

_LEAST_WEIGHT = 1e-3
_RIDGE = 1e-9


def head_weights(variances: Floats, means: Floats) -> Floats:
    """Return a [N, N], whose row i says how much of each client's head is in that of client i.

    a_i = argmin_{a >= 0, sum a = 1} a^T (diag(v) + D^i) a, D^i_jl = <h_i - h_j, h_i - h_l>, below 1e-3 cut off. With
    P = L L^T the minimum is where that of ||L^T b - L^-1 1||^2 over b >= 0 is, b scaled to sum to 1.

    Args:
        variances: v [N].
        means: h [N, F] of all classes and features in a row.
    """
    rows = []
    for own in means:
        gaps = own - means
        matrix = np.diag(variances) + gaps @ gaps.T
        ridge = _RIDGE * max(float(np.trace(matrix)) / len(matrix), np.finfo(float).tiny ** 0.5)
        lower = np.linalg.cholesky(matrix + ridge * np.eye(len(matrix)))
        raw = scipy.optimize.nnls(lower.T, scipy.linalg.solve_triangular(lower, np.ones(len(matrix)), lower=True))[0]
        weights = raw / raw.sum()
        weights = np.where(weights < _LEAST_WEIGHT, 0.0, weights)
        rows.append(weights / weights.sum())
    return np.array(rows)
