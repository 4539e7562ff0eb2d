"""Pages as one HTML file that opens without a network.

A content security policy with the hashes of our scripts is part of a page, so that a browser runs nothing else in it and
loads nothing from anywhere, whatever a file of data put into a name.
"""

from __future__ import annotations

import base64
import hashlib
import json
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from statewise.report.numbers import typographic

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup


def render(template: str, scripts: tuple[str, ...], **context: Any) -> str:
    """Fill a template of the folder `page`; every value is escaped unless it is one of our own files or escaped JSON.

    The files `scripts` become one script of the page.
    """
    from markupsafe import Markup

    script, plotly = "".join(_file(name) for name in scripts), _plotly_script()
    policy = "; ".join(
        [
            "default-src 'none'",
            f"script-src {_hash(plotly)} {_hash(script)}",
            "style-src 'unsafe-inline'",
            "img-src data: blob:",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )
    return (
        _environment()
        .get_template(template)
        .render(policy=policy, css=Markup(_file("page.css")), plotly=Markup(plotly), script=Markup(script), **context)
    )


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("statewise.report", "page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["typographic"] = typographic
    return environment


@cache
def _file(name: str) -> str:
    return resources.files("statewise.report").joinpath("page", name).read_text(encoding="utf-8")


@cache
def _plotly_script() -> str:
    """plotly.js as plotly ships it, with line ends as a browser sees them, so that its hash fits."""
    from plotly.offline import get_plotlyjs

    return get_plotlyjs().replace("\r\n", "\n").replace("\r", "\n")


def _hash(script: str) -> str:
    return "'sha256-" + base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii") + "'"


def as_script(value: Any) -> Markup:
    """JSON that can stand inside a script element: no character of it can end the element or start another."""
    from markupsafe import Markup

    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)
