"""Hidden Markov recursions on packed ragged sequences, from a table of log-likelihoods.

Letters: pi (K,) initial law; P (K, K) transitions, row i the law of the next state given state i; L (rows, K)
log-likelihood of each row in each state (0 in all states for a missing row, −inf where a state cannot emit the row);
a filtered, f predicted and g smoothed probabilities, each (rows, K). Sequence n is rows offsets[n] to offsets[n + 1];
every kernel does sequences `first` to `last`, so that threads can share the work.

The recursions run in scaled probabilities, with each row's largest log-likelihood taken out before exp (Rabiner,
Proc. IEEE 77 (1989), §V.A). Where scaled doubles would lose a state that can still matter (zeros in P and a likelihood
ratio beyond 1e290) the sequence is done again in log space: slower, with the same meaning.

The backward pass is the ratio form g[t] = a[t] ∘ P (g[t+1] / f[t+1]) (Kitagawa, JASA 82 (1987), eq. 2.4): its rows sum
to one by construction, and it needs neither L nor a backward variable that can overflow.

A row that no reachable state can emit gets log-likelihood −inf and its sequence the code IMPOSSIBLE; the recursion then
goes on as if that row were missing, so that nothing ever becomes NaN. A NaN or +inf in L gives the code INVALID.

Exponentials, logarithms and counts are taken in blocks of rows, so that they vectorise. Loops are written out: array
expressions double the compile time, which every first run pays.
"""

from __future__ import annotations

import math

import numpy as np

from statewise.kernels._elementary import exp_in_place, log_in_place
from statewise.kernels._jit import jit

SCALED, LOG_SPACE, IMPOSSIBLE, INVALID = 0, 1, 2, 3

SMALL = 1e-250  # a prediction or a normaliser below this may have lost digits that count
LOST = 1e-290  # a filtered probability below this counts as lost
NOTHING = -45.0  # exp of less, 3e-20, is nothing beside 1
LEAST = -745.2  # exp of less is 0
WIDTH = 8  # states up to which a step has a register for each
BLOCK = 256  # rows whose likelihoods, and whose pairs of states, are done together


# --- forward ----------------------------------------------------------------------------------------------------------


@jit
def _has_lost(f, row, a, total):
    """Whether a state that can emit this row has (almost) vanished from a, whose sum is `total`."""
    found = False
    for k in range(a.shape[0]):
        found = found or (f[k] > 0.0 and row[k] > -np.inf and a[k] < LOST * total)
    return found


@jit
def _is_thin(f, lost):
    """Whether a prediction is so small that states lost before (or digits lost now) could have mattered to it."""
    found = False
    for k in range(f.shape[0]):
        found = found or (f[k] < SMALL and (lost or f[k] > 0.0))
    return found


@jit
def _likelihoods(L, start, b, tops, work):
    """b = exp(L − top) for the rows from `start` on, top the largest of each row; NaN in a row that is unusable."""
    rows, K = b.shape
    whole = K - K % 4
    for t in range(rows):
        # Four chains of comparisons, since each waits for the one before it. A NaN in a chain makes the sum below NaN.
        m0 = m1 = m2 = m3 = -np.inf
        at = start + t
        for k in range(0, whole, 4):
            v0, v1, v2, v3 = L[at, k], L[at, k + 1], L[at, k + 2], L[at, k + 3]
            m0 = m0 if m0 > v0 else v0
            m1 = m1 if m1 > v1 else v1
            m2 = m2 if m2 > v2 else v2
            m3 = m3 if m3 > v3 else v3
        for k in range(whole, K):
            m0 = m0 if m0 > L[at, k] else L[at, k]
        m0 = m0 if m0 > m1 else m1
        m2 = m2 if m2 > m3 else m3
        top = m0 if m0 > m2 else m2
        usable = -np.inf < top < np.inf
        tops[t] = top
        for k in range(K):
            b[t, k] = L[at, k] - top if usable else np.nan
    exp_in_place(b.reshape(rows * K), work.reshape(rows * K))


@jit
def _padded(table):
    """The table with at least `WIDTH` columns, zeros in those that it lacks."""
    rows, K = table.shape
    wide = np.zeros((rows, max(K, WIDTH)))
    wide[:, :K] = table
    return wide


@jit(fast=True)
def _ahead_narrow(P, b, low, high, begin, fresh, keep, a, f, scale, totals, filtered, predicted):
    """Rows `low` to `high` of a block of the forward pass that begins at row `begin`, for K ≤ 8; returns 1 / the last sum.

    P and b as `_padded` made them. f = scale Pᵀ a, then a = f ∘ b[row], whose sum is what the next row is divided by: so the
    sum and the next product are found side by side. Eight numbers with names, since those stay in registers.
    """
    K = P.shape[0]
    for row in range(low, high):
        if fresh and row == 0:
            c0, c1, c2, c3, c4, c5, c6, c7 = f[0], f[1], f[2], f[3], f[4], f[5], f[6], f[7]
        else:
            c0 = c1 = c2 = c3 = c4 = c5 = c6 = c7 = 0.0
            for i in range(K):
                w = a[i]
                c0 += w * P[i, 0]
                c1 += w * P[i, 1]
                c2 += w * P[i, 2]
                c3 += w * P[i, 3]
                c4 += w * P[i, 4]
                c5 += w * P[i, 5]
                c6 += w * P[i, 6]
                c7 += w * P[i, 7]
        f[0], f[1], f[2], f[3] = c0 * scale, c1 * scale, c2 * scale, c3 * scale
        f[4], f[5], f[6], f[7] = c4 * scale, c5 * scale, c6 * scale, c7 * scale
        a[0], a[1], a[2], a[3] = f[0] * b[row, 0], f[1] * b[row, 1], f[2] * b[row, 2], f[3] * b[row, 3]
        a[4], a[5], a[6], a[7] = f[4] * b[row, 4], f[5] * b[row, 5], f[6] * b[row, 6], f[7] * b[row, 7]
        total = ((a[0] + a[1]) + (a[2] + a[3])) + ((a[4] + a[5]) + (a[6] + a[7]))
        totals[row] = total
        scale = 1.0 / total
        if keep:
            for k in range(K):
                filtered[begin + row, k] = a[k] * scale
                predicted[begin + row, k] = f[k]
    return scale


@jit(fast=True)
def _ahead_wide(P, b, low, high, begin, fresh, keep, a, f, scale, totals, filtered, predicted):
    """`_ahead_narrow` for any K: eight rows of P at a time, so that f is loaded and stored an eighth as often."""
    K = P.shape[0]
    whole, quads = K - K % 8, K - K % 4
    for row in range(low, high):
        if not (fresh and row == 0):
            for j in range(K):
                f[j] = 0.0
            for i in range(0, whole, 8):
                w0, w1, w2, w3 = scale * a[i], scale * a[i + 1], scale * a[i + 2], scale * a[i + 3]
                w4, w5, w6, w7 = scale * a[i + 4], scale * a[i + 5], scale * a[i + 6], scale * a[i + 7]
                for j in range(K):
                    near = (w0 * P[i, j] + w1 * P[i + 1, j]) + (w2 * P[i + 2, j] + w3 * P[i + 3, j])
                    far = (w4 * P[i + 4, j] + w5 * P[i + 5, j]) + (w6 * P[i + 6, j] + w7 * P[i + 7, j])
                    f[j] += near + far
            for i in range(whole, K):
                w0 = scale * a[i]
                for j in range(K):
                    f[j] += w0 * P[i, j]
        for k in range(K):
            a[k] = f[k] * b[row, k]
        s0 = s1 = s2 = s3 = 0.0
        for k in range(0, quads, 4):
            s0 += a[k]
            s1 += a[k + 1]
            s2 += a[k + 2]
            s3 += a[k + 3]
        for k in range(quads, K):
            s0 += a[k]
        total = (s0 + s1) + (s2 + s3)
        totals[row] = total
        scale = 1.0 / total
        if keep:
            for k in range(K):
                filtered[begin + row, k] = a[k] * scale
            for k in range(K):
                predicted[begin + row, k] = f[k]
    return scale


@jit
def _usable(totals, low, high):
    """Whether every sum is large enough for its row to have kept its digits."""
    found = True
    for row in range(low, high):
        found = found and totals[row] > SMALL
    return found


@jit
def _forward_scaled(pi, P, L, start, stop, sparse, keep, steps, filtered, predicted):
    """Scaled forward pass over one sequence, P as `_padded` made it; False where it must be done in log space instead.

    `sparse` says that P has (almost) zeros: without them a lost state cannot matter, and no step looks for one. With them the
    rows of a block go one by one.
    """
    K = pi.shape[0]
    a, f = np.zeros(P.shape[1]), np.zeros(P.shape[1])
    f[:K] = pi
    size = min(BLOCK, stop - start)
    b, work, wide = np.empty((size, K)), np.empty((size, K)), np.zeros((size, P.shape[1]))
    tops, totals, spare = np.empty(size), np.empty(size), np.empty(size)
    lost, scale = False, 1.0
    for begin in range(start, stop, size):
        rows = min(size, stop - begin)
        _likelihoods(L, begin, b[:rows], tops, work[:rows])
        if K <= WIDTH:
            for row in range(rows):
                for k in range(K):
                    wide[row, k] = b[row, k]
        stride, fresh = 1 if sparse else rows, begin == start
        for low in range(0, rows, stride):
            high = low + stride
            if K <= WIDTH:
                scale = _ahead_narrow(P, wide, low, high, begin, fresh, keep, a, f, scale, totals, filtered, predicted)
            else:
                scale = _ahead_wide(P, b, low, high, begin, fresh, keep, a, f, scale, totals, filtered, predicted)
            if not _usable(totals, low, high) or (sparse and _is_thin(f[:K], lost)):
                return False
            lost = lost or (sparse and _has_lost(f[:K], L[begin + low], a[:K], totals[low]))
        log_in_place(totals[:rows], spare[:rows])
        for row in range(rows):
            steps[begin + row] = tops[row] + totals[row]
    return True


@jit
def _log_sum(x, count):
    """log Σ exp over the first `count` entries of x; −inf where there is no mass. Terms that a double cannot show beside the largest are left out."""
    top = -np.inf
    for k in range(count):
        top = max(top, x[k])
    if top == -np.inf:
        return top
    total = 0.0
    for k in range(count):
        gap = x[k] - top
        if gap == 0.0:
            total += 1.0
        elif gap > NOTHING:
            total += math.exp(gap)
    return top + math.log(total) if total > 1.0 else top


@jit
def _links(log_P):
    """The possible transitions into each state: those into state j come from from_[start[j] : start[j + 1]]."""
    K = log_P.shape[0]
    start, from_ = np.zeros(K + 1, np.int64), np.empty(K * K, np.int64)
    count = 0
    for j in range(K):
        for i in range(K):
            if log_P[i, j] > -np.inf:
                from_[count] = i
                count += 1
        start[j + 1] = count
    return start, from_


@jit
def _forward_log(log_pi, log_P, L, steps, log_a, log_f):
    """Forward pass over one sequence L (T, K) in log space, into log_a and log_f (T, K); returns its code."""
    T, K = L.shape
    ways, (start, from_) = np.empty(K), _links(log_P)
    code = LOG_SPACE
    for t in range(T):
        for j in range(K):
            count = 0
            if t > 0:
                for link in range(start[j], start[j + 1]):
                    i = from_[link]
                    ways[count] = log_a[t - 1, i] + log_P[i, j]
                    count += 1
            log_f[t, j] = _log_sum(ways, count) if t > 0 else log_pi[j]
            if not L[t, j] < np.inf:
                return INVALID
            log_a[t, j] = log_f[t, j] + L[t, j]
        total = _log_sum(log_a[t], K)
        steps[t] = total
        if total == -np.inf:
            code = IMPOSSIBLE
            total = _log_sum(log_f[t], K)
            for j in range(K):
                log_a[t, j] = log_f[t, j]
        for j in range(K):
            log_a[t, j] -= total
    return code


@jit
def forward(pi, P, log_pi, log_P, L, offsets, first, last, sparse, keep, logs, steps, filtered, predicted, codes):
    """Log-likelihood of each row given the rows before it, into `steps` (rows,).

    With `keep`, also the filtered and predicted probabilities (rows, K); with `logs`, as `backward` wants them, their logarithms for a
    sequence that was done in log space. `codes` (N,) says how each sequence went.
    """
    K = pi.shape[0]
    wide = _padded(P)
    for n in range(first, last):
        start, stop = offsets[n], offsets[n + 1]
        codes[n] = SCALED
        if _forward_scaled(pi, wide, L, start, stop, sparse, keep, steps, filtered, predicted):
            continue
        if keep:
            log_a, log_f = filtered[start:stop], predicted[start:stop]
        else:
            log_a, log_f = np.empty((stop - start, K)), np.empty((stop - start, K))
        codes[n] = _forward_log(log_pi, log_P, L[start:stop], steps[start:stop], log_a, log_f)
        if keep and not logs and codes[n] != INVALID:
            for t in range(stop - start):
                for k in range(K):
                    log_a[t, k] = math.exp(log_a[t, k])
                    log_f[t, k] = math.exp(log_f[t, k])


# --- backward ---------------------------------------------------------------------------------------------------------


@jit(fast=True)
def _back_narrow(P_T, filtered, begin, count, g, scale, ratios, smoothed):
    """`count` rows of the backward pass for K ≤ 8, down to row `begin`; returns 1 / the last sum.

    P_T as `_padded` made it. `ratios` comes in as 1 / f[t + 1] and goes out as g[t + 1] / f[t + 1]; g[t] = scale a[t] ∘ P ratio
    sums to one but for rounding, which the next row takes out.
    """
    K = P_T.shape[0]
    for back in range(count):
        row = count - 1 - back
        t = begin + row
        c0 = c1 = c2 = c3 = c4 = c5 = c6 = c7 = 0.0
        for j in range(K):
            smoothed[t + 1, j] = g[j]
            w = ratios[row, j] * g[j]
            ratios[row, j] = w
            c0 += w * P_T[j, 0]
            c1 += w * P_T[j, 1]
            c2 += w * P_T[j, 2]
            c3 += w * P_T[j, 3]
            c4 += w * P_T[j, 4]
            c5 += w * P_T[j, 5]
            c6 += w * P_T[j, 6]
            c7 += w * P_T[j, 7]
        g[0], g[1], g[2], g[3] = c0 * scale, c1 * scale, c2 * scale, c3 * scale
        g[4], g[5], g[6], g[7] = c4 * scale, c5 * scale, c6 * scale, c7 * scale
        for k in range(K):
            g[k] *= filtered[t, k]
        scale = 1.0 / (((g[0] + g[1]) + (g[2] + g[3])) + ((g[4] + g[5]) + (g[6] + g[7])))
    return scale


@jit(fast=True)
def _back_wide(P_T, filtered, begin, count, g, scale, ratios, smoothed):
    """`_back_narrow` for any K."""
    K = P_T.shape[0]
    whole, quads = K - K % 8, K - K % 4
    for back in range(count):
        row = count - 1 - back
        t = begin + row
        for j in range(K):
            smoothed[t + 1, j] = g[j]
        for j in range(K):
            ratios[row, j] *= g[j]
        for i in range(K):
            g[i] = 0.0
        for j in range(0, whole, 8):
            w0, w1, w2, w3 = ratios[row, j], ratios[row, j + 1], ratios[row, j + 2], ratios[row, j + 3]
            w4, w5, w6, w7 = ratios[row, j + 4], ratios[row, j + 5], ratios[row, j + 6], ratios[row, j + 7]
            for i in range(K):
                near = (w0 * P_T[j, i] + w1 * P_T[j + 1, i]) + (w2 * P_T[j + 2, i] + w3 * P_T[j + 3, i])
                far = (w4 * P_T[j + 4, i] + w5 * P_T[j + 5, i]) + (w6 * P_T[j + 6, i] + w7 * P_T[j + 7, i])
                g[i] += near + far
        for j in range(whole, K):
            w0 = ratios[row, j]
            for i in range(K):
                g[i] += w0 * P_T[j, i]
        for i in range(K):
            g[i] *= filtered[t, i] * scale
        s0 = s1 = s2 = s3 = 0.0
        for i in range(0, quads, 4):
            s0 += g[i]
            s1 += g[i + 1]
            s2 += g[i + 2]
            s3 += g[i + 3]
        for i in range(quads, K):
            s0 += g[i]
        scale = 1.0 / ((s0 + s1) + (s2 + s3))
    return scale


@jit(fast=True)
def _one_over(predicted, first, count, inverse):
    """1 / f for `count` rows from `first` on, 0 where f is 0."""
    for t in range(count):
        for k in range(inverse.shape[1]):
            f = predicted[first + t, k]
            inverse[t, k] = 1.0 / f if f > 0.0 else 0.0


@jit
def _backward_scaled(P_T, filtered, predicted, start, stop, g, smoothed, pairs):
    """Smoothed probabilities of rows `start` + 1 to `stop` − 1, and Σ_t a[t] (g[t+1] / f[t+1])ᵀ added to `pairs`: times P, the counts.

    `g` comes in as that of row `stop` − 1, as long as a row of `P_T`, and goes out as that of row `start`.
    """
    K = P_T.shape[0]
    size = min(BLOCK, stop - start)
    ratios, block = np.empty((size, K)), np.empty((K, K))
    scale = 1.0
    for end in range(stop - 1, start, -size):
        begin = max(end - size, start)
        count = end - begin
        _one_over(predicted, begin + 1, count, ratios)
        if K <= WIDTH:
            scale = _back_narrow(P_T, filtered, begin, count, g, scale, ratios, smoothed)
        else:
            scale = _back_wide(P_T, filtered, begin, count, g, scale, ratios, smoothed)
        np.dot(filtered[begin:end].T, ratios[:count], block)
        for i in range(K):
            for j in range(K):
                pairs[i, j] += block[i, j]
    for k in range(K):
        g[k] *= scale


@jit
def _backward_log(log_P, log_a, log_f, smoothed, counts):
    """`_backward_scaled` from logarithms, with the expected transitions added to `counts` itself.

    g itself needs none: it is an average of what it is a row later, so that a state lost from it stays as small as it was.
    """
    T, K = log_a.shape
    g, before, (start, from_) = np.zeros(K), np.zeros(K), _links(log_P)
    for k in range(K):
        before[k] = math.exp(log_a[T - 1, k]) if log_a[T - 1, k] > LEAST else 0.0
    for t in range(T - 1, -1, -1):
        if t < T - 1:
            for k in range(K):
                before[k] = 0.0
            for j in range(K):
                if g[j] > 0.0:
                    for link in range(start[j], start[j + 1]):
                        i = from_[link]
                        way = log_a[t, i] + log_P[i, j] - log_f[t + 1, j]
                        if way > LEAST:
                            share = math.exp(way) * g[j]
                            counts[i, j] += share
                            before[i] += share
            for k in range(K):
                smoothed[t + 1, k] = g[k]  # log_f[t + 1] may be there, and has been read
        total = 0.0
        for k in range(K):
            total += before[k]
        for k in range(K):
            g[k] = before[k] / total
    for k in range(K):
        smoothed[0, k] = g[k]


@jit
def backward(P, log_P, offsets, first, last, codes, filtered, predicted, smoothed, counts):
    """Smoothed probabilities (rows, K), and the expected transitions added to `counts` (K, K).

    `codes`, `filtered` and `predicted` as `forward` filled them with `logs`; `smoothed` may be the same array as `predicted`.
    """
    K = P.shape[0]
    P_T, pairs = _padded(P.T), np.zeros((K, K))
    for n in range(first, last):
        start, stop = offsets[n], offsets[n + 1]
        if codes[n] == SCALED:
            g = np.zeros(P_T.shape[1])
            g[:K] = filtered[stop - 1]
            _backward_scaled(P_T, filtered, predicted, start, stop, g, smoothed, pairs)
            smoothed[start] = g[:K]
        elif codes[n] != INVALID:
            _backward_log(log_P, filtered[start:stop], predicted[start:stop], smoothed[start:stop], counts)
    for i in range(K):
        for j in range(K):
            counts[i, j] += pairs[i, j] * P[i, j]
