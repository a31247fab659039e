"""The contract of a workload: what clients do in the main phase, what they do after the heal, and what is checked.

Writing your own takes one class with these members; entry point group `themis.workloads`, or `--workload
package.module:Name`.
"""

from __future__ import annotations

from random import Random
from typing import Any, Protocol, runtime_checkable

import msgspec

from checkers.verdict import Verdict
from harness.generators import Generator
from histories.history import History


class WorkloadContext(msgspec.Struct, frozen=True):
    """The run as a workload sees it.

    options: of the workload's option_type. nodes: a call of process p goes to nodes[p % len(nodes)] first.
    concurrency: client threads 0..concurrency-1. claimed_model: the consistency model that the target claims under
    its options. states_max, check_time_limit_s: how long its checker may think; None: as long as it needs.
    """

    options: Any
    nodes: tuple[str, ...]
    concurrency: int
    claimed_model: str = "linearizable"
    states_max: int | None = None
    check_time_limit_s: float | None = None


@runtime_checkable
class Workload(Protocol):
    """What clients do and what it proves. Stateless: one object serves every run."""

    name: str
    summary: str
    interface: str
    """What it asks of a target, such as "kv": reads, writes and cas by key."""
    option_type: Any
    """The type of its options: a frozen Struct with defaults, which refuses what is misspelt or ill-typed."""
    claims: frozenset[str]
    """The consistency models that it can check a target against."""

    def generator(self, context: WorkloadContext, rng: Random) -> Generator:
        """The main phase of the clients, without rate or time limit; the caller restricts it to client threads."""
        ...

    def final_generator(self, context: WorkloadContext) -> Generator | None:
        """What clients do after the heal and the quiet period, in bounded time; None: nothing.

        One that is attentive hears the events of the main phase.
        """
        ...

    def check(self, history: History, context: WorkloadContext) -> Verdict:
        """Whether the history is allowed by the model that the target claims; UNKNOWN for a claim not in `claims`.

        What holds for every workload (vacuity, availability, invariants) is checked elsewhere.
        """
        ...
