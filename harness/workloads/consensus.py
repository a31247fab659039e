"""Proposals for many decisions, and questions what was decided: consensus itself.

Every proposed value is new to its key, so that an answer tells whose proposal won. 40 ops a key, on more threads than there are
nodes: proposers on several nodes compete from the first op on. Agreement and validity are what the check of the history decides;
that the cluster decides at all is what the final ops and the liveness phase ask for.
"""

from __future__ import annotations

from random import Random

from harness.generators import Generator, Invocation, Stream, delay, repeat, until_ok
from harness.workloads.base import WorkloadContext
from harness.workloads.keyed import (
    RETRY_S,
    DrawnOps,
    KeyedOptions,
    Positive,
    Weight,
    chosen,
    final_ops,
    issued,
    keyed,
    require_some,
)


class ConsensusOptions(KeyedOptions, frozen=True, kw_only=True):
    """propose, learn: weights of the mix. See KeyedOptions.

    A decision's check is cheap, whatever ends `info`: only its ops use up a key.
    """

    ops_per_key: Positive = 40
    indeterminate_per_key: Positive = 40
    propose: Weight = 3
    learn: Weight = 2

    def __post_init__(self) -> None:
        require_some(self, "propose", "learn")


def draw(options: ConsensusOptions, draws: Stream, number: int) -> tuple[str, int | None]:
    """A proposal of the number, or a question."""
    f = chosen(draws, ("propose", options.propose), ("learn", options.learn))
    return f, number + 1 if f == "propose" else None


class ConsensusWorkload:
    """Keys from 0 up; see the module."""

    name = "consensus"
    summary = "proposals for many decisions, and questions what was decided"
    interface = "consensus"
    data_type = "consensus"
    option_type = ConsensusOptions

    def commands(self, options: ConsensusOptions) -> frozenset[str]:
        """See Workload."""
        return issued(options, "propose", "learn", final="learn")

    def generator(self, context: WorkloadContext, rng: Random) -> Generator:
        """Twice as many threads on a key as nodes, so that proposers of every node compete."""
        options: ConsensusOptions = context.options
        return keyed(context, rng, 2 * len(context.nodes), lambda salt, key: DrawnOps(draw, options, salt, key))

    def final_generator(self, context: WorkloadContext) -> Generator | None:
        """Every node is asked for each of the latest decisions."""
        return final_ops(context, lambda key: until_ok(delay(RETRY_S, repeat(Invocation("learn", key)))))
