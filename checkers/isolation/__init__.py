"""Workloads that look for one anomaly each, in Jepsen's formats: a few operations by design say what a dependency graph would.

Each module is one checker: a pure function of a history, which raises UnfitTransactions for what is no history of its workload.
registry.py says which models each of them can rule out.
"""

from checkers.isolation.bank import bank
from checkers.isolation.causal_reverse import causal_reverse
from checkers.isolation.dirty_reads import dirty_reads
from checkers.isolation.long_fork import long_fork
from checkers.isolation.monotonic import monotonic
from checkers.isolation.registry import WORKLOADS, Isolation
from checkers.isolation.write_skew import write_skew

__all__ = [
    "WORKLOADS",
    "Isolation",
    "bank",
    "causal_reverse",
    "dirty_reads",
    "long_fork",
    "monotonic",
    "write_skew",
]
