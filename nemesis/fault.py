"""What a fault is to the harness: some fs, what it needs, `invoke` for one planned op, `heal` for the end.

A fault is evidence, not intent: each op completes with what was done and what was measured after it.
"""

from __future__ import annotations

from typing import Any, Literal, Protocol

import msgspec

from histories.op import Op


class FaultResult(msgspec.Struct, frozen=True, omit_defaults=True):
    """The value of a completed fault op (as JSON in the history).

    status: "installed" when the measurement agrees with what was asked (a heal's too, even if nothing was to heal);
        "skipped" when there was nothing to do it to, with `why`; "indeterminate" when it was tried and the measurement
        disagrees, could not be had, or the fault gave up at its time-out.
    did: what exactly was done, resolved (the grudge, the node names).
    evidence: what was measured after it (reachability, process states, clock offsets).
    """

    status: Literal["installed", "skipped", "indeterminate"]
    did: Any = None
    evidence: Any = None
    why: str = ""


class Fault(Protocol):
    """One family of faults, bound to a cluster's capabilities at construction."""

    name: str
    """What reports call it, such as "partition"."""
    fs: frozenset[str]
    """The ops it takes, such as start-partition and stop-partition."""

    @property
    def in_force(self) -> str:
        """For the live line: what it does to the cluster now, such as "partition n1 | n2 n3"; empty when nothing."""
        ...

    def invoke(self, op: Op) -> FaultResult:
        """Do what `op` (a nemesis invocation) asks, and measure.

        An operating error (`FaultError`, `OSError`) may be raised: `Nemesis` makes it `indeterminate`.
        """
        ...

    def heal(self) -> FaultResult:
        """Undo all that this fault did, and measure. Idempotent; always called at the end of a run."""
        ...
