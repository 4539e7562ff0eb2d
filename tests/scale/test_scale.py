"""Long and wide data in bounded memory, streams that do not grow, fits beside each other. The numbers stand in docs/reliability.md."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from tests.scale import measure

import statewise as sw

# GiB that may be needed beside the data: what the answer itself takes (a filter keeps two laws a step), and half as much again.
LIMITS = {"log_prob": 0.5, "filter": 2.0}
_SERIES = [np.random.default_rng(seed).standard_normal(120).cumsum() for seed in range(4)]
MAKERS = {
    "varma": lambda y: sw.VARMA(p=1, q=1).fit(y, restarts=1),
    "structural": lambda y: sw.Structural(trend=True).fit(y),
    "hmm": lambda y: sw.HMM(states=2).fit(y, max_iter=30),
    "gru": lambda y: sw.Recurrent("gru", hidden=4).fit(y, epochs=4),
}
_SAME = """
import sys
import numpy as np, torch
import statewise as sw
torch.set_num_threads(int(sys.argv[1]))
y = np.random.default_rng(0).standard_normal((3, 200)).cumsum(axis=1)
seqs = sw.Sequences.from_arrays(list(y))
fits = [sw.VARMA(p=1, q=1).fit(seqs), sw.Structural().fit(seqs), sw.HMM(states=2).fit(seqs), sw.Recurrent("gru", hidden=8).fit(seqs, epochs=5)]
print(*[value.hex() for fit in fits for value in fit.log_prob(seqs).tolist()])
"""


@pytest.mark.nightly
@pytest.mark.parametrize("name", [name for name in measure.programs() if "stream" not in name])
def test_ten_million_steps_in_bounded_memory(name):
    """10⁷ steps in one sequence, and in 10⁵ sequences."""
    assert measure.measured(measure.programs()[name]).mib < 1024 * LIMITS[name.split()[1]]


@pytest.mark.nightly
@pytest.mark.parametrize("model", ["state-space", "hmm"])
def test_a_stream_does_not_grow_in_ten_million_updates(model):
    assert measure.measured(measure.streaming(model, 10**7)).mib < 2.0


@pytest.mark.slow
@pytest.mark.parametrize("model", measure.MODELS)
def test_a_stream_does_not_grow(model):
    """Peak memory after 20 000 updates and after 20 000 more."""
    assert measure.measured(measure.streaming(model, 20_000)).mib < 2.0


@pytest.mark.parametrize("kind", MAKERS)
def test_fits_beside_each_other_give_the_same_answers(kind):
    """Oracle: the same fits one after the other, bit for bit."""
    alone = [MAKERS[kind](y).parameters for y in _SERIES]
    with ThreadPoolExecutor(4) as pool:
        together = [model.parameters for model in pool.map(MAKERS[kind], _SERIES)]
    for one, other in zip(alone, together, strict=True):
        assert all(np.array_equal(one[name], other[name]) for name in one)


@pytest.mark.slow
def test_one_thread_and_two_give_the_same_bits():
    def run(threads: str) -> str:
        settings = dict.fromkeys(
            ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), threads
        )
        done = subprocess.run(
            [sys.executable, "-c", _SAME, threads],
            env=os.environ | settings,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout

    assert run("1") == run("2")
