"""Evidence that a run tested nothing."""

from __future__ import annotations

from checkers.evidence.kind import Kind


class Vacuity(Kind, frozen=True, tag="vacuity"):
    """reasons: each threshold that was missed, in words."""

    reasons: tuple[str, ...]
