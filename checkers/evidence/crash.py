"""Evidence that a checker crashed: nothing was decided."""

from __future__ import annotations

from checkers.evidence.kind import Kind


class CheckerCrash(Kind, frozen=True, tag="crash"):
    """traceback: where it raised."""

    traceback: str
