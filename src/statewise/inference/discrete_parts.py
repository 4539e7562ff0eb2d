"""One long sequence shared out over threads.

A hidden Markov model forgets: two beliefs that see the same rows grow alike, by a factor a row (`discrete.forgetting_rate`). So
the rows are cut into parts, and the belief at a cut is found from the `_WARM` rows around it alone, started from an even law.
Afterwards each part's belief is compared with the one that the part before it ended in, and where they differ by more than
rounding (`_AGREES`) the part is done again from the latter: the result is that of one pass. Where a model forgets slowly this
costs a second pass, no more. Parts depend on the data's length alone, so that results do not depend on the number of threads.

Source of the bound on forgetting: Le Gland & Mevel, Math. Control Signals Systems 13 (2000).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from statewise.kernels import _chunks
from statewise.kernels import hmm as kernel

if TYPE_CHECKING:
    from statewise.inference.discrete import Chain

_PART, _WARM, _AGREES = 16_000, 512, 1e-13
_MOST = 16


def cuts(rows: int) -> np.ndarray:
    """(parts + 1,) row numbers; one part unless there are rows for two."""
    return np.linspace(0, rows, max(1, min(_MOST, rows // _PART)) + 1).astype(np.int64)


def forward(
    chain: Chain,
    table: np.ndarray,
    keep: bool,
    steps: np.ndarray,
    probs: np.ndarray,
    predicted: np.ndarray,
    cost: float,
) -> bool:
    """Fill `steps`, `probs` and `predicted` for one sequence; False where it needs log space, which takes it as a whole."""
    at = cuts(len(table))
    count = len(at) - 1
    done, ends = np.zeros(count, dtype=bool), np.empty((count, chain.states))
    laws = [chain.initial, *(_predicted_at(chain, table, cut) for cut in at[1:-1])]

    def work(part: int, first: int, last: int) -> None:
        done[part] = kernel.forward_part(
            laws[part], chain.transition, table, first, last, keep, steps, probs, predicted, ends[part]
        )

    _chunks.share(work, at, cost)
    for part in range(1, count):
        law = ends[part - 1] @ chain.transition
        if done[part - 1] and not _agree(laws[part], law):
            laws[part] = law
            work(part, int(at[part]), int(at[part + 1]))
    return bool(done.all())


def _predicted_at(chain: Chain, table: np.ndarray, cut: int) -> np.ndarray:
    """The predicted law at row `cut`, from the rows before it alone."""
    start = max(0, cut - _WARM)
    end, steps, nothing = np.full(chain.states, np.nan), np.empty(cut - start), np.empty((0, chain.states))
    even = np.full(chain.states, 1.0 / chain.states)
    rows = table[start:cut]
    kernel.forward_part(even, chain.transition, rows, 0, len(rows), False, steps, nothing, nothing, end)
    return np.asarray(end @ chain.transition)


def backward(
    chain: Chain, probs: np.ndarray, predicted: np.ndarray, smoothed: np.ndarray, cost: float
) -> np.ndarray | None:
    """Fill `smoothed`, and return the expected transitions, for one sequence that went forward in scaled probabilities.

    None where the parts do not agree: then `smoothed` holds nothing of use, nor does `predicted` if that is the same array.
    """
    at = cuts(len(probs))
    count, last = len(at) - 1, len(probs)
    counts = np.zeros((count, chain.states, chain.states))
    # Each part but the last ends in the row that the next one begins with.
    ends = [*(_smoothed_at(chain, probs, predicted, cut) for cut in at[1:-1]), probs[-1].copy()]
    begins = [end.copy() for end in ends]

    def work(part: int, start: int, stop: int) -> None:
        kernel.backward_part(
            chain.transition, probs, predicted, start, min(stop + 1, last), begins[part], smoothed, counts[part]
        )

    _chunks.share(work, at, cost)
    smoothed[0] = begins[0]
    if not all(_agree(ends[part], begins[part + 1]) for part in range(count - 1)):
        return None
    return np.asarray(counts.sum(axis=0))


def _smoothed_at(chain: Chain, probs: np.ndarray, predicted: np.ndarray, cut: int) -> np.ndarray:
    """The smoothed probabilities at row `cut`, from that row and those after it alone."""
    rows = slice(cut, min(cut + _WARM, len(probs)))
    g, spare = probs[rows][-1].copy(), np.empty((rows.stop - cut, chain.states))
    kernel.backward_part(
        chain.transition, probs[rows], predicted[rows], 0, len(spare), g, spare, np.zeros((chain.states, chain.states))
    )
    return g


def _agree(guess: np.ndarray, law: np.ndarray) -> bool:
    return bool((np.abs(guess - law) <= _AGREES * law).all())
