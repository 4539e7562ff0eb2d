"""One progress bar, on stderr, only when the work takes longer than a second."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

_DELAY_S = 1.0
_outer_is_active = False


@contextmanager
def progress(label: str, total: int) -> Iterator[Callable[..., None]]:
    """Yield ``advance(steps=1, label=None)``; a bar appears after one second if stderr is a terminal.

    Inside another bar this one stays silent, so a user never sees two. ``STATEWISE_PROGRESS=0`` silences all bars,
    ``=1`` forces them.
    """
    global _outer_is_active
    if _outer_is_active or not shows_progress():
        yield lambda steps=1, label=None: None
        return
    bar = _Bar(label, total)
    _outer_is_active = True
    try:
        yield bar.advance
    finally:
        _outer_is_active = False
        bar.close()


def shows_progress() -> bool:
    """Whether somebody is there to see progress: stderr is a terminal, unless ``STATEWISE_PROGRESS`` says 0 or 1."""
    setting = os.environ.get("STATEWISE_PROGRESS", "")
    return setting == "1" or (setting != "0" and sys.stderr.isatty())


class _Bar:
    """A Rich bar that is built only once the delay has passed."""

    def __init__(self, label: str, total: int) -> None:
        self._label, self._total, self._done = label, total, 0
        self._start = time.monotonic()
        self._rich: Any = None
        self._task: Any = None

    def advance(self, steps: int = 1, label: str | None = None) -> None:
        self._done += steps
        self._label = label or self._label
        if self._rich is None and time.monotonic() - self._start > _DELAY_S:
            self._open()
        if self._rich is not None:
            self._rich.update(self._task, completed=self._done, description=self._label)

    def _open(self) -> None:
        from rich.console import Console
        from rich.progress import Progress

        self._rich = Progress(console=Console(stderr=True), transient=True)
        self._task = self._rich.add_task(self._label, total=self._total)
        self._rich.start()

    def close(self) -> None:
        if self._rich is not None:
            self._rich.stop()
