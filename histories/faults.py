"""What a fault op says of itself when it has completed: what was done, what was measured, and which faults it began and
ended.

It is the value of a nemesis completion in a history. Code that asks when a fault was in force reads `begins` and `ends`, and never
the name of an op. Times are ns since the run began, on the history's clock.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from histories.op import NEMESIS, Op


class Onset(msgspec.Struct, frozen=True):
    """How a fault came over one node. began_ns: the first moment at which it may have been in force.
    in_force_ns: from when on it certainly was; None when no measurement says so."""

    began_ns: int
    in_force_ns: int | None = None


class Lift(msgspec.Struct, frozen=True):
    """How a fault left one node. lifting_ns: until then it was in force, if it ever was. lifted_ns: from when on it
    certainly was not; None when no measurement says so, and then a later op may tell."""

    lifting_ns: int
    lifted_ns: int | None = None


class Begun(msgspec.Struct, frozen=True, omit_defaults=True):
    """A fault that an op began.

    id: unique in the run, such as "kill-3". name: what the command line calls it, such as "kill" or "disk:truncate".
    nodes: those that it concerns, sorted. what: in a few words, where the name and the nodes do not say it all, such as
    "n1 | n2 n3". damages: what it did to these nodes' data outlasts it, so that they may rightly never serve again.
    """

    id: str
    name: str
    nodes: dict[str, Onset]
    what: str = ""
    damages: bool = False


class Ended(msgspec.Struct, frozen=True):
    """A fault that an op ended on these nodes. It is over when it has been lifted from all the nodes that it began on."""

    id: str
    nodes: dict[str, Lift]


class FaultResult(msgspec.Struct, frozen=True, omit_defaults=True):
    """The value of a completed fault op (as JSON in the history).

    status: "installed" when the measurement agrees with what was asked (a heal's too, even if nothing was to heal);
        "skipped" when there was nothing to do it to, with `why`; "indeterminate" when it was tried and the measurement
        disagrees, could not be had, or the fault gave up at its time-out.
    did: what exactly was done, resolved (the grudge, the node names).
    evidence: what was measured after it (reachability, process states, clock offsets).
    begins: the faults that it began. One that stands in a later result again has new times there, which count.
    ends: the faults that it ended, or tried to end.
    """

    status: Literal["installed", "skipped", "indeterminate"]
    did: Any = None
    evidence: Any = None
    why: str = ""
    begins: tuple[Begun, ...] = ()
    ends: tuple[Ended, ...] = ()


def fault_result(op: Op) -> FaultResult | None:
    """What a nemesis op completed with; None for an invocation, and for a value that is no FaultResult, as in histories
    that another tool recorded."""
    if op.process != NEMESIS or op.type == "invoke":
        return None
    if isinstance(op.value, FaultResult):
        return op.value
    try:
        return msgspec.convert(op.value, FaultResult)
    except msgspec.ValidationError:
        return None
