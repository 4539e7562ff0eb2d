"""Peak memory and time of long and wide data, streams and threads, each in a process of its own.

python -m tests.scale.measure            # all
python -m tests.scale.measure log_prob   # those whose name has this word
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass

_HEAD = """
import json, resource, time
import numpy as np
import statewise as sw
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
model = {model}
rng = np.random.default_rng(0)
"""
_RUN = """
model.{verb}({small})
values = {values}
seqs = sw.Sequences(values, np.full({count}, len(values) // {count}))
del values
before, begun = peak(), time.perf_counter()
answer = model.{verb}(seqs)
print(json.dumps({{"mib": peak() - before, "data_mib": seqs.values.nbytes / 2**20, "seconds": time.perf_counter() - begun}}))
"""
_STREAM = """
stream = model.stream()
y = rng.standard_normal(1000)
for k in range(20_000):
    stream.update(y[k % 1000])
before, begun, size = peak(), time.perf_counter(), len(stream.to_bytes())
for k in range({updates}):
    stream.update(y[k % 1000])
assert len(stream.to_bytes()) == size
print(json.dumps({{"mib": peak() - before, "data_mib": 0.0, "seconds": time.perf_counter() - begun}}))
"""
MODELS = {
    "state-space": "sw.StateSpace([[0.9, 0.1], [0.0, 0.5]], [[1.0, 1.0]], np.eye(2), [[1.0]])",
    "hmm": "sw.HMM(states=2, initial_probs=[0.5, 0.5], transition_probs=[[0.9, 0.1], [0.2, 0.8]], means=[0.0, 2.0], covariances=[1.0, 1.0])",
    "gru": "sw.Recurrent('gru', hidden=8).fit(np.random.default_rng(1).standard_normal(200), epochs=1)",
}
SHAPES = {"long": (10**7, 1), "wide": (10**7, 10**5)}


@dataclass(frozen=True)
class Measured:
    """Peak memory beyond what was there before, the data's own memory (MiB), and time (s)."""

    mib: float
    data_mib: float
    seconds: float


def reading(model: str, verb: str, rows: int, count: int) -> str:
    """The program that reads `count` sequences of `rows` rows together."""
    return _HEAD.format(model=MODELS[model]) + _RUN.format(
        verb=verb, small="np.zeros(50)", values=f"rng.standard_normal(({rows}, 1))", count=count
    )


def streaming(model: str, updates: int) -> str:
    return _HEAD.format(model=MODELS[model]) + _STREAM.format(updates=updates)


def measured(program: str) -> Measured:
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return Measured(**json.loads(ran.stdout.splitlines()[-1]))


def programs() -> dict[str, str]:
    """name -> program, of the table in docs/reliability.md."""
    found = {
        f"{model} {verb} {shape}": reading(model, verb, *size)
        for model, verbs in {
            "state-space": ("log_prob", "filter"),
            "hmm": ("log_prob", "filter"),
            "gru": ("log_prob",),
        }.items()
        for verb in verbs
        for shape, size in SHAPES.items()
    }
    return found | {f"{model} stream": streaming(model, 10**6) for model in MODELS}


if __name__ == "__main__":
    for name, program in programs().items():
        if all(word in name for word in sys.argv[1:]):
            done = measured(program)
            sys.stdout.write(
                f"{name}: {done.mib:.0f} MiB beside {done.data_mib:.0f} MiB of data, {done.seconds:.1f} s\n"
            )
            sys.stdout.flush()
