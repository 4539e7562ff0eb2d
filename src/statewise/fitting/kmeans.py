"""k-means, for starting values: it need be good, not best."""

from __future__ import annotations

import numpy as np


def kmeans(
    points: np.ndarray, count: int, rng: np.random.Generator, rounds: int = 30, plus_plus: bool = True
) -> np.ndarray:
    """(count, p) centres of `points` (rows, p): seeds, then `rounds` of Lloyd's iterations.

    With `plus_plus` the seeds are drawn with chance ∝ squared distance (Arthur & Vassilvitskii, SODA (2007)) and are
    distinct as long as there are that many distinct points; else they are points drawn at random. A cluster that
    becomes empty keeps its centre.
    """
    if plus_plus:
        centres = _seeds(points, count, rng)
    else:
        centres = points[rng.choice(len(points), count, replace=len(points) < count)]
    labels = np.full(len(points), -1)
    for _ in range(rounds):
        before, labels = labels, nearest(points, centres)
        if (labels == before).all():
            break
        sizes = np.bincount(labels, minlength=count)
        sums = np.stack([np.bincount(labels, weights=column, minlength=count) for column in points.T], axis=1)
        centres = np.where(sizes[:, None] > 0, sums / np.maximum(sizes, 1)[:, None], centres)
    return centres


def nearest(points: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """(rows,) number of the nearest centre."""
    gaps = [((points - centre) ** 2).sum(axis=1) for centre in centres]
    return np.argmin(gaps, axis=0)


def _seeds(points: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    centres = [points[rng.integers(len(points))]]
    distance = ((points - centres[0]) ** 2).sum(axis=1)
    for _ in range(count - 1):
        total = distance.sum()
        chance = distance / total if total > 0 else None
        centres.append(points[rng.choice(len(points), p=chance)])
        distance = np.minimum(distance, ((points - centres[-1]) ** 2).sum(axis=1))
    return np.array(centres)
