"""Puts a page together: the skeleton, styles, scripts and data become one HTML file under a policy that allows nothing else."""

from __future__ import annotations

import base64
import hashlib
import zlib
from collections.abc import Sequence
from importlib import resources

STATIC = resources.files("harness.report.page") / "static"

PAGE_SCRIPTS = (
    "base.js",
    "columns.js",
    "levels.js",
    "verdict.js",
    "figure.js",
    "lanes.js",
    "plots.js",
    "timeline.js",
    "messages.js",
    "logs.js",
    "keys.js",
    "page.js",
)
"""In the order in which they are joined."""


def asset(name: str) -> str:
    """The text of a file in static/."""
    return (STATIC / name).read_text(encoding="utf-8")


def script() -> str:
    """All of the page's scripts as one strict one."""
    return "'use strict'\n;(() => {\n" + "\n".join(asset(name) for name in PAGE_SCRIPTS) + "\n})()\n"


def digest(text: str) -> str:
    """How a Content-Security-Policy names this inline text."""
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"


def policy(scripts: Sequence[str], styles: Sequence[str]) -> str:
    """The policy of a page that holds these inline texts, and loads nothing from anywhere."""
    return (
        f"default-src 'none'; script-src {' '.join(map(digest, scripts))}; style-src {' '.join(map(digest, styles))}; "
        "base-uri 'none'; form-action 'none'"
    )


def page(data: bytes, packed_ops: bytes) -> bytes:
    """The page as HTML. data: JSON, as page_data makes it. packed_ops: the deflated columns.

    Nothing of a history stands in the HTML as text: both are base64, and the scripts only ever set text content.
    """
    styles, code = asset("page.css"), script()
    parts = {
        "POLICY": policy([code], [styles]),
        "STYLES": styles,
        "SCRIPT": code,
        "DATA": base64.b64encode(zlib.compress(data, 6)).decode(),
        "OPS": base64.b64encode(packed_ops).decode(),
    }
    pieces = asset("page.html").split("@@")
    return "".join(parts[piece] if place % 2 else piece for place, piece in enumerate(pieces)).encode()
