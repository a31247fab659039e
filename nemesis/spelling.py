"""Finds the known name that is nearest to a misspelt one."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest_name(name: str, known: Iterable[str]) -> str | None:
    """The most similar known name; None when none is similar."""
    found = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.5)
    return found[0] if found else None


def nearest(name: str, known: Iterable[str]) -> str:
    """For the end of a message: ` (did you mean X?)`, or all that is known when nothing is similar."""
    names = sorted(known)
    found = nearest_name(name, names)
    return f" (did you mean {found!r}?)" if found else f" (known: {', '.join(names)})"
