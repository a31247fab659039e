"""Evidence of availability: what was served in each fault window, and how soon after it."""

from __future__ import annotations

from typing import Any, Literal

from checkers.evidence.kind import Kind, Part


class Served(Part, frozen=True):
    """How many ops ended how; one that never completed counts as info."""

    ok_count: int
    fail_count: int
    info_count: int

    @property
    def total_count(self) -> int:
        """All of them."""
        return self.ok_count + self.fail_count + self.info_count

    @property
    def ok_share(self) -> float | None:
        """The share that ended ok; None when there were none."""
        return self.ok_count / self.total_count if self.total_count else None


class SideServed(Part, frozen=True):
    """What one side of a partition served."""

    nodes: tuple[str, ...]
    served: Served


class WindowServed(Part, frozen=True):
    """One fault window: what was done and when (see checkers.windows.Window for the times), what was served in it, and how
    soon an op succeeded that was invoked after the heal.

    longest_gap_ns: the longest time in it without an ok. recovery_ns: None when no op succeeded after the heal, or
    nothing was healed.
    """

    id: str
    name: str
    what: str
    nodes: tuple[str, ...]
    did: Any
    index: int
    status: Literal["installed", "indeterminate"]
    began_ns: int
    in_force_ns: int | None
    lifting_ns: int | None
    lifted_ns: int | None
    served: Served
    by_node: dict[str, Served]
    sides: tuple[SideServed, ...]
    longest_gap_ns: int
    recovery_ns: int | None
    recovery_ns_by_node: dict[str, int]


class Availability(Kind, frozen=True, tag="availability"):
    """overall: of the whole run. windows: one for each fault, in order of time."""

    overall: Served
    windows: tuple[WindowServed, ...] = ()
