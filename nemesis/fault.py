"""The Protocol of a fault: `invoke` does one planned op, and `heal` undoes everything at the end.

A fault reports evidence, not intent: each op completes with what was done and what was measured after it
(histories.faults.FaultResult), and the run's FaultBook holds what it began and ended.
"""

from __future__ import annotations

from typing import Protocol

from histories.faults import FaultResult
from histories.op import Op


class Fault(Protocol):
    """One family of faults, bound at construction to a cluster's capabilities and the run's FaultBook.

    Both methods write into the book what they are about to begin or lift, then do it, measure, and write down what was seen
    (FaultBook.begin, OpenFault.in_force, lifting, lifted); `Nemesis` puts that into the result. Either may raise an operating error
    (`FaultError`, `OSError`): `Nemesis` makes the op `indeterminate`, and heals at the end whatever it began.
    """

    name: str
    """What reports call it, such as "partition"; unique in a run."""
    fs: frozenset[str]
    """The ops it takes, such as start-partition and stop-partition."""

    def invoke(self, op: Op) -> FaultResult:
        """Do what `op` (a nemesis invocation) asks, and measure."""
        ...

    def heal(self) -> FaultResult:
        """Undo all that this fault did, and measure. Idempotent; always called at the end of a run."""
        ...
