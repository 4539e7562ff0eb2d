"""Settings of the whole test run: reproducible, silent, one numba cache a worker."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

# Before numba is imported: two workers that compile the same kernel at once would write the same cache entry, so each
# has a cache of its own.
_WORKER = os.environ.get("PYTEST_XDIST_WORKER", "main")
os.environ["NUMBA_CACHE_DIR"] = str(Path(__file__).parent.parent / ".pytest_cache" / "numba" / _WORKER)
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "agg")
os.environ["STATEWISE_PROGRESS"] = "0"

# No deadline: the first example of a kernel includes its compilation.
settings.register_profile("fast", deadline=None, max_examples=50, derandomize=True)
settings.register_profile("nightly", deadline=None, max_examples=2000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fast"))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--all-packages", action="store_true", help="a test that a missing package skips is a failure")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    return _refuse_missing(item.config, (yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector):
    return _refuse_missing(collector.config, (yield))


def _refuse_missing(config: pytest.Config, report):
    """In the full run a package that is not there must not look like a pass."""
    if config.getoption("--all-packages") and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        if "could not import" in reason:
            report.outcome = "failed"
            report.longrepr = f"a package is missing: {reason}"
    return report
