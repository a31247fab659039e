"""One operation of a history, as evidence names it."""

from __future__ import annotations

from typing import Any

from checkers.evidence.kind import Part
from histories.op import OpType, Process


class Witness(Part, frozen=True):
    """One operation: who asked what, what was answered, when.

    invoke, complete: the `index` of its two ops; complete is None when nothing was ever heard of it. type: how it ended.
    invoked_ns, completed_ns: ns since the run began. is_optional: the finding stands whether it took
    effect or not.
    """

    invoke: int
    complete: int | None
    process: Process
    f: str
    argument: Any = None
    result: Any = None
    type: OpType | None = None
    node: str | None = None
    invoked_ns: int | None = None
    completed_ns: int | None = None
    is_optional: bool = False
