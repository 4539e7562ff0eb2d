"""kill −9 at random moments. Oracles: the models that were being saved, bit for bit; the fit that was left in peace."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import statewise as sw

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name != "posix", reason="hardware: signals as on POSIX")]

MOMENTS = 50
_SAVE = """
import sys
from statewise.models.save import load
pair = [load(name) for name in ("one", "two")]
print("begun", flush=True)
for k in range(10**9):
    pair[k % 2].save("model")
"""
_FIT = """
import numpy as np
import statewise as sw
from statewise.fitting import checkpoint
checkpoint._INTERVAL_S = 0.0
y = np.random.default_rng(0).standard_normal((300, 1)).cumsum(axis=0)
print("begun", flush=True)
sw.Recurrent("gru", hidden=4).fit(y, epochs=6, checkpoint="c.safetensors" if {checkpoint} else None).save("{name}")
"""


def killed(code: str, seconds: float) -> bool:
    """Run Python code, and kill it so many seconds after it says that it began; whether it was still running."""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"begun\n"
    time.sleep(seconds)
    running = process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    return running


def test_a_save_that_is_killed_leaves_the_old_model_or_the_new_one():
    """Fifty random moments while two models are saved over each other without a pause."""
    steps = np.arange(40.0)
    models = {"one": sw.VARMA(p=1).fit(np.sin(steps)), "two": sw.VARMA(p=2).fit(np.cos(steps**1.1))}
    for name, model in models.items():
        model.save(name)
    models["one"].save("model")
    chance, seen = random.Random(0), []
    for _ in range(MOMENTS):
        assert killed(_SAVE, chance.uniform(0.0, 0.05))
        found = sw.load("model")
        want = models["one" if found.get_params()["p"] == 1 else "two"]
        assert all(np.array_equal(found.parameters[name], want.parameters[name]) for name in want.parameters)
        seen.append(found.get_params()["p"])
    assert set(seen) == {1, 2}, "both were met, so that the kills fell between saves and not before them"
    models["two"].save("model")
    assert sw.load("model").get_params()["p"] == 2
    left = sorted(path.name for path in Path("model").iterdir() if not path.name.startswith("."))
    assert len(left) == 2, "what the kills left behind is gone, but for temporary files of the moment itself"


def test_a_fit_that_is_killed_goes_on_to_the_same_bits():
    """A checkpoint after every step; killed six times at random, then left to end."""
    subprocess.run(
        [sys.executable, "-c", _FIT.format(checkpoint=False, name="whole")], check=True, stdout=subprocess.DEVNULL
    )
    chance = random.Random(1)
    again = _FIT.format(checkpoint=True, name="resumed")
    assert any(killed(again, chance.uniform(0.05, 0.6)) for _ in range(6))
    subprocess.run([sys.executable, "-c", again], check=True, stdout=subprocess.DEVNULL)
    whole, resumed = sw.load("whole"), sw.load("resumed")
    assert all(np.array_equal(whole.parameters[name], resumed.parameters[name]) for name in whole.parameters)
    np.testing.assert_array_equal(whole.fit_result.trace, resumed.fit_result.trace)
