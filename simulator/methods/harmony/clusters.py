"""k-means on what Harmony's clients report. Shapes: N clients, M modalities."""

import numpy as np

from interlude.simulator.arrays import Floats

_MOST_ITERATIONS = 100


def clusters(points: Floats, num_clusters: int) -> list[int]:
    """Return the cluster of each point [N, M] by k-means, columns scaled to a maximum of 1 before.

    Centres start at the point of the largest sum and, one by one, at the point that is farthest from all before it:
    nothing is drawn at random. There are fewer clusters where points coincide.
    """
    largest = points.max(axis=0)
    scaled = points / np.where(largest > 0.0, largest, 1.0)
    chosen = [int(scaled.sum(axis=1).argmax())]
    while len(chosen) < num_clusters:
        away = np.linalg.norm(scaled[:, None] - scaled[chosen], axis=2).min(axis=1)
        if away.max() == 0.0:
            break
        chosen.append(int(away.argmax()))
    centres = scaled[chosen]
    for _ in range(_MOST_ITERATIONS):
        nearest = np.linalg.norm(scaled[:, None] - centres, axis=2).argmin(axis=1)
        moved = np.array(
            [scaled[nearest == c].mean(axis=0) if (nearest == c).any() else centre for c, centre in enumerate(centres)]
        )
        if (moved == centres).all():
            break
        centres = moved
    return [int(cluster) for cluster in nearest]
