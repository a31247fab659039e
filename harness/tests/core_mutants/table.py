"""All mutants of the cores."""

from __future__ import annotations

from harness.tests.core_mutants import paxos, raft
from harness.tests.core_mutants.mutant import CoreMutant

ALL: tuple[CoreMutant, ...] = (*raft.MUTANTS, *paxos.MULTI, *paxos.SINGLE)
