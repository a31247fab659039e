"""The contract of a workload: what clients do in the main phase, what they do after the heal, and on what data.

Writing your own takes one class with these members; entry point group `themis.workloads`, or `--workload
package.module:Name`.
"""

from __future__ import annotations

from random import Random
from typing import Annotated, Any, Protocol, runtime_checkable

import msgspec

from harness.generators import Generator
from targets.declared import NOT_EMPTY, STRUCT_TYPE


class WorkloadContext(msgspec.Struct, frozen=True):
    """The run as a workload sees it.

    options: of the workload's option_type. nodes: a call of process p goes to nodes[p % len(nodes)] first. concurrency: client
    threads 0..concurrency-1. claim: the consistency model that the history is checked for. states_max, check_time_limit_s: how many
    states its checker may visit, and for how long; None: without a limit.
    """

    options: Any
    nodes: tuple[str, ...]
    concurrency: int
    claim: str = "linearizable"
    states_max: int | None = None
    check_time_limit_s: float | None = None


@runtime_checkable
class Workload(Protocol):
    """What clients do. Stateless: one object serves every run.

    The checkers of the claim check its history; every run is also checked for vacuity, availability and invariants.
    """

    name: Annotated[str, NOT_EMPTY]
    summary: str
    interface: Annotated[str, NOT_EMPTY]
    """What it asks of a target, such as "kv": reads, writes and cas by key."""
    option_type: Annotated[Any, STRUCT_TYPE]
    """The type of its options: a frozen Struct with defaults, which refuses what is misspelt or ill-typed."""
    data_type: Annotated[str, NOT_EMPTY]
    """What its ops are done to, such as "register": with the claim, it chooses the checkers (harness.workloads.claims).

    Checkers of its own are in an optional member `checkers: Sequence[ClaimChecker]`. An optional method `commands(options) ->
    frozenset[str]` says which ops (their `f`) it issues under these options: a target that does not serve them all is then refused
    before anything starts. An option that is named as an op is its weight, and 0 leaves it out.
    """

    def generator(self, context: WorkloadContext, rng: Random) -> Generator:
        """The main phase of the clients, without rate or time limit; the caller restricts it to client threads."""
        ...

    def final_generator(self, context: WorkloadContext) -> Generator | None:
        """What clients do after the heal and the quiet period, in bounded time; None: nothing.

        A generator that is attentive hears the events of the main phase.
        """
        ...
