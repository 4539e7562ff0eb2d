"""The code blocks of a documentation page: finding them, running them, comparing what they print with what is shown.

``python -m tests.meta.pages PAGE …`` runs the pages and writes what they print now into them; read the difference before you
believe it.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

FENCE = re.compile(r"^(?P<fence>```+)(?P<language>\w*)[^\n]*\n(?P<body>.*?)^(?P=fence)[ \t]*$", re.M | re.S)
_COMMENT = re.compile(r"<!--\s*(?P<text>(?:(?!-->).)*?)\s*-->\s*\Z", re.S)
_NUMBER = re.compile(r"[-+−]?\d+(?:\.\d+)?(?:e[-+]?\d+)?")


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, text, place in the page, first line, and the comment right above it."""

    language: str
    body: str
    span: tuple[int, int]
    line: int
    comment: str


def blocks(text: str) -> list[Block]:
    """The fenced blocks of a page."""
    found = []
    for match in FENCE.finditer(text):
        above = _COMMENT.search(text[: match.start()])
        line = text.count("\n", 0, match.start()) + 2
        comment = above["text"] if above else ""
        found.append(Block(match["language"], match["body"], match.span("body"), line, comment))
    return found


def same_output(shown: str, printed: str) -> bool:
    """Whether two outputs have the same words, and numbers that agree within 1 % (or in the last digit shown)."""
    if _NUMBER.sub("#", shown).split() != _NUMBER.sub("#", printed).split():
        return False
    pairs = zip(_NUMBER.findall(shown), _NUMBER.findall(printed), strict=True)
    return all(_close(a.replace("−", "-"), b.replace("−", "-")) for a, b in pairs)


def _close(shown: str, printed: str) -> bool:
    a, b = float(shown), float(printed)
    if "." not in shown and "e" not in shown:
        return a == b
    return abs(a - b) <= 0.01 * max(abs(a), abs(b)) + 10.0 ** -len(shown.partition(".")[2])


def shown_and_printed(text: str, name: str) -> Iterator[tuple[Block, str]]:
    """Run the python blocks of a page in one namespace; each block that shows an output, with what was printed above it."""
    namespace: dict[str, object] = {"__name__": "__docs__"}
    printed = ""
    for block in blocks(text):
        if block.language == "python" and not block.comment.startswith("no-run:"):
            stream = io.StringIO()
            # Blank lines above, so that a traceback has the page's own line numbers.
            code = compile("\n" * (block.line - 1) + block.body, name, "exec")
            with contextlib.redirect_stdout(stream):
                exec(code, namespace)
            printed = stream.getvalue()
        elif block.comment == "prints":
            yield block, printed


def run_page(text: str, name: str) -> None:
    """Run a page; raises what its code raises, or AssertionError for an output that is not the one shown."""
    for block, printed in shown_and_printed(text, name):
        assert same_output(block.body, printed), f"{name}, line {block.line}: the code above prints\n{printed}"


def refreshed(text: str, name: str) -> str:
    """The page with the outputs that it has now, where they differ from those shown."""
    parts, end = [], 0
    for block, printed in shown_and_printed(text, name):
        if not same_output(block.body, printed):
            lines = [line.rstrip() for line in printed.splitlines()]
            parts += [text[end : block.span[0]], "\n".join(lines), "\n"]
            end = block.span[1]
    return "".join(parts) + text[end:]


if __name__ == "__main__":
    for path in [Path(name).resolve() for name in sys.argv[1:]]:
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            path.write_text(refreshed(path.read_text(encoding="utf-8"), path.name), encoding="utf-8")
            os.chdir(path.parent)
