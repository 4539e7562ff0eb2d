"""Layer 8: the command line. A command parses, calls, prints and chooses an exit code; the work is done further down.

Exit codes: 0 done; 1 a bug in statewise; 2 wrong usage or input; 3 a numerical failure; 130 interrupted with Ctrl-C;
141 the reader of our output went away.
"""

from __future__ import annotations

from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``statewise`` with `arguments` (the process's own if None) and return the exit code."""
    from statewise.cli.exits import guarded

    return guarded(arguments)
