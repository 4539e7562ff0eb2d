"""The diagonal linear recurrence, forwards and backwards, against the fastest of three ways to write it in torch.

``python -m benchmarks.scan`` prints the bytes that the recurrence moves a second beside those of a copy that touches as much memory.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from statistics import median

import numpy as np
import torch
from torch import Tensor

from benchmarks.workloads import Pair, Workload

Scan = Callable[[Tensor, Tensor], Tensor]
Results = tuple[Tensor, ...]

SIZES = [(100, 32, 32), (200, 16, 64), (500, 8, 32), (1000, 1, 64), (1000, 64, 100), (100, 64, 256), (50, 64, 512)]
_ARRAYS = 8  # forwards a, b and h; backwards a, h, the gradient of h, and the gradients of a and b


def ours(a: Tensor, b: Tensor) -> Tensor:
    from statewise.ops.linear_scan import linear_scan

    return linear_scan(a, b)


def loop(a: Tensor, b: Tensor) -> Tensor:
    """One fused multiplication and addition a step; `unbind`, since indexing makes the backward pass quadratic in T."""
    h, found = torch.zeros_like(b[0]), []
    for factor, term in zip(a.unbind(0), b.unbind(0), strict=True):
        h = torch.addcmul(term, factor, h)
        found.append(h)
    return torch.stack(found)


def log_space(a: Tensor, b: Tensor) -> Tensor:
    """Heinsen (2023): h = exp(A + log Σ exp(log b − A)), A = Σ log a, for positive a and b."""
    total = torch.log(a).cumsum(0)
    return torch.exp(total + torch.logcumsumexp(torch.log(b) - total, 0))


def doubling(a: Tensor, b: Tensor) -> Tensor:
    """Hillis & Steele (1986): log₂ T rounds, each of which combines steps twice as far apart."""
    reach = 1
    while reach < len(a):
        b = torch.cat([b[:reach], a[reach:] * b[:-reach] + b[reach:]])
        a = torch.cat([a[:reach], a[reach:] * a[:-reach]])
        reach *= 2
    return b


def train(scan: Scan, a: Tensor, b: Tensor, g: Tensor) -> Results:
    """h and the gradients of Σ g h in a and b."""
    h = scan(a, b)
    return (h.detach(), *torch.autograd.grad(h, (a, b), g))


def problem(steps: int, count: int, hidden: int, complex_: bool = False) -> tuple[Tensor, Tensor, Tensor]:
    """a in (.45, .95), b in (.1, 1.1), both positive so that the log-space form applies, and a random gradient of h."""
    made = torch.Generator().manual_seed(0)
    shape = (steps, count, hidden)
    a, b = 0.45 + 0.5 * torch.rand(shape, generator=made), 0.1 + torch.rand(shape, generator=made)
    g = torch.randn(shape, generator=made)
    if complex_:
        a, b, g = (torch.polar(x, 6 * torch.rand(shape, generator=made)) for x in (a, b, g))
    return a.requires_grad_(), b.requires_grad_(), g


def fastest(candidates: list[Scan], given: tuple[Tensor, Tensor, Tensor]) -> Callable[[], Results]:
    """Of a few ways to do the same, the one with the shortest of three runs."""
    seconds = {}
    for scan in candidates:
        runs = []
        for _ in range(3):
            begun = time.perf_counter()
            train(scan, *given)
            runs.append(time.perf_counter() - begun)
        seconds[scan] = min(runs)
    return partial(train, min(seconds, key=seconds.__getitem__), *given)


def difference(found: Results, wanted: Results) -> float:
    """Largest difference of an entry, relative to the largest entry of its array."""
    return max(float((a - b).abs().max() / b.abs().max()) for a, b in zip(found, wanted, strict=True))


def _pair(count: int, hidden: int, complex_: bool, steps: int) -> Pair:
    torch.set_num_threads(2)
    given = problem(steps, count, hidden, complex_)
    candidates = [loop, doubling] if complex_ else [loop, log_space, doubling]
    return Pair(partial(train, ours, *given), fastest(candidates, given), difference)


def _workload(steps: int, count: int, hidden: int, complex_: bool = False) -> Workload:
    kind = "complex-" if complex_ else ""
    return Workload(
        name=f"scan-{kind}{steps}-{count}-{hidden}",
        what=f"{kind}h[t] = a[t] h[t-1] + b[t] and its gradients, (T, B, H) = ({steps}, {count}, {hidden}), single precision",
        peer="the fastest of torch's loop, doubling" + ("" if complex_ else " and log-space cumulative sum"),
        unit="of the largest entry",
        tolerance=1e-3,  # the log-space form loses digits; loop and doubling agree to 1e-6
        steps=steps,
        quick_steps=min(steps, 50),
        build=partial(_pair, count, hidden, complex_),
    )


WORKLOADS = [_workload(*size) for size in SIZES] + [_workload(200, 16, 64, True), _workload(1000, 64, 100, True)]


def _median_seconds(function: Callable[[], object], rounds: int = 15) -> float:
    function()
    runs = []
    for _ in range(rounds):
        begun = time.perf_counter()
        function()
        runs.append(time.perf_counter() - begun)
    return median(runs)


def bandwidths() -> list[tuple[tuple[int, int, int], float, float]]:
    """For each size, bytes a second of the recurrence with its gradients, and of one copy that touches as much memory, six arrays."""
    found = []
    for size in SIZES:
        given = problem(*size)
        number = given[0].numel() * given[0].element_size()
        source = np.stack([tensor.detach().numpy() for tensor in given])
        copied = 6 * number / _median_seconds(partial(np.copyto, np.empty_like(source), source))
        found.append((size, _ARRAYS * number / _median_seconds(partial(train, ours, *given)), copied))
    return found


if __name__ == "__main__":
    for size, own, copied in bandwidths():
        print(f"{size}: {own / 1e9:.1f} GB/s with gradients, copying {copied / 1e9:.1f} GB/s, {own / copied:.0%}")
