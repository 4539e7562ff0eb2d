"""k-means with k-means++ seeds, for starting values: it need be good, not best."""

from __future__ import annotations

import numpy as np

_ROUNDS = 30


def kmeans(points: np.ndarray, count: int, rng: np.random.Generator, rounds: int = _ROUNDS) -> np.ndarray:
    """(count, p) centres of `points` (rows, p): seeds drawn with chance ∝ squared distance, then Lloyd's iterations.

    A cluster that becomes empty keeps its centre. ``rounds=0`` returns the seeds. Seeds are distinct as long as there
    are that many distinct points. Source: Arthur & Vassilvitskii, SODA (2007).
    """
    centres = _seeds(points, count, rng)
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
