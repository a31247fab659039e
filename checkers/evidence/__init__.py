"""What a checker found, as data: one tagged Struct for each kind of finding, written to verdict.json and read back from it.

Evidence is plain data (text, numbers, lists, JSON-like values of the history): a report draws it without knowing the
checker. One file a kind. A kind of its own is for what no other one can say; a user's checker uses `Findings`.
"""

from __future__ import annotations

from checkers.evidence.availability import Availability, Served, SideServed, WindowServed
from checkers.evidence.clocks import ClockSample, ClockSeries
from checkers.evidence.crash import CheckerCrash
from checkers.evidence.findings import Edge, Finding, Findings, OpNote, Table
from checkers.evidence.invariants import Invariants, Violation
from checkers.evidence.linearizability import (
    Linearizability,
    MinimalCore,
    Order,
    PossibleState,
    Refutation,
    Undecided,
)
from checkers.evidence.liveness import LastAnswer, Liveness, NodeState
from checkers.evidence.nodes import EndedBy, EndedNode, EndedNodes
from checkers.evidence.recovery import Recovery
from checkers.evidence.vacuity import Vacuity
from checkers.evidence.witness import Witness

Evidence = (
    Linearizability
    | Invariants
    | Vacuity
    | Recovery
    | Availability
    | ClockSeries
    | EndedNodes
    | Liveness
    | CheckerCrash
    | Findings
)
"""Told apart in JSON by the field `kind`."""

__all__ = [
    "Availability",
    "CheckerCrash",
    "ClockSample",
    "ClockSeries",
    "Edge",
    "EndedBy",
    "EndedNode",
    "EndedNodes",
    "Evidence",
    "Finding",
    "Findings",
    "Invariants",
    "LastAnswer",
    "Linearizability",
    "Liveness",
    "MinimalCore",
    "NodeState",
    "OpNote",
    "Order",
    "PossibleState",
    "Recovery",
    "Refutation",
    "Served",
    "SideServed",
    "Table",
    "Undecided",
    "Vacuity",
    "Violation",
    "WindowServed",
    "Witness",
]
