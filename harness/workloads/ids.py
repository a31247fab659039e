"""Ids that no two clients ever get alike, from every node at once: Jepsen's and Maelstrom's workload `unique-ids`."""

from __future__ import annotations

from random import Random

import msgspec

from harness.generators import Generator, Invocation, repeat
from harness.workloads.base import WorkloadContext


class IdOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """There is nothing to choose."""


class UniqueIds:
    """See the module."""

    name = "unique-ids"
    summary = "ids that no two clients may ever get alike"
    interface = "ids"
    data_type = "ids"
    option_type = IdOptions

    def commands(self, options: IdOptions) -> frozenset[str]:
        """See Workload."""
        return frozenset({"generate"})

    def generator(self, context: WorkloadContext, rng: Random) -> Generator:
        """Ids without end."""
        return repeat(Invocation("generate"))

    def final_generator(self, context: WorkloadContext) -> Generator | None:
        """Nothing: an id that was given out stays given out."""
        return None
