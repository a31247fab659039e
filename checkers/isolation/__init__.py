"""Workloads that look for one anomaly each, in Jepsen's formats: a few operations by design say what a dependency graph would.

Each module is one checker: a pure function of a history, which raises UnfitTransactions for what is no history of its workload.
registry.py says which models each of them can rule out.
"""

from checkers.isolation.bank import bank
from checkers.isolation.registry import WORKLOADS, Isolation

__all__ = ["WORKLOADS", "Isolation", "bank"]
